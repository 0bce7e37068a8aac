#include "addresses.hpp"

#include "functions.hpp"

#include <cstring>

namespace {

constexpr Py_ssize_t ScalarBytes = 8;

// The operands of a loop: arrays, slopes or none, scalars, the result.
struct Addresses {
    char *at[MostOperands];
    alignas(16) char scalars[MostOperands * ScalarBytes];
    int arrays;

    // False after an error.
    bool read(const Loop &loop, PyObject *packed, const void *slopes, PyObject *const *addresses,
              Py_ssize_t count) {
        arrays = int(count) - 1;
        const int first = arrays + (slopes != nullptr), fixed = loop.operands - first;
        if (!PyBytes_Check(packed) || arrays < 1 || fixed < 0 ||
            PyBytes_GET_SIZE(packed) < fixed * ScalarBytes) {
            PyErr_SetString(PyExc_TypeError, "wrong operands");
            return false;
        }
        std::memcpy(scalars, PyBytes_AS_STRING(packed), fixed * ScalarBytes);
        for (int k = 0; k <= arrays; k++)
            at[k < arrays ? k : loop.operands] =
                static_cast<char *>(PyLong_AsVoidPtr(addresses[k]));
        if (slopes) at[arrays] = static_cast<char *>(const_cast<void *>(slopes));
        for (int k = 0; k < fixed; k++) at[first + k] = scalars + k * ScalarBytes;
        return !PyErr_Occurred();
    }
};

const Loop *loop_in(PyObject *capsule) {
    return static_cast<const Loop *>(PyCapsule_GetPointer(capsule, nullptr));
}

}  // namespace

PyObject *find_loop(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    const char *const name = count == 2 ? PyUnicode_AsUTF8(arguments[0]) : nullptr;
    const char *const type = name ? PyUnicode_AsUTF8(arguments[1]) : nullptr;
    const auto found = type ? functions.find(name) : functions.end();
    if (found == functions.end())
        return PyErr_Format(PyExc_TypeError, "loop takes a function and a type");
    int number = BFloat16;
    if (*type != 'E') {
        PyArray_Descr *const dtype = PyArray_DescrFromType(*type);
        if (!dtype) return nullptr;
        number = dtype->type_num;
        Py_DECREF(dtype);
    }
    Loop *const loop = number < ElementTypes ? found->second.loop_of[number] : nullptr;
    if (!loop || loop->size > ScalarBytes)
        return PyErr_Format(PyExc_TypeError, "no loop of %s for %s", name, type);
    return PyCapsule_New(loop, nullptr, nullptr);
}

PyObject *run_at_addresses(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    if (count < 6 || count > 4 + MostOperands)
        return PyErr_Format(PyExc_TypeError,
                            "run takes a loop, scalars, a count, broadcast, addresses");
    const Loop *const loop = loop_in(arguments[0]);
    const npy_intp elements = PyLong_AsSsize_t(arguments[2]);
    Addresses operands;
    if (!loop || !operands.read(*loop, arguments[1], nullptr, arguments + 4, count - 4))
        return nullptr;
    npy_intp steps[MostOperands] = {};
    for (int k = 0; k < operands.arrays; k++) steps[k] = loop->size;
    if (arguments[3] == Py_True) steps[operands.arrays - 1] = 0;
    steps[loop->operands] = loop->size;
    run_unlocked(elements, [&] { loop->run(operands.at, &elements, steps, nullptr); });
    pending_exceptions = 0;
    Py_RETURN_NONE;
}

PyObject *run_rows_at_addresses(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    Channels of;
    if (count < 6 || count > 4 + MostOperands)
        return PyErr_Format(PyExc_TypeError,
                            "run_rows takes a loop, scalars, slopes, a shape, addresses");
    const Loop *const loop = loop_in(arguments[0]);
    const void *const slopes = PyLong_AsVoidPtr(arguments[2]);
    Addresses operands;
    if (!loop || (!slopes && PyErr_Occurred()) ||
        !PyArg_ParseTuple(arguments[3], "nnn", &of.outer, &of.channels, &of.inner) ||
        !operands.read(*loop, arguments[1], slopes, arguments + 4, count - 4))
        return nullptr;
    run_unlocked(of.outer * of.channels * of.inner,
                 [&] { run_with_slopes(*loop, operands.at, operands.arrays, of); });
    pending_exceptions = 0;
    Py_RETURN_NONE;
}
