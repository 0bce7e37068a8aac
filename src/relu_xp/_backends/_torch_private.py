"""Every private name of torch that the backend leans on, each beside the public one that could take its place.

A test says which of them is gone when torch moves. `_dispatch` imports this file before it looks for the owner of a
first array, so that torch.compile can trace that search; the backend itself may only then be imported.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.utils._python_dispatch
from torch.autograd import forward_ad

from relu_xp import _dtypes
from relu_xp._functions import Function

_dispatch = sys.modules["relu_xp._dispatch"]  # which imports this file, and which backends do not import

# torch.compile runs these while it traces, and takes what they return as it stands. Public, but it imports the whole
# compiler: torch.compiler.assume_constant_result.
_while_tracing: tuple[Any, ...] = (_dispatch._candidates, _dispatch.load, _dtypes.rounded, _dtypes.kind)
for _each in _while_tracing:
    _each._dynamo_marked_constant = True

_functorch_is_active = torch._C._are_functorch_transforms_active
_is_batched = torch._C._functorch.is_legacy_batchedtensor
PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)  # not subclasses, which may watch what is done to them
_saved_tensors_hooks = torch._C._autograd._top_saved_tensors_default_hooks
outside_of_modes = torch.utils._python_dispatch._disable_current_modes
_dispatch_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing  # public, and three times as slow: torch.jit.is_tracing


def apply_of(function: type[torch.autograd.Function]) -> Any:
    """Give `function.apply` without its search for transforms, which takes 1.5 µs; public: `function.apply`."""
    return super(torch.autograd.Function, function).apply


def is_transformed() -> bool:
    """Whether torch.func transforms what is done; not public yet."""
    return _functorch_is_active()


def is_batched(g: torch.Tensor) -> bool:
    """Whether vmap, or `is_grads_batched`, made one tensor of several; not public yet."""
    return bool(_is_batched(g) or _functorch_is_active())


def is_forward() -> bool:
    """Whether forward mode is under way, torch.func.jvp's too; not public yet."""
    return bool(forward_ad._current_level >= 0)


def is_recorded() -> bool:
    """Whether anything but autograd's backward mode watches what is done; of all but tracing not public yet."""
    return bool(_functorch_is_active() or forward_ad._current_level >= 0 or _dispatch_modes() or _is_tracing())


def is_plain(a: torch.Tensor) -> bool:
    """Whether it is elements in the host's memory, and nobody looks at what is done to it; not public."""
    return type(a) in PLAIN_TYPES and a.is_cpu and not (is_recorded() or is_batched(a))


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
    """What saves x, and takes substitute(x) for it; torch itself then does not see what is written to x meanwhile."""

    def unpack(saved: tuple[torch.Tensor, int]) -> torch.Tensor:
        x, version = saved
        if x._version != version:
            msg = f"relu_xp.{function}: x was modified by an inplace operation, but its derivative needs it; clone it"
            raise RuntimeError(msg)
        return substitute(x)

    return _with_version, unpack


def _with_version(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    return x, x._version


def hooked(y: torch.Tensor, hooks: Any) -> torch.Tensor:
    """Let the node that made y go by the hooks; torch's notes on autograd name what it has saved, as not public."""
    if y.grad_fn is not None:  # as it is inside of an operation of the caller's own
        y.grad_fn._raw_saved_self.register_hooks(*hooks)
    return y


def shares_elements(out: torch.Tensor) -> bool:
    """Whether two elements lie at one place; not public yet, and of some strides torch does not know it."""
    known = torch._debug_has_internal_overlap(out)
    if known != 2 or out.numel() < 2:
        return known == 1
    reach = 0
    for stride, n in sorted(zip(out.stride(), out.shape, strict=True)):
        if n > 1 and stride <= reach:  # less than all that smaller strides reach: only then can two be at one place
            span = 1 + sum((n - 1) * stride for n, stride in zip(out.shape, out.stride(), strict=True))
            places = torch.arange(span).as_strided(out.shape, out.stride())
            return places.unique().numel() < out.numel()
        reach += stride * (n - 1)
    return False
