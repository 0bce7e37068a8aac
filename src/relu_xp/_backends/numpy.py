"""NumPy arrays and scalars, with NumPy's relatives: subclasses, masked arrays, memory maps, ml_dtypes.

A schedule of the C++ text in `_native`, by real ufuncs: NumPy's machinery walks every layout, byte
order and overlap, and the loops run near the speed of a copy, where `numpy.where` branches on the
data. What has no loop of its own, such as float8, is cast to float32 and back in NumPy's buffers.
Where no compiler built the loops, the formulas run.
"""

import dataclasses
import functools
import itertools
import math
import operator
from typing import Any

import numpy as np

from relu_xp import _checks, _threads
from relu_xp._backends import _numpy_classes
from relu_xp._backends._numpy_errors import report
from relu_xp._functions import FUNCTIONS, SQUARED_RELU_VJP, Function
from relu_xp._native import missing as why
from relu_xp._native import standin

Array = Any  # a numpy.ndarray, one of its subclasses, or a numpy.generic
DType = np.dtype[Any]

SHARE = 1 << 21  # elements that are worth a thread: below, waking one costs most of what it brings
BROADCAST = 1 << 12  # elements from which an array in the place of a scalar is broadcast in rows
STREAMED = (
    1 << 24
)  # bytes of x from which stores past the caches are faster, into memory that is there
_BARE = {
    np.ndarray,
    *np.sctypeDict.values(),
    float,
    int,
    type(None),
}  # the types of what has numbers and no more


def owns(x: object) -> bool:
    """Arrays and scalars; ml_dtypes' scalars are numpy.generic too."""
    return isinstance(x, np.ndarray | np.generic)


def devices() -> list[str]:
    """NumPy runs on the CPU."""
    return ["cpu"]


def put(array: Array, device: str) -> Array:
    """NumPy arrays are at home here."""
    return array


def get(x: Array) -> Array:
    """NumPy arrays are at home here."""
    return x


def _streaming(function: Function, dtype: DType) -> Any:
    """Its twin that stores past the caches, where it has one."""
    return (
        getattr(_ufuncs.streaming, function.name)
        if _loop(function, dtype) is _LOOPS[function]
        else _loop(function, dtype)
    )


def _native(x: Array) -> DType:
    """The dtype of x in the processor's byte order, which the results have."""
    return x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")


_LIBRARY = _checks.Library(
    "a numpy.ndarray",
    is_array=lambda a: isinstance(a, np.ndarray),
    dtype=_native,
    is_writeable=lambda out: out.flags.writeable,
    make="numpy.asarray({}, x.dtype)",
)


_HOLDS_ANYTHING = "OSTU"  # the kinds of objects and text


def _library_of(x: Array) -> _checks.Library:
    """The same, with what makes numbers of this text or these objects, if anything does."""
    bare = (
        "numpy.asarray(x)" if isinstance(x, np.char.chararray) else "x"
    )  # whose casts give text alone
    try:
        with np.errstate(all="ignore"):
            np.asarray(x).astype("float32")
        cast = f"cast it first, for example {bare}.astype('float32')"
    except Exception:  # whatever its objects raise
        cast = _checks.NO_NUMBERS
    return dataclasses.replace(_LIBRARY, cast=cast)


def _checked(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> Array:
    """Check every argument, compute, and only then wrap."""
    is_plain = all(type(a) is np.ndarray for a in arrays)
    is_bare = {type(out), *map(type, scalars), *map(type, arrays)} <= _BARE
    if not is_bare or not (is_plain or out is None):
        _numpy_classes.check(function, arrays, scalars, out)
    plain = arrays if is_plain else tuple(map(np.asarray, arrays))  # whose dtype no class can hide
    library = _LIBRARY if plain[0].dtype.kind not in _HOLDS_ANYTHING else _library_of(arrays[0])
    rounded = _checks.call(library, function, plain, scalars, out)
    dtype = _native(plain[0])
    operands = [_operand(scalar, dtype) for scalar in rounded[: len(function.scalars)]]
    result = (
        np.empty_like(plain[0], dtype) if out is None else np.asarray(out)
    )  # in the memory order of x
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
    """A scalar in the dtype of x, or an array that stands in its place."""
    return np.asarray(scalar).astype(dtype, copy=False)


def _compute(function: Function, operands: list[Array], out: Array, *, is_fresh: bool) -> int:
    """Compute into out, on several threads if they are asked for and worth it; return the floating-point errors."""
    x = operands[0]
    loop = _loop(function, out.dtype)
    threads = min(_threads.workers(), out.size // SHARE) if out.size >= 2 * SHARE else 1
    in_rows = (
        out.size >= BROADCAST
        and loop is _LOOPS[function]
        and any(a.ndim for a in operands[len(function.arrays) :])
    )
    if in_rows:
        operands, out = _rows(operands, out)
        loop = getattr(_ufuncs.rows, function.name)
    if not is_fresh:
        if any(_overlaps(out, a) for a in operands):
            threads = 1  # NumPy copies what is yet to be read, a call at a time
        elif (
            out.nbytes >= STREAMED
            and not in_rows
            and not any(a.ctypes.data == out.ctypes.data for a in operands)
        ):
            loop = _streaming(function, out.dtype)
    if threads < 2:
        loop(*operands, out=out)
        return _take_errors()
    if all(a.flags.c_contiguous for a in (*operands, out)) and all(
        a.shape in ((), x.shape) for a in operands
    ):
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


def _rows(operands: list[Array], out: Array) -> tuple[list[Array], Array]:
    """Views for the loops by rows: the last axis has the shortest strides, and is as long as it can be."""
    if all(a.flags.c_contiguous for a in (out, *operands)):
        shapes = _joined((out.shape, *[a.shape for a in operands]))
        out, *operands = [
            a.reshape(shape) for a, shape in zip((out, *operands), shapes, strict=True)
        ]
    else:
        order = sorted(range(out.ndim), key=lambda i: -abs(out.strides[i]))
        operands = [
            a.reshape((1,) * (out.ndim - a.ndim) + a.shape).transpose(order) for a in operands
        ]
        out = out.transpose(order)
    length = out.shape[-1]  # which a row has, while rows are broadcast by NumPy
    return [
        a if a.shape[-1] == length else np.broadcast_to(a, (*a.shape[:-1], length))
        for a in operands
    ], out


@functools.lru_cache(maxsize=64)
def _joined(shapes: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    """Shapes with as few axes as can be: of those side by side along which each operand is broadcast, or none is."""
    whole = [(1,) * (len(shapes[0]) - len(shape)) + shape for shape in shapes]
    groups = itertools.groupby(
        range(len(shapes[0])), key=lambda i: [shape[i] == 1 for shape in whole]
    )
    edges = [0, *([*group][-1] + 1 for _, group in groups)]
    return [[math.prod(shape[i:j]) for i, j in itertools.pairwise(edges)] for shape in whole]


def _overlaps(out: Array, a: Array) -> bool:
    """Whether an element of a might be read after it is overwritten: not where each has its own result put over it."""
    same = a.ctypes.data == out.ctypes.data and a.shape == out.shape and a.strides == out.strides
    return not same and np.may_share_memory(a, out)


missing = ""  # why the loops are
try:
    from relu_xp._native import _ufuncs  # type: ignore[attr-defined]
except Exception as error:  # NumPy's own kinds too, where it is older than they are
    _ufuncs = standin
    missing = why.warn.reason = why.reason(error)

_take_errors = _ufuncs.take_errors
_LOOPS: dict[Function, Any] = {each: getattr(_ufuncs, each.name) for each in FUNCTIONS.values()}


def _known(function: Function) -> tuple[Function, str, int, bool, bool, bool]:
    """What the loops' own `call` has to know of a function; of its scalars, the first alone is special."""
    first = (
        any(each.may_be_array for each in function.scalars),
        any(each.above_zero for each in function.scalars),
    )
    return function, function.name, len(function.scalars), *first, function.takes_integers


# Computes at once what most calls are, plain arrays and scalars with numbers; the others are looked
# at more closely.
call = _ufuncs.caller([_known(each) for each in FUNCTIONS.values()], _checked, report, SHARE)


@functools.cache
def _loop(function: Function, dtype: DType) -> Any:
    """A function's ufunc; for a dtype without a loop of its own with the casts to one that has it."""
    loop = _LOOPS[function]
    if dtype.type.__module__ != "ml_dtypes":
        return loop
    # Before NumPy looks for a loop, and keeps another.
    if dtype.name == "bfloat16" and _ufuncs.register_bfloat16(dtype):
        return loop
    if (
        function is SQUARED_RELU_VJP and dtype.itemsize == 1
    ):  # whose doubled x may overflow where float32's does not
        return getattr(standin, function.name)
    wide = np.dtype(np.int8 if "int" in dtype.name else np.float32)
    return functools.partial(loop, dtype=wide, casting="unsafe")
