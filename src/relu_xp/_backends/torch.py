"""PyTorch tensors: the formulas in torch's own operations, which all its devices, transforms and compilers know.

A schedule of the formulas in three respects, each tested bit-identical to them:

- Constants are 0-d tensors, broadcast: a full one would cost memory and a pass over it.
- On a CPU `where` takes ten times as long as a copy, so the usual functions run in the kernels of torch's own
  rectifiers, where those give the definition's bits. Backward kernels get a comparison's 1 or 0 in place of x, of which
  they would let NaN pass and count a zero as negative.
- A derivative is `function.vjp` in one of two ways. Where torch runs or compiles what is called, an autograd.Function
  applies it. Where operations are recorded or transformed, which an autograd.Function would not survive, the VJP is
  applied to x itself: it is linear in what it pulls back, so that torch's derivative of it is that VJP again.
"""

import functools
import math
import operator
import sys
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from relu_xp import _checks, _formulas
from relu_xp._backends import _torch_private as private
from relu_xp._functions import LEAKY_RELU, LEAKY_RELU_VJP, RELU, RELU_VJP, Function

Array = Any  # a torch.Tensor

_KINDS = {
    **dict.fromkeys((torch.float16, torch.bfloat16, torch.float32, torch.float64), "f"),
    **dict.fromkeys((torch.int8, torch.int16, torch.int32, torch.int64), "i"),
    **dict.fromkeys((torch.uint8, torch.uint16, torch.uint32, torch.uint64), "u"),
}
_LIBRARY = _checks.Library(
    "a torch.Tensor",
    is_array=lambda a: isinstance(a, torch.Tensor),
    dtype=lambda a: a.dtype,
    shape=lambda a: a.shape,
    device=lambda a: a.device,
    kind=lambda dtype: _KINDS.get(dtype, ""),
    is_writeable=lambda _: True,
    cast="cast it first, for example x.to(torch.float32)",
)
_ZERO = {dtype: torch.zeros((), dtype=dtype) for dtype, kind in _KINDS.items() if kind == "f"}
_FEW = 1024  # elements, up to which the least calls are fastest, and from which on the least memory
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_leaky_relu_backward = private.direct(torch.ops.aten.leaky_relu_backward.default)
_leaky_relu_backward_into = torch.ops.aten.leaky_relu_backward.grad_input


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
    """Tensors, parameters and other subclasses; and the proxies that torch.fx traces a program with."""
    return isinstance(x, torch.Tensor) or type(x) is torch.fx.Proxy


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    x = arrays[0]
    eager = _is_eager(*arrays)
    if eager and out is None and len(arrays) == 1 and all(map(operator.is_, scalars, function.defaults)):
        if x.dtype in _ZERO and function.role == "value":  # the usual call: nothing that can fail
            usual = _usual(function, x.dtype)
            return _apply(x, (function, usual)) if _is_tracked(x) else _compute(function, arrays, usual)
    if not isinstance(x, torch.Tensor):
        return _record_call(function, arrays, scalars, out)
    scalars = _check(function, arrays, scalars, out)
    result = _differentiable(function, arrays, scalars, eager)
    return result if out is None else out.copy_(result)  # only what is computed, so that all may overlap


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


def _is_eager(*arrays: Array) -> bool:
    """Whether torch runs what is called at once, and nothing but autograd's backward mode watches it."""
    return not (
        torch.compiler.is_compiling()
        or any(
            type(a) not in (torch.Tensor, torch.nn.Parameter) or a.layout is not torch.strided or a.is_nested
            for a in arrays
        )
        or private.functorch_is_active()
        or private.in_dual_level()
        or private.dispatch_modes()
        or private.is_tracing()
    )


def _is_tracked(*arrays: Any) -> bool:
    return torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in arrays)


def _differentiable(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], eager: bool) -> Array:
    """Compute so that every derivative is the definition's."""
    x = arrays[0]
    compiled = torch.compiler.is_compiling() and not (torch.compiler.is_exporting() or private.functorch_is_active())
    if _KINDS[x.dtype] != "f":
        return x.clone() if _KINDS[x.dtype] == "u" else torch.threshold(x, 0, 0)
    scalars = tuple([s.to(x.dtype) if isinstance(s, torch.Tensor) else s for s in scalars])
    if (eager or compiled) and not _is_tracked(*arrays, *scalars):
        return _compute(function, arrays, scalars)
    if function.role != "value":
        result = _pulled(function, *arrays, scalars) if function.role == "vjp" else _formula(function, arrays, scalars)
        return _linked(x, result)
    if eager or compiled:
        slopes = [s for s in scalars if isinstance(s, torch.Tensor)]  # which come first
        return _Rectifier.apply(x, (function, scalars), *slopes)
    return _recordable(function, x, scalars)


def _formula(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def _compute(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Compute, and let nobody differentiate it: in one of torch's kernels, or by the formula, which compilers fuse."""
    kernel = None if torch.compiler.is_compiling() else _KERNELS.get(function)
    result = kernel(*arrays, *scalars) if kernel else None
    return _formula(function, arrays, scalars) if result is None else result


def _relu(x: Array, z: float) -> Array:
    return torch.threshold(x, 0, 0)  # `relu` and `clamp_min` keep -0


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    if z not in (0, 1):
        return None
    if x.numel() <= _FEW:
        zero = _ZERO[x.dtype]
        return torch.where(x >= zero if z == 1 else x > zero, g, zero)
    active = _active(x, z)
    return _threshold_backward(g, active, 0, grad_input=active)


def _leaky_relu(x: Array, s: Any, z: float) -> Array | None:
    if isinstance(s, torch.Tensor):
        return None
    if s < 0 or _is_minus_zero(s):  # torch multiplies zeros too
        return _leaky_relu_vjp(x, x, s, 1.0)
    return functional.leaky_relu(x, s)


def _leaky_relu_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if isinstance(s, torch.Tensor) or z == 0 or z not in (1, s):
        return None
    active = _active(x, z)
    if x.numel() <= _FEW:
        return _leaky_relu_backward(g, active, s, False)
    return _leaky_relu_backward_into(g, active, s, False, grad_input=active)


_KERNELS = {RELU: _relu, RELU_VJP: _relu_vjp, LEAKY_RELU: _leaky_relu, LEAKY_RELU_VJP: _leaky_relu_vjp}


def _active(x: Array, z: float) -> Array:
    """1 where the cotangent passes as it is, else 0, in the dtype of x: a bool takes a CPU three times as long."""
    return (torch.ge if z == 1 else torch.gt)(x, _ZERO[x.dtype], out=torch.empty_like(x))


def _is_minus_zero(scalar: float) -> bool:
    return scalar == 0 and math.copysign(1.0, scalar) < 0


@functools.cache
def _usual(function: Function, dtype: torch.dtype) -> tuple[Any, ...]:
    """The defaults, rounded."""
    return tuple(_checks.number(function, each.name, each.default, dtype) for each in function.parameters)


class _Rectifier(torch.autograd.Function):
    """A value function, whose derivative is its VJP; of the scalars, tensors come after all else, to be tracked."""

    @staticmethod
    def forward(ctx: Any, x: Array, rule: tuple[Function, tuple[Any, ...]], *slopes: Array) -> Array:
        ctx.save_for_backward(x, *slopes)
        ctx.rule = rule
        function, scalars = rule
        return _compute(function, (x,), slopes + scalars[len(slopes) :])

    @staticmethod
    def backward(ctx: Any, g: Array) -> Any:
        x, *slopes = ctx.saved_tensors
        function, scalars = ctx.rule
        scalars = (*slopes, *scalars[len(slopes) :])
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # somebody may differentiate this once more
            by_x = _linked(x, _pulled(function.vjp, x, g, scalars))
        else:
            by_x = _compute(function.vjp, (x, g), scalars)
        if not slopes:
            return by_x, None
        by_slope = torch.where(x < 0, x * g, x.new_zeros(()))
        return by_x, None, *(by_slope.sum_to_size(s.shape) for s in slopes)


_apply = private.apply_of(_Rectifier)


def _pulled(function: Function, x: Array, g: Array, scalars: tuple[Any, ...]) -> Array:
    """Apply a VJP so that g takes part once: a sum of two shares of a cotangent could not keep -0."""
    factor = _formula(function, (x, x.new_full((), 1.0)), scalars)
    is_selected_zero = _formula(function, (x, x.new_full((), math.inf)), scalars) == 0
    return torch.where(is_selected_zero, x.new_full((), 0.0), g * factor)


def _linked(x: Array, result: Array) -> Array:
    """Let a derivative depend on x as far as torch knows, so that a second one is zeros, not an error."""
    return torch.where(x.new_zeros((), dtype=torch.bool), x, result)


def _recordable(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    """Compose a value of operations whose derivative is the definition's, whoever takes it, and when."""
    *_, z = scalars
    if not private.functorch_is_active():
        if not torch.onnx.is_in_onnx_export():
            x = functional.leaky_relu(x, 1.0)  # x itself; its second derivative is zeros, not an error
        if function is RELU and z == 1:
            return torch.clamp_min(x, 0) + 0.0  # the sum is no -0; within vmap, the derivative may be float64
    # A slope is not differentiated where x is NaN.
    scalars = tuple([torch.where(x < 0, s, s.detach()) if isinstance(s, torch.Tensor) else s for s in scalars])
    if function is LEAKY_RELU and z > 0:
        return _pulled(function.vjp, x, x, scalars)
    fixed = x.detach()
    constants = tuple([s.detach() if isinstance(s, torch.Tensor) else s for s in scalars])
    value, linear = _formula(function, (fixed,), constants), _pulled(function.vjp, fixed, fixed, constants)
    # Elsewhere the VJP is applied to a zero, and the value added. Reciprocals tell -0 from 0, also in ONNX.
    is_right = ((linear == value) & (1 / linear == 1 / value)) | ((linear != linear) & (value != value))
    zero = x.new_full((), 0.0)
    result = _pulled(function.vjp, x, x - torch.where(is_right, zero, fixed), scalars)
    result = result + torch.where(is_right, -zero, value)
    # No sum makes -0 of +0: where the derivative is zero, none is needed.
    is_lost = (
        ~is_right & (1 / value == -math.inf) & (_formula(function.vjp, (fixed, x.new_full((), 1.0)), constants) == 0)
    )
    return torch.where(is_lost, value, result)


def _record_call(function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
    """Let a proxy of torch.fx record a call of the public function, as it does of torch's own."""
    public = getattr(sys.modules["relu_xp"], function.name)
    options = function.named(scalars) | ({} if out is None else {"out": out})
    return torch.overrides.handle_torch_function(public, arrays, *arrays, **options)


def _check(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any) -> tuple[Any, ...]:
    for name, a in zip((*function.arrays, "out"), (*arrays, out), strict=True):
        if isinstance(a, torch.Tensor) and (a.layout is not torch.strided or a.is_nested):
            given = "nested" if a.is_nested else a.layout
            msg = f"relu_xp.{function}: takes dense tensors, got layout {given}; pass {name}.to_dense()"
            raise TypeError(msg)
    if torch.compiler.is_compiling():  # a number that changed between calls is symbolic until it is hashed
        scalars = tuple([s if isinstance(s, torch.Tensor) else next(iter({s})) for s in scalars])
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)
    if out is not None:
        if _shares_elements(out):
            msg = f"relu_xp.{function}: elements of out share memory; pass out.clone()"
            raise ValueError(msg)
        if any(map(_is_watched, (*arrays, *rounded, out))):
            msg = (
                f"relu_xp.{function}: out cannot be written where gradients are tracked; leave out=None, or write it "
                "under torch.no_grad()"
            )
            raise TypeError(msg)
    return rounded


def _shares_elements(out: Array) -> bool:
    """Whether two elements lie at one place: not if each stride steps over all that the smaller ones reach."""
    reach = 0
    for stride, n in sorted(zip(out.stride(), out.shape, strict=True)):
        if n > 1 and stride <= reach:
            places = sum(
                torch.arange(n).mul(s).reshape(-1, *[1] * i)
                for i, (s, n) in enumerate(zip(reversed(out.stride()), reversed(out.shape)))
            )
            return places.unique().numel() < out.numel()
        reach += stride * (n - 1)
    return False


def _is_watched(a: Any) -> bool:
    """Whether torch would differentiate or batch what is done to it; within vmap it would not say so itself."""
    if not isinstance(a, torch.Tensor):
        return False
    if private.functorch_is_active() and not private.only_functionalizes():
        return True
    has_tangent = private.in_dual_level() and torch.autograd.forward_ad.unpack_dual(a).tangent is not None
    return has_tangent or _is_tracked(a)
