// The numbers of a call, each rounded once to the dtype of x, as operands of a ufunc.
//
// No number is remembered: to round a new one costs less than to look it up. So a new number, -0.0
// and a NumPy scalar cost the same as a default. All is inline: a call on few elements takes half a
// microsecond, and feels each jump.

#pragma once

#include "loops.hpp"
#include "numpy_api.hpp"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cstdint>
#include <cstring>
#include <utility>

// A dtype that has loops of its own.
struct ElementType {
    int digits;  // bits of the significand after the leading one; 0 for an integer
    int lowest;  // the exponent of the smallest normal number
    PyObject *operands[MostScalars];  // 0-d arrays of the previous call, for the next one
    // In the processor's byte order. It is set last: whoever finds it here finds the rest too.
    std::atomic<PyArray_Descr *> dtype;
};

// The place of a dtype in tables by type: NumPy's number of it, or the last place for bfloat16.
constexpr int ElementTypes = NPY_NTYPES_LEGACY + 1, BFloat16 = NPY_NTYPES_LEGACY;

inline ElementType element_types[ElementTypes];

inline void add_element_type(PyArray_Descr *dtype) {
    const int number = dtype->type_num;
    ElementType &type = element_types[std::min(number, BFloat16)];
    if (type.dtype == dtype) return;
    if (number >= BFloat16) type.digits = 7, type.lowest = -126;
    else if (number == NPY_HALF) type.digits = 10, type.lowest = -14;
    else if (number == NPY_FLOAT) type.digits = 23, type.lowest = -126;
    else if (number == NPY_DOUBLE) type.digits = 52, type.lowest = -1022;
    else if (number == NPY_LONGDOUBLE) type.digits = LDBL_MANT_DIG - 1;
    Py_INCREF(dtype);
    type.dtype = dtype;
}

// The type of a plain array in the processor's byte order, or of a NumPy scalar. Null if it has no
// loops.
inline ElementType *element_type_of(PyObject *x) {
    if (PyArray_CheckExact(x)) {
        PyArray_Descr *const dtype = PyArray_DESCR(reinterpret_cast<PyArrayObject *>(x));
        const int number = dtype->type_num;
        if (number < 0) return nullptr;  // a dtype of the new style, such as numpy_quaddtype's
        ElementType &type = element_types[std::min(number, BFloat16)];
        PyArray_Descr *const known = type.dtype;
        return known && known->type_num == number && PyDataType_ISNOTSWAPPED(dtype) ? &type
                                                                                    : nullptr;
    }
    for (ElementType &type : element_types) {
        PyArray_Descr *const known = type.dtype;
        if (known && Py_TYPE(x) == known->typeobj) return &type;
    }
    return nullptr;
}

// Reads a Python float or int, or a NumPy float, if a double holds it exactly. False for all else,
// such as True.
inline bool read_number(PyObject *scalar, double *value) {
    if (PyFloat_CheckExact(scalar)) {
        *value = PyFloat_AS_DOUBLE(scalar);
    } else if (PyLong_CheckExact(scalar)) {
        int overflow;
        const long long whole = PyLong_AsLongLongAndOverflow(scalar, &overflow);
        if (overflow || whole > 1LL << DBL_MANT_DIG || whole < -(1LL << DBL_MANT_DIG)) return false;
        *value = double(whole);
    } else if (Py_TYPE(scalar) == &PyDoubleArrType_Type ||
               Py_TYPE(scalar) == &PyFloatArrType_Type || Py_TYPE(scalar) == &PyHalfArrType_Type) {
        *value = PyFloat_AsDouble(scalar);
    } else {
        return false;
    }
    return true;
}

// Rounds the magnitude of a finite double that is not 0 half to even, and gives its bits in a
// shorter format. Integer operations do not depend on the processor's rounding mode. An overflow
// gives the bits of infinity, or more.
inline std::uint64_t shortened(std::uint64_t size, int digits, int lowest) {
    const int exponent = int(size >> 52) - 1023, above = std::max(exponent - lowest, 0);
    const int lost = 52 - digits + std::max(lowest - exponent, 0);
    // Less than half of the smallest subnormal, as all subnormals of a double are.
    if (lost > 53) return 0;
    const std::uint64_t all = (size & ((std::uint64_t(1) << 52) - 1)) | std::uint64_t(1) << 52;
    const std::uint64_t kept = all >> lost, rest = all & ((std::uint64_t(1) << lost) - 1);
    const std::uint64_t half = std::uint64_t(1) << (lost - 1);
    return kept + (rest > half || (rest == half && (kept & 1))) + (std::uint64_t(above) << digits);
}

// Rounds a number to a type. False if the result is not finite, or not above 0 where it has to be.
inline bool round_number(const ElementType &type, double value, bool above_zero, void *to) {
    constexpr std::uint64_t Sign = std::uint64_t(1) << 63, Infinity = std::uint64_t(0x7ff) << 52;
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const bool is_below = (bits & Sign) != 0;
    std::uint64_t size = bits & ~Sign;
    if (size >= Infinity) return false;
    if (type.digits && type.digits < 52) {
        size = shortened(size, type.digits, type.lowest);
        const int width = 8 * int(PyDataType_ELSIZE(type.dtype));
        if (size >= ((std::uint64_t(1) << (width - 1)) - (std::uint64_t(1) << type.digits)))
            return false;
        bits = size | (std::uint64_t(is_below) << (width - 1));
        const npy_uint16 half = npy_uint16(bits);
        const npy_uint32 single = npy_uint32(bits);
        if (width == 16) std::memcpy(to, &half, sizeof half);
        else std::memcpy(to, &single, sizeof single);
    } else if (type.digits == 52) {
        std::memcpy(to, &value, sizeof value);
    } else if (type.digits) {
        const npy_longdouble longer = value;
        std::memcpy(to, &longer, sizeof longer);
    }
    return !above_zero || (size && !is_below);
}

// A 0-d array with the rounded number, for the scalar in this place: that of the previous call, if
// no other thread and no call around this one still uses it. Without a GIL threads would race for
// it, so there each call makes its own.
inline PyObject *make_operand(ElementType &type, [[maybe_unused]] int place,
                              const void *number) {
    PyArray_Descr *const dtype = type.dtype;
#ifdef Py_GIL_DISABLED
    PyObject *array = nullptr;
#else
    PyObject *&array = type.operands[place];
#endif
    if (!array || Py_REFCNT(array) > 1) {
        Py_INCREF(dtype);
        PyObject *const fresh =
            PyArray_NewFromDescr(&PyArray_Type, dtype, 0, nullptr, nullptr, nullptr, 0, nullptr);
        if (!fresh) return nullptr;
        Py_XDECREF(std::exchange(array, fresh));
    }
    std::memcpy(PyArray_DATA(reinterpret_cast<PyArrayObject *>(array)), number,
                PyDataType_ELSIZE(dtype));
#ifdef Py_GIL_DISABLED
    return array;
#else
    return Py_NewRef(array);
#endif
}
