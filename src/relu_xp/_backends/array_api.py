"""Any other array of the array API standard: the formulas, run in the array's own namespace.

Where the library may differentiate, the values are written so that its autodiff finds the
definition's derivative: comparisons and constants have none, and x reaches each result in one way.
"""

import functools
import importlib
import importlib.util
import math
import numbers
from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from relu_xp import _checks, _dtypes, _formulas
from relu_xp._functions import CLIPPED_RELU, LEAKY_RELU, RELU, SQUARED_RELU, Function
from relu_xp._registry import REGISTRY

Array = Any


def owns(x: object) -> bool:
    """Own whatever has `__array_namespace__`, or is known to array-api-compat."""
    if _checks.attribute(x, "__array_namespace__") is not None:
        # A wrapper may have it from the array inside, as a Param of flax.nnx does, and be no array.
        return hasattr(type(x), "__array_namespace__")
    try:
        return array_api_compat.is_array_api_obj(x)
    except Exception:  # a class may raise anything when it is asked
        return False


def advice(function: Function, name: str, x: Any) -> str | None:
    """Say what makes an array or a number of what no backend owns, by the protocols that it has."""
    if hasattr(type(x), "__jax_array__"):
        return f"convert it first, for example jax.numpy.asarray({name})"
    if hasattr(x, "chunks") and hasattr(x, "dtype"):  # an array in a file, of zarr or h5py
        lazily = f"dask.array.from_array({name})"
        return f"read it first, for example {name}[...], or go through Dask, for example {lazily}"
    if hasattr(type(x), "toarray"):  # a sparse matrix, as of cupyx.scipy.sparse
        return f"convert it first, for example {name}.toarray()"
    if isinstance(x, complex):
        return _checks.IMAGINARY
    if isinstance(x, numbers.Number):
        return f"convert it first, for example float({name})"
    return _as_numpy_takes_it(function, name, x)


def _as_numpy_takes_it(function: Function, name: str, x: Any) -> str | None:
    """Try what NumPy makes of it, where the type alone does not tell."""
    for dtype in (None, "float64"):
        try:
            kind = _dtypes.kind(np.asarray(x, dtype).dtype)
        except Exception:  # its class or its elements may raise anything
            continue
        if x is not None and (kind == "f" or (kind and function.takes_integers)):
            given = f"{name}, {dtype!r}" if dtype else name
            return f"convert it first, for example numpy.asarray({given})"
    return None


def devices() -> list[str]:
    """List the installed libraries that have a row in the registry: each counts as a device."""
    rows = (row for row in REGISTRY if row.served_by == __name__)
    return [row.name for row in rows if importlib.util.find_spec(row.name)]


def put(array: Array, device: str) -> Array:
    """Hand a NumPy array to a library of `devices`."""
    xp = importlib.import_module("mlx.core" if device == "mlx" else device)
    return xp.asarray(np.array(array))  # a copy of its own


def get(x: Array) -> Array:
    """Give the array's elements as a NumPy array."""
    for densify in ("todense", "unwrap_numpy"):  # sparse, ndonnx
        if hasattr(x, densify):
            return getattr(x, densify)()
    return np.asarray(x)


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> Array:
    """Compute; refuse in our words what claims to be an array, but does not compute as one."""
    try:
        return _computed(function, arrays, scalars, out)
    except (AttributeError, TypeError) as error:
        if str(error).startswith("relu_xp."):
            raise
        raise _checks.not_computed(function, arrays[0], error) from error


def _computed(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> Array:
    """Check every argument, compute in the arrays' namespace, and only then write."""
    x = arrays[0]
    try:
        xp = array_api_compat.array_namespace(*{type(a): a for a in arrays}.values())
    except TypeError:  # a class that answers to every name, as a tracer may, has no namespace
        if len(arrays) == 1:
            raise _checks.not_an_array(function, "x", x, [advice]) from None
        raise _checks.same_library(function, *arrays) from None
    if out is not None and (
        array_api_compat.is_lazy_array(x) or not array_api_compat.is_writeable_array(x)
    ):
        _checks.no_out(function, out, _checks.type_name(x))
    rounded = _checks.call(_library(xp, _checks.type_name(x)), function, arrays, scalars, out)
    # An unsigned integer is never negative, and some libraries have no comparison for it.
    if _kind(xp, x.dtype) == "u":
        result = xp.asarray(x, copy=True)
    else:
        operands = [xp.astype(a, x.dtype) if hasattr(a, "shape") else a for a in rounded]
        result = _in_namespace(function, xp, arrays, operands)
    if out is None:
        return result
    out[...] = result
    return out


def _in_namespace(
    function: Function, xp: Any, arrays: tuple[Array, ...], operands: list[Any]
) -> Array:
    x = arrays[0]
    may_differentiate = _package(x) not in _WITHOUT_AUTODIFF and _kind(xp, x.dtype) == "f"
    if function in _DIFFERENTIABLE and may_differentiate:
        return _DIFFERENTIABLE[function](xp, x, *operands)
    formula, operands = getattr(_formulas, function.name), operands[: len(function.scalars)]
    if not hasattr(xp, "elemwise"):
        return formula(xp, *arrays, *operands)
    # pydata/sparse: `elemwise` aligns the stored elements once, instead of at each operation.
    held = [a for a in (*arrays, *operands) if hasattr(a, "shape")]
    others = operands[len(held) - len(arrays) :]
    return xp.elemwise(lambda *parts: formula(np, *parts, *others), *held)


# These libraries do not differentiate, so they get the shorter formulas.
_WITHOUT_AUTODIFF = {"array_api_strict", "sparse", "ndonnx"}


def _package(x: Array) -> str:
    return _checks.module_of(type(x)).partition(".")[0]


def _relu(xp: Any, x: Array, z: float) -> Array:
    """Select x where it is active; x = -0.0 gives -0.0 + 0.0 = +0.0."""
    elsewhere = xp.where(x <= 0, xp.zeros_like(x), xp.full_like(x, math.nan))
    if z == 0:
        return xp.where(x > 0, x, elsewhere)
    if z == 1:
        return xp.where(x >= 0, x, elsewhere) + xp.zeros_like(x)
    at_zero = xp.where(x == 0, z * xp.where(x == 0, x, xp.zeros_like(x)), elsewhere)
    return xp.where(x > 0, x, at_zero) + xp.zeros_like(x)


def _leaky_relu(xp: Any, x: Array, s: Any, z: float) -> Array:
    """Multiply by 1, by s, or by z at zero.

    A negative z would turn x = 0.0 to -0.0, so 1 stands in its place.
    """
    one, s = xp.ones_like(x), s if hasattr(s, "shape") else xp.full_like(x, s)
    if z == 1 or math.copysign(1, z) < 0:
        return x * xp.where(x >= 0, one, s)
    return x * xp.where(x > 0, one, xp.where(x == 0, xp.full_like(x, z), s))


def _clipped_relu(xp: Any, x: Array, c: float, z: float, k: float) -> Array:
    """Select the ceiling above it; at x = c add k * (x - c), which is 0 with the derivative k."""
    ceiling, below = xp.full_like(x, c), _relu(xp, x, z)
    if k not in (0, 1):
        below = xp.where(x == c, ceiling + k * (xp.where(x == c, x, ceiling) - ceiling), below)
    return xp.where(x >= c if k == 0 else x > c, ceiling, below)


def _squared_relu(xp: Any, x: Array) -> Array:
    """Square x where it is active."""
    elsewhere = xp.where(x <= 0, xp.zeros_like(x), xp.full_like(x, math.nan))
    return xp.where(x > 0, xp.square(xp.where(x > 0, x, xp.ones_like(x))), elsewhere)


# The values, written so that autodiff finds the definition's derivative.
_DIFFERENTIABLE: dict[Function, Callable[..., Array]] = {
    RELU: _relu,
    LEAKY_RELU: _leaky_relu,
    CLIPPED_RELU: _clipped_relu,
    SQUARED_RELU: _squared_relu,
}


@functools.cache
def _library(xp: Any, array: str) -> _checks.Library:
    name = xp.__name__.removeprefix("array_api_compat.")

    def is_array(a: object) -> bool:
        try:
            return array_api_compat.array_namespace(a) is xp
        except TypeError:
            return False

    return _checks.Library(
        array,
        is_array=is_array,
        device=_device,
        kind=functools.partial(_kind, xp),
        is_writeable=lambda out: True,
        cast=f"cast it first, for example {name}.astype(x, {name}.float32)",
        make=f"{name}.asarray({{}}, dtype=x.dtype)",
    )


def _device(x: Array) -> Any:
    try:
        return array_api_compat.device(x)
    except AttributeError:  # MLX has devices of operations, not of arrays
        return None


@functools.lru_cache(maxsize=256, typed=True)  # some libraries are slow to compare dtypes
def _kind(xp: Any, dtype: Any) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") dtypes from all others ("")."""
    kinds = {"f": "real floating", "i": "signed integer", "u": "unsigned integer"}
    try:
        return next((kind for kind, name in kinds.items() if xp.isdtype(dtype, name)), "")
    except TypeError:  # NumPy's isdtype takes no dtype of ml_dtypes
        return ""
