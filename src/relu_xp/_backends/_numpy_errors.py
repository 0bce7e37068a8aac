"""Reports floating-point errors: once a call, even of several threads, at the caller's line."""

import contextlib
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from relu_xp import _checks
from relu_xp._functions import Function

# Each floating-point error has NumPy's flag, a name in numpy.errstate, and a name in messages.
_ERRORS = (2, "over", "overflow"), (4, "under", "underflow"), (8, "invalid", "invalid value")


def report(function: Function, errors: int) -> None:
    """Report floating-point errors as the caller's numpy.errstate asks for."""
    states: Any = np.geterr()
    for flag, kind, word in _ERRORS:
        if errors & flag and states[kind] != "ignore":
            _REPORTS[states[kind]](word, f"{word} encountered in {function}", errors)


def _raise(word: str, message: str, errors: int) -> None:
    raise FloatingPointError(message)


def _print(word: str, message: str, errors: int) -> None:
    sys.stderr.write(f"Warning: {message}\n")


def _call(word: str, message: str, errors: int) -> None:
    _handler("call", "python callback", "function")(word, errors)


def _log(word: str, message: str, errors: int) -> None:
    _handler("log", "log", "object with write method").write(f"Warning: {message}\n")


def _handler(mode: str, what: str, wanted: str) -> Any:
    """Give the handler of numpy.seterrcall; without one, raise the error that NumPy raises."""
    handler: Any = np.geterrcall()
    if handler is None:
        msg = (
            f"{what} specified, numpy.errstate(... '{mode}'), but no {wanted} found; pass call= too"
        )
        raise NameError(msg)
    return handler


# Each mode of numpy.errstate but "ignore" does what it does in NumPy.
_REPORTS = {
    "raise": _raise,
    "warn": lambda word, message, errors: _checks.warn(message),
    "call": _call,
    "log": _log,
    "print": _print,
}


def without(
    inside: Callable[..., Any], values: Sequence[Any], cleared: Callable[[], Sequence[Any]]
) -> Any:
    """Compute values, some of which stand in places that do not count; report no error from there.

    If there is an error, compute again from `cleared`, which has zeros in these places.
    """
    errors: list[object] = []
    with np.errstate(all="call", call=lambda *error: errors.append(error)):
        result = inside(*values)
    return inside(*cleared()) if errors else result


@contextlib.contextmanager
def told_once(function: Function) -> Iterator[None]:
    """Report the errors of several calls as those of one."""
    caught = []
    with np.errstate(all="call", call=lambda _, flag: caught.append(flag)):
        yield
    if caught:
        report(function, functools.reduce(operator.or_, caught))
