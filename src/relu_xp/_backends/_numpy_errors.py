"""Tells of floating-point errors on NumPy arrays: once a call, whatever threads it had, and at the caller's line."""

import contextlib
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from relu_xp import _checks
from relu_xp._functions import Function

# Floating-point errors: NumPy's flag of each, as the loops collect them, its name in
# numpy.errstate, and the words.
_ERRORS = (2, "over", "overflow"), (4, "under", "underflow"), (8, "invalid", "invalid value")


def report(function: Function, errors: int) -> None:
    """Tell of floating-point errors as the caller's numpy.errstate has it: once a call, at the caller's line."""
    states: Any = np.geterr()
    for flag, kind, word in _ERRORS:
        if errors & flag and states[kind] != "ignore":
            _TELL[states[kind]](word, f"{word} encountered in {function}", errors)


def _raise(word: str, message: str, errors: int) -> None:
    raise FloatingPointError(message)


def _print(word: str, message: str, errors: int) -> None:
    sys.stderr.write(f"Warning: {message}\n")


def _call(word: str, message: str, errors: int) -> None:
    _handler("call", "python callback", "function")(word, errors)


def _log(word: str, message: str, errors: int) -> None:
    _handler("log", "log", "object with write method").write(f"Warning: {message}\n")


def _handler(mode: str, what: str, wanted: str) -> Any:
    """What numpy.seterrcall was given; the mode alone is not enough, as NumPy says in such words."""
    handler: Any = np.geterrcall()
    if handler is None:
        msg = (
            f"{what} specified, numpy.errstate(... '{mode}'), but no {wanted} found; pass call= too"
        )
        raise NameError(msg)
    return handler


# What each mode of numpy.errstate but "ignore" does, by its name, as NumPy itself does it.
_TELL = {
    "raise": _raise,
    "warn": lambda word, message, errors: _checks.warn(message),
    "call": _call,
    "log": _log,
    "print": _print,
}


def without(
    inside: Callable[..., Any], values: Sequence[Any], cleared: Callable[[], Sequence[Any]]
) -> Any:
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
