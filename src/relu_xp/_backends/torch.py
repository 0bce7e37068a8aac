"""PyTorch tensors: computed by `_torch_kernels`, differentiated by VJPs, exported as operators.

- A value function is an autograd.Function (`_Value`), and its derivative is `function.vjp`. That
  VJP is another (`_VJP`), and its derivative in the cotangent is itself, since it is linear there.
  Both have rules for forward mode and vmap, so one text serves autograd, torch.func and compilers.
- torch.compile and torch.export record one operator of relu_xp, such as `relu_xp::leaky_relu`. To
  decompose it, torch runs this file on tensors without elements. It then records the
  autograd.Function, or kernels alone where no gradient is tracked.
- torch.jit.trace and the ONNX exporters get torch's own kernels. Their derivative at 0 and at NaN
  is torch's.
"""

import functools
from typing import Any

import numpy as np
import torch

from relu_xp import _checks, _dtypes
from relu_xp._backends import _torch_private as private
from relu_xp._backends._torch_kernels import (
    HOOKS_LIMIT,
    Plan,
    compute,
    formula,
    in_kernels,
    relu_by_threshold,
)
from relu_xp._functions import FUNCTIONS, PUBLIC, Function
from relu_xp._plans import Plans, bits

Array = Any  # a torch.Tensor
Arrays = tuple[Array, ...]

_KINDS = {getattr(torch, name): kind for name, kind in _dtypes.COMMON.items()}
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
# Plans of earlier calls. Key: (function, dtype, bits of the scalars that are not arrays). With an
# array of slopes there is one scalar fewer, so the bits are shorter.
_plans = Plans()


def owns(x: object) -> bool:
    """Whether x is a tensor, of a subclass too, or a proxy by which torch.fx traces a program."""
    return isinstance(x, (torch.Tensor, torch.fx.Proxy))


def call(function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument; compute, or record for whatever transform is under way.

    This is the fast path, for arguments that need no more checks than these: an earlier call with
    the same scalars has checked them. It builds the key of `_plan` itself, to save a frame.
    """
    if out is None and not torch.compiler.is_compiling() and not private.is_tracing():
        x = arrays[0]
        if _is_dense(x) and (len(arrays) == 1 or _is_like(x, arrays[1])):
            if plan := _plans.get((function, x.dtype, bits(scalars))):
                if plan.torch_kernel is None or x.requires_grad or private.is_observed():
                    return _compute_differentiably(plan, arrays, ())
                return plan.torch_kernel(x)  # one frame fewer: it shows with few elements
            if scalars and type(scalars[0]) in private.TENSOR_TYPES and _slopes_fit(scalars[0], x):
                plan = _plans.get((function, x.dtype, bits(scalars[1:])))
                if plan is not None:
                    return _compute_differentiably(plan, arrays, scalars[:1])
    return _checked_call(function, arrays, scalars, out)


def _is_dense(a: Array) -> bool:
    return type(a) in private.TENSOR_TYPES and a.layout is torch.strided and not a.is_nested


def _is_like(x: Array, g: Array) -> bool:
    return _is_dense(g) and g.dtype is x.dtype and g.shape == x.shape and g.device == x.device


def _slopes_fit(slopes: Array, x: Array) -> bool:
    """Whether slopes have the dtype and device of x, and broadcast to it."""
    is_alike = slopes.dtype is x.dtype and slopes.device == x.device
    return is_alike and _fits(slopes.shape, x.shape)


_fits = functools.lru_cache(maxsize=256)(_checks.fits)


def _checked_call(
    function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Array
) -> Array:
    """Take the slow path, for any arguments."""
    x = arrays[0]
    if any(isinstance(a, torch.fx.Proxy) for a in (*arrays, *scalars, out)):
        options = {**function.named(scalars), **({} if out is None else {"out": out})}
        return torch.overrides.handle_torch_function(
            PUBLIC[function], (*arrays, *scalars), *arrays, **options
        )
    rounded = _check(function, arrays, scalars, out)
    slopes = tuple([s.to(x.dtype) for s in rounded if isinstance(s, torch.Tensor)])
    numbers = rounded[len(slopes) :]
    if _KINDS[x.dtype] != "f":
        result = relu_by_threshold(x)
    elif torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        result = in_kernels(function, arrays, (*slopes, *numbers))
    elif torch.compiler.is_compiling():
        result = _overload(function, slopes)(*arrays, *slopes, *numbers)
    else:
        plan = _plan(function, x.dtype, scalars[len(slopes) :], numbers)
        result = _compute_differentiably(plan, arrays, slopes)
    # The result is complete before it is written, so `out` may overlap the arrays in any way.
    return result if out is None else out.copy_(result)


def _plan(
    function: Function, dtype: Any, given: tuple[Any, ...], rounded: tuple[float, ...]
) -> Plan:
    """Give the plan for numbers, remembered by their bits as given; keep a new one."""
    key = function, dtype, bits(given)
    if plan := _plans.get(key):
        return plan
    plan = Plan(function, dtype, rounded, slopes=len(given) < len(function.parameters))
    return plan if key[-1] is None else _plans.keep(key, plan)


def _check(
    function: Function, arrays: Arrays, scalars: tuple[Any, ...], out: Any
) -> tuple[Any, ...]:
    """Check every argument; return the scalars, with the numbers among them rounded."""
    if torch.compiler.is_compiling():
        # A number that changes between calls is symbolic. To hash it makes it a constant.
        scalars = tuple([s if isinstance(s, torch.Tensor) else next(iter({s})) for s in scalars])
        return _checks.call(_LIBRARY, function, arrays, scalars, out)
    for name, a in zip((*function.arrays, "out"), (*arrays, out), strict=True):
        if isinstance(a, torch.Tensor) and (a.layout is not torch.strided or a.is_nested):
            given = "nested" if a.is_nested else a.layout
            msg = (
                f"relu_xp.{function}: takes dense tensors, got layout {given}; "
                f"pass {name}.to_dense()"
            )
            raise TypeError(msg)
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)
    if out is not None and any(map(private.tracks, (*arrays, *rounded, out))):
        msg = (
            f"relu_xp.{function}: out cannot be written where gradients are tracked; "
            "leave out=None, or write it under torch.no_grad()"
        )
        raise TypeError(msg)
    if out is not None and private.shares_elements(out):
        msg = f"relu_xp.{function}: elements of out share memory; pass out.clone()"
        raise ValueError(msg)
    return rounded


def _compute_differentiably(plan: Plan, arrays: Arrays, slopes: Arrays) -> Array:
    """Compute in the cheapest way whose derivative, if one is asked for, is the definition's."""
    in_transform = private.in_transform()
    if not in_transform:
        for a in arrays + slopes if torch.is_grad_enabled() else ():
            if a.requires_grad:
                break
        else:
            return compute(plan, arrays, slopes)
    if plan.derivative_is_torchs:  # one kernel in a program too, where the formula is several
        return plan.torch_kernel(arrays[0])
    if (
        not in_transform
        and plan.saved_hooks
        and arrays[0].numel() <= HOOKS_LIMIT
        and not private.records_operations()
        and private.may_hook()
    ):
        return private.hooked(plan.torch_kernel(arrays[0]), plan.saved_hooks)
    role = plan.function.role
    # The result of an autograd.Function on a batched cotangent would have no graph.
    if role in _RULES and not any(map(private.is_batched_cotangent, arrays)):
        rule = _RULES[role]
        apply = private.transform_apply(rule, plan.function) if in_transform else _APPLY[role]
        return apply(plan, *arrays, *slopes)
    return _by_formula(plan, arrays, slopes)


def _by_formula(plan: Plan, arrays: Arrays, slopes: Arrays) -> Array:
    """Compute by the formula, and let torch differentiate each of its operations.

    The roles `grad` and `slope_vjp` are computed so, and VJPs of a batched cotangent: torch's
    derivative of each operation in their formulas is right.
    """
    x, *others = arrays
    if plan.function.role == "slope_vjp":
        # The result is 0 where x >= 0. Put zeros into the product there: torch's derivative would
        # multiply them by a NaN or an infinity.
        x, *others = (torch.where(arrays[0] < 0, a, a.new_zeros(())) for a in arrays)
    result = formula(plan.function, (x, *others), (*slopes, *plan.numbers))
    return _depending_on(x, result)


def _depending_on(x: Array, result: Array) -> Array:
    """Return the result with a graph that leads to x: its derivative there is zeros, not None."""
    return torch.where(x.new_zeros((), dtype=torch.bool), x, result)


class _Rule(torch.autograd.Function):  # type: ignore[misc]
    """What `_Value` and `_VJP` have in common: both act on arrays and slopes element by element."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Array) -> None:
        """Keep the arrays and slopes."""
        ctx.plan = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        if private.in_transform():
            ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], plan: Plan, *given: Array) -> Any:
        """Compute a whole batch at once: each array and slope gets the batch as its first axis.

        A slope keeps its axes of size 1, so that its gradient is reduced to them.
        """
        pairs, count = [*zip(given, in_dims[1:], strict=True)], len(plan.function.arrays)
        axes = max(a.ndim - (dim is not None) for a, dim in pairs)
        moved = list[Array]()
        for a, dim in pairs:
            batch = a[None] if dim is None else a.movedim(dim, 0)
            batch = batch[(slice(None), *[None] * (axes + 1 - batch.ndim))]
            is_slope = len(moved) >= count
            moved.append(batch if is_slope else batch.expand(info.batch_size, *batch.shape[1:]))
        return _compute_differentiably(plan, tuple(moved[:count]), tuple(moved[count:])), 0


class _Value(_Rule):
    """A value function. Its derivative in x is its VJP; that in the slope is `slope_vjp`."""

    @staticmethod
    def forward(plan: Plan, x: Array, *slopes: Array) -> Array:
        """Compute the value."""
        return compute(plan, (x,), slopes)

    @staticmethod
    def backward(ctx: Any, g: Array) -> Any:
        """Give the gradients in x and in the slope, the latter summed to the slope's shape."""
        x, *slopes = ctx.saved_tensors
        by_x, by_slopes = None, [None] * len(slopes)
        if ctx.needs_input_grad[1]:
            by_x = _compute_differentiably(ctx.plan.vjp, (x, g), tuple(slopes))
        if any(ctx.needs_input_grad[2:]):
            products = _compute_differentiably(ctx.plan.slope_vjp, (x, g), ())
            by_slopes = [products.sum_to_size(s.shape) for s in slopes]
        return None, by_x, *by_slopes

    @staticmethod
    def jvp(ctx: Any, _plan: None, t: Array | None, *slope_tangents: Array | None) -> Array:
        """Give the tangent of the result.

        The derivative of an element is one factor. So the VJP that multiplies a cotangent by it
        multiplies a tangent as well.
        """
        x, *slopes = ctx.saved_tensors
        terms = []
        if t is not None:
            terms.append(_compute_differentiably(ctx.plan.vjp, (x, t), tuple(slopes)))
        for ds in slope_tangents:
            if ds is not None:
                arrays = x, ds.expand(x.shape)
                terms.append(_compute_differentiably(ctx.plan.slope_vjp, arrays, ()))
        return functools.reduce(torch.add, terms)


class _VJP(_Rule):
    """A VJP of x and g. It is linear in g; its derivative in x is the second derivative times g."""

    @staticmethod
    def forward(plan: Plan, x: Array, g: Array, *slopes: Array) -> Array:
        """Compute the VJP."""
        return compute(plan, (x, g), slopes)

    @staticmethod
    def backward(ctx: Any, h: Array) -> Any:
        """Give the gradients in x, in g and in the slope for a cotangent h."""
        x, g, *slopes = ctx.saved_tensors
        by_x = _second_derivative(ctx.plan, x, g, h)
        by_g = _compute_differentiably(ctx.plan, (x, h), tuple(slopes))
        by_slopes = (_where_slope_acts(x, g * h).sum_to_size(s.shape) for s in slopes)
        return None, by_x, by_g, *by_slopes

    @staticmethod
    def jvp(
        ctx: Any, _plan: None, t: Array | None, dg: Array | None, *slope_tangents: Array | None
    ) -> Array:
        """Give the tangent of the result for tangents t of x, dg of g, and those of the slope."""
        x, g, *slopes = ctx.saved_tensors
        terms = []
        if dg is not None:
            terms.append(_compute_differentiably(ctx.plan, (x, dg), tuple(slopes)))
        if t is not None:
            terms.append(_second_derivative(ctx.plan, x, g, t))
        terms += [_where_slope_acts(x, g * ds) for ds in slope_tangents if ds is not None]
        return functools.reduce(torch.add, terms)


_RULES = {"value": _Value, "vjp": _VJP}
_APPLY = {role: private.eager_apply(rule) for role, rule in _RULES.items()}


def _second_derivative(plan: Plan, x: Array, g: Array, h: Array) -> Array:
    """Multiply g, h and the second derivative: 2 where x > 0 for squared_relu, 0 for all others."""
    zero = x.new_zeros(())
    if plan.function.curvature == 0:
        return _depending_on(x, zero)
    return torch.where(x > 0, (g + g) * h, zero)


def _where_slope_acts(x: Array, product: Array) -> Array:
    """Select the product where a VJP multiplies by the slope (x < 0 or NaN), else +0."""
    return torch.where(x >= 0, x.new_zeros(()), product)


def devices() -> list[str]:
    """List the CPU and the accelerators."""
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    return ["cpu", *(f"{accelerator}:{i}" for i in range(torch.accelerator.device_count()))]


def put(array: np.ndarray[Any, Any], device: str) -> Array:
    """Copy a NumPy array to the device so named."""
    copy = np.array(array)  # torch refuses negative strides, and warns of read-only memory
    if array.dtype.name == "bfloat16":  # torch does not know ml_dtypes' dtype
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(copy).to(device)


def get(x: Array) -> np.ndarray[Any, Any]:
    """Copy the tensor to the host."""
    x = x.detach().cpu()
    if x.dtype is torch.bfloat16:
        import ml_dtypes

        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def _run_operator(function: Function, has_slopes: bool, *given: Any) -> Array:
    """Run an operator of an exported program: on the arrays, then the slopes, then the numbers.

    Operators are public (`torch.ops.relu_xp`), so their arguments are checked too.
    """
    arrays, scalars = given[: len(function.arrays)], given[len(function.arrays) :]
    dtype = arrays[0].dtype
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, None)
    if _KINDS[dtype] != "f":
        return relu_by_threshold(arrays[0])
    slopes = tuple([each.to(dtype) for each in rounded[:has_slopes]])
    plan = _plan(function, dtype, scalars[has_slopes:], rounded[has_slopes:])
    return _compute_differentiably(plan, arrays, slopes)


def _define_operator(function: Function) -> Any:
    """Define `relu_xp::NAME`, and `relu_xp::NAME.slopes` if the function has a slope."""
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
        implementation = functools.partial(_run_operator, function, slopes)
        # The second key is torch.func's. Without it, torch.func would run the operator in each of
        # its transforms by itself, and of nested transforms only one would take effect.
        for key in ("CompositeImplicitAutograd", "FuncTorchDynamicLayerFrontMode"):
            _NAMESPACE.impl(name, implementation, key)
    return getattr(torch.ops.relu_xp, function.name)


def _overload(function: Function, slopes: Arrays) -> Any:
    """Give the overload of the function's operator for a slope that is a number, or an array."""
    return getattr(_OPERATORS[function], "slopes" if slopes else "default")


_NAMESPACE = torch.library.Library("relu_xp", "DEF")
_OPERATORS = {function: _define_operator(function) for function in FUNCTIONS.values()}
