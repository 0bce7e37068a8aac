"""PyTorch tensors: the formulas in torch's own operations, which all its devices, transforms and compilers know.

A schedule of the formulas in three respects, each tested bit-identical to them:

- Eagerly, the usual functions run in the kernels of torch's own rectifiers, see `_torch_kernels`.
- A derivative is `function.vjp` in one of two ways. Where torch runs or compiles what is called, an autograd.Function
  applies it; for few elements torch's own function, whose backward pass is given a substitute for x.
- Where operations are recorded or transformed, which an autograd.Function would not survive, the VJP is applied to x
  itself: it is linear in what it pulls back, so that torch's derivative of it, of whatever kind, is that VJP again.
"""

import math
import sys
from typing import Any

import numpy as np
import torch

from relu_xp import _checks
from relu_xp._backends import _torch_private as private
from relu_xp._backends._torch_kernels import (
    FEW,
    FLOATS,
    INTEGERS,
    compute,
    differs_nowhere,
    formula,
    hooks_of,
    leaky,
    rectified,
    tracked_relu,
)
from relu_xp._functions import LEAKY_RELU, RELU, SQUARED_RELU, Function

Array = Any  # a torch.Tensor

_KINDS = {
    **dict.fromkeys(FLOATS, "f"),
    **dict.fromkeys((torch.int8, torch.int16, torch.int32, torch.int64), "i"),
    **dict.fromkeys((torch.uint8, torch.uint16, torch.uint32, torch.uint64), "u"),
}
_LIBRARY = _checks.Library(
    "a torch.Tensor",
    is_array=lambda a: isinstance(a, torch.Tensor),
    device=lambda a: a.device,
    kind=lambda dtype: _KINDS.get(dtype, ""),
    is_writeable=lambda _: True,
    cast="cast it first, for example x.to(torch.float32)",
)
_MANY = 1 << 17  # elements, up to which, on several threads, to make a substitute costs less than a Function of ours
_seen: dict[Any, tuple[Any, ...]] = {}  # numbers, the same rounded, and `hooks_of` them, by the ids of those given


def owns(x: object) -> bool:
    """Tensors, parameters and other subclasses; and the proxies that torch.fx traces a program with."""
    return isinstance(x, (torch.Tensor, torch.fx.Proxy))


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    x, eager = arrays[0], not torch.compiler.is_compiling()
    eager = eager and type(x) in private.PLAIN_TYPES and not private.is_recorded()
    is_plain = eager and out is None and len(arrays) == 1 and x.layout is torch.strided and not x.is_nested
    if is_plain and (seen := _seen.get((function, x.dtype, *map(id, scalars)))):
        _, rounded, hooks = seen
        if not (x.requires_grad and torch.is_grad_enabled()):
            return compute(function, arrays, rounded)
        if function.role == "value":
            return _tracked(function, x, rounded, hooks)
    if any(isinstance(a, torch.fx.Proxy) for a in (*arrays, *scalars, out)):
        public = getattr(sys.modules["relu_xp"], function.name)
        options = {**function.named(scalars), **({} if out is None else {"out": out})}
        return torch.overrides.handle_torch_function(public, (*arrays, *scalars), *arrays, **options)
    rounded = _check(function, arrays, scalars, out)
    if _KINDS[x.dtype] != "f":
        result = rectified(x)
    else:
        if eager and all(type(s) is float for s in scalars):
            if len(_seen) >= 256:
                _seen.clear()
            # Of which the first keeps the ids theirs.
            _seen[function, x.dtype, *map(id, scalars)] = scalars, rounded, hooks_of(function, rounded)
        scalars = tuple([s.to(x.dtype) if isinstance(s, torch.Tensor) else s for s in rounded])
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


def _check(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any) -> tuple[Any, ...]:
    if torch.compiler.is_compiling():
        # A number that changed between calls is symbolic until it is hashed.
        scalars = tuple([s if isinstance(s, torch.Tensor) else next(iter({s})) for s in scalars])
        return _checks.call(_LIBRARY, function, arrays, scalars, out)
    for name, a in zip((*function.arrays, "out"), (*arrays, out), strict=True):
        if isinstance(a, torch.Tensor) and (a.layout is not torch.strided or a.is_nested):
            given = "nested" if a.is_nested else a.layout
            msg = f"relu_xp.{function}: takes dense tensors, got layout {given}; pass {name}.to_dense()"
            raise TypeError(msg)
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)
    if out is not None and private.shares_elements(out):
        msg = f"relu_xp.{function}: elements of out share memory; pass out.clone()"
        raise ValueError(msg)
    if out is not None and any(map(private.is_watched, (*arrays, *rounded, out))):
        msg = (
            f"relu_xp.{function}: out cannot be written where gradients are tracked; leave out=None, or write it under "
            "torch.no_grad()"
        )
        raise TypeError(msg)
    return rounded


def _differentiable(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], eager: bool) -> Array:
    """Compute so that every derivative, whoever takes it, and when, is the definition's."""
    x, slopes = arrays[0], [s for s in scalars if isinstance(s, torch.Tensor)]
    compiled = torch.compiler.is_compiling() and not (torch.compiler.is_exporting() or private.is_transformed())
    is_tracked = torch.is_grad_enabled() and any(a.requires_grad for a in (*arrays, *slopes))
    if (eager or compiled) and not is_tracked:
        return compute(function, arrays, scalars)
    if function.role != "value":
        pull = _pulled if len(arrays) > 1 else formula
        return _linked(x, pull(function, arrays, scalars))
    if compiled:
        if differs_nowhere(function, scalars):
            return leaky(x, scalars[0])
        return _Rectifier.apply(x, (function, scalars), *slopes)
    if not eager:
        return _recordable(function, x, scalars)
    return _tracked(function, x, scalars, hooks_of(function, scalars), *slopes)


def _tracked(function: Function, x: Array, scalars: tuple[Any, ...], hooks: Any, *slopes: Array) -> Array:
    """Call a function of torch's own, made to have our derivative; or else apply a Function of ours."""
    n = x.numel()
    if function is RELU and hooks and n > FEW and x.is_cpu and (y := tracked_relu(x, scalars[0])) is not None:
        return y
    if hooks and (n <= FEW or (n <= _MANY and torch.get_num_threads() > 1)) and private.may_hook():
        return private.hooked(torch.threshold(x, 0, 0) if function is RELU else leaky(x, scalars[0]), hooks)
    if differs_nowhere(function, scalars):
        return leaky(x, scalars[0])
    return _apply(x, (function, scalars), *slopes)


class _Rectifier(torch.autograd.Function):  # type: ignore[misc]
    """A value function whose derivative is its VJP; slopes that are tensors, the first of the scalars, are tracked."""

    @staticmethod
    def forward(ctx: Any, x: Array, rule: tuple[Function, tuple[Any, ...]], *slopes: Array) -> Array:
        ctx.save_for_backward(x, *slopes)
        ctx.rule = function, scalars = rule
        return compute(function, (x,), slopes + scalars[len(slopes) :])

    @staticmethod
    def backward(ctx: Any, g: Array) -> Any:
        x, *slopes = ctx.saved_tensors
        function, scalars = ctx.rule
        scalars = (*slopes, *scalars[len(slopes) :])
        eager = not torch.compiler.is_compiling()
        if eager and torch.is_grad_enabled():  # somebody may differentiate this once more
            by_x = _linked(x, _pulled(function.vjp, (x, g), scalars))
        elif eager and (private.is_batched(g) or private.is_forward()):  # of which the kernels know nothing
            by_x = formula(function.vjp, (x, g), scalars)
        else:
            by_x = compute(function.vjp, (x, g), scalars)
        if not slopes:
            return by_x, None
        by_slope = torch.where(x < 0, x * g, x.new_zeros(()))
        return by_x, None, *(by_slope.sum_to_size(s.shape) for s in slopes)


_apply = private.apply_of(_Rectifier)


def _pulled(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Apply a VJP so that g takes part once: a sum of two shares of a cotangent could not keep -0."""
    x, g = arrays
    factor = formula(function, (x, x.new_full((), 1.0)), scalars)
    is_selected_zero = formula(function, (x, x.new_full((), math.inf)), scalars) == 0
    return torch.where(is_selected_zero, x.new_full((), 0.0), g * factor)


def _linked(x: Array, result: Array) -> Array:
    """Let a derivative depend on x as far as torch knows, so that a second one is zeros, not an error."""
    return torch.where(x.new_zeros((), dtype=torch.bool), x, result)


def _recordable(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    """Compose a value of operations whose derivative is the definition's."""
    if torch.onnx.is_in_onnx_export():
        return formula(function, (x,), scalars)  # which nobody differentiates
    if not private.is_transformed():
        x = leaky(x, 1.0)  # x itself; its second derivative is zeros, not an error
        if function is RELU and scalars[-1] == 1:
            return torch.clamp_min(x, 0) + 0.0  # the sum is no -0; within vmap, the derivative may be float64
    if not any(isinstance(s, torch.Tensor) for s in scalars):
        return _recordable_in_x(function, x, scalars)
    slope, *others = scalars
    if private.is_forward():  # the tangent of the slope must not meet an x that is not below 0
        product = torch.where(x < 0, x, x.new_full((), 1.0)) * slope
        return torch.where(x < 0, product, _recordable_in_x(function, x, (_fixed(slope), *others)))
    # Backwards, two shares of a cotangent would lose its -0.
    return _recordable_in_x(function, x, (torch.where(x < 0, slope, _fixed(slope)), *others))


def _recordable_in_x(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    if function is LEAKY_RELU and scalars[-1] > 0:
        return _pulled(function.vjp, (x, x), scalars)
    fixed, zero, one = _fixed(x), x.new_full((), 0.0), x.new_full((), 1.0)
    if function is SQUARED_RELU:  # the derivative of a square is (x + x) * g in torch too
        return torch.where(x > 0, torch.where(x > 0, x, one).square(), formula(function, (fixed,), scalars))
    constants = tuple([_fixed(s) if isinstance(s, torch.Tensor) else s for s in scalars])
    value, linear = formula(function, (fixed,), constants), _pulled(function.vjp, (fixed, fixed), constants)
    # Where that is not the value, the VJP is applied to a zero, and the value added. Reciprocals tell -0 from 0.
    is_right = ((linear == value) & (1 / linear == 1 / value)) | ((linear != linear) & (value != value))
    result = _pulled(function.vjp, (x, x - torch.where(is_right, zero, fixed)), scalars)
    result = result + torch.where(is_right, -zero, value)
    # No sum with +0 is -0: that is selected, where the derivative is zero.
    is_constant = ~is_right & (1 / value == -math.inf) & (formula(function.vjp, (fixed, one), constants) == 0)
    return torch.where(is_constant, value, result)


def _fixed(a: Array) -> Array:
    """The elements, which nothing differentiates; `detach` alone would be lost where torch decomposes an export."""
    if torch.jit.is_tracing() or private.is_transformed():
        return a.detach()
    return a.view(INTEGERS[a.itemsize]).view(a.dtype)
