"""Every private name of torch that the backend leans on, each beside the public one that could take its place.

A test says which of them is gone when torch moves. `_dispatch` imports this file before it looks for the owner of a
first array, so that torch.compile may trace that search: the backend itself may be imported only by it.
"""

import functools
from typing import Any

import torch
from torch.autograd import forward_ad

from relu_xp import _checks, _dispatch, _dtypes


def run_while_tracing(function: Any) -> Any:
    """Have torch.compile run the function, not trace it, and take what it returns for a constant.

    Public: torch.compiler.assume_constant_result, which imports the whole compiler.
    """
    function._dynamo_marked_constant = True
    return function


for _each in (_dispatch._candidates, _dispatch.load, _dtypes.rounded, _dtypes.kind):
    run_while_tracing(_each)

# Whether torch.func transforms what is done; not public yet.
functorch_is_active = torch._C._are_functorch_transforms_active
# How many modes, such as make_fx's, are told of each operation; not public yet.
dispatch_modes = torch._C._len_torch_dispatch_stack
# Public: torch.jit.is_tracing, which takes three times as long.
is_tracing = torch._C._is_tracing


def in_dual_level() -> bool:
    """Whether forward mode may differentiate; not public yet."""
    return forward_ad._current_level >= 0


def apply_of(function: type[torch.autograd.Function]) -> Any:
    """Give `function.apply` without its search for transforms, which takes 1.5 µs; public: `function.apply`."""
    return super(torch.autograd.Function, function).apply


def direct(overload: Any) -> Any:
    """Give an operation of torch.ops without a Python call around it; public: the overload itself."""
    return overload._op


def only_functionalizes() -> bool:
    """Whether no transform of torch.func now differentiates or batches; not public yet."""
    functorch = torch._C._functorch
    return all(
        level.key() == functorch.TransformType.Functionalize for level in functorch.get_interpreter_stack() or ()
    )
