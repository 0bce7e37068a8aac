// The headers of Python and NumPy, with the same settings in every file of the module.
//
// The module is built against NumPy 2.0 and runs with every later version.

#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
// NumPy's functions are called through two tables, which `ufuncs.cpp` fills and the other files
// share.
#define PY_ARRAY_UNIQUE_SYMBOL relu_xp_array_api
#define PY_UFUNC_UNIQUE_SYMBOL relu_xp_ufunc_api
#ifndef RELU_XP_HAS_NUMPY_TABLES
#define NO_IMPORT_ARRAY
#define NO_IMPORT_UFUNC
#endif
#include <numpy/ndarrayobject.h>
#include <numpy/ufuncobject.h>

// From Python 3.13 on. In older versions the GIL guards what these would guard.
#ifndef Py_BEGIN_CRITICAL_SECTION
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif
