"""xarray's labelled arrays keep their names, coordinates and attributes.

By xarray's own `apply_ufunc`, so Dask stays lazy, and whatever array is inside finds its own backend.
"""

from collections.abc import Callable
from typing import Any

import xarray

from relu_xp import _checks
from relu_xp._functions import Function

Labelled = Any  # an xarray.DataArray, Dataset or Variable


def owns(x: object) -> bool:
    """Arrays, single or in a set, with coordinates or without."""
    return isinstance(x, xarray.DataArray | xarray.Dataset | xarray.Variable)


def devices() -> list[str]:
    """The host; where the array inside is, is its own business."""
    return ["cpu"]


def put(array: Any, device: str) -> Labelled:
    """Label a NumPy array."""
    return xarray.DataArray(array)


def get(x: Labelled) -> Any:
    """Give the elements as a NumPy array."""
    return x.to_numpy()


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Labelled, ...], out: None) -> Labelled:
    """Compute by xarray's own machinery."""
    _checks.no_out(function, out, "an xarray object")
    if len(arrays) == 2:
        x, g = arrays
        if type(x) is not type(g):
            raise _checks.same_library(function, x, g)
        # What is inside is compared again; here, that nothing is broadcast by name.
        _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
        if isinstance(x, xarray.Dataset):
            _checks.same_labels(function, "variables", set(x.data_vars), set(g.data_vars))
    try:
        return xarray.apply_ufunc(inside, *arrays, dask="allowed", keep_attrs=True, join="exact")
    except xarray.AlignmentError as error:
        msg = f"relu_xp.{function}: x and cotangent must have the same coordinates; {error}"
        raise ValueError(msg) from None
