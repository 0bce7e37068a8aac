"""xarray's labelled arrays keep their names, coordinates and attributes.

Dask stays lazy, and whatever array is inside finds its own backend.
"""

from collections.abc import Callable
from typing import Any

import xarray

from relu_xp import _checks
from relu_xp._backends import _numpy_errors
from relu_xp._backends._host import devices as devices
from relu_xp._backends._host import get as get
from relu_xp._functions import NEGATIVE_SLOPE, Function

Labeled = Any  # an xarray.DataArray, Dataset, DataTree or Variable


def owns(x: object) -> bool:
    """Own arrays, single, in a set or in a tree, with coordinates or without."""
    return isinstance(x, xarray.DataArray | xarray.Dataset | xarray.DataTree | xarray.Variable)


def put(array: Any, device: str) -> Labeled:
    """Label a NumPy array by its axes, counted from the last: so names broadcast as NumPy does."""
    return xarray.DataArray(array, dims=[f"axis_{axis}" for axis in range(-array.ndim, 0)])


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Labeled, ...],
    slope: Any,
    out: None,
) -> Labeled:
    """Compute each array inside; the result has the labels of x and those of the cotangent."""
    _checks.no_out(function, out, "an xarray object")
    x, g = arrays[0], arrays[-1]
    if type(x) is not type(g):
        raise _checks.same_library(function, x, g)
    if isinstance(x, xarray.DataTree):
        return _tree(function, inside, arrays, slope)
    _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    slope = None if slope is None else _slope(function, x, slope)
    labels = None if x is g or isinstance(x, xarray.Variable) else _coordinates(function, x, g)
    if isinstance(x, xarray.Dataset):
        _checks.same_labels(function, "variables", set(x.data_vars), set(g.data_vars))
        tables, data = [a.variables for a in arrays], {}
        with _numpy_errors.told_once(function):
            for name in x.data_vars:
                try:
                    data[name] = _computed(function, inside, [each[name] for each in tables], slope)
                except (TypeError, ValueError) as error:
                    raise _in_variable(function, name, error) from None
    else:
        data = _computed(function, inside, arrays, slope)
    result = _writeable(x).copy(deep=False, data=data)
    return result if labels is None else result.assign_coords(labels)


def _writeable(x: Labeled) -> Labeled:
    """Return x; of an index, whose copies can't be written, an ordinary variable."""
    if not isinstance(getattr(x, "variable", x), xarray.IndexVariable):
        return x
    if isinstance(x, xarray.Variable):
        return x.to_base_variable()
    return xarray.DataArray(x.variable.to_base_variable(), x.coords, name=x.name)


def _in_variable(function: Function, name: Any, error: Exception) -> Exception:
    """Name the variable in the error; if it holds no numbers, it can be left out."""
    error = _checks.in_part(function, f"variable {name!r}", error, f"x[{name!r}]")
    if str(error).endswith(_checks.NO_NUMBERS):
        return type(error)(f"{error}, or leave it out, for example x.drop_vars({name!r})")
    return error


def _tree(function: Function, inside: Callable[..., Any], trees: Any, slope: Any) -> Labeled:
    """Compute each group as a dataset.

    Coordinates that a group inherits stay where they are. Only the root keeps those from above it.
    """
    groups = [dict(tree.subtree_with_keys) for tree in trees]
    _checks.same_labels(function, "groups", {*groups[0]}, {*groups[-1]})
    results = {}
    with _numpy_errors.told_once(function):
        for path in groups[0]:
            sets = [each[path].to_dataset(inherit=path == ".") for each in groups]
            try:
                results[path] = delegate(function, inside, tuple(sets), slope, None)
            except (TypeError, ValueError) as error:
                raise _checks.in_part(
                    function, f"group {path!r}", error, f"x[{path!r}].to_dataset()"
                ) from None
    return type(trees[0]).from_dict(results, name=trees[0].name)


def _slope(function: Function, x: Labeled, slope: Any) -> Labeled:
    """The variable of a slope, which has the coordinates of x where it has any."""
    if not owns(slope):
        name = NEGATIVE_SLOPE.name
        raise _checks.no_number(function, name, slope, f", or {_made(x, name)}")
    if isinstance(x, xarray.Variable) or not isinstance(slope, xarray.DataArray):
        if type(slope) is not type(x):
            raise _checks.same_library(function, x, slope, NEGATIVE_SLOPE.name)
        return slope
    _coordinates(function, x, slope, NEGATIVE_SLOPE.name)
    return slope.variable


def _made(x: Labeled, name: str) -> str:
    """Say what makes a slope of a list; its dimensions are the last ones of x."""
    dims, numbers = f"[*x.sizes][-numpy.ndim({name}):]", f"numpy.asarray({name}, float)"
    if isinstance(x, xarray.Variable):
        return f"an xarray.Variable, for example xarray.Variable({dims}, {numbers})"
    code = f"xarray.DataArray({numbers}, dims={dims})"
    return f"an xarray.DataArray with dimensions of x, for example {code}"


def _aligned(function: Function, x: Labeled, slope: Labeled) -> Any:
    """The array inside a slope, with its dimensions where x has those of the same names."""
    if unknown := [name for name in slope.dims if slope.sizes[name] not in (1, x.sizes.get(name))]:
        msg = (
            f"relu_xp.{function}: {NEGATIVE_SLOPE.name} must have dimensions of x, "
            f"{dict(x.sizes)}, got {dict(slope.sizes)}; rename or drop "
            f"{', '.join(map(str, unknown))}"
        )
        raise ValueError(msg)
    slope = slope.transpose(*(name for name in x.dims if name in slope.dims))
    return slope.data[tuple(slice(None) if name in slope.dims else None for name in x.dims)]


def _computed(
    function: Function, inside: Callable[..., Any], arrays: Any, slope: Labeled | None
) -> Any:
    """Compute the arrays inside; the dimensions may be in another order, but none is broadcast."""
    x, *others = arrays
    for g in others:  # each variable of a dataset has dimensions of its own
        _checks.alike(function, None, dict(x.sizes), None, dict(g.sizes))
    held = [g.data if g.dims == x.dims else g.transpose(*x.dims).data for g in arrays]
    return inside(*held, slope=None if slope is None else _aligned(function, x, slope))


def _coordinates(function: Function, x: Labeled, g: Labeled, name: str = "cotangent") -> Any:
    """Merge the coordinates of both, or return None if x has them all.

    xarray's arithmetic drops coordinates that differ; here they are refused.
    """
    if {*x.xindexes} == {*g.xindexes} and x.coords.equals(g.coords):
        return None
    try:
        both = [a.coords.to_dataset() for a in (x, g)]
        return xarray.merge(both, join="exact", compat="equals", combine_attrs="override").coords
    except (xarray.AlignmentError, xarray.MergeError) as error:
        msg = (
            f"relu_xp.{function}: x and {name} must have the same coordinates; align them, or drop "
            f"those that differ from one, for example {name}.drop_vars(name); {error}"
        )
        raise ValueError(msg) from None
