"""Dask arrays and frames stay lazy: one task a block or partition, in which its own backend computes.

So a block of NumPy, CuPy, masked or sparse arrays will do, of any dtype that those compute with.
"""

import sys
from collections.abc import Callable
from typing import Any

import dask.array as da

from relu_xp import _checks
from relu_xp._functions import NEGATIVE_SLOPE, Function

Array = Any  # a dask.array.Array
Frame = Any  # a dask.dataframe.Series or DataFrame


def owns(x: object) -> bool:
    """Arrays and frames, but no index; a delayed is none."""
    return isinstance(x, da.Array) or _is_frame(x)


def _is_frame(x: object) -> bool:
    dd: Any = sys.modules.get(
        "dask.dataframe"
    )  # which needs pandas; not there, it cannot have made x
    return (
        dd is not None and isinstance(x, dd.DataFrame | dd.Series) and not isinstance(x, dd.Index)
    )


def slope_like(x: Array | Frame, name: str) -> str | None:
    """Say what makes a slope of a list, which must be Dask's, to be cut as x is; a frame takes none."""
    return (
        None
        if _is_frame(x)
        else f"a dask.array.Array, for example dask.array.asarray({name}, dtype=float)"
    )


def devices() -> list[str]:
    """The scheduler decides where a block is computed."""
    return ["cpu"]


def put(array: Any, device: str) -> Array:
    """Hand a NumPy array to Dask, in several blocks where it is longer than one element."""
    return da.from_array(array.copy(), chunks=tuple(max(1, -(-n // 3)) for n in array.shape))


def get(x: Array) -> Any:
    """Compute."""
    return x.compute()


def delegate(
    function: Function, inside: Callable[..., Any], arrays: tuple[Array, ...], out: None
) -> Array:
    """Add one task a block or partition."""
    _checks.no_out(function, out, "a Dask array")
    count = len(function.arrays)
    x, g = arrays[0], arrays[count - 1]
    if _is_frame(x):
        return _frame(function, inside, arrays)
    for name, a in zip((*function.arrays, NEGATIVE_SLOPE.name), arrays, strict=False):
        if _is_frame(a):
            raise _checks.same_library(function, x, a, name)
    _checks.alike(function, _native(x.dtype), _sizes(x), _native(g.dtype), _sizes(g))
    arrays = (*arrays[:count], *(_cut_as(function, x, slope) for slope in arrays[count:]))
    meta = inside(
        *(a._meta for a in arrays)
    )  # empty, of the blocks' type: refuses now what they would
    axes = tuple(range(x.ndim))
    operands = [each for a in arrays for each in (a, axes[x.ndim - a.ndim :])]
    return da.blockwise(
        inside, axes, *operands, name=None, token=function.name, dtype=meta.dtype, meta=meta
    )


def _frame(function: Function, inside: Callable[..., Any], frames: tuple[Frame, ...]) -> Frame:
    """Each partition for itself: none is moved to another so that labels agree, which pandas checks as it computes."""
    x = frames[0]
    if len(frames) > len(function.arrays):
        msg = (
            f"relu_xp.{function}: {NEGATIVE_SLOPE.name} must be a real number, got {_checks.type_name(frames[-1])}; "
            f"pass a Python float, since {_checks.type_name(x)} is computed in parts"
        )
        raise TypeError(msg)
    for g in frames[1:]:
        if type(g) is not type(x):
            raise _checks.same_library(function, x, g)
    meta = inside(*(a._meta for a in frames))  # empty: refuses now what the partitions would
    for g in frames[1:]:
        _checks.same_labels(function, "divisions", x.divisions, g.divisions)
    return x.map_partitions(inside, *frames[1:], meta=meta, align_dataframes=False)


def _cut_as(function: Function, x: Array, slope: Array) -> Array:
    """A slope in the chunks of x, so that x stays as it is."""
    _checks.broadcasts(function, NEGATIVE_SLOPE.name, _sizes(slope), _sizes(x))
    chunks = x.chunks[x.ndim - slope.ndim :]
    return slope.rechunk(
        tuple((1,) if n == 1 else c for n, c in zip(slope.shape, chunks, strict=True))
    )


def _native(dtype: Any) -> Any:
    """The results have the processor's byte order, whichever the arrays have."""
    return dtype.newbyteorder("=")


def _sizes(x: Array) -> tuple[int | None, ...]:
    """The shape, its unknown sizes as None: Dask has NaN for them, which would equal nothing."""
    return tuple(None if size != size else size for size in x.shape)
