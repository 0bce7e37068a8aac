"""How many threads a call on NumPy arrays may use: the caller's choice, one unless said otherwise."""

import contextlib
import contextvars
import operator
import os
from collections.abc import Iterator

_VARIABLE = "RELU_XP_WORKERS"
_workers: contextvars.ContextVar[int | None] = contextvars.ContextVar("relu_xp_workers", default=None)


@contextlib.contextmanager
def cpu_options(*, workers: int) -> Iterator[None]:
    """Let calls on large NumPy arrays use several threads, within a `with` block.

    The results are the same to the bit. For a whole process, set the environment variable RELU_XP_WORKERS instead.

    Parameters
    ----------
    workers : int
        How many threads at most; -1 for as many as the process may use processors.

    Raises
    ------
    TypeError
        If workers is no int.
    ValueError
        If workers is 0, or less than -1.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> with relu_xp.cpu_options(workers=2):
    ...     y = relu_xp.relu(np.ones(1 << 20))
    """
    token = _workers.set(_count("relu_xp.cpu_options: workers", workers))
    try:
        yield
    finally:
        _workers.reset(token)


def workers() -> int:
    """The number in force here, in this thread and task."""
    chosen = _workers.get()
    if chosen is None:
        text = os.environ.get(_VARIABLE, "1")
        try:
            chosen = _count(_VARIABLE, int(text))
        except ValueError:
            msg = f"{_VARIABLE} must be a positive integer, or -1 for all processors, got {text!r}"
            raise ValueError(msg) from None
    return chosen


def _count(name: str, number: int) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        msg = f"{name} must be an int, got {type(number).__qualname__}"
        raise TypeError(msg)
    number = operator.index(number)
    if number == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number < 1:
        msg = f"{name} must be a positive integer, or -1 for all processors, got {number}"
        raise ValueError(msg)
    return number
