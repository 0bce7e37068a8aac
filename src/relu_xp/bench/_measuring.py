"""The timing engine of `relu-xp bench` and of `benchmarks/`.

Candidates take turns in one process, so that a disturbance of the machine disturbs all of them.
"""

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relu_xp._peers import Call
from relu_xp._survey import first_line

Entry = dict[str, Any]  # one candidate's part of the record

SAMPLE = 2e-4  # seconds; short calls are repeated to fill it, which hides the clock's resolution
LONG = 2e-2  # seconds; such a call moves more data than the caches hold, and needs no warm-up
MOST_REPEATS = 5000
MOST_ROUNDS = 60
FEWEST_ROUNDS, FEWEST_LONG = 9, 5


@dataclass(frozen=True)
class Candidate:
    """A call without arguments, and how to wait for its results."""

    name: str
    kind: str  # ours, idiom, peer, copy, or limit: what none can beat in this benchmark
    call: Call
    # Waits for the last result of a sample, where calls return before they are done.
    wait: Callable[[Any], Any] | None = None
    # A context for the calls, such as a number of workers.
    options: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def seconds(self, repeats: int) -> float:
        """Time so many calls."""
        call, result = self.call, None
        begin = time.perf_counter()
        for _ in range(repeats):
            result = call()
        if self.wait:
            self.wait(result)
        return time.perf_counter() - begin


def measure(
    candidates: Sequence[Candidate], seconds: float, rounds: int = 0, sample: float = SAMPLE
) -> tuple[list[Entry], dict[str, str]]:
    """Give the samples of all candidates, and say why some could not take part.

    All take part in every round. There are as many rounds as asked for, or as fit into the seconds.
    Each sample follows a call that is not counted: so the caches hold the candidate's own data.
    """
    fit: list[tuple[Candidate, float, Entry]] = []  # with the seconds of one call
    refused: dict[str, str] = {}
    for candidate in candidates:
        try:
            with candidate.options():
                first, usual = candidate.seconds(1), candidate.seconds(1)
                if usual < LONG:
                    usual = candidate.seconds(1)
        except Exception as error:  # whatever a library says of a dtype, a size or an argument
            refused[candidate.name] = first_line(error)
        else:
            # The first call also compiles, loads and sets up.
            told = {"name": candidate.name, "kind": candidate.kind, "first": _rounded(first)}
            fit.append((candidate, usual, {**told, "seconds": []}))
    is_long = statistics.median([usual for _, usual, _ in fit] or [0]) > LONG
    fewest = rounds or (FEWEST_LONG if is_long else FEWEST_ROUNDS)
    order = random.Random(0)
    end = time.perf_counter() + (0 if rounds else seconds)
    with _no_collection():
        for turn in range(max(rounds, MOST_ROUNDS) if fit else 0):
            if turn >= fewest and time.perf_counter() > end:
                break
            # In a new order each time, so that no candidate always follows the same one.
            for candidate, usual, entry in order.sample(fit, len(fit)):
                repeats = max(1, min(MOST_REPEATS, int(sample / max(usual, 1e-9))))
                with candidate.options():
                    if not is_long:
                        candidate.seconds(1)
                    entry["seconds"].append(_rounded(candidate.seconds(repeats) / repeats))
    return [entry for _, _, entry in fit], refused


def times(
    calls: Mapping[str, Call],
    rounds: int,
    sample: float = SAMPLE,
    typical: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Give the typical seconds of each call, by name; a call that fails has none."""
    candidates = [Candidate(name, "", call) for name, call in calls.items()]
    entries, _ = measure(candidates, 0, rounds, sample)
    return {entry["name"]: typical(entry["seconds"]) for entry in entries}


def ratio(ours: Call, theirs: Call, rounds: int, sample: float = SAMPLE) -> float:
    """Give our time over theirs, of medians; NaN where one of the calls fails."""
    found = times({"ours": ours, "theirs": theirs}, rounds, sample)
    return found["ours"] / found["theirs"] if len(found) == 2 else float("nan")


@contextlib.contextmanager
def _no_collection() -> Any:
    """Keep Python from collecting garbage, which would count for the candidate it interrupts."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _rounded(seconds: float) -> float:
    """Keep four digits, which is more than a clock is good for."""
    return float(f"{seconds:.4g}")
