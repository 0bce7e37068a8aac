"""Calls a kernel that is not ours: whatever it raises, returns or overwrites is recorded."""

import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from relu_xp._survey import Target, first_line
from relu_xp.verify._expected import Array, DType, same_bits

POISON = 12345.0  # memory that a kernel may leave unwritten is filled with this
WIDEST = 64  # bytes, of a vector
View = Callable[[Any], Any]


@dataclass(frozen=True)
class Pair:
    """Two functions of a caller's that stand for a backend."""

    to: Callable[[Array], Any]
    get: Callable[[Any], Array]

    def put(self, array: Array, device: str) -> Any:
        """Hand a NumPy array over."""
        return self.to(array)


@dataclass(frozen=True)
class Trouble:
    """Why a call gave no array: the kind of fault, what happened, and what to do."""

    kind: str
    name: str
    advice: str


@dataclass(frozen=True)
class Outcome:
    """The result of a call, also as a NumPy array, and its inputs after the call."""

    result: Any
    got: Array
    written: tuple[Array, ...]
    shares: bool  # whether the result shares memory with an input
    overwrote: bool  # whether the call changed an earlier call's result


class Worker:
    """Makes calls on a thread of its own, so that one that hangs can be left behind."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                self._done.put((job(), None))
            except BaseException as error:  # `run` raises it
                self._done.put((None, error))

    def run(self, job: Callable[[], Any], timeout: float) -> Any:
        """Wait for a job's result, or raise TimeoutError; it has the caller's context variables."""
        context = contextvars.copy_context()
        self._jobs.put(lambda: context.run(job))
        try:
            result, error = self._done.get(timeout=min(timeout, threading.TIMEOUT_MAX))
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let the thread end."""
        self._jobs.put(None)


def call(
    target: Target,
    f: Callable[..., Any],
    arrays: tuple[Array, ...],
    view: View | None = None,
    *,
    shift: bool = False,
    earlier: Outcome | None = None,
) -> Outcome | Trouble:
    """Call it on the target's arrays, or on views; shifted, arrays begin one element further."""
    try:
        held = [_put(target, a, shift) for a in arrays]
        given = held if view is None else [view(a) for a in held]
        # Freed at once, this memory is probably allocated next. NumPy keeps several small pieces.
        for_next = [
            target.put(np.full_like(arrays[0], POISON))
            for _ in range(8 if arrays[0].nbytes < 1024 else 1)
        ]
        del for_next
    except BaseException as error:  # from a caller's function, or for want of memory
        return Trouble(
            "raised", f"its input cannot be made: {_said(error)}", "see library=, which makes it"
        )
    try:
        with np.errstate(all="ignore"):
            result = f(*given)
    except BaseException as error:  # SystemExit too, and whatever a framework has
        return Trouble(
            "raised",
            _said(error),
            "does it take this dtype, and arrays without elements? see dtypes=",
        )
    try:
        if alien := _alien(target, result, (held[0], given[0])):
            return Trouble("wrong_dtype", alien, f"give a {_type(held[0])}, like x")
        got = np.asarray(target.get(result))
        written = tuple(np.asarray(target.get(a)) for a in held)
        shares = _shares(result, given, got, written)
        overwrote = (
            earlier is not None
            and not same_bits(np.asarray(target.get(earlier.result)), earlier.got).all()
        )
    except BaseException as error:  # each library has an error of its own for what can't be read
        return Trouble(
            "raised", f"its result cannot be read: {_said(error)}", "give an array like x"
        )
    return Outcome(result, got.copy(), tuple(a.copy() for a in written), shares, overwrote)


def _said(error: BaseException) -> str:
    """What an error says, in a line; but the user's own KeyboardInterrupt is raised again."""
    if (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
    ):
        raise error
    return first_line(error) if isinstance(error, Exception) else type(error).__name__


def _put(target: Target, array: Array, shift: bool) -> Any:
    """Hand over a copy; if one-dimensional, it is aligned to vectors, or off by one element."""
    if array.ndim != 1:
        return target.put(array.copy())
    whole = _aligned(array.size + shift, array.dtype)
    whole[:shift], whole[shift:] = 1, array
    if isinstance(target.backend, Pair):  # its arrays may have no slices
        return target.put(whole[shift:])
    held = target.put(whole)  # shifted after: a library that copies would align the copy
    return held[1:] if shift else held


def _aligned(size: int, dtype: DType) -> Array:
    """Room for so many elements, aligned to the widest vector."""
    room = np.empty(size * dtype.itemsize + WIDEST, np.uint8)
    begin = -room.ctypes.data % WIDEST
    return room[begin : begin + size * dtype.itemsize].view(dtype)


def _alien(target: Target, result: Any, own: tuple[Any, ...]) -> str:
    """Say what it gives, if that is no array of the library's; else nothing."""
    if result is None:
        return "it gives None"
    if isinstance(target.backend, Pair) or isinstance(result, tuple(type(a) for a in own)):
        return ""
    same = hasattr(result, "dtype") and _package(result) in [_package(a) for a in own]
    return "" if same else f"it gives a {_type(result)}"


def _package(a: Any) -> str:
    return type(a).__module__.partition(".")[0]


def _type(a: Any) -> str:
    cls = type(a)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def _shares(result: Any, given: list[Any], got: Array, written: tuple[Array, ...]) -> bool:
    if got.flags.writeable and any(np.may_share_memory(got, a) for a in written):
        return True
    own = _address(result)  # on a device
    return own is not None and any(own == _address(a) for a in given)


def _address(a: Any) -> Any:
    try:
        return a.__cuda_array_interface__["data"][0]
    except Exception:  # it has none, or none for this dtype
        return None
