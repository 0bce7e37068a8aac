"""Any other array that speaks the array API standard: the formulas, run in the array's own namespace."""

import functools
import importlib
import importlib.util
from typing import Any

import array_api_compat
import numpy as np

from relu_xp import _checks, _formulas
from relu_xp._functions import Function

Array = Any

# Libraries that the demo and the tests know how to hand an array to; any other is served all the same.
LIBRARIES = ("array_api_strict", "sparse", "ndonnx", "mlx")


def owns(x: object) -> bool:
    """Whatever has `__array_namespace__`, or is known to array-api-compat."""
    if hasattr(x, "__array_namespace__"):  # which a wrapper may hand on, as a Param of flax.nnx does, and be no array
        return hasattr(type(x), "__array_namespace__")
    return array_api_compat.is_array_api_obj(x)


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


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument, compute in the arrays' namespace, and only then write."""
    x = arrays[0]
    try:
        xp = array_api_compat.array_namespace(*{type(a): a for a in arrays}.values())
    except TypeError:  # what answers to every name, as a tracer may, is not even one library's
        alone = len(arrays) == 1
        raise (_checks.not_an_array(function, "x", x) if alone else _checks.same_library(function, *arrays)) from None
    if out is not None and (array_api_compat.is_lazy_array(x) or not array_api_compat.is_writeable_array(x)):
        _checks.no_out(function, out, _checks.type_name(x))
    rounded = _checks.call(_library(xp, _checks.type_name(x)), function, arrays, scalars, out)
    if _kind(xp, x.dtype) == "u":  # never negative, for which some libraries have no comparison
        result = xp.asarray(x, copy=True)
    else:
        operands = [xp.astype(a, x.dtype) if hasattr(a, "shape") else a for a in rounded[: len(function.scalars)]]
        result = _computed(function, xp, arrays, operands)
    if out is None:
        return result
    out[...] = result
    return out


def _computed(function: Function, xp: Any, arrays: tuple[Array, ...], operands: list[Any]) -> Array:
    formula = getattr(_formulas, function.name)
    if not hasattr(xp, "elemwise"):
        return formula(xp, *arrays, *operands)
    # Of pydata/sparse, which else finds what the arrays store anew for each operation of a formula.
    held = [a for a in (*arrays, *operands) if hasattr(a, "shape")]
    numbers = operands[len(held) - len(arrays) :]
    return xp.elemwise(lambda *parts: formula(np, *parts, *numbers), *held)


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
