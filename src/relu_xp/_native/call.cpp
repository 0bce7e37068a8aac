#include "call.hpp"

#include "functions.hpp"

#include <algorithm>
#include <cfenv>
#include <utility>
#include <vector>

namespace {

PyArrayObject *as_array(PyObject *array) { return reinterpret_cast<PyArrayObject *>(array); }
PyArray_Descr *dtype_of(PyObject *array) { return PyArray_DESCR(as_array(array)); }

// Whether `another` is a plain array of the dtype, the shape and, where asked, the strides of the
// array x.
bool is_like(PyObject *x, PyObject *another, bool with_strides) {
    if (x == another) return true;
    if (!PyArray_CheckExact(another) || dtype_of(x) != dtype_of(another)) return false;
    PyArrayObject *const a = as_array(x), *const b = as_array(another);
    const int n = PyArray_NDIM(a);
    const npy_intp *const sizes = PyArray_DIMS(a), *const steps = PyArray_STRIDES(a);
    return n == PyArray_NDIM(b) && std::equal(sizes, sizes + n, PyArray_DIMS(b)) &&
           (!with_strides || std::equal(steps, steps + n, PyArray_STRIDES(b)));
}

// Whether the scalar is an array of slopes in the dtype of x.
bool are_slopes(PyObject *scalar, PyObject *x) {
    return PyArray_CheckExact(x) && PyArray_CheckExact(scalar) && dtype_of(scalar) == dtype_of(x) &&
           PyArray_NDIM(as_array(scalar));
}

// A function as its record describes it.
struct Callee {
    PyObject *record;
    const Function *function;
    int scalars;  // of its loops; a call may have more, which decide its derivative
    bool may_be_array, above_zero;  // of the first scalar
    bool takes_integers;
};

// A caller's functions and callbacks. Only the last two members change later,
// guarded by the GIL.
struct Caller {
    std::vector<Callee> callees;  // so few that a search from the first on is fastest
    PyObject *checked, *report;
    Py_ssize_t most;
    PyObject *geterr;                // numpy.geterr
    PyObject *errstate;              // the context variable of its state; null if NumPy has none
    PyObject *seen_state = nullptr;  // the state that was asked last
    int seen_ignored = 0;            // the exceptions that it ignores

    const Callee *find(PyObject *record) const {
        for (const Callee &callee : callees)
            if (callee.record == record) return &callee;
        return nullptr;
    }
};

// The operands of one call.
struct Operands {
    PyObject *at[MostOperands];
    Py_ssize_t size = 0;
    bool have_slopes = false;

    ~Operands() {
        while (size) Py_DECREF(at[--size]);
    }
    PyObject *add(PyObject *operand) { return operand ? at[size++] = operand : nullptr; }
    PyObject *share(PyObject *operand) { return add(Py_NewRef(operand)); }

    // Takes arrays of one class and layout, or NumPy scalars; then numbers, or slopes; then out.
    // False where the call needs the full checks, or after an error.
    bool take(const Callee &callee, PyObject *arrays, PyObject *scalars, PyObject *out,
              Py_ssize_t most) {
        PyObject *const x = PyTuple_GET_ITEM(arrays, 0);
        ElementType *const type = element_type_of(x);
        const bool is_array = PyArray_CheckExact(x);
        if (!type || !(type->digits || callee.takes_integers)) return false;
        if (is_array && PyArray_SIZE(as_array(x)) >= most) return false;
        if (PyTuple_GET_SIZE(arrays) > MostArrays || PyTuple_GET_SIZE(scalars) > MostScalars)
            return false;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arrays); i++) {
            PyObject *const each = PyTuple_GET_ITEM(arrays, i);
            if (is_array ? !is_like(x, each, true) : Py_TYPE(each) != Py_TYPE(x)) return false;
            share(each);
        }
        for (int i = 0; i < PyTuple_GET_SIZE(scalars); i++)
            if (!take_scalar(callee, *type, x, i, PyTuple_GET_ITEM(scalars, i), out)) return false;
        if (out != Py_None)
            return is_array && is_like(x, out, false) && PyArray_ISWRITEABLE(as_array(out)) &&
                   share(out);
        // A ufunc would return a scalar where the result has no axes.
        return !is_array || PyArray_NDIM(as_array(x)) ||
               add(PyArray_NewLikeArray(as_array(x), NPY_KEEPORDER, nullptr, 0));
    }

    bool take_scalar(const Callee &callee, ElementType &type, PyObject *x, int place,
                     PyObject *scalar, PyObject *out) {
        double value;
        npy_longdouble rounded = 0;  // has room for every type
        if (read_number(scalar, &value)) {
            if (!round_number(type, value, place == 0 && callee.above_zero, &rounded)) return false;
            return place >= callee.scalars || add(make_operand(type, place, &rounded));
        }
        have_slopes = place == 0 && callee.may_be_array && out == Py_None && are_slopes(scalar, x);
        return have_slopes && share(scalar);
    }
};

// Runs a loop on arrays, slopes and scalars. None where the slopes differ along axes apart, or an
// array is not contiguous.
PyObject *compute_with_slopes(const Callee &callee, const Operands &operands, int arrays) {
    PyArrayObject *const x = as_array(operands.at[0]);
    PyArrayObject *const slopes = as_array(operands.at[arrays]);
    if (!PyArray_IS_C_CONTIGUOUS(x) || !PyArray_IS_C_CONTIGUOUS(slopes)) Py_RETURN_NONE;
    npy_intp sizes[NPY_MAXDIMS + 1];
    const int parts = join_axes(PyArray_DIMS(x), PyArray_NDIM(x), PyArray_DIMS(slopes),
                                PyArray_NDIM(slopes), sizes);
    if (parts == 0 || parts > 3) Py_RETURN_NONE;
    const Channels of = {sizes[0], parts > 1 ? sizes[1] : 1, parts > 2 ? sizes[2] : 1};
    PyObject *const out = PyArray_NewLikeArray(x, NPY_CORDER, nullptr, 0);
    if (!out) return nullptr;
    char *addresses[MostOperands];
    for (Py_ssize_t i = 0; i < operands.size; i++)
        addresses[i] = PyArray_BYTES(as_array(operands.at[i]));
    addresses[operands.size] = PyArray_BYTES(as_array(out));
    const int number = dtype_of(operands.at[0])->type_num;
    const Loop &loop = *callee.function->loop_of[number < BFloat16 ? number : BFloat16];
    // NumPy does this before it runs a ufunc: the loops report what the processor's flags hold
    // after them.
    if (std::fetestexcept(FE_ALL_EXCEPT)) std::feclearexcept(FE_ALL_EXCEPT);
    run_unlocked(PyArray_SIZE(x), [&] { run_with_slopes(loop, addresses, arrays, of); });
    return out;
}

// The exceptions that numpy.errstate ignores, as <cfenv> numbers them; none where it cannot be
// asked.
int ask_for_ignored(const Caller &caller) {
    PyObject *const states = PyObject_CallNoArgs(caller.geterr);
    int found = 0;
    for (const auto &[exception, name] :
         {std::pair(FE_OVERFLOW, "over"), {FE_UNDERFLOW, "under"}, {FE_INVALID, "invalid"}}) {
        PyObject *const state =
            states && PyDict_Check(states) ? PyDict_GetItemString(states, name) : nullptr;
        const bool is_ignored =
            state && PyUnicode_Check(state) && !PyUnicode_CompareWithASCIIString(state, "ignore");
        found |= is_ignored ? exception : 0;
    }
    Py_XDECREF(states);
    PyErr_Clear();  // `report` asks again, and lets the caller see the error
    return found;
}

// The same, from a memory of one state. To ask takes longer than to compute a thousand elements.
// NumPy never changes the object in its context variable, but replaces it: so the answer holds as
// long as that is the same object.
int ignored_exceptions(Caller &caller) {
#ifndef Py_GIL_DISABLED  // threads would race for the remembered state
    PyObject *state = nullptr;
    PyErr_Clear();
    if (caller.errstate && PyContextVar_Get(caller.errstate, nullptr, &state) == 0 && state) {
        if (state == caller.seen_state) {
            Py_DECREF(state);
            return caller.seen_ignored;
        }
        const int ignored = ask_for_ignored(caller);
        caller.seen_ignored = ignored;
        Py_XDECREF(std::exchange(caller.seen_state, state));
        return ignored;
    }
    PyErr_Clear();
#endif
    return ask_for_ignored(caller);
}

// Reports the exceptions of a call, once, and returns its result; or null, if the report raises.
PyObject *report_exceptions(Caller &caller, PyObject *record, PyObject *result) {
    if (!(pending_exceptions & ~ignored_exceptions(caller))) {
        pending_exceptions = 0;
        return result;
    }
    PyObject *const errors = take_errors(nullptr, nullptr);
    PyObject *const reported =
        errors ? PyObject_CallFunctionObjArgs(caller.report, record, errors, nullptr) : nullptr;
    Py_XDECREF(errors);
    if (!reported) Py_DECREF(result);
    Py_XDECREF(reported);
    return reported ? result : nullptr;
}

PyObject *call(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    if (count != 4 || !PyTuple_Check(given[1]) || !PyTuple_GET_SIZE(given[1]) ||
        !PyTuple_Check(given[2]))
        return PyErr_Format(PyExc_TypeError, "call takes a function, arrays, scalars and out");
    Caller &caller = *static_cast<Caller *>(PyCapsule_GetPointer(self, nullptr));
    const Callee *const callee = caller.find(given[0]);
    if (!callee) return PyErr_Format(PyExc_TypeError, "no function of relu_xp: %R", given[0]);
    Operands operands;
    if (operands.take(*callee, given[1], given[2], given[3], caller.most)) {
        PyObject *const result =
            operands.have_slopes
                ? compute_with_slopes(*callee, operands, int(PyTuple_GET_SIZE(given[1])))
                : PyObject_Vectorcall(callee->function->ufunc, operands.at, operands.size, nullptr);
        if (result != Py_None)
            return result && pending_exceptions ? report_exceptions(caller, given[0], result)
                                                : result;
        Py_DECREF(result);
    }
    return PyErr_Occurred() ? nullptr : PyObject_Vectorcall(caller.checked, given, 4, nullptr);
}

PyMethodDef call_method = {
    "call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)), METH_FASTCALL,
    "Compute, or leave to Python what needs the full checks: as a backend's `call`."};

bool add_callee(Caller &caller, PyObject *description) {
    PyObject *record;
    const char *name;
    int scalars, may_be_array, above_zero, takes_integers;
    if (!PyArg_ParseTuple(description, "Osippp", &record, &name, &scalars, &may_be_array,
                          &above_zero, &takes_integers))
        return false;
    const auto found = functions.find(name);
    if (found == functions.end()) {
        PyErr_Format(PyExc_KeyError, "%s", name);
        return false;
    }
    caller.callees.push_back({Py_NewRef(record), &found->second, scalars, bool(may_be_array),
                              bool(above_zero), bool(takes_integers)});
    return true;
}

PyObject *attribute_of(const char *module_name, const char *name) {
    PyObject *const module = PyImport_ImportModule(module_name);
    PyObject *const attribute = module ? PyObject_GetAttrString(module, name) : nullptr;
    Py_XDECREF(module);
    return attribute;
}

}  // namespace

PyObject *make_caller(PyObject *, PyObject *arguments) {
    PyObject *described;
    Caller &caller = *new Caller;  // never freed: a backend lives as long as the process
    if (!PyArg_ParseTuple(arguments, "O!OOn", &PyList_Type, &described, &caller.checked,
                          &caller.report, &caller.most))
        return nullptr;
    Py_INCREF(caller.checked);
    Py_INCREF(caller.report);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(described); i++)
        if (!add_callee(caller, PyList_GET_ITEM(described, i))) return nullptr;
    if (!(caller.geterr = attribute_of("numpy", "geterr"))) return nullptr;
    // The name is private to NumPy. Without it each report asks numpy.geterr.
    caller.errstate = attribute_of("numpy._core.umath", "_extobj_contextvar");
    PyErr_Clear();
    if (caller.errstate && !PyContextVar_CheckExact(caller.errstate)) Py_CLEAR(caller.errstate);
    PyObject *const capsule = PyCapsule_New(&caller, nullptr, nullptr);
    PyObject *const made = capsule ? PyCFunction_New(&call_method, capsule) : nullptr;
    Py_XDECREF(capsule);
    return made;
}
