// The rectifiers as NumPy's ufuncs, whose machinery brings strides, overlap, broadcasting, threads and subclasses.
//
// Built against NumPy 2.0, it runs with every later one. Whose loops run is chosen once, when it is imported.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/ndarrayobject.h>
#include <numpy/ufuncobject.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

#ifdef RELU_XP_AVX2
#include <cpuid.h>
#endif

#include "loops.hpp"
#include "rows.hpp"

static_assert(sizeof(npy_intp) == sizeof(std::ptrdiff_t), "NumPy's sizes and strides");

static thread_local int noted = 0;

void relu_xp_note(int exceptions) { noted |= exceptions; }

namespace {

// One function's loops, as NumPy wants them: it keeps the addresses, so they stay for good.
struct Function {
    int operands;
    std::vector<PyUFuncGenericFunction> loops, loops_by_rows;
    std::vector<char> types;
    std::vector<void *> plain, streaming, by_rows;
    std::deque<Rows> rows;
    Run bfloat16, bfloat16_rows;
    PyObject *ufunc, *streaming_ufunc, *rows_ufunc;
};

std::map<std::string, Function> functions;

void add(const char *name, int operands, char type, Run run, Run rows) {
    Function &function = functions[name];
    function.operands = operands;
    if (type == 'E') {
        function.bfloat16 = run;
        function.bfloat16_rows = rows;
        return;
    }
    PyArray_Descr *const dtype = PyArray_DescrFromType(type);  // of a character too
    function.loops.push_back(reinterpret_cast<PyUFuncGenericFunction>(run));
    function.types.insert(function.types.end(), operands + 1, char(dtype->type_num));
    function.plain.push_back(nullptr);
    function.streaming.push_back(&functions);  // any address but none
    function.loops_by_rows.push_back(by_rows);
    function.by_rows.push_back(&function.rows.emplace_back(Rows{run, rows, operands, PyDataType_ELSIZE(dtype)}));
    Py_DECREF(dtype);
}

struct Target {
    const char *name;
    void (*add_loops)(Add);
    bool runs;
};

// The last that runs here; RELU_XP_CPU names a lesser one, for tests.
Target chosen() {
#ifdef RELU_XP_AVX2
    unsigned a, b, c, d;  // not every Clang knows all names of features
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
    const bool fp16 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 23 & 1);
    const bool avx2 = f16c && __builtin_cpu_supports("avx2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    const Target targets[] = {
        {"baseline", relu_xp_baseline, true},
#ifdef RELU_XP_AVX2
        {"avx2", relu_xp_avx2, avx2},
        {"avx512", relu_xp_avx512, avx512},
#endif
#ifdef RELU_XP_AVX512FP16  // which needs GCC 12 or Clang 14
        {"avx512fp16", relu_xp_avx512fp16, avx512 && fp16},
#endif
    };
    const char *const asked = std::getenv("RELU_XP_CPU");
    Target best = {};
    std::string names;
    for (const Target &target : targets) {
        if (!target.runs) continue;
        if (!asked || !*asked || !std::strcmp(asked, target.name)) best = target;
        names += std::string(names.empty() ? "" : ", ") + target.name;
    }
    if (!best.name) PyErr_Format(PyExc_ImportError, "RELU_XP_CPU is %s, and the loops here are %s", asked, names.c_str());
    return best;
}

PyObject *made(const std::string &name, Function &function, std::vector<PyUFuncGenericFunction> &loops,
               std::vector<void *> &data, const char *signature) {
    return PyUFunc_FromFuncAndDataAndSignature(loops.data(), data.data(), function.types.data(), int(data.size()),
                                               function.operands, 1, PyUFunc_None, name.c_str(),
                                               "See relu_xp; the scalars are operands too.", 0, signature);
}

PyObject *take_errors(PyObject *, PyObject *) {
    const int now = noted;
    noted = 0;
    return PyLong_FromLong((now & FE_OVERFLOW ? NPY_FPE_OVERFLOW : 0) | (now & FE_UNDERFLOW ? NPY_FPE_UNDERFLOW : 0) |
                           (now & FE_INVALID ? NPY_FPE_INVALID : 0));
}

PyObject *register_bfloat16(PyObject *, PyObject *dtype) {
    if (!PyArray_DescrCheck(dtype)) return PyErr_Format(PyExc_TypeError, "not a dtype: %R", dtype);
    const int type = reinterpret_cast<PyArray_Descr *>(dtype)->type_num;
    for (auto &[name, function] : functions) {
        for (PyObject *const ufunc : {function.ufunc, function.streaming_ufunc}) {
            void *const streaming = ufunc == function.ufunc ? nullptr : &functions;
            if (PyUFunc_RegisterLoopForType(reinterpret_cast<PyUFuncObject *>(ufunc), type,
                                            reinterpret_cast<PyUFuncGenericFunction>(function.bfloat16), nullptr,
                                            streaming) < 0)
                return nullptr;
        }
        if (PyUFunc_RegisterLoopForType(
                reinterpret_cast<PyUFuncObject *>(function.rows_ufunc), type, by_rows, nullptr,
                &function.rows.emplace_back(Rows{function.bfloat16, function.bfloat16_rows, function.operands, 2})) < 0)
            return nullptr;
    }
    Py_RETURN_TRUE;
}

bool alike(PyArrayObject *a, PyArrayObject *b) {
    const int n = PyArray_NDIM(a);
    return PyArray_DESCR(a) == PyArray_DESCR(b) && n == PyArray_NDIM(b) &&
           !std::memcmp(PyArray_DIMS(a), PyArray_DIMS(b), n * sizeof(npy_intp));
}

// Whether it is an array that needs no rounding to the dtype of x.
bool are_slopes(PyObject *scalar, PyArrayObject *x) {
    if (!PyArray_CheckExact(scalar)) return false;
    PyArrayObject *const slopes = reinterpret_cast<PyArrayObject *>(scalar);
    return PyArray_NDIM(slopes) && PyArray_DESCR(slopes) == PyArray_DESCR(x);
}

// The axes of x, joined, as an array of slopes sees them: those before the channels, these, and those after, in which a row
// lies; or, where there are none after, a row of channels. Whether both lie in memory so.
bool has_channels(PyArrayObject *x, PyArrayObject *slopes, npy_intp *dims, bool *in_row) {
    const int n = PyArray_NDIM(x), before = n - PyArray_NDIM(slopes);
    if (before < 0 || !PyArray_IS_C_CONTIGUOUS(x) || !PyArray_IS_C_CONTIGUOUS(slopes)) return false;
    int part = 0;
    dims[0] = dims[1] = dims[2] = 1;
    for (int i = 0; i < n; i++) {
        const npy_intp of_x = PyArray_DIM(x, i), here = i < before ? 1 : PyArray_DIM(slopes, i - before);
        if (here != of_x && here != 1) return false;
        if (of_x == 1) continue;
        if (here != 1 && part > 1) return false;
        part = here != 1 ? 1 : part == 0 ? 0 : 2;
        dims[part] *= of_x;
    }
    *in_row = dims[1] > 1 && dims[2] == 1;
    if (*in_row) dims[2] = dims[1], dims[1] = dims[0], dims[0] = 1;
    else if (dims[1] == 1) dims[2] = dims[0], dims[0] = 1;  // one slope
    return true;
}

// An operand of the loops by rows: of all elements, or one a channel, or one for all. It is in use only while its memory is.
PyObject *in_rows(PyArrayObject *a, npy_intp *dims, bool is_whole, bool is_in_channels, bool in_row) {
    const npy_intp size = PyArray_ITEMSIZE(a), whole[] = {dims[1] * dims[2] * size, dims[2] * size, size};
    const npy_intp channels[] = {0, in_row ? 0 : size, in_row ? size : 0}, one[] = {0, 0, 0};
    PyArray_Descr *const dtype = PyArray_DESCR(a);
    Py_INCREF(dtype);
    return PyArray_NewFromDescr(&PyArray_Type, dtype, 3, dims, is_whole ? whole : is_in_channels ? channels : one,
                                PyArray_DATA(a), NPY_ARRAY_WRITEABLE, nullptr);
}

// Runs the loops by rows on what `plain` was given, of which the first are arrays, then the slopes, then scalars.
PyObject *with_slopes(PyObject *loop, PyObject *const *given, Py_ssize_t arrays, Py_ssize_t size) {
    PyArrayObject *const x = reinterpret_cast<PyArrayObject *>(given[0]);
    PyArrayObject *const slopes = reinterpret_cast<PyArrayObject *>(given[arrays]);
    npy_intp dims[3];
    bool in_row;
    if (!has_channels(x, slopes, dims, &in_row)) Py_RETURN_NONE;
    PyObject *const out = PyArray_NewLikeArray(x, NPY_CORDER, nullptr, 0);
    if (!out) return nullptr;
    PyObject *views[9] = {};
    bool made = true;
    for (Py_ssize_t i = 0; made && i <= size; i++) {
        PyArrayObject *const a = reinterpret_cast<PyArrayObject *>(i < size ? given[i] : out);
        made = (views[i] = in_rows(a, dims, i < arrays || i == size, i == arrays, in_row)) != nullptr;
    }
    PyObject *const result = made ? PyObject_Vectorcall(loop, views, size + 1, nullptr) : nullptr;
    for (PyObject *const view : views) Py_XDECREF(view);
    Py_XDECREF(result);
    if (result) return out;
    Py_DECREF(out);
    return nullptr;
}

// What most calls are: arrays of one class and not 0-d, floats for scalars, or slopes a channel. None where more has to be
// looked at, which is Python's to do: this is here because the same in Python takes as long as the ufunc on few elements.
PyObject *plain(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *plans, *arrays, *scalars, *out = count == 4 ? arguments[3] : nullptr;
    if (!out || !PyDict_Check(plans = arguments[0]) || !PyTuple_Check(arrays = arguments[1]) ||
        !PyTuple_Check(scalars = arguments[2]))
        return PyErr_Format(PyExc_TypeError, "plain takes plans, arrays, scalars and out");

    PyArrayObject *const x = reinterpret_cast<PyArrayObject *>(PyTuple_GET_ITEM(arrays, 0));
    if (!PyArray_CheckExact(x) || !PyArray_NDIM(x)) Py_RETURN_NONE;
    // By dtype: the ufunc, how many scalars it takes, the operands that stand for each, by its value; below how many elements;
    // who tells of errors; and, where the first scalar may be an array, the ufunc by rows.
    PyObject *const plan = PyDict_GetItemWithError(plans, reinterpret_cast<PyObject *>(PyArray_DESCR(x)));
    if (!plan && PyErr_Occurred()) return nullptr;
    if (!plan || PyArray_SIZE(x) >= PyLong_AsSsize_t(PyTuple_GET_ITEM(plan, 3))) Py_RETURN_NONE;

    PyObject *given[8] = {};
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arrays); i++) {
        PyArrayObject *const a = reinterpret_cast<PyArrayObject *>(given[size++] = PyTuple_GET_ITEM(arrays, i));
        if (!PyArray_CheckExact(a) || !alike(x, a)) Py_RETURN_NONE;
        if (std::memcmp(PyArray_STRIDES(x), PyArray_STRIDES(a), PyArray_NDIM(x) * sizeof(npy_intp))) Py_RETURN_NONE;
    }
    const Py_ssize_t first = size, taken = PyLong_AsSsize_t(PyTuple_GET_ITEM(plan, 1));
    PyObject *by_rows_loop = nullptr;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(scalars); i++) {
        PyObject *const scalar = PyTuple_GET_ITEM(scalars, i);
        if (i == 0 && out == Py_None && PyTuple_GET_SIZE(plan) > 5 && are_slopes(scalar, x)) {
            by_rows_loop = PyTuple_GET_ITEM(plan, 5);
            given[size++] = scalar;
            continue;
        }
        // 1 and True are one key to a dict; and so are 0 and -0, which none of them stands for.
        if (!PyFloat_CheckExact(scalar)) Py_RETURN_NONE;
        if (PyFloat_AS_DOUBLE(scalar) == 0 && std::signbit(PyFloat_AS_DOUBLE(scalar))) Py_RETURN_NONE;
        PyObject *const operand = PyDict_GetItemWithError(PyTuple_GET_ITEM(PyTuple_GET_ITEM(plan, 2), i), scalar);
        if (!operand && PyErr_Occurred()) return nullptr;
        if (!operand) Py_RETURN_NONE;
        if (i < taken) given[size++] = operand;
    }
    const Py_ssize_t last = size;
    if (out != Py_None) {
        PyArrayObject *const to = reinterpret_cast<PyArrayObject *>(given[size++] = out);
        if (!PyArray_CheckExact(to) || !alike(x, to) || !PyArray_ISWRITEABLE(to)) Py_RETURN_NONE;
    }
    for (Py_ssize_t i = first; i < last; i++) Py_INCREF(given[i]);  // another thread may clear the dict
    PyObject *const result = by_rows_loop ? with_slopes(by_rows_loop, given, first, size)
                                          : PyObject_Vectorcall(PyTuple_GET_ITEM(plan, 0), given, size, nullptr);
    for (Py_ssize_t i = first; i < last; i++) Py_DECREF(given[i]);
    if (!result || !noted) return result;
    PyObject *const errors = take_errors(nullptr, nullptr);
    PyObject *const told = errors ? PyObject_CallOneArg(PyTuple_GET_ITEM(plan, 4), errors) : nullptr;
    Py_XDECREF(errors);
    if (!told) Py_DECREF(result);
    Py_XDECREF(told);
    return told ? result : nullptr;
}

// A function's loops for a type, by NumPy's character of it, or E for bfloat16, to be run on memory that no NumPy array holds.
PyObject *loop(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    const char *const name = count == 2 ? PyUnicode_AsUTF8(arguments[0]) : nullptr;
    const char *const type = name ? PyUnicode_AsUTF8(arguments[1]) : nullptr;
    const auto found = type ? functions.find(name) : functions.end();
    if (found == functions.end()) return PyErr_Format(PyExc_TypeError, "loop takes a function and a type");
    Function &function = found->second;
    if (*type == 'E')
        return PyCapsule_New(&function.rows.emplace_back(Rows{function.bfloat16, function.bfloat16_rows, function.operands, 2}),
                             nullptr, nullptr);
    for (std::size_t i = 0; i < function.loops.size(); i++)
        if (PyTypeNum_ISFLOAT(function.types[i * (function.operands + 1)])) {
            PyArray_Descr *const dtype = PyArray_DescrFromType(function.types[i * (function.operands + 1)]);
            const bool is_it = dtype->type == *type;
            Py_DECREF(dtype);
            if (is_it) return PyCapsule_New(function.by_rows[i], nullptr, nullptr);
        }
    return PyErr_Format(PyExc_TypeError, "no loop of %s for %s", name, type);
}

constexpr Py_ssize_t MostOperands = 7, ScalarBytes = 8;
constexpr npy_intp WorthTheLock = 1 << 12;  // elements from which other threads of Python run meanwhile

// The operands of a loop, as addresses: arrays, slopes or none, scalars, the result.
struct Operands {
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
    if (count < 6 || count > 4 + MostOperands) return PyErr_Format(PyExc_TypeError, "run takes a loop, scalars, a count, broadcast, addresses");
    const Rows *const loop = static_cast<const Rows *>(PyCapsule_GetPointer(arguments[0], nullptr));
    const npy_intp elements = PyLong_AsSsize_t(arguments[2]);
    Operands operands;
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

// The same with a slope a channel: run_rows(loop, scalars, slopes, (outer, channels, inner), *addresses). Where nothing lies
// within a channel, a row is of all channels.
PyObject *run_rows(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    npy_intp outer, channels, inner;
    if (count < 6 || count > 4 + MostOperands) return PyErr_Format(PyExc_TypeError, "run_rows takes a loop, scalars, slopes, a shape, addresses");
    const Rows *const loop = static_cast<const Rows *>(PyCapsule_GetPointer(arguments[0], nullptr));
    const void *const slopes = PyLong_AsVoidPtr(arguments[2]);
    Operands operands;
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

PyMethodDef methods[] = {
    {"loop", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(loop)), METH_FASTCALL,
     "A function's loops for a type, for `run` and `run_rows`."},
    {"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)), METH_FASTCALL,
     "Run a loop at addresses."},
    {"run_rows", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_rows)), METH_FASTCALL,
     "Run a loop at addresses, with a slope a channel."},
    {"plain", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(plain)), METH_FASTCALL,
     "Run what most calls are; None for all others."},
    {"take_errors", take_errors, METH_NOARGS,
     "The floating-point exceptions of this thread's calls since it last asked: 2 overflow, 4 underflow, 8 invalid."},
    {"register_bfloat16", register_bfloat16, METH_O,
     "Add the loops of ml_dtypes' bfloat16, before a ufunc meets an array of it; True, since there are some."},
    {},
};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ufuncs", "The rectifiers as ufuncs.", -1, methods};

}  // namespace

PyMODINIT_FUNC PyInit__ufuncs() {
    import_array();
    import_umath();
    const Target target = chosen();
    if (!target.name) return nullptr;
    PyObject *const module = PyModule_Create(&definition);
    if (!module || PyModule_AddStringConstant(module, "cpu", target.name) < 0) return nullptr;
    target.add_loops(add);
    PyObject *const streaming = PyModule_New("streaming"), *const rows = PyModule_New("rows");
    for (auto &[name, function] : functions) {
        function.ufunc = made(name, function, function.loops, function.plain, nullptr);
        function.streaming_ufunc = made(name, function, function.loops, function.streaming, nullptr);
        std::string signature = "(i)";
        for (int k = 1; k < function.operands; k++) signature += ",(i)";
        function.rows_ufunc = made(name, function, function.loops_by_rows, function.by_rows, (signature + "->(i)").c_str());
        if (PyModule_AddObjectRef(rows, name.c_str(), function.rows_ufunc) < 0) return nullptr;
        if (PyModule_AddObjectRef(module, name.c_str(), function.ufunc) < 0) return nullptr;
        if (PyModule_AddObjectRef(streaming, name.c_str(), function.streaming_ufunc) < 0) return nullptr;
    }
    if (PyModule_AddObject(module, "streaming", streaming) < 0) return nullptr;
    if (PyModule_AddObject(module, "rows", rows) < 0) return nullptr;
    return module;
}
