"""xarray's labelled arrays keep their names, coordinates and attributes.

Dask stays lazy, and whatever array is inside finds its own backend.
"""

from collections.abc import Callable
from typing import Any

import xarray

from relu_xp import _checks
from relu_xp._backends import _numpy_errors
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
    """Compute each array inside; the result has the labels of x, and those that the cotangent has beside them."""
    _checks.no_out(function, out, "an xarray object")
    x, g = arrays[0], arrays[-1]
    if type(x) is not type(g):
        raise _checks.same_library(function, x, g)
    _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    labels = None if x is g or isinstance(x, xarray.Variable) else _coordinates(function, x, g)
    if isinstance(x, xarray.Dataset):
        _checks.same_labels(function, "variables", set(x.data_vars), set(g.data_vars))
        tables, data = [a.variables for a in arrays], {}
        with _numpy_errors.told_once(function):
            for name in x.data_vars:
                try:
                    data[name] = _computed(function, inside, [table[name] for table in tables])
                except (TypeError, ValueError) as error:
                    raise _checks.inside(function, f"variable {name!r}", error) from None
    else:
        data = _computed(function, inside, arrays)
    if isinstance(getattr(x, "variable", x), xarray.IndexVariable):  # whose copies can't be written to
        base = x.variable.to_base_variable() if isinstance(x, xarray.DataArray) else x.to_base_variable()
        x = xarray.DataArray(base, x.coords, name=x.name) if isinstance(x, xarray.DataArray) else base
    result = x.copy(deep=False, data=data)
    return result if labels is None else result.assign_coords(labels)


def _computed(function: Function, inside: Callable[..., Any], arrays: Any) -> Any:
    """What is inside arrays whose dimensions have the same names, in any order; nothing is broadcast by name."""
    x, *others = arrays
    for g in others:  # of a dataset, each variable has dimensions of its own
        _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    return inside(x.data, *(g.data if g.dims == x.dims else g.transpose(*x.dims).data for g in others))


def _coordinates(function: Function, x: Labelled, g: Labelled) -> Any:
    """The coordinates of both: xarray's arithmetic drops those that differ, and here they are refused."""
    try:
        both = [a.coords.to_dataset() for a in (x, g)]
        return xarray.merge(both, join="exact", compat="equals", combine_attrs="override").coords
    except (xarray.AlignmentError, xarray.MergeError) as error:
        msg = (
            f"relu_xp.{function}: x and cotangent must have the same coordinates; align them, or drop those that "
            f"differ from one, for example cotangent.drop_vars(name); {error}"
        )
        raise ValueError(msg) from None
