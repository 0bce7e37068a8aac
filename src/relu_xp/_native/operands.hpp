// The numbers of a call as operands of a ufunc: each rounded once to the dtype of x, without a memory of those seen.
//
// To round a number anew costs less than to look it up, so a new one, -0 and NumPy's scalars cost what a default does.
// Included by `ufuncs.cpp` alone.

namespace {

constexpr int MostScalars = 3, MostOperands = 2 + MostScalars + 1;

// A type that has loops of its own.
struct Kind {
    PyArray_Descr *dtype;  // in the processor's byte order
    int digits, lowest;    // bits behind the leading one, and the exponent of the smallest normal; no digits: an integer
    PyObject *kept[MostScalars];
};

Kind kinds[NPY_NTYPES_LEGACY + 1];  // by NumPy's number of each; the last is bfloat16, once it is known
Kind &bfloat16 = kinds[NPY_NTYPES_LEGACY];

void add_kind(PyArray_Descr *dtype, Kind &kind) {
    const int type = dtype->type_num;
    kind.dtype = dtype;
    if (&kind == &bfloat16) kind.digits = 7, kind.lowest = -126;
    else if (type == NPY_HALF) kind.digits = 10, kind.lowest = -14;
    else if (type == NPY_FLOAT) kind.digits = 23, kind.lowest = -126;
    else if (type == NPY_DOUBLE) kind.digits = 52, kind.lowest = -1022;
    else if (type == NPY_LONGDOUBLE) kind.digits = LDBL_MANT_DIG - 1;
}

// The type of a plain array in the processor's byte order, or of a scalar of one of NumPy's own classes.
Kind *kind_of(PyObject *x) {
    if (PyArray_CheckExact(x)) {
        PyArray_Descr *const dtype = PyArray_DESCR(reinterpret_cast<PyArrayObject *>(x));
        if (dtype->type_num < 0) return nullptr;  // of the new style, such as numpy_quaddtype's
        const bool is_numpys = dtype->type_num < NPY_NTYPES_LEGACY;
        Kind &kind = is_numpys ? kinds[dtype->type_num] : bfloat16;
        const bool has = kind.dtype && kind.dtype->type_num == dtype->type_num && PyDataType_ISNOTSWAPPED(dtype);
        return has ? &kind : nullptr;
    }
    for (Kind &kind : kinds)
        if (kind.dtype && Py_TYPE(x) == kind.dtype->typeobj) return &kind;
    return nullptr;
}

// Reads a number whose value a double holds, of a class that is known to be a number's: True is none.
bool read(PyObject *scalar, double *value) {
    if (PyFloat_CheckExact(scalar)) {
        *value = PyFloat_AS_DOUBLE(scalar);
    } else if (PyLong_CheckExact(scalar)) {
        int overflow;
        const long long whole = PyLong_AsLongLongAndOverflow(scalar, &overflow);
        if (overflow || whole > 1LL << DBL_MANT_DIG || whole < -(1LL << DBL_MANT_DIG)) return false;
        *value = double(whole);
    } else if (Py_TYPE(scalar) == &PyDoubleArrType_Type || Py_TYPE(scalar) == &PyFloatArrType_Type ||
               Py_TYPE(scalar) == &PyHalfArrType_Type) {
        *value = PyFloat_AsDouble(scalar);
    } else {
        return false;
    }
    return true;
}

constexpr std::uint64_t Sign = std::uint64_t(1) << 63, Infinity = std::uint64_t(0x7ff) << 52;

// The size of a finite double, not 0, in the bits of a shorter format: rounded half to even, by integer operations, which
// no mode of the processor's changes. What overflows has the bits of infinity, or more.
std::uint64_t shortened(std::uint64_t size, int digits, int lowest) {
    const int exponent = int(size >> 52) - 1023, above = std::max(exponent - lowest, 0);
    const int lost = 52 - digits + std::max(lowest - exponent, 0);
    if (lost > 53) return 0;  // less than half of the smallest; as are the subnormals of a double
    const std::uint64_t all = (size & ((std::uint64_t(1) << 52) - 1)) | std::uint64_t(1) << 52;
    const std::uint64_t kept = all >> lost, rest = all & ((std::uint64_t(1) << lost) - 1);
    const std::uint64_t half = std::uint64_t(1) << (lost - 1);
    return kept + (rest > half || (rest == half && (kept & 1))) + (std::uint64_t(above) << digits);
}

// Writes a number in a floating type; false if it is not finite there, or not above 0 where it has to be.
bool write(const Kind &kind, double value, bool above_zero, void *to) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const bool is_below = (bits & Sign) != 0;
    std::uint64_t size = bits & ~Sign;
    if (size >= Infinity) return false;
    if (kind.digits && kind.digits < 52) {
        size = shortened(size, kind.digits, kind.lowest);
        const int width = 8 * int(PyDataType_ELSIZE(kind.dtype));
        if (size >= ((std::uint64_t(1) << (width - 1)) - (std::uint64_t(1) << kind.digits))) return false;
        bits = size | (std::uint64_t(is_below) << (width - 1));
        const npy_uint16 half = npy_uint16(bits);
        const npy_uint32 single = npy_uint32(bits);
        if (width == 16) std::memcpy(to, &half, sizeof half);
        else std::memcpy(to, &single, sizeof single);
    } else if (kind.digits == 52) {
        std::memcpy(to, &value, sizeof value);
    } else if (kind.digits) {
        const npy_longdouble longer = value;
        std::memcpy(to, &longer, sizeof longer);
    }
    return !above_zero || (size && !is_below);
}

// A 0-d array with a number in it: that of the call before, unless it is in use still, in another thread or further out.
PyObject *operand(Kind &kind, int place, const void *number) {
    PyObject *&kept = kind.kept[place];
    if (!kept || Py_REFCNT(kept) > 1) {
        Py_INCREF(kind.dtype);
        PyObject *const fresh = PyArray_NewFromDescr(&PyArray_Type, kind.dtype, 0, nullptr, nullptr, nullptr, 0, nullptr);
        if (!fresh) return nullptr;
        Py_XDECREF(std::exchange(kept, fresh));
    }
    std::memcpy(PyArray_DATA(reinterpret_cast<PyArrayObject *>(kept)), number, PyDataType_ELSIZE(kind.dtype));
    Py_INCREF(kept);
    return kept;
}

}  // namespace
