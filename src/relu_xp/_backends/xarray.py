"""xarray's labelled arrays keep their names, coordinates and attributes.

Dask stays lazy, and whatever array is inside finds its own backend.
"""

from collections.abc import Callable
from typing import Any

import xarray

from relu_xp import _checks
from relu_xp._backends import _numpy_errors
from relu_xp._functions import NEGATIVE_SLOPE, Function

Labelled = Any  # an xarray.DataArray, Dataset, DataTree or Variable


def owns(x: object) -> bool:
    """Arrays, single, in a set or in a tree, with coordinates or without."""
    return isinstance(x, xarray.DataArray | xarray.Dataset | xarray.DataTree | xarray.Variable)


def slope_like(x: Labelled, name: str) -> str:
    """Say what makes a slope of a list: x takes one by the names of its dimensions."""
    dims, numbers = f"[*x.sizes][-numpy.ndim({name}):]", f"numpy.asarray({name}, float)"
    if isinstance(x, xarray.Variable):
        return f"an xarray.Variable, for example xarray.Variable({dims}, {numbers})"
    return f"an xarray.DataArray with dimensions of x, for example xarray.DataArray({numbers}, dims={dims})"


def devices() -> list[str]:
    """The host; where the array inside is, is its own business."""
    return ["cpu"]


def put(array: Any, device: str) -> Labelled:
    """Label a NumPy array, its dimensions counted from the last, as what broadcasts in NumPy does."""
    return xarray.DataArray(array, dims=[f"axis_{axis}" for axis in range(-array.ndim, 0)])


def get(x: Labelled) -> Any:
    """Give the elements as a NumPy array."""
    return x.to_numpy()


def delegate(
    function: Function, inside: Callable[..., Any], arrays: tuple[Labelled, ...], out: None
) -> Labelled:
    """Compute each array inside; the result has the labels of x, and those that the cotangent has beside them."""
    _checks.no_out(function, out, "an xarray object")
    arrays, slopes = arrays[: len(function.arrays)], arrays[len(function.arrays) :]
    x, g = arrays[0], arrays[-1]
    if type(x) is not type(g):
        raise _checks.same_library(function, x, g)
    if isinstance(x, xarray.DataTree):
        return _tree(function, inside, arrays, slopes)
    _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    slopes = tuple(_slope(function, x, slope) for slope in slopes)
    labels = None if x is g or isinstance(x, xarray.Variable) else _coordinates(function, x, g)
    if isinstance(x, xarray.Dataset):
        _checks.same_labels(function, "variables", set(x.data_vars), set(g.data_vars))
        tables, data = [a.variables for a in arrays], {}
        with _numpy_errors.told_once(function):
            for name in x.data_vars:
                try:
                    data[name] = _computed(
                        function, inside, [table[name] for table in tables], slopes
                    )
                except (TypeError, ValueError) as error:
                    raise _in_variable(function, name, error) from None
    else:
        data = _computed(function, inside, arrays, slopes)
    if isinstance(
        getattr(x, "variable", x), xarray.IndexVariable
    ):  # whose copies can't be written to
        base = (
            x.variable.to_base_variable()
            if isinstance(x, xarray.DataArray)
            else x.to_base_variable()
        )
        x = (
            xarray.DataArray(base, x.coords, name=x.name)
            if isinstance(x, xarray.DataArray)
            else base
        )
    result = x.copy(deep=False, data=data)
    return result if labels is None else result.assign_coords(labels)


def _in_variable(function: Function, name: Any, error: Exception) -> Exception:
    """The error of a variable, which can be left out if it holds no numbers."""
    error = _checks.inside(function, f"variable {name!r}", error, f"x[{name!r}]")
    if str(error).endswith(_checks.NO_NUMBERS):
        return type(error)(f"{error}, or leave it out, for example x.drop_vars({name!r})")
    return error


def _tree(function: Function, inside: Callable[..., Any], trees: Any, slopes: Any) -> Labelled:
    """Compute each group, a dataset; coordinates that groups inherit stay where they are, but for those of the root."""
    groups = [dict(tree.subtree_with_keys) for tree in trees]
    _checks.same_labels(function, "groups", {*groups[0]}, {*groups[-1]})
    results = {}
    with _numpy_errors.told_once(function):
        for path in groups[0]:
            sets = [each[path].to_dataset(inherit=path == ".") for each in groups]
            try:
                results[path] = delegate(function, inside, (*sets, *slopes), None)
            except (TypeError, ValueError) as error:
                raise _checks.inside(
                    function, f"group {path!r}", error, f"x[{path!r}].to_dataset()"
                ) from None
    return type(trees[0]).from_dict(results, name=trees[0].name)


def _slope(function: Function, x: Labelled, slope: Labelled) -> Labelled:
    """The variable of a slope, which has the coordinates of x where it has any."""
    if isinstance(x, xarray.Variable) or not isinstance(slope, xarray.DataArray):
        if type(slope) is not type(x):
            raise _checks.same_library(function, x, slope, NEGATIVE_SLOPE.name)
        return slope
    _coordinates(function, x, slope, NEGATIVE_SLOPE.name)
    return slope.variable


def _aligned(function: Function, x: Labelled, slope: Labelled) -> Any:
    """What is inside a slope, its dimensions where x has those of their names."""
    if unknown := [name for name in slope.dims if slope.sizes[name] not in (1, x.sizes.get(name))]:
        msg = (
            f"relu_xp.{function}: {NEGATIVE_SLOPE.name} must have dimensions of x, {dict(x.sizes)}, got "
            f"{dict(slope.sizes)}; rename or drop {', '.join(map(str, unknown))}"
        )
        raise ValueError(msg)
    slope = slope.transpose(*(name for name in x.dims if name in slope.dims))
    return slope.data[tuple(slice(None) if name in slope.dims else None for name in x.dims)]


def _computed(function: Function, inside: Callable[..., Any], arrays: Any, slopes: Any = ()) -> Any:
    """What is inside arrays whose dimensions have the same names, in any order; nothing is broadcast by name."""
    x, *others = arrays
    for g in others:  # of a dataset, each variable has dimensions of its own
        _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    beside = (g.data if g.dims == x.dims else g.transpose(*x.dims).data for g in others)
    return inside(x.data, *beside, *(_aligned(function, x, slope) for slope in slopes))


def _coordinates(function: Function, x: Labelled, g: Labelled, name: str = "cotangent") -> Any:
    """The coordinates of both: xarray's arithmetic drops those that differ, and here they are refused.

    None where those of x are all, and so need not be merged.
    """
    if {*x.xindexes} == {*g.xindexes} and x.coords.equals(g.coords):
        return None
    try:
        both = [a.coords.to_dataset() for a in (x, g)]
        return xarray.merge(both, join="exact", compat="equals", combine_attrs="override").coords
    except (xarray.AlignmentError, xarray.MergeError) as error:
        msg = (
            f"relu_xp.{function}: x and {name} must have the same coordinates; align them, or drop those that "
            f"differ from one, for example {name}.drop_vars(name); {error}"
        )
        raise ValueError(msg) from None
