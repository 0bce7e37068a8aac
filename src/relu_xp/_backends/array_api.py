"""Any other array that speaks the array API standard: the formulas, run in the array's own namespace.

Where the library may differentiate, the values are spelled so that its plain autodiff takes the
definition's derivative: comparisons and constants have none, and x reaches a result by one way
alone.
"""

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from relu_xp import _checks, _formulas
from relu_xp._functions import CLIPPED_RELU, LEAKY_RELU, RELU, SQUARED_RELU, Function

Array = Any

# Libraries that the demo and the tests know how to hand an array to; any other is served all the
# same.
LIBRARIES = ("array_api_strict", "sparse", "ndonnx", "mlx")


def owns(x: object) -> bool:
    """Whatever has `__array_namespace__`, or is known to array-api-compat."""
    if (
        _checks.attribute(x, "__array_namespace__") is not None
    ):  # which a wrapper may hand on, as a Param of flax.nnx does, and be no array
        return hasattr(type(x), "__array_namespace__")
    try:
        return array_api_compat.is_array_api_obj(x)
    except Exception:  # of a class that answers no question
        return False


def devices() -> list[str]:
    """List the libraries, of those that `put` knows, that are installed: each counts as a device."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name)]


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
    """Compute; what is not even like an array, though it says so, is refused in our words."""
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
    except TypeError:  # what answers to every name, as a tracer may, is not even one library's
        alone = len(arrays) == 1
        raise (
            _checks.not_an_array(function, "x", x)
            if alone
            else _checks.same_library(function, *arrays)
        ) from None
    if out is not None and (
        array_api_compat.is_lazy_array(x) or not array_api_compat.is_writeable_array(x)
    ):
        _checks.no_out(function, out, _checks.type_name(x))
    rounded = _checks.call(_library(xp, _checks.type_name(x)), function, arrays, scalars, out)
    if _kind(xp, x.dtype) == "u":  # never negative, for which some libraries have no comparison
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
    if function in _SPELLED and _package(x) not in _WITHOUT_AUTODIFF and _kind(xp, x.dtype) == "f":
        return _SPELLED[function](xp, x, *operands)
    formula, operands = getattr(_formulas, function.name), operands[: len(function.scalars)]
    if not hasattr(xp, "elemwise"):
        return formula(xp, *arrays, *operands)
    # Of pydata/sparse, which else finds what the arrays store anew for each operation of a formula.
    held = [a for a in (*arrays, *operands) if hasattr(a, "shape")]
    numbers = operands[len(held) - len(arrays) :]
    return xp.elemwise(lambda *parts: formula(np, *parts, *numbers), *held)


_WITHOUT_AUTODIFF = {"array_api_strict", "sparse", "ndonnx"}  # whose formulas are shorter


def _package(x: Array) -> str:
    return _checks.module_of(type(x)).partition(".")[0]


def _relu(xp: Any, x: Array, z: float) -> Array:
    """Select x where it is active; the zero that is added turns -0 to +0."""
    elsewhere = xp.where(x <= 0, xp.zeros_like(x), xp.full_like(x, math.nan))
    if z == 0:
        return xp.where(x > 0, x, elsewhere)
    if z == 1:
        return xp.where(x >= 0, x, elsewhere) + xp.zeros_like(x)
    at_zero = xp.where(x == 0, z * xp.where(x == 0, x, xp.zeros_like(x)), elsewhere)
    return xp.where(x > 0, x, at_zero) + xp.zeros_like(x)


def _leaky_relu(xp: Any, x: Array, s: Any, z: float) -> Array:
    """Multiply by 1, s, or z at zero, where a negative z would turn the zero's sign, and so is 1 in its place."""
    one, s = xp.ones_like(x), s if hasattr(s, "shape") else xp.full_like(x, s)
    if z == 1 or math.copysign(1, z) < 0:
        return x * xp.where(x >= 0, one, s)
    return x * xp.where(x > 0, one, xp.where(x == 0, xp.full_like(x, z), s))


def _clipped_relu(xp: Any, x: Array, c: float, z: float, k: float) -> Array:
    """Select the ceiling above it; at the ceiling, what is added is k times zero."""
    ceiling, below = xp.full_like(x, c), _relu(xp, x, z)
    if k not in (0, 1):
        below = xp.where(x == c, ceiling + k * (xp.where(x == c, x, ceiling) - ceiling), below)
    return xp.where(x >= c if k == 0 else x > c, ceiling, below)


def _squared_relu(xp: Any, x: Array) -> Array:
    """Square x where it is active."""
    elsewhere = xp.where(x <= 0, xp.zeros_like(x), xp.full_like(x, math.nan))
    return xp.where(x > 0, xp.square(xp.where(x > 0, x, xp.ones_like(x))), elsewhere)


_SPELLED: dict[Function, Callable[..., Array]] = {
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
    except AttributeError:  # MLX's are where their operations are
        return None


@functools.lru_cache(maxsize=256, typed=True)  # whose dtypes some libraries are slow to compare
def _kind(xp: Any, dtype: Any) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") integer dtypes from all others ("")."""
    kinds = {"f": "real floating", "i": "signed integer", "u": "unsigned integer"}
    try:
        return next((kind for kind, name in kinds.items() if xp.isdtype(dtype, name)), "")
    except TypeError:  # NumPy's, of a dtype that ml_dtypes made
        return ""
