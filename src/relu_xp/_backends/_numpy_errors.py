"""Tells of floating-point errors on NumPy arrays: once a call, whatever threads it had, and at the caller's line."""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from relu_xp import _checks
from relu_xp._functions import Function

# Floating-point errors by NumPy's flag of each, as the loops collect them: the name in numpy.errstate, and the words.
_ERRORS = {2: ("over", "overflow"), 4: ("under", "underflow"), 8: ("invalid", "invalid value")}


def report(function: Function, errors: int) -> None:
    """Tell of floating-point errors as the caller's numpy.errstate has it: once a call, at the caller's line."""
    states: Any = np.geterr()
    for flag, (kind, word) in _ERRORS.items():
        if not errors & flag or states[kind] == "ignore":
            continue
        message = f"{word} encountered in {function}"
        if states[kind] == "raise":
            raise FloatingPointError(message)
        if states[kind] == "warn":
            _checks.warn(message)
        elif states[kind] == "call":
            np.geterrcall()(word, flag)  # type: ignore[misc, operator]
        elif states[kind] == "log":
            np.geterrcall().write(f"Warning: {message}\n")  # type: ignore[union-attr]
        else:
            print(f"Warning: {message}")


def without(inside: Callable[..., Any], values: Sequence[Any], cleared: Callable[[], Sequence[Any]]) -> Any:
    """Compute values that hold anything in places that do not count; what is cleared of it, if there is an error."""
    errors: list[object] = []
    with np.errstate(all="call", call=lambda *error: errors.append(error)):
        result = inside(*values)
    return inside(*cleared()) if errors else result


@contextlib.contextmanager
def told_once(function: Function) -> Iterator[None]:
    """Tell of the errors of several calls as of one."""
    caught = []
    with np.errstate(all="call", call=lambda _, flag: caught.append(flag)):
        yield
    if caught:
        report(function, functools.reduce(operator.or_, caught))
