"""Holds two runs against each other, and tells a change from noise.

What is compared is each candidate's time over that of the limit in the same benchmark, a copy of the same array, so
that a machine that drifts as a whole cancels out. A change counts if it is larger than ten per cent and than what
chance allows, as seen from the spread of the samples and from how much idioms and peers, which nobody here has touched,
differ between the two runs. The fastest samples must tell the same, since what only stalls at times does not slow them.
And it must not be alone: where other sizes of the same line were measured, a neighbour has to have changed the same
way. (A single size may be off for a whole run, by where its arrays happened to lie.)
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relu_xp.bench import _summary
from relu_xp.bench._summary import Record

LEAST = math.log(1.10)  # no smaller change is worth a mark
SIGMAS = 4.0
BENT = math.log(2.5)  # where the limit itself has changed so much more than elsewhere, it measures nothing
LONELY = 2.0  # times the allowance, for what has no neighbour
HEADINGS = ("before", "now", "now / before", "chance allows")


@dataclass
class Change:
    """One candidate in both runs; times are over the limit's, and a ratio above 1 is slower than before."""

    benchmark: Record
    name: str
    kind: str
    before: float
    after: float
    fastest: float  # the ratio of the fastest samples
    error: float  # of the ratio's logarithm, as the samples' own spread has it
    allowance: float = LEAST  # of the ratio's logarithm, by chance
    marked: bool = False

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before

    @property
    def numbers(self) -> tuple[str, ...]:
        """What a table says of it, under HEADINGS."""
        return f"{self.before:.3g}", f"{self.after:.3g}", f"{self.ratio:.2f}", f"± {self.allowance:.0%}"

    @property
    def excess(self) -> float:
        """The change over what chance allows: beyond 1 either way it may count; 0 if the fastest samples deny it."""
        usual, best = math.log(self.ratio), math.log(self.fastest)
        return usual / self.allowance if abs(best) > LEAST and best * usual > 0 else 0.0


def compare(old: Record, new: Record) -> list[Change]:
    """Every candidate that both runs know, in the order of the new one; the limits themselves are the yardstick."""
    earlier = {_key(benchmark): benchmark for benchmark in old["benchmarks"]}
    both = [(then, now) for now in new["benchmarks"] if (then := earlier.get(_key(now)))]
    both = [pair for pair in both if all(map(_yardstick, pair))]
    drifts = [_drift(*pair) for pair in both]
    usual = statistics.median(drifts or [0.0])
    changes: list[Change] = []
    for pair, drift in zip(both, drifts, strict=True):
        if abs(drift - usual) <= BENT:
            changes += _changes(*pair)
    # What changed between the runs without our doing shows how much that may be.
    others = [abs(math.log(change.ratio)) for change in changes if change.kind != "ours"]
    between = 1.4826 * statistics.median(others or [0.0])
    for change in changes:
        change.allowance = max(LEAST, SIGMAS * math.hypot(between, change.error))
    _mark(changes)
    return changes


def busy(*runs: Record) -> str:
    """A warning, where other programs kept the machine busy when a run began: no statistics make up for that."""
    loads = [run["about"]["load"] or 0 for run in runs]
    shown = ", ".join(f"{load:g}" for load in loads)
    return f"The machine was busy, with a load of {shown}: compare runs of an idle one." if max(loads) > 1 else ""


def _key(benchmark: Record) -> tuple[Any, ...]:
    return tuple(benchmark[k] for k in ("part", "device", "function", "dtype", "size", "mode", "cache", "task"))


def _yardstick(benchmark: Record) -> list[float]:
    """The limit's samples; none where it did not take part."""
    limit = _summary.limit(benchmark)
    return limit["seconds"] if limit else []


def _drift(then: Record, now: Record) -> float:
    """The logarithm of how much slower the limit itself was."""
    before, after = (statistics.median(_yardstick(benchmark)) for benchmark in (then, now))
    return math.log(after / before)


def _changes(then: Record, now: Record) -> Iterator[Change]:
    """All but the limit, in one benchmark of both runs."""
    for each in now["entries"]:
        earlier = _summary.entry(then, each["name"])
        if each["kind"] != "limit" and earlier:
            (before, error), (after, later_error) = _relative(then, earlier), _relative(now, each)
            fastest = _fastest(now, each) / _fastest(then, earlier)
            error = math.hypot(error, later_error)
            yield Change(now, each["name"], each["kind"], before, after, fastest, error)


def _relative(benchmark: Record, each: Record) -> tuple[float, float]:
    """The median over the rounds of the candidate's time over the limit's, and its logarithm's standard error."""
    beside = _yardstick(benchmark)[:: each["every"]]  # of the same rounds
    logs = [math.log(a / b) for a, b in zip(each["seconds"], beside, strict=True)]
    middle = statistics.median(logs)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in logs)
    return math.exp(middle), 1.25 * deviation / math.sqrt(len(logs)) * (1 + 4 / len(logs))  # few samples say little


def _fastest(benchmark: Record, each: Record) -> float:
    return min(each["seconds"]) / min(_yardstick(benchmark))


def _mark(changes: list[Change]) -> None:
    lines = defaultdict(list)
    for change in changes:
        lines[_key({**change.benchmark, "size": 0}), change.name].append(change)
    for line in lines.values():
        line.sort(key=lambda change: change.benchmark["size"])
        for index, change in enumerate(line):
            beside = [other.excess for other in line[max(0, index - 1) : index + 2] if other is not change]
            agrees = any(abs(excess) > 1 and excess * change.excess > 0 for excess in beside)
            change.marked = abs(change.excess) > 1 and agrees if beside else abs(change.excess) > LONELY
