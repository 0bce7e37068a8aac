"""How calls on NumPy arrays run: by NumPy's own operations on one thread, unless the caller chooses otherwise."""

import contextlib
import contextvars
import functools
import importlib
import operator
import os
from collections.abc import Iterator
from typing import Any

_WORKERS_VARIABLE = "RELU_XP_WORKERS"
_ENGINE_VARIABLE = "RELU_XP_ENGINE"
_default_engine: str = os.environ.get(_ENGINE_VARIABLE, "numpy")

# In force here, in this thread and task. What the environment names is not looked at before `workers` or `engine` is.
_workers: contextvars.ContextVar[int | None] = contextvars.ContextVar("relu_xp_workers", default=None)
chosen_engine = contextvars.ContextVar("relu_xp_engine", default=_default_engine)


@contextlib.contextmanager
def cpu_options(*, workers: int | None = None, engine: str | None = None) -> Iterator[None]:
    """Let calls on NumPy arrays use several threads or compiled loops, within a `with` block.

    The results are the same to the bit. For a whole process, set the environment variables RELU_XP_WORKERS and
    RELU_XP_ENGINE instead.

    Parameters
    ----------
    workers : int, optional
        How many threads at most, for large arrays; -1 for as many as the process may use processors.
    engine : {"numpy", "numba"}, optional
        What computes: NumPy's own operations, or loops that Numba compiles when a function first meets a dtype.

    Raises
    ------
    TypeError
        If workers is no int.
    ValueError
        If workers is 0, or less than -1, or there is no such engine.
    ImportError
        If the engine is not installed.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> with relu_xp.cpu_options(workers=2):
    ...     y = relu_xp.relu(np.ones(1 << 20))
    """
    count = _workers.get() if workers is None else _count("relu_xp.cpu_options: workers", workers)
    if engine is not None:
        asked_by = "relu_xp.cpu_options: engine"
        if not isinstance(engine, str):
            raise _no_engine(asked_by, engine)
        _load(asked_by, engine)
    workers_before = _workers.set(count)
    engine_before = chosen_engine.set(chosen_engine.get() if engine is None else engine)
    try:
        yield
    finally:
        _workers.reset(workers_before)
        chosen_engine.reset(engine_before)


def engine() -> Any:
    """The module of compiled loops, if they are in force here, else None."""
    name = chosen_engine.get()
    return None if name == "numpy" else _load(_ENGINE_VARIABLE, name)


@functools.lru_cache
def _load(asked_by: str, name: str) -> Any:
    if name == "numpy":
        return None
    if name != "numba":
        raise _no_engine(asked_by, name)
    try:
        return importlib.import_module("relu_xp._backends.numpy_numba")
    except ImportError as error:
        msg = f"{asked_by} 'numba' needs Numba: pip install 'relu-xp[numba]' ({error})"
        raise ImportError(msg) from error


def _no_engine(asked_by: str, name: object) -> ValueError:
    return ValueError(f"{asked_by} must be 'numpy' or 'numba', got {name!r}")


def workers() -> int:
    """The number in force here, in this thread and task."""
    chosen = _workers.get()
    if chosen is None:
        text = os.environ.get(_WORKERS_VARIABLE, "1")
        try:
            chosen = _count(_WORKERS_VARIABLE, int(text))
        except ValueError:
            msg = f"{_WORKERS_VARIABLE} must be a positive integer, or -1 for all processors, got {text!r}"
            raise ValueError(msg) from None
    return chosen


def check_environment() -> None:
    """Raise what is wrong with the variables, if anything is; load the engine that they name."""
    workers()
    _load(_ENGINE_VARIABLE, _default_engine)


def processors() -> int:
    """How many the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
