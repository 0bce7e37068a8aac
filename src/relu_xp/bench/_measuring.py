"""Times contestants in turns, so that what disturbs the machine disturbs them all alike."""

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], Any]
Timer = Callable[[Call, int], float]

SAMPLE = 2e-4  # seconds; a sample of short calls is as many as fill it, so that the clock's own steps vanish
LONG = 2e-2  # a call of so many seconds moves more than the caches hold: the call before it changes nothing
MOST_REPEATS = 5000
MOST_ROUNDS = 60
FEWEST_ROUNDS, FEWEST_LONG = 9, 5
REST, REST_LONG = 4, 2  # a contestant much slower than others takes part in every fourth round only, or every second


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


def by_cupy_events(call: Call, repeats: int, device: int = 0) -> float:
    """Seconds between two events in CuPy's current stream on a GPU, with so many calls between them."""
    import cupy

    with cupy.cuda.Device(device):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def by_torch_events(call: Call, repeats: int, device: int = 0) -> float:
    """Seconds between two events in PyTorch's current stream on a GPU, with so many calls between them."""
    import torch

    with torch.cuda.device(device):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


@dataclass(frozen=True)
class Entrant:
    """One contestant: a call without arguments, and the clock that suits it."""

    name: str
    kind: str  # ours, idiom, peer, or limit: what nobody can beat in this contest
    call: Call
    timer: Timer = by_clock
    options: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext  # that hold for its calls


@dataclass
class Score:
    """What one contestant took, in seconds a call."""

    first: float  # with whatever is compiled, loaded or set up only once
    samples: list[float] = field(default_factory=list)
    every: int = 1  # in how many rounds there is one of them


def measure(
    entrants: list[Entrant], seconds: float, flush: Call | None = None
) -> tuple[dict[str, Score], dict[str, str]]:
    """Let all take part in every round; give the scores, and why some could not take part.

    Before each sample a contestant makes a call that is not counted, since with what another left in the caches none
    would start alike; where `flush` is given, it empties the caches instead, and a sample is one call.
    """
    scores: dict[str, Score] = {}
    refused: dict[str, str] = {}
    repeats: dict[str, int] = {}
    again: dict[str, float] = {}
    for entrant in entrants:
        try:
            with entrant.options():
                first = entrant.timer(entrant.call, 1)
                again[entrant.name] = entrant.timer(entrant.call, 1)
                if again[entrant.name] < LONG:
                    again[entrant.name] = entrant.timer(entrant.call, 1)
        except Exception as error:  # whatever a library makes of a dtype, a size or an argument
            refused[entrant.name] = words(error)
        else:
            scores[entrant.name] = Score(first)
            repeats[entrant.name] = (
                1 if flush else max(1, min(MOST_REPEATS, int(SAMPLE / max(again[entrant.name], 1e-9))))
            )
    fit = [entrant for entrant in entrants if entrant.name in scores]
    if not fit:
        return scores, refused
    usual = statistics.median(max(SAMPLE, again[entrant.name]) for entrant in fit)
    is_long = usual > LONG
    for entrant in fit:
        much = int(again[entrant.name] / (2 * usual))
        scores[entrant.name].every = 1 if entrant.kind == "limit" else max(1, min(much, REST_LONG if is_long else REST))
    order = random.Random(0)
    end = time.perf_counter() + seconds
    with _without_gc():
        for turn in range(MOST_ROUNDS):
            if turn >= (FEWEST_LONG if is_long else FEWEST_ROUNDS) and time.perf_counter() > end:
                break
            for entrant in order.sample(fit, len(fit)):  # so that nobody always follows the same one
                if turn % scores[entrant.name].every:
                    continue
                count = repeats[entrant.name]
                with entrant.options():
                    if flush:
                        flush()
                    elif not is_long:
                        entrant.call()
                    scores[entrant.name].samples.append(entrant.timer(entrant.call, count) / count)
    return scores, refused


def words(error: Exception) -> str:
    """One line for an error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """A collection would fall on whoever happens to run."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
