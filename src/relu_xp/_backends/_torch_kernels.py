"""The rectifiers in the kernels torch has for its own, where those give the definition's bits; else by the formulas.

On a CPU `where` takes ten times as long as a copy. Backward kernels get a comparison's 1 or 0 in place of x, of which
they would let NaN pass and count a zero as negative.
"""

import math
from typing import Any

import torch
from torch.nn import functional

from relu_xp import _formulas
from relu_xp._backends import _torch_private as private
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

try:
    from relu_xp._native import _ufuncs  # type: ignore[attr-defined]
except ImportError:  # there was no compiler when this was installed
    _ufuncs = None

Array = Any  # a torch.Tensor

leaky = functional.leaky_relu  # torch's own
_aten = torch.ops.aten
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
with private.outside_of_modes():  # within which this may be imported
    _ZERO = {dtype: torch.zeros((), dtype=dtype, device="cpu") for dtype in FLOATS}
_NUMPYS = (torch.float16, torch.float32, torch.float64)  # NumPy has no bfloat16
FEW = 1 << 15  # elements, up to which torch computes on one thread
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_INFINITY = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F800000, torch.float64: 0x7FF << 52}


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
    """Compute, and let nobody differentiate it: in one kernel or a few; or by the formula, which compilers fuse."""
    result = None if torch.compiler.is_compiling() else _in_a_kernel(function, arrays, scalars)
    return formula(function, arrays, scalars) if result is None else result


def _in_a_kernel(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array | None:
    kernel = _KERNELS.get(function)
    if kernel is None or function.role != "value":
        result = _by_our_loops(function, arrays, scalars[: len(function.scalars)])
        if result is not None:
            return result
    return kernel(*arrays, *scalars) if kernel else None


def _by_our_loops(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array | None:
    """Compute in one pass, where torch would run on one thread too."""
    x = arrays[0]
    if (
        _ufuncs is None
        or x.dtype not in _NUMPYS
        or (x.numel() > FEW and torch.get_num_threads() > 1)
        or not all(private.is_plain(a) for a in arrays)
        or any(isinstance(s, torch.Tensor) for s in scalars)
    ):
        return None
    result = torch.empty_like(x)
    if any(a.stride() != result.stride() for a in arrays) or not x.numel():
        return None  # torch gives such results strides of its own
    getattr(_ufuncs, function.name)(*[a.numpy(force=True) for a in arrays], *scalars, out=result.numpy())
    _ufuncs.take_errors()  # which torch does not tell of
    return result


def hooks_of(function: Function, scalars: tuple[Any, ...]) -> Any:
    """What has torch's own function differentiate at a substitute for x, where its derivative is ours at x; or None."""
    if function is RELU and scalars[0] in (0, 1):
        return private.hooks(function, _active if scalars[0] else _positive)
    if function is LEAKY_RELU and _is_torchs(scalars[0]) and scalars[1] == 1:
        return private.hooks(function, _active)
    return None


def differs_nowhere(function: Function, scalars: tuple[Any, ...]) -> bool:
    """Whether torch's own function is ours, its derivative at zero too."""
    return function is LEAKY_RELU and not isinstance(scalars[0], torch.Tensor) and scalars[0] == scalars[1] > 0


def tracked_relu(x: Array, z: float) -> Array | None:
    """Relu with a derivative of torch's own: what is above the greatest normal number below 0 is 0, or not below it.

    None for a subnormal, and for NaN, through which torch would pass a cotangent. A subnormal threshold would be taken
    for 0 where the processor is told to; float16's are none to float32, as which torch compares.
    """
    info = torch.finfo(x.dtype)
    greatest = -info.smallest_normal * (info.eps if x.dtype is torch.float16 else 1)
    y = torch.threshold(x, z * greatest, 0)
    return y if _is_unsigned(y) or _is_unsigned(y.detach().add_(0.0)) else None


def _is_unsigned(y: Array) -> bool:
    """Whether there is neither a sign nor a NaN, by one look at the bits."""
    low, high = torch.aminmax(y.detach().view(INTEGERS[y.itemsize]))
    return low.item() >= 0 and high.item() <= _INFINITY[y.dtype]


def rectified(x: Array, z: float = 1.0) -> Array:
    """Give relu, of integers too; `torch.relu` and `clamp_min` keep -0."""
    return torch.threshold(x, 0, 0) if x.dtype.is_signed else x.clone()


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    active = _from(x, z) if z in (0, 1) else None
    return None if active is None else _masked(g, active)


def _leaky_relu(x: Array, s: Any, z: float) -> Array | None:
    return leaky(x, s) if _is_torchs(s) else _leaky_relu_vjp(x, x, s, 1.0)


def _is_torchs(s: Any) -> bool:
    """Whether torch's leaky_relu is ours: of a slope with a sign it would multiply zeros too."""
    return not isinstance(s, torch.Tensor) and math.copysign(1.0, s) > 0


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


def _active(x: Array) -> Array:
    """1 where x >= 0, else 0, in the dtype of x: a bool takes a CPU three times as long."""
    return torch.ge(x, _ZERO[x.dtype], out=torch.empty_like(x))


def _positive(x: Array) -> Array:
    return torch.gt(x, _ZERO[x.dtype], out=torch.empty_like(x))


def _from(x: Array, z: float) -> Array | None:
    """1 where x is positive, or 0 if z is not 0; in whose place the result can be."""
    active = _active(x) if z == 1 else _positive(x)
    return active if active.stride() == x.stride() and x.numel() else None  # else a new result has its own strides


def _masked(g: Array, active: Array) -> Array:
    """Select g where `active` is 1, else +0; the result takes its place."""
    return _aten.threshold_backward.grad_input(g, active, 0, grad_input=active)
