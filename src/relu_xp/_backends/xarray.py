"""xarray's labelled arrays: what they hold goes to the public functions again; names, coordinates and attributes stay.

By xarray's own `apply_ufunc`, so Dask stays lazy, and whatever array is inside finds its own backend.
"""

import functools
from typing import Any

import xarray

from relu_xp import _api, _checks

Labelled = Any  # an xarray.DataArray, Dataset or Variable


def owns(x: object) -> bool:
    """Arrays, single or in a set, with coordinates or without."""
    return isinstance(x, xarray.DataArray | xarray.Dataset | xarray.Variable)


def relu(x: Labelled, z: Any, out: None) -> Labelled:
    """Rectify."""
    return _run("relu", (x,), out, grad_at_zero=z)


def relu_grad(x: Labelled, z: Any, out: None) -> Labelled:
    """Differentiate relu."""
    return _run("relu_grad", (x,), out, grad_at_zero=z)


def relu_vjp(x: Labelled, g: Labelled, z: Any, out: None) -> Labelled:
    """Pull g back through relu."""
    return _run("relu_vjp", (x, g), out, grad_at_zero=z)


def leaky_relu(x: Labelled, s: Any, z: Any, out: None) -> Labelled:
    """Rectify with a leak."""
    return _run("leaky_relu", (x,), out, negative_slope=s, grad_at_zero=z)


def leaky_relu_grad(x: Labelled, s: Any, z: Any, out: None) -> Labelled:
    """Differentiate leaky_relu."""
    return _run("leaky_relu_grad", (x,), out, negative_slope=s, grad_at_zero=z)


def leaky_relu_vjp(x: Labelled, g: Labelled, s: Any, z: Any, out: None) -> Labelled:
    """Pull g back through leaky_relu."""
    return _run("leaky_relu_vjp", (x, g), out, negative_slope=s, grad_at_zero=z)


def devices() -> list[str]:
    """The host; where the array inside is, is its own business."""
    return ["cpu"]


def put(array: Any, device: str) -> Labelled:
    """Label a NumPy array."""
    return xarray.DataArray(array)


def get(x: Labelled) -> Any:
    """Give the elements as a NumPy array."""
    return x.to_numpy()


def _run(function: str, arrays: tuple[Labelled, ...], out: None, **scalars: Any) -> Labelled:
    _checks.no_out(function, out, "an xarray object")
    if len(arrays) == 2:
        x, g = arrays
        if type(x) is not type(g):
            raise _checks.same_library(function, x, g)
        # What is inside is compared again; here, that nothing is broadcast by name.
        _checks.cotangent(function, None, dict(x.sizes), None, dict(g.sizes))
        if isinstance(x, xarray.Dataset):
            _checks.cotangent_labels(function, "variables", set(x.data_vars), set(g.data_vars))
    call = functools.partial(getattr(_api, function), **scalars)
    try:
        return xarray.apply_ufunc(call, *arrays, dask="allowed", keep_attrs=True, join="exact")
    except xarray.AlignmentError as error:
        msg = f"relu_xp.{function}: x and cotangent must have the same coordinates; {error}"
        raise ValueError(msg) from None
