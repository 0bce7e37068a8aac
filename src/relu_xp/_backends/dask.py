"""Dask arrays stay lazy: one task a block, in which the block's own backend computes.

So a block of NumPy, CuPy, masked or sparse arrays will do, of any dtype that those compute with.
"""

from collections.abc import Callable
from typing import Any

import dask.array as da

from relu_xp import _checks
from relu_xp._functions import NEGATIVE_SLOPE, Function

in_parts = takes_slopes = True  # an array in the place of a scalar must be Dask's, to be cut as x is

Array = Any  # a dask.array.Array


def owns(x: object) -> bool:
    """Arrays; a delayed or a dataframe is none."""
    return isinstance(x, da.Array)


def devices() -> list[str]:
    """The scheduler decides where a block is computed."""
    return ["cpu"]


def put(array: Any, device: str) -> Array:
    """Hand a NumPy array to Dask, in several blocks where it is longer than one element."""
    return da.from_array(array.copy(), chunks=tuple(max(1, -(-n // 3)) for n in array.shape))


def get(x: Array) -> Any:
    """Compute."""
    return x.compute()


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Array, ...], out: None) -> Array:
    """Add one task a block."""
    _checks.no_out(function, out, "a Dask array")
    count = len(function.arrays)
    x, g = arrays[0], arrays[count - 1]
    _checks.alike(function, _native(x.dtype), _sizes(x), _native(g.dtype), _sizes(g))
    arrays = (*arrays[:count], *(_cut_as(function, x, slope) for slope in arrays[count:]))
    meta = inside(*(a._meta for a in arrays))  # empty, of the blocks' type: refuses now what they would
    axes = tuple(range(x.ndim))
    operands = [each for a in arrays for each in (a, axes[x.ndim - a.ndim :])]
    return da.blockwise(inside, axes, *operands, name=None, token=function.name, dtype=meta.dtype, meta=meta)


def _cut_as(function: Function, x: Array, slope: Array) -> Array:
    """A slope in the chunks of x, so that x stays as it is."""
    _checks.broadcasts(function, NEGATIVE_SLOPE.name, _sizes(slope), _sizes(x))
    chunks = x.chunks[x.ndim - slope.ndim :]
    return slope.rechunk(tuple((1,) if n == 1 else c for n, c in zip(slope.shape, chunks, strict=True)))


def _native(dtype: Any) -> Any:
    """The results have the processor's byte order, whichever the arrays have."""
    return dtype.newbyteorder("=")


def _sizes(x: Array) -> tuple[int | None, ...]:
    """The shape, its unknown sizes as None: Dask has NaN for them, which would equal nothing."""
    return tuple(None if size != size else size for size in x.shape)
