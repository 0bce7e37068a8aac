"""NumPy arrays and scalars, with NumPy's relatives: subclasses, masked arrays, memory maps, ml_dtypes.

What an argument must be, and of what type a result is, stands here; how it is computed, in `numpy_blocks`.
"""

import functools
import sys
from typing import Any

import numpy as np

from relu_xp import _checks
from relu_xp._backends import numpy_blocks
from relu_xp._checks import DEFAULT_GRAD_AT_ZERO, DEFAULT_SLOPE
from relu_xp._options import check_environment, chosen_engine, engine

check_environment()  # at the first array, not at the first for which it matters

# NumPy's own floats, as most arrays are, with the default slope rounded to them.
_NATIVE_FLOATS = {
    dtype: float(dtype.type(DEFAULT_SLOPE)) for dtype in map(np.dtype, (np.float16, np.float32, np.float64))
}

SMALL = 1 << 11  # elements, below which blocks don't pay
# Elements, from which compiled loops pay where an operation of NumPy's, or three, are enough.
COMPILED = {"relu": 1 << 15, "leaky_relu": 1 << 13}
LEAST = 2.0**-126  # of slopes: a smaller one may be rounded to 0, and 0 * inf is NaN
# For small arrays 0-d zeros, which are cheaper to call with than a Python 0; for those of one block, a block.
_MINUS_ZEROS = {dtype: np.array(-0.0, dtype) for dtype in map(np.dtype, (np.float32, np.float64))}
_ZEROS = {
    dtype: (np.zeros((), dtype), numpy_blocks.filled(0, dtype)[: numpy_blocks.BLOCK_BYTES // dtype.itemsize])
    for dtype in map(np.dtype, (np.float32, np.float64))
    if numpy_blocks.maximum_gives_plus_zero(dtype)
}

_PLAIN_OUT = (type(None), np.ndarray)

Array = Any  # a numpy.ndarray, one of its subclasses, or a numpy.generic


def owns(x: object) -> bool:
    """Arrays and scalars; ml_dtypes' scalars are numpy.generic too."""
    return isinstance(x, np.ndarray | np.generic)


def relu(x: Array, z: Any, out: Array) -> Array:
    """Rectify."""
    if z is DEFAULT_GRAD_AT_ZERO and type(x) is np.ndarray and x.dtype in _ZEROS and x.ndim:
        zero, zeros = _ZEROS[x.dtype]
        if x.size <= SMALL and out is None:
            return np.maximum(x, zero)
        few = x.size <= COMPILED["relu"] or chosen_engine.get() == "numpy"
        if few and x.size <= zeros.size and x.flags.c_contiguous and (out is None or _fits(out, x)):
            if x.size > SMALL:
                zero = zeros[: x.size] if x.ndim == 1 else zeros[: x.size].reshape(x.shape)
            return np.maximum(x, zero, out=out)
    return _run("relu", (x,), (z,), out)


def _fits(out: Array, x: Array) -> bool:
    return type(out) is np.ndarray and out.dtype is x.dtype and out.shape == x.shape and out.flags.writeable


def relu_grad(x: Array, z: Any, out: Array) -> Array:
    """Differentiate relu."""
    return _run("relu_grad", (x,), (z,), out)


def relu_vjp(x: Array, g: Array, z: Any, out: Array) -> Array:
    """Pull g back through relu."""
    return _run("relu_vjp", (x, g), (z,), out)


def leaky_relu(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Rectify with a leak."""
    usual = z is DEFAULT_GRAD_AT_ZERO and out is None and type(s) is float and LEAST <= s <= 1
    small = type(x) is np.ndarray and x.nbytes <= numpy_blocks.BLOCK_BYTES and x.ndim and x.dtype in _ZEROS
    if usual and small and (x.size <= COMPILED["leaky_relu"] or chosen_engine.get() == "numpy"):
        # As in numpy_blocks, the product of a positive x must not underflow where that is heard. Then -0 takes its
        # place: of two zeros, the maximum is the second, x.
        quiet = numpy_blocks.is_ignored("under")
        product = np.multiply(x if quiet else np.minimum(x, _MINUS_ZEROS[x.dtype]), _scalar(s, x.dtype))
        return np.maximum(product, x, out=product)
    return _run("leaky_relu", (x,), (s, z), out)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Differentiate leaky_relu."""
    return _run("leaky_relu_grad", (x,), (s, z), out)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Pull g back through leaky_relu."""
    return _run("leaky_relu_vjp", (x, g), (s, z), out)


@functools.lru_cache
def _scalar(s: float, dtype: np.dtype[Any]) -> Array:
    return np.array(_rounded("leaky_relu", "negative_slope", s, dtype), dtype)


def devices() -> list[str]:
    """NumPy runs on the CPU."""
    return ["cpu"]


def put(array: Array, device: str) -> Array:
    """NumPy arrays are at home here."""
    return array


def get(x: Array) -> Array:
    """NumPy arrays are at home here."""
    return x


def _run(function: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument, compute, and only then write or wrap."""
    if loops := engine():
        result = loops.quick(function, arrays, scalars, out)
        if result is not None:
            return result
    x = arrays[0]
    dtype = x.dtype
    if dtype not in _NATIVE_FLOATS:
        _checks.dtype(function, dtype, _kind(dtype))
        dtype = dtype.newbyteorder("=")
    if len(arrays) == 2:
        g = arrays[1]
        if g.dtype is not dtype or g.shape != x.shape:
            swapped = dtype.newbyteorder("S")
            _checks.cotangent(function, dtype, x.shape, dtype if g.dtype == swapped else g.dtype, g.shape)
    names = ("negative_slope", "grad_at_zero")[-len(scalars) :]
    scalars = tuple([_rounded(function, *pair, dtype) for pair in zip(names, scalars, strict=True)])
    is_plain = type(x) is np.ndarray is type(arrays[-1])
    if not is_plain or type(out) not in _PLAIN_OUT:
        _check_classes(function, arrays, out)
    if out is not None:
        _checks.out(function, dtype, x.shape, out.dtype, out.shape)
        if not out.flags.writeable:
            raise _checks.out_readonly(function)

    plain = arrays if is_plain else tuple(map(np.asarray, arrays))
    if out is None:
        fresh = np.empty_like(plain[0], dtype)  # in the memory order of x
        numpy_blocks.run(function, plain, scalars, fresh, fresh=True)
        return fresh if is_plain else _wrap(function, arrays, fresh)
    numpy_blocks.run(function, plain, scalars, np.asarray(out), fresh=False)
    if isinstance(out, np.ma.MaskedArray):
        out.mask = _mask(arrays)
    return out


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Tell real floating ("f") and integer ("i", "u") dtypes from all others ("")."""
    if not numpy_blocks.is_extended(dtype):
        return dtype.kind if dtype.kind in "fiu" else ""
    if "int" in dtype.name:
        return "i"
    # float8_e8m0fnu holds powers of two alone: without a zero it has no place for a rectifier's results.
    return "f" if "complex" not in dtype.name and np.zeros((), dtype) == 0 else ""


def _rounded(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Round a slope or a derivative at zero once to dtype; for integers, whose value needs none, only check it."""
    if value is DEFAULT_GRAD_AT_ZERO:
        return value
    if value is DEFAULT_SLOPE and dtype in _NATIVE_FLOATS:
        return _NATIVE_FLOATS[dtype]
    if _kind(dtype) != "f":
        _checks.real(function, name, value)
        return DEFAULT_GRAD_AT_ZERO
    number = np.longdouble if dtype.type is np.longdouble else float
    return _checks.rounded(function, name, value, dtype, _finfo(dtype), number)


@functools.cache
def _finfo(dtype: np.dtype[Any]) -> Any:
    return sys.modules["ml_dtypes"].finfo(dtype) if numpy_blocks.is_extended(dtype) else np.finfo(dtype)


def _check_classes(function: str, arrays: tuple[Array, ...], out: Array) -> None:
    """Refuse the subclasses whose extra meaning can't be kept, in a result or in `out`."""
    for a in (*arrays, out):
        if isinstance(a, np.matrix) or (_has_own_ufunc(a) and hasattr(a, "mask")):
            name = _checks.type_name(a)
            msg = f"relu_xp.{function}: {name} is not supported; convert it first, for example numpy.asarray(x)"
            raise TypeError(msg)
    if out is None:
        return
    if isinstance(arrays[0], np.generic):
        _checks.no_out(function, out, "a NumPy scalar")
    if not isinstance(out, np.ndarray):
        raise _checks.out_type(function, out, "a numpy.ndarray")
    masked = any(isinstance(a, np.ma.MaskedArray) for a in arrays)
    if masked != isinstance(out, np.ma.MaskedArray):
        raise _checks.out_type(function, out, "a numpy.ma.MaskedArray" if masked else "no masked array, as x is none")
    for a in filter(_has_own_ufunc, (*arrays, out)):
        raise _checks.out_type(function, out, f"None, since {_checks.type_name(a)} may carry more than its numbers")


def _wrap(function: str, arrays: tuple[Array, ...], result: Array) -> Array:
    """Give a fresh plain array the type of x."""
    x, g = arrays[0], arrays[-1]
    if isinstance(x, np.generic):
        return result[()]
    for like in arrays:
        if isinstance(like, np.ma.MaskedArray):
            return like if like is np.ma.masked else _masked(result, like, _mask(arrays))
    if _has_own_ufunc(x) or _has_own_ufunc(g):
        # Of quantities: a derivative has no unit, and a VJP that of the cotangent.
        return result if function.endswith("_grad") or type(g) is np.ndarray else g.__array_wrap__(result)
    return x.__array_wrap__(result)


def _has_own_ufunc(x: Array) -> bool:
    """Whether the class says itself what ufuncs mean, as quantities with units do."""
    return isinstance(x, np.ndarray) and type(x).__array_ufunc__ is not np.ndarray.__array_ufunc__


def _masked(result: Array, like: Array, mask: Array) -> Array:
    """A masked array of the class and fill value of `like`."""
    masked = result.view(type(like))
    masked._update_from(like)  # what numpy.ma's own operations do
    masked.mask = mask
    return masked


def _mask(arrays: tuple[Array, ...]) -> Array:
    """The union of the arrays' masks, in memory of its own; nomask where none has one."""
    return functools.reduce(np.ma.mask_or, [np.ma.getmask(a) for a in arrays]).copy()
