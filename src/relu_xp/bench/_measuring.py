"""Times candidates in turns, so that what disturbs the machine disturbs them all alike."""

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relu_xp._machine import first_line
from relu_xp._peers import Call

Entry = dict[str, Any]  # one candidate's part of the record
Timer = Callable[[Call, int], float]

SAMPLE = 2e-4  # seconds; a sample of short calls is as many as fill it, so that the clock's own steps vanish
LONG = 2e-2  # a call of so many seconds moves more than the caches hold: the call before it changes nothing
MOST_REPEATS = 5000
MOST_ROUNDS = 60
FEWEST_ROUNDS, FEWEST_LONG = 9, 5
REST, REST_LONG = 4, 2  # a candidate much slower than others takes part in every fourth round only, or every second


def by_clock(call: Call, repeats: int) -> float:
    """Seconds of so many calls, each done when it returns."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - begin


def by_last(call: Call, repeats: int) -> float:
    """Seconds until the last of so many JAX calls on one device's queue is done."""
    begin = time.perf_counter()
    for _ in range(repeats):
        result = call()
    result.block_until_ready()
    return time.perf_counter() - begin


def by_cupy_events(call: Call, repeats: int, device: int) -> float:  # pragma: no cover  # on a GPU
    """Seconds between two events in CuPy's current stream on a GPU, with so many calls between them."""
    import cupy

    with cupy.cuda.Device(device):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        _enclose(begin, end, call, repeats)
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def by_torch_events(call: Call, repeats: int, device: int) -> float:  # pragma: no cover  # on a GPU
    """Seconds between two events in PyTorch's current stream on a GPU, with so many calls between them."""
    import torch

    with torch.cuda.device(device):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        _enclose(begin, end, call, repeats)
    return float(begin.elapsed_time(end)) / 1e3


def _enclose(begin: Any, end: Any, call: Call, repeats: int) -> None:  # pragma: no cover  # on a GPU
    begin.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()


@dataclass(frozen=True)
class Candidate:
    """One candidate: a call without arguments, and the clock that suits it."""

    name: str
    kind: str  # ours, idiom, peer, copy, or limit: what none can beat in this benchmark
    call: Call
    timer: Timer = by_clock
    options: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext  # that hold for its calls


def measure(
    candidates: list[Candidate], seconds: float, flush: Call | None = None
) -> tuple[list[Entry], dict[str, str]]:
    """Let all take part in every round; give their samples, and why some could not take part.

    Before each sample a candidate makes a call that is not counted, since with what another left in the caches none
    would start alike; where `flush` is given, it empties the caches instead, and a sample is one call.
    """
    fit: list[tuple[Candidate, float, Entry]] = []  # with seconds a call
    refused: dict[str, str] = {}
    for candidate in candidates:
        try:
            with candidate.options():
                first, usual = candidate.timer(candidate.call, 1), candidate.timer(candidate.call, 1)
                if usual < LONG:
                    usual = candidate.timer(candidate.call, 1)
        except Exception as error:  # whatever a library makes of a dtype, a size or an argument
            refused[candidate.name] = first_line(error)
        else:
            # The first call has whatever is compiled, loaded or set up only once.
            entry: Entry = {"name": candidate.name, "kind": candidate.kind, "first": _digits(first), "every": 1}
            fit.append((candidate, usual, {**entry, "seconds": []}))
    middle = statistics.median([max(SAMPLE, usual) for _, usual, _ in fit] or [0])
    is_long = middle > LONG
    for candidate, usual, entry in fit:
        if candidate.kind != "limit":
            entry["every"] = max(1, min(int(usual / (2 * middle)), REST_LONG if is_long else REST))
    order = random.Random(0)
    end = time.perf_counter() + seconds
    was_on = gc.isenabled()
    gc.disable()  # a collection would count for whichever candidate it interrupts
    try:
        for turn in range(MOST_ROUNDS if fit else 0):
            if turn >= (FEWEST_LONG if is_long else FEWEST_ROUNDS) and time.perf_counter() > end:
                break
            for candidate, usual, entry in order.sample(fit, len(fit)):  # so that none always follows the same one
                if turn % entry["every"]:
                    continue
                repeats = 1 if flush else max(1, min(MOST_REPEATS, int(SAMPLE / max(usual, 1e-9))))
                with candidate.options():
                    if flush:
                        flush()
                    elif not is_long:
                        candidate.call()
                    entry["seconds"].append(_digits(candidate.timer(candidate.call, repeats) / repeats))
    finally:
        if was_on:
            gc.enable()
    return [entry for _, _, entry in fit], refused


def _digits(seconds: float) -> float:
    """Four, which is more than a clock is good for."""
    return float(f"{seconds:.4g}")
