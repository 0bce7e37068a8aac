"""NumPy arrays and scalars, with NumPy's relatives: subclasses, masked arrays, memory maps, ml_dtypes.

A schedule of the formulas: as they stand for NumPy's own dtypes; for the 4- to 16-bit floats of ml_dtypes in binary32,
whose products of two such values are exact, or lose bits only where the rounding back does not look. (The comparisons
of ml_dtypes itself warn where they meet a NaN.)
"""

import functools
import sys
from typing import Any

import numpy as np

from relu_xp import _checks, _formulas

Array = Any  # a numpy.ndarray, one of its subclasses, or a numpy.generic


def owns(x: object) -> bool:
    """Arrays and scalars; ml_dtypes' scalars are numpy.generic too."""
    return isinstance(x, np.ndarray | np.generic)


def relu(x: Array, z: Any, out: Array) -> Array:
    """Rectify."""
    return _run("relu", (x,), (z,), out)


def relu_grad(x: Array, z: Any, out: Array) -> Array:
    """Differentiate relu."""
    return _run("relu_grad", (x,), (z,), out)


def relu_vjp(x: Array, g: Array, z: Any, out: Array) -> Array:
    """Pull g back through relu."""
    return _run("relu_vjp", (x, g), (z,), out)


def leaky_relu(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Rectify with a leak."""
    return _run("leaky_relu", (x,), (s, z), out)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Differentiate leaky_relu."""
    return _run("leaky_relu_grad", (x,), (s, z), out)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Pull g back through leaky_relu."""
    return _run("leaky_relu_vjp", (x, g), (s, z), out)


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
    x = arrays[0]
    if isinstance(x, np.matrix):
        msg = f"relu_xp.{function}: numpy.matrix is not supported; convert it first with numpy.asarray(x)"
        raise TypeError(msg)
    dtype = x.dtype.newbyteorder("=")
    kind = _kind(dtype)
    _checks.dtype(function, dtype, kind)
    if len(arrays) == 2:
        _checks.cotangent(function, dtype, x.shape, arrays[1].dtype.newbyteorder("="), arrays[1].shape)
    names = ("negative_slope", "grad_at_zero")[-len(scalars) :]
    scalars = tuple(_rounded(function, *pair, dtype) for pair in zip(names, scalars, strict=True))
    if out is not None:
        _check_out(function, arrays, dtype, out)

    wide = np.dtype(np.float32) if kind == "f" and _is_extended(dtype) else dtype
    plain = [np.asarray(a).astype(wide, copy=False) for a in arrays]
    result = getattr(_formulas, function)(np, *plain, *scalars).astype(dtype, copy=False)
    if out is None:
        return _wrap(function, arrays, np.asarray(result))
    np.asarray(out)[...] = result
    if isinstance(out, np.ma.MaskedArray):
        out.mask = _mask(arrays)
    return out


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") integer dtypes from all others ("")."""
    if dtype.kind in "iu":
        return dtype.kind
    if not _is_extended(dtype):
        return "f" if dtype.kind == "f" else ""
    ml_dtypes = sys.modules["ml_dtypes"]
    if dtype.name.startswith("int"):
        return "i"
    if dtype.name.startswith("uint"):
        return "u"
    # float8_e8m0fnu holds powers of two alone: without a zero it has no place for a rectifier's results.
    return "f" if np.zeros((), dtype) == 0 and ml_dtypes.finfo(dtype) else ""


def _is_extended(dtype: np.dtype[Any]) -> bool:
    """Whether ml_dtypes made the dtype; then that library is imported."""
    return dtype.type.__module__ == "ml_dtypes"


def _rounded(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Round a slope or a derivative at zero once to dtype; for integers, whose value needs none, only check it."""
    if dtype.kind in "iu" or (_is_extended(dtype) and "int" in dtype.name):
        return _checks.real(function, name, value)
    if dtype.type is np.longdouble:
        _checks.real(function, name, value)
        return np.longdouble(value)
    return _checks.rounded(function, name, value, dtype, _finfo(dtype))


@functools.cache
def _finfo(dtype: np.dtype[Any]) -> Any:
    return sys.modules["ml_dtypes"].finfo(dtype) if _is_extended(dtype) else np.finfo(dtype)


def _check_out(function: str, arrays: tuple[Array, ...], dtype: np.dtype[Any], out: Array) -> None:
    x = arrays[0]
    if isinstance(x, np.generic):
        _checks.no_out(function, out, "a NumPy scalar")
    if not isinstance(out, np.ndarray):
        raise _checks.out_type(function, out, "a numpy.ndarray")
    masked = any(isinstance(a, np.ma.MaskedArray) for a in arrays)
    if masked != isinstance(out, np.ma.MaskedArray):
        raise _checks.out_type(function, out, "a numpy.ma.MaskedArray" if masked else "no masked array, as x is none")
    if any(_has_own_ufunc(a) for a in (*arrays, out)):
        raise _checks.out_type(function, out, f"None, since {_checks.type_name(x)} may carry more than its numbers")
    _checks.out(function, dtype, x.shape, out.dtype, out.shape)
    if not out.flags.writeable:
        raise _checks.out_readonly(function)


def _wrap(function: str, arrays: tuple[Array, ...], result: Array) -> Array:
    """Give a fresh plain array the caller's type: of x, or of the cotangent for a VJP."""
    like = arrays[-1]
    masked = [a for a in arrays if isinstance(a, np.ma.MaskedArray)]
    if masked:
        return np.ma.MaskedArray(result, mask=_mask(arrays), fill_value=masked[0].fill_value)
    if type(like) is np.ndarray:
        return result
    if isinstance(like, np.generic):
        return result[()]
    if function.endswith("_grad") and _has_own_ufunc(like):
        return result  # a derivative has no unit
    return like.__array_wrap__(result)


def _has_own_ufunc(x: Array) -> bool:
    """Whether the class says itself what ufuncs mean, as quantities with units do."""
    return getattr(type(x), "__array_ufunc__", None) is not np.ndarray.__array_ufunc__


def _mask(arrays: tuple[Array, ...]) -> Array:
    """The union of the arrays' masks, in memory of its own; nomask where none has one."""
    return functools.reduce(np.ma.mask_or, [np.ma.getmask(a) for a in arrays]).copy()
