"""Dask arrays: lazy, one task a block, in which the block goes to the public functions again.

So a block of NumPy, CuPy, masked or sparse arrays finds its own backend, and any dtype those compute with will do.
"""

import functools
from typing import Any

import dask.array as da

from relu_xp import _api, _checks

Array = Any  # a dask.array.Array


def owns(x: object) -> bool:
    """Arrays; a delayed or a dataframe is none."""
    return isinstance(x, da.Array)


def relu(x: Array, z: Any, out: None) -> Array:
    """Rectify."""
    return _run("relu", (x,), out, grad_at_zero=z)


def relu_grad(x: Array, z: Any, out: None) -> Array:
    """Differentiate relu."""
    return _run("relu_grad", (x,), out, grad_at_zero=z)


def relu_vjp(x: Array, g: Array, z: Any, out: None) -> Array:
    """Pull g back through relu."""
    return _run("relu_vjp", (x, g), out, grad_at_zero=z)


def leaky_relu(x: Array, s: Any, z: Any, out: None) -> Array:
    """Rectify with a leak."""
    return _run("leaky_relu", (x,), out, negative_slope=s, grad_at_zero=z)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: None) -> Array:
    """Differentiate leaky_relu."""
    return _run("leaky_relu_grad", (x,), out, negative_slope=s, grad_at_zero=z)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: None) -> Array:
    """Pull g back through leaky_relu."""
    return _run("leaky_relu_vjp", (x, g), out, negative_slope=s, grad_at_zero=z)


def devices() -> list[str]:
    """The scheduler decides where a block is computed."""
    return ["cpu"]


def put(array: Any, device: str) -> Array:
    """Hand a NumPy array to Dask, in several blocks where it has several rows."""
    return da.from_array(array.copy(), chunks=tuple(max(1, -(-n // 3)) for n in array.shape))


def get(x: Array) -> Any:
    """Compute."""
    return x.compute()


def _run(function: str, arrays: tuple[Array, ...], out: None, **scalars: Any) -> Array:
    _checks.no_out(function, out, "a Dask array")
    x, g = arrays[0], arrays[-1]
    _checks.cotangent(function, x.dtype, _sizes(x), g.dtype, _sizes(g))
    call = functools.partial(getattr(_api, function), **scalars)
    call(*(a._meta for a in arrays))  # arrays without elements, of the blocks' type: refuses now what they would later
    axes = tuple(range(x.ndim))
    operands = [each for a in arrays for each in (a, axes)]
    return da.blockwise(call, axes, *operands, name=None, token=function, dtype=x.dtype, meta=x._meta)


def _sizes(x: Array) -> tuple[int | None, ...]:
    """The shape, its unknown sizes as None: Dask has NaN for them, which would equal nothing."""
    return tuple(None if size != size else size for size in x.shape)
