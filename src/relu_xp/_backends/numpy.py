"""NumPy arrays and scalars, and their relatives: subclasses, masked arrays, memory maps, ml_dtypes.

The maths is the C++ text in `_native`, run by real ufuncs: NumPy's machinery handles every layout,
byte order and overlap, and the loops run near the speed of a copy, where `numpy.where` branches on
the data. A dtype without a loop of its own, such as float8, is cast to float32 and back in NumPy's
buffers. Where no compiler built the loops, the formulas run.
"""

import dataclasses
import functools
import itertools
import operator
from typing import Any

import numpy as np

from relu_xp import _checks, _threads
from relu_xp._backends import _numpy_classes
from relu_xp._backends._host import devices as devices
from relu_xp._backends._numpy_errors import report
from relu_xp._functions import FUNCTIONS, SQUARED_RELU_VJP, Function
from relu_xp._native import fallback
from relu_xp._native import missing as missing_loops

Array = Any  # a numpy.ndarray, one of its subclasses, or a numpy.generic
DType = np.dtype[Any]

SHARE = 1 << 21  # elements for each thread: with fewer, waking a thread costs what it gains
ROWS = 1 << 12  # elements from which slopes are broadcast by the loops over rows
STREAMED = 1 << 24  # bytes of x from which stores past the caches are faster, into existing memory
# The types of arguments that hold numbers and nothing else.
_BARE = {np.ndarray, *np.sctypeDict.values(), float, int, type(None)}


def owns(x: object) -> bool:
    """Own arrays and scalars; ml_dtypes' scalars are numpy.generic too."""
    return isinstance(x, np.ndarray | np.generic)


def put(array: Array, device: str) -> Array:
    """Return the NumPy array itself."""
    return array


def get(x: Array) -> Array:
    """Return the NumPy array itself."""
    return x


def _native_dtype(x: Array) -> DType:
    """The dtype of the result: that of x in the processor's byte order."""
    return x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")


_LIBRARY = _checks.Library(
    "a numpy.ndarray",
    is_array=lambda a: isinstance(a, np.ndarray),
    dtype=_native_dtype,
    is_writeable=lambda out: out.flags.writeable,
    make="numpy.asarray({}, x.dtype)",
)


_HOLDS_ANYTHING = "OSTU"  # the kinds of dtypes for objects and text


def _library_of(x: Array) -> _checks.Library:
    """Give `_LIBRARY` with advice for an array of objects or text: a cast, if one works."""
    # A cast of a chararray gives text again.
    bare = "numpy.asarray(x)" if isinstance(x, np.char.chararray) else "x"
    try:
        with np.errstate(all="ignore"):
            np.asarray(x).astype("float32")
        cast = f"cast it first, for example {bare}.astype('float32')"
    except Exception:  # an object may raise anything
        cast = _checks.NO_NUMBERS
    return dataclasses.replace(_LIBRARY, cast=cast)


def _checked(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> Array:
    """Check every argument, compute on plain arrays, and wrap the result."""
    are_ndarrays = all(type(a) is np.ndarray for a in arrays)
    is_bare = {type(out), *map(type, scalars), *map(type, arrays)} <= _BARE
    if not is_bare or not (are_ndarrays or out is None):
        _numpy_classes.check(function, arrays, scalars, out)
    # A class can hide the dtype of its array; an ndarray cannot.
    plain = arrays if are_ndarrays else tuple(map(np.asarray, arrays))
    library = _LIBRARY if plain[0].dtype.kind not in _HOLDS_ANYTHING else _library_of(arrays[0])
    rounded = _checks.call(library, function, plain, scalars, out)
    dtype = _native_dtype(plain[0])
    operands = [_operand(scalar, dtype) for scalar in rounded[: len(function.scalars)]]
    # A new result has the memory order of x.
    result = np.empty_like(plain[0], dtype) if out is None else np.asarray(out)
    errors = _compute(function, [*plain, *operands], result, is_fresh=out is None)
    if isinstance(out, np.ma.MaskedArray):
        _numpy_classes.set_mask(out, arrays)
    if errors:
        report(function, errors)
    if out is not None:
        return out
    if is_bare:
        return result[()] if isinstance(arrays[0], np.generic) else result
    return _numpy_classes.wrap(function, arrays, result)


def _operand(scalar: Any, dtype: DType) -> Array:
    """Give an array of the dtype of x: 0-d for a number, or the array that stands for a scalar."""
    return np.asarray(scalar).astype(dtype, copy=False)


def _compute(function: Function, operands: list[Array], out: Array, *, is_fresh: bool) -> int:
    """Compute into out, on several threads if allowed and worth it; return the errors."""
    threads = min(_threads.workers(), out.size // SHARE) if out.size >= 2 * SHARE else 1
    arrays = len(function.arrays)
    loop = _loop(function, out.dtype)
    has_own_loop = loop is _UFUNCS[function]
    has_slopes = any(a.ndim for a in operands[arrays:])
    by_rows = has_own_loop and has_slopes and out.size >= ROWS and _ufuncs is not fallback
    if by_rows:
        operands, out = _rows(operands[:arrays], operands[arrays:], out)
        loop = getattr(_ufuncs.rows, function.name)
    if not is_fresh:
        if any(_overlaps(out, a) for a in operands):
            threads = 1  # NumPy copies operands that overlap out, but within one call only
        elif has_own_loop and not by_rows and _is_streamed(operands, out):
            loop = getattr(_ufuncs.streaming, function.name)
    if threads == 1:
        loop(*operands, out=out)
        return _take_errors()
    return _compute_on_threads(threads, loop, operands, out)


def _is_streamed(operands: list[Array], out: Array) -> bool:
    """Tell whether stores past the caches are faster: out is large, and no operand."""
    return out.nbytes >= STREAMED and not any(a.ctypes.data == out.ctypes.data for a in operands)


def _compute_on_threads(threads: int, loop: Any, operands: list[Array], out: Array) -> int:
    """Share the work along the axis whose elements lie farthest apart."""
    are_contiguous = all(a.flags.c_contiguous for a in (*operands, out))
    if are_contiguous and all(a.shape in ((), out.shape) for a in operands):
        operands, out = [a.reshape(-1) if a.ndim else a for a in operands], out.reshape(-1)
    axis = max(range(out.ndim), key=lambda i: (out.shape[i] >= threads, abs(out.strides[i])))
    errors = []

    def work(piece: slice) -> None:
        at = (slice(None),) * axis + (piece,)
        loop(*(np.broadcast_to(a, out.shape)[at] if a.ndim else a for a in operands), out=out[at])
        errors.append(_take_errors())

    edges = [out.shape[axis] * i // threads for i in range(threads + 1)]
    _threads.share(threads, work, itertools.starmap(slice, itertools.pairwise(edges)))
    return functools.reduce(operator.or_, errors)


def _rows(arrays: list[Array], scalars: list[Array], out: Array) -> tuple[list[Array], Array]:
    """Give views for the loops over rows: the last axis has the shortest strides, and is long."""
    slopes = scalars[0]
    if all(a.flags.c_contiguous for a in (out, *arrays, slopes)):
        # x of shape (2, 3, 4, 5) and slopes of shape (3, 1, 1) become (2, 3, 20) and (1, 3, 1).
        joined = _ufuncs.join_axes(out.shape, slopes.shape)
        of_slopes = [size if i % 2 else 1 for i, size in enumerate(joined)]
        out, *arrays = [a.reshape(joined) for a in (out, *arrays)]
        scalars = [slopes.reshape(of_slopes), *scalars[1:]]
    else:
        order = sorted(range(out.ndim), key=lambda i: -abs(out.strides[i]))
        out, *arrays = [a.transpose(order) for a in (out, *arrays)]
        missing_axes = (1,) * (out.ndim - slopes.ndim)
        scalars = [slopes.reshape(missing_axes + slopes.shape).transpose(order), *scalars[1:]]
    # NumPy broadcasts the other axes, but not the one within a row.
    scalars = [np.broadcast_to(a, (*a.shape[:-1], out.shape[-1])) for a in scalars]
    return [*arrays, *scalars], out


def _overlaps(out: Array, a: Array) -> bool:
    """Tell whether an element of a might be read after it is overwritten.

    That cannot happen where each element has the address of its own result.
    """
    same = a.ctypes.data == out.ctypes.data and a.shape == out.shape and a.strides == out.strides
    return not same and np.may_share_memory(a, out)


missing = ""  # why the compiled loops are missing, if they are
try:
    from relu_xp._native import _ufuncs  # type: ignore[attr-defined]
except Exception as error:  # an old NumPy raises errors of its own kinds
    _ufuncs = fallback
    missing = missing_loops.warn.reason = missing_loops.reason(error)

_take_errors = _ufuncs.take_errors
_UFUNCS: dict[Function, Any] = {each: getattr(_ufuncs, each.name) for each in FUNCTIONS.values()}


def _description(function: Function) -> tuple[Function, str, int, bool, bool, bool]:
    """Describe a function for `_ufuncs.caller`. Of its scalars, only the first may be special."""
    may_be_array = any(each.may_be_array for each in function.scalars)
    above_zero = any(each.above_zero for each in function.scalars)
    count = len(function.scalars)
    return function, function.name, count, may_be_array, above_zero, function.takes_integers


# The fast path for plain arrays and NumPy scalars with numbers. All other calls go to `_checked`.
call = _ufuncs.caller([_description(each) for each in FUNCTIONS.values()], _checked, report, SHARE)


@functools.cache
def _loop(function: Function, dtype: DType) -> Any:
    """Give a function's ufunc; with casts, for a dtype that has no loop of its own."""
    ufunc = _UFUNCS[function]
    if _has_loop(dtype):
        return ufunc
    if function is SQUARED_RELU_VJP and dtype.itemsize == 1:
        # The doubled x may overflow in such a dtype where it does not in float32.
        return getattr(fallback, function.name)
    wide = np.dtype(np.int8 if "int" in dtype.name else np.float32)
    return functools.partial(ufunc, dtype=wide, casting="unsafe")


def _has_loop(dtype: DType) -> bool:
    """Tell whether the ufuncs compute in this dtype.

    NumPy keeps the loop that it picks when a ufunc first meets a dtype, so the loop for bfloat16 is
    registered here, before that.
    """
    if dtype.type.__module__ != "ml_dtypes":
        return True
    return dtype.name == "bfloat16" and _ufuncs.register_bfloat16(dtype)
