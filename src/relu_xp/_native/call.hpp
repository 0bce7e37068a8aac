// The fast path of a call on NumPy arrays and scalars. In Python, its checks would take as long as
// the ufunc does on few elements.

#pragma once

#include "numpy_api.hpp"

// The method `caller` of the module: caller(functions, checked, report, most) returns a backend's
// `call(function, arrays, scalars, out)`.
//
// - functions: a list of tuples (record, name, scalars, may be array, above zero, takes integers),
//   as in `Callee`
// - checked: a `call` for what needs the full checks, and for arrays of `most` elements or more
// - report(function, errors): reports floating-point errors
PyObject *make_caller(PyObject *module, PyObject *arguments);
