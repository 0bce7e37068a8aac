// Runs a loop at addresses that the caller answers for: on memory of a PyTorch or TensorFlow
// tensor, say, that no NumPy array holds. Floating-point exceptions are dropped, since these
// libraries report none.

#pragma once

#include "numpy_api.hpp"

// The methods of the module. An array's address, that of the result included, comes as an int.
// `loop` is what `loop` returned; `scalars` are bytes, 8 for each scalar, with its bits in the type
// of the loop.

// loop(function, type) finds a function's loop. The type is NumPy's character, or 'E' for bfloat16.
PyObject *find_loop(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

// run(loop, scalars, count, broadcast, *addresses) computes `count` contiguous elements. If
// `broadcast` is True, the last array is one element.
PyObject *run_at_addresses(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

// run_rows(loop, scalars, slopes, (outer, channels, inner), *addresses) computes contiguous arrays
// of that shape, with a slope a channel at the address `slopes`.
PyObject *run_rows_at_addresses(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
