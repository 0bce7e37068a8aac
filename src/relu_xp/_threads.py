"""How many threads work on one call, and how it is shared among them: one, unless the caller chooses more."""

import contextlib
import contextvars
import functools
import inspect
import operator
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_VARIABLE = "RELU_XP_WORKERS"

# In force here, in this thread and task. What the environment names is not looked at before
# `workers` is called.
_workers: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "relu_xp_workers", default=None
)


class cpu_options(contextlib.ContextDecorator):  # noqa: N801  # used as a function, like numpy.errstate
    """Let calls on NumPy arrays use several threads, within a `with` block or a decorated function.

    The results are the same to the bit. For a whole process, set the environment variable
    RELU_XP_WORKERS instead. An object may be used again, and within itself.

    Parameters
    ----------
    workers : int
        How many threads at most, for large arrays; -1 for as many as the process may use
        processors.

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

    def __init__(self, *, workers: int) -> None:
        self._count = _count("relu_xp.cpu_options: workers", workers)
        self._before: contextvars.ContextVar[tuple[int | None, ...]] = contextvars.ContextVar(
            "before", default=()
        )

    def __enter__(self) -> None:
        self._before.set((*self._before.get(), _workers.get()))
        _workers.set(self._count)

    def __exit__(self, *_: object) -> None:
        *others, before = self._before.get()
        self._before.set(tuple(others))
        _workers.set(before)

    def __call__(self, function: _Decorated) -> _Decorated:
        """Decorate a function; of a coroutine function, what is awaited runs with the options, not what makes it."""
        if not inspect.iscoroutinefunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        async def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return cast("_Decorated", decorated)


def workers() -> int:
    """The number in force here, in this thread and task."""
    chosen = _workers.get()
    if chosen is None:
        text = os.environ.get(_VARIABLE) or "1"
        try:
            chosen = _count(_VARIABLE, int(text))
        except ValueError:
            msg = f"{_VARIABLE} must be a positive integer, or -1 for all processors, got {text!r}"
            raise ValueError(msg) from None
    return chosen


def processors() -> int:
    """How many the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(threads: int, work: Callable[..., None], pieces: Iterable[Any]) -> None:
    """Let this thread and others take pieces until none is left; once this returns or raises, no worker runs."""
    ends = [None] * threads  # each thread takes pieces up to one of these
    left = deque([*pieces, *ends])

    def take() -> None:
        for piece in iter(left.popleft, None):
            work(piece)

    others: list[Future[None]] = []
    try:
        with contextlib.suppress(
            RuntimeError
        ):  # no thread can be started, as where the interpreter ends: do with less
            for _ in range(threads - 1):
                context = contextvars.copy_context()
                others.append(_pool().submit(context.run, take))
        take()
    finally:
        left.extendleft(ends)
        _finish(others)
    for other in others:
        if not other.cancelled():
            other.result()


def _finish(others: "list[Future[None]]") -> None:
    """Cancel those that have not begun; wait for the others, even if Ctrl-C interrupts that."""
    begun = [other for other in others if not other.cancel()]
    try:
        for other in begun:
            other.exception()
    finally:
        if not all(other.done() for other in begun):
            _finish(begun)


@functools.cache
def _pool() -> "ThreadPoolExecutor":
    """Threads, each started when it is first needed, and kept."""
    # Late: where the main thread has ended, this can't be imported.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors(), "relu_xp")


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(
        after_in_child=_pool.cache_clear
    )  # the child of a fork has none of the threads


def _count(name: str, number: int) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        msg = f"{name} must be an int, got {type(number).__qualname__}"
        raise TypeError(msg)
    number = operator.index(number)
    if number == -1:
        return processors()
    if number < 1:
        msg = f"{name} must be a positive integer, or -1 for all processors, got {number}"
        raise ValueError(msg)
    return number
