"""Every private name of torch that the backend uses, beside the public name that could replace it.

A test names the ones that are gone when torch moves.

Five parties may watch what is done to tensors, besides autograd's reverse mode. Each function
below asks for those that change what its caller must do:

=====================  ==========  ============  =============  ============  =========
asks for               torch.func  forward mode  dispatch mode  pre-dispatch  jit.trace
=====================  ==========  ============  =============  ============  =========
in_transform           x           x
is_observed            x           x             x              x
records_operations     x                         x              x             x
=====================  ==========  ============  =============  ============  =========

A dispatch mode is a `TorchDispatchMode`, such as the tracer of make_fx or a counter of operations.
Pre-dispatch is the same, before autograd and autocast take part.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from relu_xp._functions import Function

# It takes slopes of any shape. The public functional.prelu takes one slope, or one a channel.
prelu = torch.ops.aten._prelu_kernel
# Other subclasses may define what an operation on them does, so they take the slow path.
TENSOR_TYPES = (torch.Tensor, torch.nn.Parameter)
_functorch_is_active = torch._C._are_functorch_transforms_active
_is_batched = torch._C._functorch.is_legacy_batchedtensor
_unwrap_if_dead = torch._C._functorch.unwrap_if_dead
_count_dispatch_modes = torch._C._len_torch_dispatch_stack
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch
_is_included = torch._C._dispatch_tls_is_dispatch_key_included
_saved_tensors_hooks = torch._C._autograd._top_saved_tensors_default_hooks
is_tracing = torch._C._is_tracing  # public: torch.jit.is_tracing, which takes three times as long


def in_transform() -> bool:
    """Whether forward mode or a transform of torch.func is under way; not public.

    Python cannot tell which tensors take part: the levels of torch.func are not all visible to it.
    """
    return bool(forward_ad._current_level >= 0 or _functorch_is_active())


def is_observed() -> bool:
    """Whether anything but reverse mode sees a call of a kernel; not public.

    The caller has excluded jit.trace. It asks on behalf of a tensor that needs no gradient.
    """
    return bool(
        _functorch_is_active()
        or _count_dispatch_modes()
        or forward_ad._current_level >= 0
        or _is_included(_PRE_DISPATCH)
    )


def records_operations() -> bool:
    """Whether each operation of torch's is seen, so that a loop over addresses would be missed.

    Only torch.jit.is_tracing is public.
    """
    return bool(
        _functorch_is_active()
        or _count_dispatch_modes()
        or _is_included(_PRE_DISPATCH)
        or is_tracing()
    )


def makes_program() -> bool:
    """Whether the dispatch mode makes a program (make_fx, export), and does not only count or log.

    Not public.
    """
    return get_proxy_mode() is not None


def tracks(a: Any) -> bool:
    """Whether torch would differentiate or batch what is computed from `a`; not public.

    Within vmap, `a.requires_grad` is False though `a` may be batched: so every tensor counts there.
    """
    if not isinstance(a, torch.Tensor):
        return False
    if torch.is_grad_enabled() and a.requires_grad:
        return True
    if _functorch_is_active():
        functorch = torch._C._functorch
        kinds = [level.key() for level in functorch.get_interpreter_stack()]
        return any(kind != functorch.TransformType.Functionalize for kind in kinds)
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(a).tangent is not None


def is_batched_cotangent(g: torch.Tensor) -> bool:
    """Whether `torch.autograd.grad(is_grads_batched=True)` stands for several by g; not public."""
    return _is_batched(g)


def eager_apply(rule: type[torch.autograd.Function]) -> Any:
    """Give `rule.apply` without its search for transforms, which takes 1.5 µs.

    Public: `rule.apply`.
    """
    return super(torch.autograd.Function, rule).apply


def transform_apply(rule: type[torch.autograd.Function], function: Function) -> Any:
    """Give `rule.apply` for forward mode and the transforms of torch.func.

    Under `functionalize`, torch.func has no rule for an autograd.Function. Autograd's own apply
    works there, for one derivative.
    """
    if _functorch_has_rule(function):
        return rule.apply
    return enable_single_level_autograd_function()(eager_apply(rule))


def _functorch_has_rule(function: Function) -> bool:
    """Whether torch.func is active, and without `functionalize`; not public."""
    if not _functorch_is_active():
        return False
    kinds = [level.key() for level in torch._C._functorch.get_interpreter_stack()]
    transforms = torch._C._functorch.TransformType
    if transforms.Functionalize not in kinds:
        return True
    if kinds.count(transforms.Grad) + kinds.count(transforms.Jvp) > 1:
        msg = (
            f"relu_xp.{function}: torch.func.functionalize takes one derivative, got more; "
            "leave it out, or use torch.fx.experimental.proxy_tensor.make_fx"
        )
        raise NotImplementedError(msg)
    return False


def unwrapped(arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Give the tensors within the wrappers of torch.func transforms that have ended; not public."""
    return tuple(map(_unwrap_if_dead, arrays))


def may_hook() -> bool:
    """Whether the caller has no hooks on saved tensors, as a checkpoint has; not public."""
    return _saved_tensors_hooks(False) is None


def hooks(function: Function, substitute: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Make hooks that save x itself, and give substitute(x) to the backward pass.

    Torch does not check the version of what hooks have packed. So `unpack` refuses an x that was
    written to meanwhile, as torch does for its own.
    """

    def unpack(saved: tuple[torch.Tensor, int]) -> torch.Tensor:
        x, version = saved
        if x._version != version:
            msg = (
                f"relu_xp.{function}: x was modified by an inplace operation, "
                "but its derivative needs it; clone it first"
            )
            raise RuntimeError(msg)
        return substitute(x)

    return _with_version, unpack


def _with_version(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    return x, x._version


def hooked(y: torch.Tensor, hooks: Any) -> torch.Tensor:
    """Register the hooks at the node that made y; torch's notes on autograd call this private.

    There is no node inside of the caller's own autograd.Function or custom operator.
    """
    if y.grad_fn is not None:
        y.grad_fn._raw_saved_self.register_hooks(*hooks)
    return y


def shares_elements(out: torch.Tensor) -> bool:
    """Whether two elements of `out` have one address; not public.

    Torch answers yes (1), no (0) or "unknown" (2). Unknown are strides such as (3, 2) of the shape
    (2, 3), whose addresses 0, 2, 4, 3, 5, 7 are all different.
    """
    known = torch._debug_has_internal_overlap(out)
    if known != 2 or out.numel() < 2:
        return known == 1
    reach = 0
    for stride, n in sorted(zip(out.stride(), out.shape, strict=True)):
        # A stride beyond the reach of all smaller ones cannot make two addresses equal.
        if n > 1 and stride <= reach:
            return _has_equal_offsets(out)
        reach += stride * (n - 1)
    return False


def _has_equal_offsets(out: torch.Tensor) -> bool:
    """Compare the offsets of all elements."""
    span = 1 + sum((n - 1) * stride for n, stride in zip(out.shape, out.stride(), strict=True))
    offsets = torch.arange(span, device="cpu").as_strided(out.shape, out.stride())
    return offsets.unique().numel() < out.numel()
