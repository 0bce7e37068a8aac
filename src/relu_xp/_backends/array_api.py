"""Any other array that speaks the array API standard: the formulas, run in the array's own namespace."""

import importlib
import importlib.util
from typing import Any

import array_api_compat
import numpy as np

from relu_xp import _checks, _formulas
from relu_xp._backends.uniform import six

Array = Any

# Libraries that the demo and the tests know how to hand an array to; any other is served all the same.
LIBRARIES = ("array_api_strict", "sparse", "ndonnx", "mlx")


def owns(x: object) -> bool:
    """Whatever has `__array_namespace__`, or is known to array-api-compat."""
    return hasattr(type(x), "__array_namespace__") or array_api_compat.is_array_api_obj(x)


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


def _run(function: str, arrays: tuple[Array, ...], scalars: dict[str, Any], out: Array) -> Array:
    """Check every argument, compute in the arrays' namespace, and only then write."""
    x = arrays[0]
    try:
        xp = array_api_compat.array_namespace(*arrays)
    except TypeError:  # what answers to every name, as a tracer may, is not even one library's
        alone = len(arrays) == 1
        raise (_checks.not_an_array(function, "x", x) if alone else _checks.same_library(function, *arrays)) from None
    library = xp.__name__.removeprefix("array_api_compat.")
    kind = _kind(xp, x.dtype)
    _checks.dtype(function, x.dtype, kind, cast=f"cast it first, for example {library}.astype(x, {library}.float32)")
    if len(arrays) == 2:
        _checks.cotangent(function, x.dtype, x.shape, arrays[1].dtype, arrays[1].shape)
        _checks.cotangent_device(function, *map(_device, arrays))
    rounded = [_rounded(function, name, value, xp, x.dtype) for name, value in scalars.items()]
    if out is not None:
        _check_out(function, xp, x, out)
    # For what is never negative some libraries have no comparison.
    result = xp.asarray(x, copy=True) if kind == "u" else getattr(_formulas, function)(xp, *arrays, *rounded)
    if out is None:
        return result
    out[...] = result
    return out


def _device(x: Array) -> Any:
    try:
        return array_api_compat.device(x)
    except AttributeError:  # MLX's are where their operations are
        return None


def _kind(xp: Any, dtype: Any) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") integer dtypes from all others ("")."""
    kinds = {"f": "real floating", "i": "signed integer", "u": "unsigned integer"}
    try:
        return next((kind for kind, name in kinds.items() if xp.isdtype(dtype, name)), "")
    except TypeError:  # NumPy's, of a dtype that ml_dtypes made
        return ""


def _rounded(function: str, name: str, value: Any, xp: Any, dtype: Any) -> float:
    if _kind(xp, dtype) != "f":
        return _checks.real(function, name, value)
    return _checks.rounded(function, name, value, dtype, xp.finfo(dtype))


def _check_out(function: str, xp: Any, x: Array, out: Array) -> None:
    if array_api_compat.is_lazy_array(x) or not array_api_compat.is_writeable_array(x):
        _checks.no_out(function, out, _checks.type_name(x))
    try:
        array_api_compat.array_namespace(x, out)
    except TypeError:
        raise _checks.out_type(function, out, _checks.type_name(x)) from None
    _checks.out(function, x.dtype, x.shape, out.dtype, out.shape)
    _checks.out_device(function, _device(x), _device(out))


relu, relu_grad, relu_vjp, leaky_relu, leaky_relu_grad, leaky_relu_vjp = six(_run)
