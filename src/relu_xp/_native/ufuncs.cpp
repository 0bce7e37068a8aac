// The extension module: the rectifiers as NumPy's ufuncs, whose machinery brings strides, overlap,
// broadcasting, threads and subclasses; and what the backends call beside them.

#define RELU_XP_HAS_NUMPY_TABLES
#include "numpy_api.hpp"

#include "addresses.hpp"
#include "call.hpp"
#include "functions.hpp"
#include "targets.hpp"

#include <cstddef>

static_assert(sizeof(npy_intp) == sizeof(std::ptrdiff_t), "NumPy's sizes and strides");

namespace {

// join_axes(shape, slopes) gives the sizes of x's joined axes; see rows.hpp.
PyObject *join_axes_of_shapes(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    npy_intp axes[2][NPY_MAXDIMS], sizes[NPY_MAXDIMS + 1];
    Py_ssize_t lengths[2];
    for (int k = 0; k < 2; k++) {
        if (count != 2 || !PyTuple_Check(arguments[k]) ||
            PyTuple_GET_SIZE(arguments[k]) > NPY_MAXDIMS)
            return PyErr_Format(PyExc_TypeError, "join_axes takes two shapes");
        lengths[k] = PyTuple_GET_SIZE(arguments[k]);
        for (Py_ssize_t i = 0; i < lengths[k]; i++)
            if ((axes[k][i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(arguments[k], i))) < 0 &&
                PyErr_Occurred())
                return nullptr;
    }
    const int found = join_axes(axes[0], int(lengths[0]), axes[1], int(lengths[1]), sizes);
    if (!found)
        return PyErr_Format(PyExc_ValueError, "%R does not broadcast to %R", arguments[1],
                            arguments[0]);
    PyObject *const joined = PyTuple_New(found);
    for (int i = 0; joined && i < found; i++)
        PyTuple_SET_ITEM(joined, i, PyLong_FromSsize_t(sizes[i]));
    return joined;
}

typedef PyObject *(*Fast)(PyObject *, PyObject *const *, Py_ssize_t);
PyCFunction as_method(Fast method) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(method));
}

PyMethodDef methods[] = {
    {"loop", as_method(find_loop), METH_FASTCALL,
     "Find a function's loop for a type, for `run` and `run_rows`."},
    {"run", as_method(run_at_addresses), METH_FASTCALL, "Run a loop at addresses."},
    {"run_rows", as_method(run_rows_at_addresses), METH_FASTCALL,
     "Run a loop at addresses, with a slope a channel."},
    {"join_axes", as_method(join_axes_of_shapes), METH_FASTCALL,
     "Join the axes along which slopes are all broadcast, or all not; give the sizes in turn."},
    {"caller", make_caller, METH_VARARGS, "Make a backend's `call` for these functions."},
    {"take_errors", take_errors, METH_NOARGS,
     "Give and forget this thread's errors: the sum of 2 overflow, 4 underflow, 8 invalid."},
    {"register_bfloat16", register_bfloat16, METH_O,
     "Add the loops of ml_dtypes' bfloat16, before a ufunc meets an array of it. Gives True."},
    {},
};

// The table of functions is filled once a process. The build that fills it is named `cpu` in the
// module.
const char *make_functions_once() {
    static const char *cpu = nullptr;
    if (cpu) return cpu;
    const Target target = choose_target();
    if (target.name && make_functions(target.add_loops)) cpu = target.name;
    return cpu;
}

int execute(PyObject *module) {
    if (PyArray_ImportNumPyAPI() < 0 || PyUFunc_ImportUFuncAPI() < 0) return -1;
    const char *const cpu = make_functions_once();
    if (!cpu || PyModule_AddStringConstant(module, "cpu", cpu) < 0) return -1;
    PyObject *const streaming = PyModule_New("streaming"), *const rows = PyModule_New("rows");
    bool is_made = streaming && rows &&
                   PyModule_AddObjectRef(module, "streaming", streaming) == 0 &&
                   PyModule_AddObjectRef(module, "rows", rows) == 0;
    for (const auto &[name, function] : functions)
        is_made = is_made && PyModule_AddObjectRef(module, name.c_str(), function.ufunc) == 0 &&
                  PyModule_AddObjectRef(streaming, name.c_str(), function.streaming_ufunc) == 0 &&
                  PyModule_AddObjectRef(rows, name.c_str(), function.rows_ufunc) == 0;
    Py_XDECREF(streaming);
    Py_XDECREF(rows);
    return is_made ? 0 : -1;
}

// The module needs no GIL. Threads share three kinds of data:
// - The functions and each `Caller` do not change once they are made.
// - The loops of bfloat16 are registered under a lock, and its type is published atomically.
// - The 0-d arrays of the previous call and the remembered numpy.errstate are shared under a GIL
//   only; without one they are made anew for each call.
// Pending exceptions belong to a thread.
PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void *>(execute)},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},  // as NumPy
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_ufuncs",
    "The rectifiers as ufuncs.",
    0,
    methods,
    slots,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__ufuncs() { return PyModuleDef_Init(&definition); }
