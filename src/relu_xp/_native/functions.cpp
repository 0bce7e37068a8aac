#include "functions.hpp"

#include <cfenv>
#include <utility>

namespace {

std::map<std::string, Function> &table = *new std::map<std::string, Function>;

void *const Streaming = &table;  // the data of a streaming loop: any address but none

void add(const char *name, int operands, char type, Run run, Run rows) {
    Function &function = table[name];
    function.operands = operands;
    if (type == 'E') {
        function.loop_of[BFloat16] = &function.loops.emplace_back(Loop{run, rows, operands, 2});
        return;
    }
    PyArray_Descr *const dtype = PyArray_DescrFromType(type);  // it takes the character too
    const int number = dtype->type_num;
    Loop &loop = function.loops.emplace_back(Loop{run, rows, operands, PyDataType_ELSIZE(dtype)});
    function.loop_of[number] = &loop;
    function.types.insert(function.types.end(), operands + 1, char(number));
    function.runs.push_back(reinterpret_cast<PyUFuncGenericFunction>(run));
    function.no_data.push_back(nullptr);
    function.streaming_data.push_back(Streaming);
    function.row_runs.push_back(loop_over_rows);
    function.row_data.push_back(&loop);
    add_element_type(dtype);
    Py_DECREF(dtype);
}

PyObject *make_ufunc(const std::string &name, Function &function,
                     std::vector<PyUFuncGenericFunction> &runs, std::vector<void *> &data,
                     const char *signature) {
    return PyUFunc_FromFuncAndDataAndSignature(
        runs.data(), data.data(), function.types.data(), int(data.size()), function.operands, 1,
        PyUFunc_None, name.c_str(), "See relu_xp; the scalars are operands too.", 0, signature);
}

bool register_loop(PyObject *ufunc, int type, Run run, void *data) {
    return PyUFunc_RegisterLoopForType(reinterpret_cast<PyUFuncObject *>(ufunc), type,
                                       reinterpret_cast<PyUFuncGenericFunction>(run), nullptr,
                                       data) == 0;
}

bool register_loops(PyArray_Descr *dtype) {
    static int registered = -1;
    const int type = dtype->type_num;
    if (registered == type) return true;
    for (auto &[name, function] : table) {
        Loop *const loop = function.loop_of[BFloat16];
        if (!register_loop(function.ufunc, type, loop->run, nullptr) ||
            !register_loop(function.streaming_ufunc, type, loop->run, Streaming) ||
            !register_loop(function.rows_ufunc, type, loop_over_rows, loop))
            return false;
    }
    add_element_type(dtype);
    registered = type;
    return true;
}

}  // namespace

const std::map<std::string, Function> &functions = table;

void relu_xp_note(int exceptions) { pending_exceptions |= exceptions; }

bool make_functions(void (*add_loops)(Add)) {
    add_loops(add);
    for (auto &[name, function] : table) {
        std::string signature = "(i)";
        for (int k = 1; k < function.operands; k++) signature += ",(i)";
        signature += "->(i)";
        function.ufunc = make_ufunc(name, function, function.runs, function.no_data, nullptr);
        function.streaming_ufunc =
            make_ufunc(name, function, function.runs, function.streaming_data, nullptr);
        function.rows_ufunc =
            make_ufunc(name, function, function.row_runs, function.row_data, signature.c_str());
        if (!function.ufunc || !function.streaming_ufunc || !function.rows_ufunc) return false;
    }
    return true;
}

PyObject *take_errors(PyObject *, PyObject *) {
    const int now = std::exchange(pending_exceptions, 0);
    return PyLong_FromLong((now & FE_OVERFLOW ? NPY_FPE_OVERFLOW : 0) |
                           (now & FE_UNDERFLOW ? NPY_FPE_UNDERFLOW : 0) |
                           (now & FE_INVALID ? NPY_FPE_INVALID : 0));
}

PyObject *register_bfloat16([[maybe_unused]] PyObject *module, PyObject *dtype) {
    if (!PyArray_DescrCheck(dtype)) return PyErr_Format(PyExc_TypeError, "not a dtype: %R", dtype);
    bool is_done;
    Py_BEGIN_CRITICAL_SECTION(module);
    is_done = register_loops(reinterpret_cast<PyArray_Descr *>(dtype));
    Py_END_CRITICAL_SECTION();
    return is_done ? Py_NewRef(Py_True) : nullptr;
}
