"""PyTorch tensors: the formulas in torch's own operations, which all its devices, transforms and compilers know.

A schedule of the formulas in four respects, each tested bit-identical to them:

- Constants are 0-d tensors, broadcast: a full one would cost memory and a pass over it.
- Values that nobody differentiates come from torch's one kernel for them, where that gives the definition's bits:
  `threshold` (`relu` and `clamp_min` keep -0) and, for slopes that are not negative, `leaky_relu`.
- Values that somebody may differentiate come from the VJP applied to x itself. It is linear in what it pulls back, so
  torch's derivative of it, in either mode and under any transform, is that VJP again. What it gets wrong, some zeros
  and relu's NaN, constants put right. (An autograd.Function would need a `jvp`, at which torch.compile breaks its
  graph.)
- The common VJPs are torch's own backward kernels, given a comparison in place of x, which would let NaN pass and
  count a zero as negative. On a CPU `where` takes ten times as long, and what waits for the backward pass is this way
  one byte an element.
"""

import math
from typing import Any

import numpy as np
import torch
from torch._C import _are_functorch_transforms_active
from torch.autograd import forward_ad
from torch.nn import functional

from relu_xp import _checks, _formulas
from relu_xp._functions import FUNCTIONS, GRAD_AT_ZERO, Function

Array = Any  # a torch.Tensor

_aten = torch.ops.aten

_KINDS = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32, torch.float64), "f"),
    **dict.fromkeys((torch.int8, torch.int16, torch.int32, torch.int64), "i"),
    **dict.fromkeys((torch.uint8, torch.uint16, torch.uint32, torch.uint64), "u"),
}
_LIBRARY = _checks.Library(
    "a torch.Tensor", is_array=lambda a: isinstance(a, torch.Tensor), device=lambda a: a.device,
    is_writeable=lambda out: True, cast="cast it first, for example x.to(torch.float32)",
)


class _Namespace:
    """What the formulas call."""

    where = staticmethod(torch.where)

    @staticmethod
    def full_like(x: Array, value: float) -> Array:
        return x.new_full((), value)

    @staticmethod
    def ones_like(x: Array) -> Array:
        return x.new_full((), 1.0)

    @staticmethod
    def zeros_like(x: Array) -> Array:
        return x.new_full((), 0.0)


def owns(x: object) -> bool:
    """Tensors, parameters and other subclasses."""
    return isinstance(x, torch.Tensor)


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument and compute."""
    return _CALLS[function](function, *arrays, *scalars, out)


def devices() -> list[str]:
    """List the CPU and the accelerators."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ["cpu", *(f"{accelerator}:{i}" for i in range(torch.accelerator.device_count()))]


def put(array: np.ndarray[Any, Any], device: str) -> Array:
    """Copy a NumPy array to the device so named."""
    copy = np.array(array)  # which torch may write to, and whose strides are positive, as torch wants them
    if array.dtype.name == "bfloat16":  # ml_dtypes' own, unknown to torch
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(copy).to(device)


def get(x: Array) -> np.ndarray[Any, Any]:
    """Copy the tensor to the host."""
    x = x.detach().cpu()
    if x.dtype is torch.bfloat16:
        import ml_dtypes

        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def _call_relu(function: Function, x: Array, z: Any, out: Array) -> Array:
    """Rectify."""
    kind = _check(function, (x,), out)
    if kind != "f":
        _checks.real(function, "grad_at_zero", z)
        return _into(out, x.clone() if kind == "u" else torch.threshold(x, 0, 0))
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    if _is_tracked(x):
        nan_or_zero = torch.threshold(x.detach(), math.inf, 0)  # the sum with +0 is no -0
        return _relu_vjp(x, x, z) + nan_or_zero
    if out is x:
        return functional.threshold(x, 0, 0, inplace=True)
    return _into(out, torch.threshold(x, 0, 0))


def _call_relu_grad(function: Function, x: Array, z: Any, out: Array) -> Array:
    """Differentiate relu."""
    _check(function, (x,), out)
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    if _is_minus_zero(z):
        return _into(out, _formulas.relu_grad(_Namespace, x, z))
    return _into(out, _relu_vjp(x, x.new_full((), 1.0), z))


def _call_relu_vjp(function: Function, x: Array, g: Array, z: Any, out: Array) -> Array:
    """Pull g back through relu."""
    _check(function, (x, g), out)
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    return _into(out, _relu_vjp(x, g, z))


def _call_leaky_relu(function: Function, x: Array, s: Any, z: Any, out: Array) -> Array:
    """Rectify with a leak."""
    _check(function, (x,), out)
    s = _rounded(function, "negative_slope", s, x.dtype)
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    if _is_tracked(x) and not z == s > 0:  # when torch's own derivative is the definition's
        return _differentiable_leaky_relu(x, s, z)
    if s < 0 or _is_minus_zero(s):  # torch multiplies zeros too
        return _into(out, _leaky_relu_vjp(x, x, s, 1.0))
    if out is x:
        return functional.leaky_relu(x, s, inplace=True)
    return _into(out, functional.leaky_relu(x, s))


def _call_leaky_relu_grad(function: Function, x: Array, s: Any, z: Any, out: Array) -> Array:
    """Differentiate leaky_relu."""
    _check(function, (x,), out)
    s = _rounded(function, "negative_slope", s, x.dtype)
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    if _is_minus_zero(z):
        return _into(out, _formulas.leaky_relu_grad(_Namespace, x, s, z))
    return _into(out, _leaky_relu_vjp(x, x.new_full((), 1.0), s, z))


def _call_leaky_relu_vjp(function: Function, x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Pull g back through leaky_relu."""
    _check(function, (x, g), out)
    s = _rounded(function, "negative_slope", s, x.dtype)
    z = _rounded(function, "grad_at_zero", z, x.dtype)
    return _into(out, _leaky_relu_vjp(x, g, s, z))


_CALLS = {each: globals()[f"_call_{each.name}"] for each in FUNCTIONS.values()}


def _relu_vjp(x: Array, g: Array, z: float) -> Array:
    if z not in (0, 1) or _wants_formulas(x):
        return _formulas.relu_vjp(_Namespace, x, g, z)
    return _aten.threshold_backward(g, _active(x, z), 0)


def _leaky_relu_vjp(x: Array, g: Array, s: float, z: float) -> Array:
    if z == 0 or z not in (1, s) or _wants_formulas(x):
        return _formulas.leaky_relu_vjp(_Namespace, x, g, s, z)
    return _aten.leaky_relu_backward(g, _active(x, z), s, False)


def _wants_formulas(x: Array) -> bool:
    """Whether the backward kernels will not do; a compiler fuses the formulas, and would wait for those."""
    return torch.compiler.is_compiling() or _is_transformed(x)


def _active(x: Array, z: float) -> Array:
    """1 where the cotangent passes as it is, else 0; as bytes, which a CPU converts faster than it does bool."""
    return (x >= 0 if z == 1 else x > 0).view(torch.int8)


def _differentiable_leaky_relu(x: Array, s: float, z: float) -> Array:
    """Apply the VJP to x, where a product with z > 0 keeps a zero's sign; and mend the others."""
    if z > 0:
        return _leaky_relu_vjp(x, x, s, z)
    if z == 0:
        return torch.where(x == 0, x.detach(), _leaky_relu_vjp(x, x, s, z))
    # Each -0 goes in as +0, the product's -0 plus +0 is +0, and the sign is put back: a derivative of -1 * z * -1.
    one = x.new_full((), 1.0)
    sign = torch.where((x == 0) & torch.signbit(x), -one, one)
    plus_zero = torch.where(x == 0, x.new_full((), 0.0), x.new_full((), -0.0))  # -0 changes no sum
    return (_leaky_relu_vjp(x, x * sign, s, z) + plus_zero) * sign


def _is_minus_zero(scalar: float) -> bool:
    return scalar == 0 and math.copysign(1.0, scalar) < 0


def _is_tracked(x: Array) -> bool:
    """Whether torch may differentiate what is done to x; within vmap, x itself would not say so."""
    return (x.requires_grad and torch.is_grad_enabled()) or _is_transformed(x)


def _is_transformed(x: Array) -> bool:
    """Whether a derivative or a batch may be taken that backward kernels have no exact rule for.

    MPS counts as such: its kernels may not take operands of two dtypes.
    """
    return forward_ad._current_level >= 0 or _are_functorch_transforms_active() or x.is_mps


def _into(out: Array, result: Array) -> Array:
    """Write only what is computed, so that x, the cotangent and out may overlap."""
    return result if out is None else out.copy_(result)


def _check(function: Function, arrays: tuple[Array, ...], out: Array) -> str:
    x = arrays[0]
    kind = _KINDS.get(x.dtype, "")
    if kind != "f":
        _checks.dtype(function, x.dtype, kind, "cast it first, for example x.to(torch.float32)")
    for a in arrays:
        _check_dense(function, "x", a)
    if len(arrays) == 2:
        g = arrays[1]
        _checks.alike(function, x.dtype, x.shape, g.dtype, g.shape)
        _checks.same_device(function, "cotangent", x.device, g.device)
    if out is not None:
        _check_out(function, arrays, out)
    return kind


def _check_dense(function: Function, name: str, a: Array) -> None:
    if a.layout is not torch.strided or a.is_nested:
        given = "nested" if a.is_nested else a.layout
        msg = f"relu_xp.{function}: takes dense tensors, got layout {given}; pass {name}.to_dense()"
        raise TypeError(msg)


def _check_out(function: Function, arrays: tuple[Array, ...], out: Array) -> None:
    x = arrays[0]
    if isinstance(out, torch.Tensor):
        _check_dense(function, "out", out)
    _checks._out(_LIBRARY, function, x.dtype, x, out)
    if any(n > 1 and stride == 0 for n, stride in zip(out.shape, out.stride(), strict=True)):
        msg = f"relu_xp.{function}: out is broadcast, its elements share memory; pass out.clone()"
        raise ValueError(msg)
    if any(map(_is_tracked, (*arrays, out))):
        msg = (
            f"relu_xp.{function}: out cannot be written where gradients are tracked; leave out=None, or write it under "
            "torch.no_grad()"
        )
        raise TypeError(msg)


def _rounded(function: Function, name: str, value: Any, dtype: Any) -> float:
    """Round a scalar once to the dtype of x."""
    if value is GRAD_AT_ZERO.default:
        return value
    if torch.compiler.is_compiling() and type(value) is float:
        (value,) = {value}  # a float that changed between calls is symbolic until it is hashed
    return _rounded_constant(function, name, value, dtype)


def _rounded_constant(function: Function, name: str, value: Any, dtype: Any) -> float:
    return _checks.number(function, name, value, dtype)


# What torch.compiler.assume_constant_result does, which imports the whole compiler: the graph gets the rounded number.
_rounded_constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
