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

SAMPLE = 2e-4  # seconds; a sample of short calls is as many as fill it, so that the clock's own steps vanish
LONG = 2e-2  # a call of so many seconds moves more than the caches hold: the call before it changes nothing
MOST_REPEATS = 5000
MOST_ROUNDS = 60
FEWEST_ROUNDS, FEWEST_LONG = 9, 5


@dataclass(frozen=True)
class Candidate:
    """A call without arguments, and how to wait for its results."""

    name: str
    kind: str  # ours, idiom, peer, copy, or limit: what none can beat in this benchmark
    call: Call
    wait: Callable[[Any], Any] | None = (
        None  # for the last result of a sample, where calls return before they are done
    )
    options: Callable[[], contextlib.AbstractContextManager[None]] = (
        contextlib.nullcontext
    )  # that hold for its calls

    def seconds(self, repeats: int) -> float:
        """How long so many calls take."""
        result = None
        begin = time.perf_counter()
        for _ in range(repeats):
            result = self.call()
        if self.wait:
            self.wait(result)
        return time.perf_counter() - begin


def measure(candidates: list[Candidate], seconds: float) -> tuple[list[Entry], dict[str, str]]:
    """Let all take part in every round; give their samples, and why some could not take part.

    Before each sample a candidate makes a call that is not counted, since with what another left in
    the caches none would start alike.
    """
    fit: list[tuple[Candidate, float, Entry]] = []  # with seconds a call
    refused: dict[str, str] = {}
    for candidate in candidates:
        try:
            with candidate.options():
                first, usual = candidate.seconds(1), candidate.seconds(1)
                if usual < LONG:
                    usual = candidate.seconds(1)
        except Exception as error:  # whatever a library makes of a dtype, a size or an argument
            refused[candidate.name] = first_line(error)
        else:
            # The first call has whatever is compiled, loaded or set up only once.
            entry: Entry = {
                "name": candidate.name,
                "kind": candidate.kind,
                "first": _digits(first),
                "seconds": [],
            }
            fit.append((candidate, usual, entry))
    is_long = statistics.median([usual for _, usual, _ in fit] or [0]) > LONG
    order = random.Random(0)
    end = time.perf_counter() + seconds
    was_on = gc.isenabled()
    gc.disable()  # a collection would count for whichever candidate it interrupts
    try:
        for turn in range(MOST_ROUNDS if fit else 0):
            if turn >= (FEWEST_LONG if is_long else FEWEST_ROUNDS) and time.perf_counter() > end:
                break
            for candidate, usual, entry in order.sample(
                fit, len(fit)
            ):  # so that none always follows the same one
                repeats = max(1, min(MOST_REPEATS, int(SAMPLE / max(usual, 1e-9))))
                with candidate.options():
                    if not is_long:
                        candidate.seconds(1)
                    entry["seconds"].append(_digits(candidate.seconds(repeats) / repeats))
    finally:
        if was_on:
            gc.enable()
    return [entry for _, _, entry in fit], refused


def _digits(seconds: float) -> float:
    """Four, which is more than a clock is good for."""
    return float(f"{seconds:.4g}")
