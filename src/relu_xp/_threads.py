"""How many threads work on a call, and how they share it. The default is one."""

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

# The number that `cpu_options` set in this thread or task; None where the environment decides,
# which `workers` reads.
_workers: contextvars.ContextVar[int | None] = contextvars.ContextVar(
    "relu_xp_workers", default=None
)


class cpu_options(contextlib.ContextDecorator):  # noqa: N801  # used as a function, like numpy.errstate
    """Let calls on NumPy arrays use several threads, within a `with` block or a decorated function.

    The results are the same to the bit. For a whole process, set the environment variable
    RELU_XP_WORKERS instead. One object can be used several times, also nested.

    Parameters
    ----------
    workers : int
        The largest number of threads for one call. -1 means one for each processor that the
        process may use. Small arrays use one thread.

    Raises
    ------
    TypeError
        If workers is not an int.
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
        """Decorate a function; a coroutine function has the options while it is awaited."""
        if not inspect.iscoroutinefunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        async def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        return cast("_Decorated", decorated)


def workers() -> int:
    """Give the number of workers in this thread and task."""
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
    """Give the number of processors that the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(threads: int, work: Callable[..., None], pieces: Iterable[Any]) -> None:
    """Let this thread and others take pieces until none is left.

    No worker runs any more when this returns or raises.
    """
    ends = [None] * threads  # a thread stops when it takes one of these
    left = deque([*pieces, *ends])

    def take() -> None:
        for piece in iter(left.popleft, None):
            work(piece)

    others: list[Future[None]] = []
    try:
        # No thread can be started while the interpreter ends: then fewer do the work.
        with contextlib.suppress(RuntimeError):
            for _ in range(threads - 1):
                context = contextvars.copy_context()
                others.append(_pool().submit(context.run, take))
        take()
    finally:
        left.extendleft(ends)  # if this thread raised, the others stop at their next piece
        _finish(others)
    for other in others:
        if not other.cancelled():
            other.result()


def _finish(others: "list[Future[None]]") -> None:
    """Cancel the work that has not begun; wait for the rest, even if Ctrl-C interrupts the wait."""
    begun = [other for other in others if not other.cancel()]
    try:
        for other in begun:
            other.exception()
    finally:
        if not all(other.done() for other in begun):
            _finish(begun)


@functools.cache
def _pool() -> "ThreadPoolExecutor":
    """Give the pool, which starts each thread when it is first needed, and keeps it."""
    # Once the main thread has ended, this import raises a RuntimeError, which `share` suppresses.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors(), "relu_xp")


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    # The child of a fork has none of the threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)


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
