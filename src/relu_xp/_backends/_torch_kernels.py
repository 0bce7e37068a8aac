"""The rectifiers in the kernels torch has for its own, where those give the definition's bits; else by the formulas.

On a CPU `where` takes ten times as long as a copy. Backward kernels get a comparison's 1 or 0 in place of x, of which
they would let NaN pass and count a zero as negative.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from relu_xp import _formulas
from relu_xp._functions import (
    CLIPPED_RELU,
    CLIPPED_RELU_VJP,
    LEAKY_RELU,
    LEAKY_RELU_VJP,
    RELU,
    RELU_VJP,
    SQUARED_RELU,
    SQUARED_RELU_VJP,
    Function,
)

Array = Any  # a torch.Tensor

leaky = functional.leaky_relu  # torch's own
_aten = torch.ops.aten
_ZERO = {dtype: torch.zeros((), dtype=dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


class _Namespace:
    """What the formulas call; constants are 0-d tensors, since full ones would cost memory and a pass over it."""

    where = staticmethod(torch.where)
    full_like = staticmethod(lambda x, value: x.new_full((), value))
    ones_like = staticmethod(lambda x: x.new_full((), 1.0))
    zeros_like = staticmethod(lambda x: x.new_full((), 0.0))


def formula(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Run the maths; there may be more scalars than it takes."""
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def compute(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Compute, and let nobody differentiate it: in one of torch's kernels, or by the formula, which compilers fuse."""
    kernel = None if torch.compiler.is_compiling() else _KERNELS.get(function)
    result = kernel(*arrays, *scalars) if kernel else None
    return formula(function, arrays, scalars) if result is None else result


def rectified(x: Array, z: float = 1.0) -> Array:
    """Give relu, of integers too; `torch.relu` and `clamp_min` keep -0."""
    return torch.threshold(x, 0, 0) if x.dtype.is_signed else x.clone()


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    active = _from(x, z) if z in (0, 1) else None
    return None if active is None else _masked(g, active)


def _leaky_relu(x: Array, s: Any, z: float) -> Array | None:
    if not isinstance(s, torch.Tensor) and math.copysign(1.0, s) > 0:
        return leaky(x, s)
    return _leaky_relu_vjp(x, x, s, 1.0)  # torch would multiply zeros too


def _leaky_relu_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if not isinstance(s, torch.Tensor) and (z == 1 or z == s != 0) and (active := _from(x, z)) is not None:
        return _aten.leaky_relu_backward.grad_input(g, active, s, False, grad_input=active)
    return None


def _clipped_relu(x: Array, c: float, z: float, k: float) -> Array:
    return rectified(x).clamp_max_(c)


def _clipped_relu_vjp(x: Array, g: Array, c: float, z: float, k: float) -> Array | None:
    if z in (0, 1) and k in (0, 1) and (active := _from(x, z)) is not None:
        below = torch.empty_like(x)
        (torch.le if k else torch.lt)(x, x.new_full((), c), out=below)
        return _masked(g, active.mul_(below))
    return None


def _squared_relu(x: Array) -> Array:
    active = rectified(x)
    return active.mul_(active)


def _squared_relu_vjp(x: Array, g: Array) -> Array | None:
    if (active := _from(x, 0.0)) is not None:
        return _masked((x + x).mul_(g), active)
    return None


_KERNELS: dict[Function, Any] = {
    RELU: rectified,
    RELU_VJP: _relu_vjp,
    LEAKY_RELU: _leaky_relu,
    LEAKY_RELU_VJP: _leaky_relu_vjp,
    CLIPPED_RELU: _clipped_relu,
    CLIPPED_RELU_VJP: _clipped_relu_vjp,
    SQUARED_RELU: _squared_relu,
    SQUARED_RELU_VJP: _squared_relu_vjp,
}


def _from(x: Array, z: float) -> Array | None:
    """1 where x is positive, or 0 if z is not 0; else 0, in the dtype of x: a bool takes a CPU three times as long."""
    active = torch.empty_like(x)
    if active.stride() == x.stride() and x.numel():  # else torch gives a new result strides of its own
        return (torch.ge if z == 1 else torch.gt)(x, _ZERO[x.dtype], out=active)
    return None


def _masked(g: Array, active: Array) -> Array:
    """Select g where `active` is 1, else +0; the result takes its place."""
    return _aten.threshold_backward.grad_input(g, active, 0, grad_input=active)
