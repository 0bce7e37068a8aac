"""Every private name of torch that the backend leans on, each beside the public one that could take its place.

A test says which of them is gone when torch moves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from relu_xp._functions import Function

prelu = (
    torch.ops.aten._prelu_kernel
)  # of slopes of any shape; public, of one for each channel: functional.prelu
PLAIN_TYPES = (
    torch.Tensor,
    torch.nn.Parameter,
)  # not subclasses, which may watch what is done to them
_functorch_is_active = torch._C._are_functorch_transforms_active
_is_batched = torch._C._functorch.is_legacy_batchedtensor
_unwrap = torch._C._functorch.unwrap_if_dead
_dispatch_modes = torch._C._len_torch_dispatch_stack
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch
_is_included = torch._C._dispatch_tls_is_dispatch_key_included
_saved_tensors_hooks = torch._C._autograd._top_saved_tensors_default_hooks
is_tracing = torch._C._is_tracing  # public, and three times as slow: torch.jit.is_tracing


def eager_apply(rule: type[torch.autograd.Function]) -> Any:
    """Give `rule.apply` without its search for transforms, which takes 1.5 µs; public: `rule.apply`."""
    return super(torch.autograd.Function, rule).apply


def apply_of(rule: type[torch.autograd.Function], function: Function) -> Any:
    """Give `rule.apply` as it is within forward mode and the transforms of torch.func."""
    if is_transformed(function):
        return rule.apply
    return enable_single_level_autograd_function()(eager_apply(rule))


def is_transformed(function: Function) -> bool:
    """Whether torch.func transforms what is done, and parts its transforms itself; not public yet.

    It has no rule yet for an autograd.Function within `functionalize`: there autograd's own serves,
    for one derivative.
    """
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


def is_batched(g: torch.Tensor) -> bool:
    """Whether `is_grads_batched` made one tensor of several; not public."""
    return _is_batched(g)


def is_differentiated() -> bool:
    """Whether forward mode or torch.func, whose levels are not all told to Python, is under way; not public yet."""
    return bool(forward_ad._current_level >= 0 or _functorch_is_active())


def is_watched_by_any() -> bool:
    """Whether anything but autograd's backward mode watches what is done."""
    return bool(_functorch_is_active() or _dispatch_modes() or forward_ad._current_level >= 0)


def is_recorded() -> bool:
    """Whether anything but autograd watches what is done; of all but tracing not public yet."""
    return bool(
        _functorch_is_active() or _dispatch_modes() or _is_included(_PRE_DISPATCH) or is_tracing()
    )


def is_program() -> bool:
    """Whether what is done becomes a program, and is not only watched, as a counter of operations does; not public."""
    return get_proxy_mode() is not None


def unwrapped(arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Give what transforms of torch.func that have ended left in their wrappers; not public."""
    return tuple(map(_unwrap, arrays))


def is_watched(a: Any) -> bool:
    """Whether torch would differentiate or batch what is done to a; within vmap, a itself would not say so."""
    if not isinstance(a, torch.Tensor):
        return False
    if torch.is_grad_enabled() and a.requires_grad:
        return True
    if _functorch_is_active():
        functorch = torch._C._functorch
        kinds = [level.key() for level in functorch.get_interpreter_stack()]
        return any(kind != functorch.TransformType.Functionalize for kind in kinds)
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(a).tangent is not None


def may_hook() -> bool:
    """Whether nobody else, such as a checkpoint, replaces what is saved for the backward pass; not public."""
    return _saved_tensors_hooks(False) is None


def hooks(function: Function, substitute: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Save x itself, and hand substitute(x) to the backward pass; torch then does not see that x was written to."""

    def unpack(saved: tuple[torch.Tensor, int]) -> torch.Tensor:
        x, version = saved
        if x._version != version:
            msg = (
                f"relu_xp.{function}: x was modified by an inplace operation, but its derivative needs it; "
                "clone it first"
            )
            raise RuntimeError(msg)
        return substitute(x)

    return _with_version, unpack


def _with_version(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    return x, x._version


def hooked(y: torch.Tensor, hooks: Any) -> torch.Tensor:
    """Let the node that made y take what it saved from the hooks; torch's notes on autograd name it, as not public."""
    if y.grad_fn is not None:  # inside of an operation of the caller's own there is none
        y.grad_fn._raw_saved_self.register_hooks(*hooks)
    return y


def shares_elements(out: torch.Tensor) -> bool:
    """Whether two elements lie at one place; not public yet, and of some strides torch does not know it."""
    known = torch._debug_has_internal_overlap(out)
    if known != 2 or out.numel() < 2:
        return known == 1
    reach = 0
    for stride, n in sorted(zip(out.stride(), out.shape, strict=True)):
        if (
            n > 1 and stride <= reach
        ):  # within the reach of smaller strides: only then can two be at one place
            return _meets_itself(out)
        reach += stride * (n - 1)
    return False


def _meets_itself(out: torch.Tensor) -> bool:
    """Find out by numbering every place."""
    span = 1 + sum((n - 1) * stride for n, stride in zip(out.shape, out.stride(), strict=True))
    places = torch.arange(span, device="cpu").as_strided(out.shape, out.stride())
    return places.unique().numel() < out.numel()
