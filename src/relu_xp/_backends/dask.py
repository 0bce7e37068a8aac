"""Dask arrays and frames stay lazy: one task a block or partition, which its own backend computes.

So the blocks may be arrays of any library and dtype that relu_xp computes with.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import dask.array as da

from relu_xp import _checks
from relu_xp._backends._host import devices as devices
from relu_xp._backends._host import get as get
from relu_xp._functions import NEGATIVE_SLOPE, Function

Array = Any  # a dask.array.Array
Frame = Any  # a dask.dataframe.Series or DataFrame


def owns(x: object) -> bool:
    """Own arrays and frames, but no index, and nothing delayed."""
    return isinstance(x, da.Array) or _is_frame(x)


def _is_frame(x: object) -> bool:
    # It is not imported here, since it needs pandas. A module that is not there has not made x.
    dd: Any = sys.modules.get("dask.dataframe")
    return (
        dd is not None and isinstance(x, dd.DataFrame | dd.Series) and not isinstance(x, dd.Index)
    )


def put(array: Any, device: str) -> Array:
    """Hand a NumPy array to Dask, in several blocks where an axis is longer than one element."""
    return da.from_array(array.copy(), chunks=tuple(max(1, -(-n // 3)) for n in array.shape))


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Array, ...],
    slope: Any,
    out: None,
) -> Array:
    """Add one task a block or partition."""
    _checks.no_out(function, out, "a Dask array")
    x, g = arrays[0], arrays[-1]
    if _is_frame(x):
        if slope is not None:
            raise _checks.one_slope(function, x, slope, "x.to_dask_array(lengths=True)")
        return _frame(function, inside, arrays)
    if _is_frame(g):
        raise _checks.same_library(function, x, g)
    _checks.alike(function, _native(x.dtype), _sizes(x), _native(g.dtype), _sizes(g))
    slopes = () if slope is None else (_cut_as(function, x, slope),)
    blocks = functools.partial(_block, inside, len(arrays))
    # The meta is an empty array of the blocks' type: a call on it refuses now what they would.
    meta = blocks(*(a._meta for a in (*arrays, *slopes)))
    axes = tuple(range(x.ndim))
    operands = [each for a in (*arrays, *slopes) for each in (a, axes[x.ndim - a.ndim :])]
    return da.blockwise(blocks, axes, *operands, token=function.name, dtype=meta.dtype, meta=meta)


def _block(inside: Callable[..., Any], count: int, *blocks: Any) -> Any:
    """Compute a block; that of a slope comes last, since Dask cuts no keyword arguments."""
    slope = blocks[count] if len(blocks) > count else None
    return inside(*blocks[:count], slope=slope)


def _frame(function: Function, inside: Callable[..., Any], frames: tuple[Frame, ...]) -> Frame:
    """Compute each partition alone.

    None is moved to align labels: pandas checks them as it computes.
    """
    x = frames[0]
    for g in frames[1:]:
        if type(g) is not type(x):
            raise _checks.same_library(function, x, g)
    meta = inside(*(a._meta for a in frames))  # empty: it refuses now what the partitions would
    for g in frames[1:]:
        _checks.same_labels(function, "divisions", x.divisions, g.divisions)
    return x.map_partitions(inside, *frames[1:], meta=meta, align_dataframes=False)


def _cut_as(function: Function, x: Array, slope: Any) -> Array:
    """Give the slope the chunks of x, so that x stays as it is."""
    if not isinstance(slope, da.Array):
        if _is_frame(slope):
            raise _checks.same_library(function, x, slope, NEGATIVE_SLOPE.name)
        name = NEGATIVE_SLOPE.name
        made = f"a dask.array.Array, for example dask.array.asarray({name}, dtype=float)"
        raise _checks.no_number(function, name, slope, f", or {made}")
    _checks.broadcasts(function, NEGATIVE_SLOPE.name, _sizes(slope), _sizes(x))
    chunks = x.chunks[x.ndim - slope.ndim :]
    return slope.rechunk(
        tuple((1,) if n == 1 else c for n, c in zip(slope.shape, chunks, strict=True))
    )


def _native(dtype: Any) -> Any:
    """The dtype in the processor's byte order, which results have."""
    return dtype.newbyteorder("=")


def _sizes(x: Array) -> tuple[int | None, ...]:
    """The shape with None for unknown sizes: Dask's NaN is not equal to itself."""
    return tuple(None if size != size else size for size in x.shape)
