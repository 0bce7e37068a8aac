// The functions and their loops: one table for the process.
//
// The table is filled when the module is first imported and never changed or freed afterwards:
// NumPy keeps addresses in it, and threads may run loops while the process ends.

#pragma once

#include "numbers.hpp"
#include "numpy_api.hpp"
#include "rows.hpp"

#include <deque>
#include <map>
#include <string>
#include <vector>

struct Function {
    int operands = 0;        // without the result
    std::deque<Loop> loops;  // a deque, so that no address changes
    Loop *loop_of[ElementTypes] = {};
    PyObject *ufunc = nullptr;
    PyObject *streaming_ufunc = nullptr;  // stores past the caches
    PyObject *rows_ufunc = nullptr;       // a generalized ufunc over rows

    // The tables that a ufunc is made of: an entry for each of NumPy's types. `types` has one for
    // each operand of each type.
    std::vector<char> types;
    std::vector<PyUFuncGenericFunction> runs, row_runs;
    std::vector<void *> no_data, streaming_data, row_data;
};

// The table by name. It is read-only after the first import, so threads need no lock.
extern const std::map<std::string, Function> &functions;

// Fills the table with a build's loops. False after an error.
bool make_functions(void (*add_loops)(Add));

// The floating-point exceptions of this thread's loops, as <cfenv> numbers them, until they are
// reported or dropped.
inline thread_local int pending_exceptions = 0;

// The methods `take_errors` and `register_bfloat16` of the module.
PyObject *take_errors(PyObject *module, PyObject *);
PyObject *register_bfloat16(PyObject *module, PyObject *dtype);
