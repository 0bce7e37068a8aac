// Runs a loop at addresses that the caller answers for: on memory that no NumPy array holds, such as a PyTorch tensor's.
//
// Included by `ufuncs.cpp` alone.

#pragma once

constexpr Py_ssize_t ScalarBytes = 8;

// Finds a function's loop for a type: NumPy's character of it, or E for bfloat16.
PyObject *loop(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    const char *const name = count == 2 ? PyUnicode_AsUTF8(arguments[0]) : nullptr;
    const char *const type = name ? PyUnicode_AsUTF8(arguments[1]) : nullptr;
    const auto found = type ? functions.find(name) : functions.end();
    if (found == functions.end()) return PyErr_Format(PyExc_TypeError, "loop takes a function and a type");
    Function &function = found->second;
    if (*type == 'E') {
        if (!function.bfloat16_by_rows)
            function.bfloat16_by_rows = &function.rows.emplace_back(
                Rows{function.bfloat16, function.bfloat16_rows, function.operands, 2});
        return PyCapsule_New(function.bfloat16_by_rows, nullptr, nullptr);
    }
    for (std::size_t i = 0; i < function.loops.size(); i++) {
        PyArray_Descr *const dtype = PyArray_DescrFromType(function.types[i * (function.operands + 1)]);
        const bool is_it = dtype->type == *type && PyDataType_ELSIZE(dtype) <= npy_intp(ScalarBytes);
        Py_DECREF(dtype);
        if (is_it) return PyCapsule_New(function.by_rows[i], nullptr, nullptr);
    }
    return PyErr_Format(PyExc_TypeError, "no loop of %s for %s", name, type);
}

constexpr npy_intp WorthTheLock = 1 << 12;  // elements from which other threads of Python run meanwhile

// The operands of a loop, as addresses: arrays, slopes or none, scalars, the result.
struct Addresses {
    char *at[MostOperands];
    alignas(16) char scalars[MostOperands * ScalarBytes];
    int arrays;

    // Reads the scalars, packed in 8 bytes each, and the addresses of arrays and of the result; false after an error.
    bool read(const Rows &loop, PyObject *packed, const void *slopes, PyObject *const *addresses, Py_ssize_t count) {
        arrays = int(count) - 1;
        const int first = arrays + (slopes != nullptr), fixed = loop.operands - first;
        if (!PyBytes_Check(packed) || arrays < 1 || fixed < 0 || PyBytes_GET_SIZE(packed) < fixed * ScalarBytes) {
            PyErr_SetString(PyExc_TypeError, "wrong operands");
            return false;
        }
        std::memcpy(scalars, PyBytes_AS_STRING(packed), fixed * ScalarBytes);
        for (int k = 0; k <= arrays; k++)
            at[k < arrays ? k : loop.operands] = static_cast<char *>(PyLong_AsVoidPtr(addresses[k]));
        if (slopes) at[arrays] = static_cast<char *>(const_cast<void *>(slopes));
        for (int k = 0; k < fixed; k++) at[first + k] = scalars + k * ScalarBytes;
        return !PyErr_Occurred();
    }
};

// Runs a loop on `count` elements side by side, at addresses that the caller answers for: run(loop, scalars, count, broadcast,
// *addresses). Where `broadcast` is true, the last array is one element.
PyObject *run(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    if (count < 6 || count > 4 + MostOperands)
        return PyErr_Format(PyExc_TypeError, "run takes a loop, scalars, a count, broadcast, addresses");
    const Rows *const loop = static_cast<const Rows *>(PyCapsule_GetPointer(arguments[0], nullptr));
    const npy_intp elements = PyLong_AsSsize_t(arguments[2]);
    Addresses operands;
    if (!loop || !operands.read(*loop, arguments[1], nullptr, arguments + 4, count - 4)) return nullptr;
    npy_intp steps[MostOperands] = {};
    for (int k = 0; k < operands.arrays; k++) steps[k] = loop->size;
    if (arguments[3] == Py_True) steps[operands.arrays - 1] = 0;
    steps[loop->operands] = loop->size;
    PyThreadState *const state = elements < WorthTheLock ? nullptr : PyEval_SaveThread();
    loop->run(operands.at, &elements, steps, nullptr);
    noted = 0;
    if (state) PyEval_RestoreThread(state);
    Py_RETURN_NONE;
}

// The same with a slope a channel: run_rows(loop, scalars, slopes, (outer, channels, inner), *addresses). If a channel is one
// element (inner is 1), a row holds all channels.
PyObject *run_rows(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    npy_intp outer, channels, inner;
    if (count < 6 || count > 4 + MostOperands)
        return PyErr_Format(PyExc_TypeError, "run_rows takes a loop, scalars, slopes, a shape, addresses");
    const Rows *const loop = static_cast<const Rows *>(PyCapsule_GetPointer(arguments[0], nullptr));
    const void *const slopes = PyLong_AsVoidPtr(arguments[2]);
    Addresses operands;
    if (!loop || (!slopes && PyErr_Occurred()) || !PyArg_ParseTuple(arguments[3], "nnn", &outer, &channels, &inner) ||
        !operands.read(*loop, arguments[1], slopes, arguments + 4, count - 4))
        return nullptr;
    const bool in_row = inner == 1;
    const npy_intp size = loop->size, rows = in_row ? outer : channels, length = in_row ? channels : inner;
    const npy_intp dimensions[] = {rows, length}, turns = in_row ? 1 : outer;
    npy_intp steps[2 * (MostOperands + 1)] = {};
    npy_intp *const within = steps + loop->operands + 1;
    for (int k = 0; k <= loop->operands; k++)
        if (k < operands.arrays || k == loop->operands) steps[k] = length * size, within[k] = size;
    steps[operands.arrays] = in_row ? 0 : size;
    within[operands.arrays] = in_row ? size : 0;
    PyThreadState *const state = outer * channels * inner < WorthTheLock ? nullptr : PyEval_SaveThread();
    for (npy_intp turn = 0; turn < turns; turn++) {
        by_rows(operands.at, dimensions, steps, const_cast<Rows *>(loop));
        for (int k = 0; k <= loop->operands; k++) operands.at[k] += rows * steps[k] * (k != operands.arrays);
    }
    noted = 0;
    if (state) PyEval_RestoreThread(state);
    Py_RETURN_NONE;
}

