"""PyTorch tensors: computed by `_torch_kernels`, differentiated by the VJPs of the same records, exported as operators.

- A value is an autograd.Function whose derivative is `function.vjp`, and that VJP is another: each is linear in what
  it pulls back, so that its own derivative is itself once more. Both know forward mode and vmap, so
  one rule serves autograd, torch.func and what compilers trace.
- torch.compile and torch.export record one operator of ours, such as `relu_xp::leaky_relu`. Whoever takes it apart
  runs this file on tensors without elements, and records the Function, or kernels alone where
  nothing is tracked.
- torch.jit.trace and the ONNX exporters get torch's own kernels, whose derivative at 0 and at NaN is torch's.
"""

import functools
import sys
from typing import Any

import numpy as np
import torch

from relu_xp import _checks
from relu_xp._backends import _torch_private as private
from relu_xp._backends._torch_kernels import (
    FEW,
    FLOATS,
    Plan,
    compute,
    formula,
    in_kernels,
    in_rows,
    rectified,
)
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._plans import Plans, bits

Array = Any  # a torch.Tensor
Arrays = tuple[Array, ...]

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
    casts={"torch.q": "take its numbers, for example x.dequantize()"},
    make="torch.as_tensor({}).to(x)",
)
_plans = Plans()  # by function, dtype and the bits of the scalars; of those after the first, where that is an array


def owns(x: object) -> bool:
    """Tensors, parameters and other subclasses; and the proxies that torch.fx traces a program with."""
    return isinstance(x, (torch.Tensor, torch.fx.Proxy))


def call(function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    if out is None and not torch.compiler.is_compiling() and not private.is_tracing():
        x = arrays[0]
        if _is_dense(x) and (len(arrays) == 1 or _is_like(x, arrays[1])):
            if plan := _plans.get((function, x.dtype, bits(scalars))):
                if plan.own is None or x.requires_grad or private.is_watched_by_any():
                    return _run(plan, arrays, ())
                return plan.own(x)  # at once: on few elements all else costs more than the kernel
            if scalars and type(scalars[0]) in private.PLAIN_TYPES and _fit(scalars[0], x):
                plan = _plans.get((function, x.dtype, None, bits(scalars[1:])))
                if plan is not None:
                    return _run(plan, arrays, scalars[:1])
    return _checked(function, arrays, scalars, out)


def _is_dense(a: Array) -> bool:
    return type(a) in private.PLAIN_TYPES and a.layout is torch.strided and not a.is_nested


def _is_like(x: Array, g: Array) -> bool:
    return _is_dense(g) and g.dtype is x.dtype and g.shape == x.shape and g.device == x.device


def _fit(slopes: Array, x: Array) -> bool:
    """Whether slopes need neither a cast nor a closer look."""
    if slopes.dtype is not x.dtype or slopes.device != x.device:
        return False
    try:
        in_rows(x.shape, slopes.shape)
    except ValueError:
        return False
    return True


def _checked(function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument first."""
    x = arrays[0]
    if any(isinstance(a, torch.fx.Proxy) for a in (*arrays, *scalars, out)):
        public = getattr(sys.modules["relu_xp"], function.name)
        options = {**function.named(scalars), **({} if out is None else {"out": out})}
        return torch.overrides.handle_torch_function(
            public, (*arrays, *scalars), *arrays, **options
        )
    rounded = _check(function, arrays, scalars, out)
    slopes = tuple([s.to(x.dtype) for s in rounded if isinstance(s, torch.Tensor)])
    numbers = rounded[len(slopes) :]
    if _KINDS[x.dtype] != "f":
        result = rectified(x)
    elif torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        result = in_kernels(function, arrays, (*slopes, *numbers))
    elif torch.compiler.is_compiling():
        result = _operator(function, slopes)(*arrays, *slopes, *numbers)
    else:
        plan = Plan(function, x.dtype, numbers, slopes=bool(slopes))
        if (given := bits(scalars[len(slopes) :])) is not None:
            _plans.keep((function, x.dtype, *([None] if slopes else []), given), plan)
        result = _run(plan, arrays, slopes)
    return (
        result if out is None else out.copy_(result)
    )  # only what is computed, so that all may overlap


def _check(
    function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Any
) -> tuple[Any, ...]:
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
    if out is not None and any(map(private.is_watched, (*arrays, *rounded, out))):
        msg = (
            f"relu_xp.{function}: out cannot be written where gradients are tracked; leave out=None, "
            "or write it under torch.no_grad()"
        )
        raise TypeError(msg)
    if out is not None and private.shares_elements(out):
        msg = f"relu_xp.{function}: elements of out share memory; pass out.clone()"
        raise ValueError(msg)
    return rounded


def _run(plan: Plan, arrays: Arrays, slopes: Arrays) -> Array:
    """Compute, and be differentiated by whoever may."""
    eager = not private.is_differentiated()
    if eager:
        for a in arrays + slopes if torch.is_grad_enabled() else ():
            if a.requires_grad:
                break
        else:
            return compute(plan, arrays, slopes)
    if plan.is_torchs:  # whatever records it: a compiler would differentiate the formula
        return plan.own(arrays[0])
    if (
        eager
        and plan.hooks
        and arrays[0].numel() <= FEW
        and not private.is_recorded()
        and private.may_hook()
    ):
        return private.hooked(plan.own(arrays[0]), plan.hooks)
    role = plan.function.role
    # Within a batch that `is_grads_batched` made, what a Function gives would have no graph.
    if role in _RULES and not any(map(private.is_batched, arrays)):
        apply = _APPLY[role] if eager else private.apply_of(_RULES[role], plan.function)
        return apply(plan, *arrays, *slopes)
    return _derivative(plan, arrays, slopes)


def _derivative(plan: Plan, arrays: Arrays, slopes: Arrays) -> Array:
    """Compute a derivative by operations whose own derivatives, for which few ask, are right.

    The result depends on x as far as torch knows, so that what is zero is zeros and not an error.
    """
    x, *others = arrays
    if (
        plan.function.role == "slope_vjp"
    ):  # the product takes part below 0 alone, and no NaN elsewhere may meet a zero
        x, *others = (torch.where(arrays[0] < 0, a, a.new_zeros(())) for a in arrays)
    result = formula(plan.function, (x, *others), (*slopes, *plan.numbers))
    return torch.where(x.new_zeros((), dtype=torch.bool), x, result)


class _Rule(torch.autograd.Function):  # type: ignore[misc]
    """What a value and its VJP have in common: all act element by element, on arrays and then on slopes."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Array) -> None:
        """Keep the arrays."""
        ctx.plan = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        if private.is_differentiated():
            ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], plan: Plan, *given: Array) -> Any:
        """Compute all of a batch at once: each array gets the batch as its first axis."""
        pairs, arrays = [*zip(given, in_dims[1:], strict=True)], len(plan.function.arrays)
        axes = max(a.ndim - (dim is not None) for a, dim in pairs)
        moved = list[Array]()
        for a, dim in pairs:
            batch = a[None] if dim is None else a.movedim(dim, 0)
            batch = batch[(slice(None), *[None] * (axes + 1 - batch.ndim))]
            whole = len(moved) < arrays
            moved.append(batch.expand(info.batch_size, *batch.shape[1:]) if whole else batch)
        return _run(plan, tuple(moved[:arrays]), tuple(moved[arrays:])), 0


class _Value(_Rule):
    """A value, whose derivative in x is its VJP."""

    @staticmethod
    def forward(plan: Plan, x: Array, *slopes: Array) -> Array:
        """Compute."""
        return compute(plan, (x,), slopes)

    @staticmethod
    def backward(ctx: Any, g: Array) -> Any:
        """Pull back; a slope's share is reduced to its shape."""
        x, *slopes = ctx.saved_tensors
        by_x = _run(ctx.plan.vjp, (x, g), tuple(slopes)) if ctx.needs_input_grad[1] else None
        if not any(ctx.needs_input_grad[2:]):
            return None, by_x, *(None for _ in slopes)
        return (
            None,
            by_x,
            *(_run(ctx.plan.slope_vjp, (x, g), ()).sum_to_size(s.shape) for s in slopes),
        )

    @staticmethod
    def jvp(ctx: Any, _plan: None, t: Array | None, *dots: Array | None) -> Array:
        """Push forward: a VJP of elements is its own transpose."""
        x, *slopes = ctx.saved_tensors
        terms = [] if t is None else [_run(ctx.plan.vjp, (x, t), tuple(slopes))]
        terms += [
            _run(ctx.plan.slope_vjp, (x, dot.expand(x.shape)), ())
            for dot in dots
            if dot is not None
        ]
        return functools.reduce(torch.add, terms)


class _VJP(_Rule):
    """A VJP: linear in the cotangent, and in x as flat as the rectifier is straight."""

    @staticmethod
    def forward(plan: Plan, x: Array, g: Array, *slopes: Array) -> Array:
        """Compute."""
        return compute(plan, (x, g), slopes)

    @staticmethod
    def backward(ctx: Any, h: Array) -> Any:
        """Differentiate once more."""
        x, g, *slopes = ctx.saved_tensors
        by_x, by_g = _twice(ctx.plan, x, g, h), _run(ctx.plan, (x, h), tuple(slopes))
        zero = x.new_zeros(())
        by_slopes = (torch.where(x >= 0, zero, g * h).sum_to_size(s.shape) for s in slopes)
        return None, by_x, by_g, *by_slopes

    @staticmethod
    def jvp(ctx: Any, _plan: None, t: Array | None, dg: Array | None, *dots: Array | None) -> Array:
        """Push forward."""
        x, g, *slopes = ctx.saved_tensors
        terms = [] if dg is None else [_run(ctx.plan, (x, dg), tuple(slopes))]
        if t is not None:
            terms.append(_twice(ctx.plan, x, g, t))
        zero = x.new_zeros(())
        terms += [torch.where(x >= 0, zero, g * dot) for dot in dots if dot is not None]
        return functools.reduce(torch.add, terms)


_RULES = {"value": _Value, "vjp": _VJP}
_APPLY = {role: private.eager_apply(rule) for role, rule in _RULES.items()}


def _twice(plan: Plan, x: Array, g: Array, h: Array) -> Array:
    """The second derivative times g and h: 2 g h where x > 0 for the squared rectifier, and zeros for all others."""
    if plan.function.compares:
        return torch.where(x.new_zeros((), dtype=torch.bool), x, x.new_zeros(()))
    return torch.where(x > 0, (g + g) * h, x.new_zeros(()))


def devices() -> list[str]:
    """List the CPU and the accelerators."""
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    return ["cpu", *(f"{accelerator}:{i}" for i in range(torch.accelerator.device_count()))]


def put(array: np.ndarray[Any, Any], device: str) -> Array:
    """Copy a NumPy array to the device so named."""
    copy = np.array(
        array
    )  # which torch may write to, and whose strides are positive, as torch wants them
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


def _implementation(function: Function, slopes: bool, *given: Any) -> Array:
    """Run an operator, recorded or parted from transforms: the arrays, a slope among them, and the numbers."""
    arrays, scalars = given[: len(function.arrays)], given[len(function.arrays) :]
    dtype = arrays[0].dtype
    rounded = _checks.call(
        _LIBRARY, function, arrays, scalars, None
    )  # who calls an operator may be anybody
    held, numbers = tuple([each.to(dtype) for each in rounded[:slopes]]), rounded[slopes:]
    if _KINDS[dtype] != "f":
        return rectified(arrays[0])
    key = (function, dtype, *([None] if slopes else []), bits(numbers))
    plan = _plans.get(key) or _plans.keep(key, Plan(function, dtype, numbers, slopes=slopes))
    return _run(plan, arrays, held)


def _defined(function: Function) -> Any:
    """Define `relu_xp::NAME`, and `relu_xp::NAME.slopes` where the first scalar may be an array."""
    arrays = [f"Tensor {each}" for each in function.arrays]
    for overload, slopes in (("", False), (".slopes", True)):
        if slopes and not any(each.may_be_array for each in function.parameters):
            continue
        kinds = [
            "Tensor" if slopes and each.may_be_array else "float" for each in function.parameters
        ]
        scalars = [
            f"{kind} {each.name}" for kind, each in zip(kinds, function.parameters, strict=True)
        ]
        name = f"{function}{overload}"
        _NAMESPACE.define(f"{name}({', '.join(arrays + scalars)}) -> Tensor")
        implementation = functools.partial(_implementation, function, slopes)
        # The second key is torch.func's, which would part its transforms and lose all but one of
        # them.
        for key in ("CompositeImplicitAutograd", "FuncTorchDynamicLayerFrontMode"):
            _NAMESPACE.impl(name, implementation, key)
    return getattr(torch.ops.relu_xp, function.name)


def _operator(function: Function, slopes: Arrays) -> Any:
    """The overload of the function's operator."""
    return getattr(_OPERATORS[function], "slopes" if slopes else "default")


_NAMESPACE = torch.library.Library("relu_xp", "DEF")
_OPERATORS = {function: _defined(function) for function in FUNCTIONS.values()}
