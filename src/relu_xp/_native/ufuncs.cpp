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
#include <cfloat>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#ifdef RELU_XP_AVX2
#include <cpuid.h>
#endif

#include "loops.hpp"
#include "operands.hpp"
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
    Rows *bfloat16_by_rows;
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
    if (kinds[dtype->type_num].dtype) Py_DECREF(dtype);
    else add_kind(dtype, kinds[dtype->type_num]);
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
    const bool fp16 = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 23 & 1), has_more = a > 0;
    const bool bf16 = has_more && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
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
#ifdef RELU_XP_AVX512BF16
        {"avx512bf16", relu_xp_avx512bf16, avx512 && bf16},
#endif
#ifdef RELU_XP_AVX512FP16  // which needs GCC 12 or Clang 14
        {"avx512fp16", relu_xp_avx512fp16, avx512 && bf16 && fp16},
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
    Py_INCREF(dtype);
    add_kind(reinterpret_cast<PyArray_Descr *>(dtype), bfloat16);
    Py_RETURN_TRUE;
}

PyArray_Descr *dtype_of(PyObject *array) { return PyArray_DESCR(reinterpret_cast<PyArrayObject *>(array)); }

// Whether another is a plain array of the dtype and shape of x, and in memory as x is, where that matters.
bool alike(PyObject *x, PyObject *another, bool in_memory) {
    if (x == another) return true;
    if (!PyArray_CheckExact(another) || dtype_of(x) != dtype_of(another)) return false;
    PyArrayObject *const a = reinterpret_cast<PyArrayObject *>(x), *const b = reinterpret_cast<PyArrayObject *>(another);
    const std::size_t n = PyArray_NDIM(a), size = n * sizeof(npy_intp);
    return n == std::size_t(PyArray_NDIM(b)) && !std::memcmp(PyArray_DIMS(a), PyArray_DIMS(b), size) &&
           !(in_memory && std::memcmp(PyArray_STRIDES(a), PyArray_STRIDES(b), size));
}

// Whether it is an array that needs no rounding to the dtype of x, itself one.
bool are_slopes(PyObject *scalar, PyObject *x) {
    return PyArray_CheckExact(x) && PyArray_CheckExact(scalar) && dtype_of(scalar) == dtype_of(x) &&
           PyArray_NDIM(reinterpret_cast<PyArrayObject *>(scalar));
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

// Runs the loops by rows on what a call was given, of which the first are arrays, then the slopes, then scalars. None where
// the slopes are of no such shape.
PyObject *with_slopes(PyObject *loop, PyObject *const *given, Py_ssize_t arrays, Py_ssize_t size) {
    PyArrayObject *const x = reinterpret_cast<PyArrayObject *>(given[0]);
    PyArrayObject *const slopes = reinterpret_cast<PyArrayObject *>(given[arrays]);
    npy_intp dims[3];
    bool in_row;
    if (!has_channels(x, slopes, dims, &in_row)) Py_RETURN_NONE;
    PyObject *const out = PyArray_NewLikeArray(x, NPY_CORDER, nullptr, 0);
    if (!out) return nullptr;
    PyObject *views[MostOperands] = {};
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

// What is known of a function of relu_xp's: its loops; how many of its scalars they take; what the first may be; and whom to
// ask when more has to be looked at, and when there are floating-point exceptions to tell of.
struct Known {
    PyObject *ufunc, *by_rows, *checked, *report;
    int taken;
    bool may_be_array, above_zero, takes_integers;
};
std::unordered_map<PyObject *, Known> known;
Py_ssize_t share;  // elements from which on several threads are worth it

// The operands of one call, which are in use as long as it is.
struct Operands {
    PyObject *at[MostOperands];
    Py_ssize_t size = 0;
    bool by_rows = false;

    ~Operands() { while (size) Py_DECREF(at[--size]); }
    PyObject *add(PyObject *operand) { return operand ? at[size++] = operand : nullptr; }
    PyObject *share(PyObject *operand) { return add(Py_NewRef(operand)); }

    // Takes arrays of one class and layout, or NumPy's scalars, numbers, or slopes a channel, and out. False where more has
    // to be looked at, or with an error.
    bool take(const Known &function, PyObject *arrays, PyObject *scalars, PyObject *out) {
        PyObject *const x = PyTuple_GET_ITEM(arrays, 0);
        Kind *const kind = kind_of(x);
        const bool is_array = PyArray_CheckExact(x);
        if (!kind || !(kind->digits || function.takes_integers)) return false;
        if (is_array && PyArray_SIZE(reinterpret_cast<PyArrayObject *>(x)) >= ::share) return false;
        if (PyTuple_GET_SIZE(arrays) > 2 || PyTuple_GET_SIZE(scalars) > MostScalars) return false;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arrays); i++) {
            PyObject *const each = PyTuple_GET_ITEM(arrays, i);
            if (is_array ? !alike(x, each, true) : Py_TYPE(each) != Py_TYPE(x)) return false;
            share(each);
        }
        for (int i = 0; i < PyTuple_GET_SIZE(scalars); i++)
            if (!take_scalar(function, *kind, x, i, PyTuple_GET_ITEM(scalars, i), out)) return false;
        if (out != Py_None) {
            if (!is_array || !alike(x, out, false)) return false;
            return PyArray_ISWRITEABLE(reinterpret_cast<PyArrayObject *>(out)) && share(out);
        }
        // A ufunc would make a scalar of a result of no axes.
        PyArrayObject *const a = reinterpret_cast<PyArrayObject *>(x);
        return !is_array || PyArray_NDIM(a) || add(PyArray_NewLikeArray(a, NPY_KEEPORDER, nullptr, 0));
    }

    bool take_scalar(const Known &function, Kind &kind, PyObject *x, int place, PyObject *scalar, PyObject *out) {
        double value;
        npy_longdouble number = 0;  // of whatever type
        if (read(scalar, &value)) {
            if (!write(kind, value, place == 0 && function.above_zero, &number)) return false;
            return place >= function.taken || add(operand(kind, place, &number));
        }
        by_rows = place == 0 && function.may_be_array && out == Py_None && are_slopes(scalar, x);
        return by_rows && share(scalar);
    }
};

// The exceptions that numpy.errstate ignores, as <cfenv> numbers them; none where it can't be asked.
int asked_for_ignored() {
    static PyObject *const numpy = PyImport_ImportModule("numpy");
    PyObject *const states = numpy ? PyObject_CallMethod(numpy, "geterr", nullptr) : nullptr;
    int found = 0;
    for (const auto &[exception, name] : {std::pair(FE_OVERFLOW, "over"), {FE_UNDERFLOW, "under"}, {FE_INVALID, "invalid"}}) {
        PyObject *const state = states && PyDict_Check(states) ? PyDict_GetItemString(states, name) : nullptr;
        const bool is_ignored = state && PyUnicode_Check(state) && !PyUnicode_CompareWithASCIIString(state, "ignore");
        found |= is_ignored ? exception : 0;
    }
    Py_XDECREF(states);
    PyErr_Clear();  // whoever tells of them will meet it again
    return found;
}

// The same for the call under way. To ask takes longer than to compute a thousand elements, so the answer is kept for as long
// as NumPy has one object in its context variable, which it replaces and never changes; its name is private to NumPy.
int ignored() {
    static PyObject *const umath = PyImport_ImportModule("numpy._core.umath");
    static PyObject *const variable = umath ? PyObject_GetAttrString(umath, "_extobj_contextvar") : nullptr;
    static PyObject *seen = nullptr;
    static int then = 0;
    PyObject *now = nullptr;
    PyErr_Clear();
    if (!variable || !PyContextVar_CheckExact(variable) || PyContextVar_Get(variable, nullptr, &now) < 0 || !now) {
        PyErr_Clear();
        return asked_for_ignored();
    }
    if (now == seen) {
        Py_DECREF(now);
        return then;
    }
    const int found = asked_for_ignored();
    then = found;
    Py_XDECREF(std::exchange(seen, now));
    return found;
}

// Tells of what the loops noted, at most once a call.
PyObject *told(const Known &function, PyObject *record, PyObject *result) {
    if (!(noted & ~ignored())) {
        noted = 0;
        return result;
    }
    PyObject *const errors = take_errors(nullptr, nullptr);
    PyObject *const told = errors ? PyObject_CallFunctionObjArgs(function.report, record, errors, nullptr) : nullptr;
    Py_XDECREF(errors);
    if (!told) Py_DECREF(result);
    Py_XDECREF(told);
    return told ? result : nullptr;
}

// Runs what most calls are; all others go to Python: this is here because the same in Python takes as long as the ufunc on
// few elements.
PyObject *call(PyObject *, PyObject *const *given, Py_ssize_t count) {
    if (count != 4 || !PyTuple_Check(given[1]) || !PyTuple_GET_SIZE(given[1]) || !PyTuple_Check(given[2]))
        return PyErr_Format(PyExc_TypeError, "call takes a function, arrays, scalars and out");
    const auto found = known.find(given[0]);
    if (found == known.end()) return PyErr_Format(PyExc_TypeError, "no function of relu_xp: %R", given[0]);
    const Known &function = found->second;
    Operands operands;
    if (operands.take(function, given[1], given[2], given[3])) {
        PyObject *const result =
            operands.by_rows ? with_slopes(function.by_rows, operands.at, PyTuple_GET_SIZE(given[1]), operands.size)
                             : PyObject_Vectorcall(function.ufunc, operands.at, operands.size, nullptr);
        if (result != Py_None) return result && noted ? told(function, given[0], result) : result;
        Py_DECREF(result);
    }
    return PyErr_Occurred() ? nullptr : PyObject_Vectorcall(function.checked, given, 4, nullptr);
}

// Gives `call` once it knows of functions: their records, names and what `Known` has of each, whom to ask, and from how many
// elements on.
PyObject *caller(PyObject *module, PyObject *arguments) {
    PyObject *records, *checked, *report;
    if (!PyArg_ParseTuple(arguments, "O!OOn", &PyList_Type, &records, &checked, &report, &share)) return nullptr;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(records); i++) {
        PyObject *record;
        const char *name;
        int taken, may_be_array, above_zero, takes_integers;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(records, i), "Osippp", &record, &name, &taken, &may_be_array, &above_zero,
                              &takes_integers))
            return nullptr;
        const auto found = functions.find(name);
        if (found == functions.end()) return PyErr_Format(PyExc_KeyError, "%s", name);
        for (PyObject *const each : {record, checked, report}) Py_INCREF(each);
        known[record] = {found->second.ufunc, found->second.rows_ufunc, checked, report, taken, bool(may_be_array),
                         bool(above_zero), bool(takes_integers)};
    }
    return PyObject_GetAttrString(module, "call");
}

#include "addresses.hpp"

PyMethodDef methods[] = {
    {"loop", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(loop)), METH_FASTCALL,
     "A function's loops for a type, for `run` and `run_rows`."},
    {"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)), METH_FASTCALL,
     "Run a loop at addresses."},
    {"run_rows", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_rows)), METH_FASTCALL,
     "Run a loop at addresses, with a slope a channel."},
    {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL,
     "Run what most calls are, and leave all others to Python: as a backend's `call`."},
    {"caller", caller, METH_VARARGS, "Give `call`, once it is told of the functions, and of who runs the others."},
    {"take_errors", take_errors, METH_NOARGS,
     "The floating-point exceptions of this thread's calls since it last asked: 2 overflow, 4 underflow, 8 invalid."},
    {"register_bfloat16", register_bfloat16, METH_O,
     "Add the loops of ml_dtypes' bfloat16, before a ufunc meets an array of it; True, since there are some."},
    {},
};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ufuncs", "The rectifiers as ufuncs.", -1, methods,
                          nullptr, nullptr, nullptr, nullptr};

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
