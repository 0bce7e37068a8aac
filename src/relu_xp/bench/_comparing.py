"""Holds two runs against each other, and tells a change from noise.

What is compared is each candidate's time over that of the limit in the same benchmark, a copy of the same array, so
that a machine that drifts as a whole cancels out. Both the median and the fastest sample have to tell of a change,
since what only stalls at times does not slow the fastest. It counts if it is larger than ten per cent and than what
chance allows, as seen from how much idioms and peers, which are not ours to change, differ between the two runs. And
where other sizes of the same line were measured, a neighbour has to have changed the same way: a single size may be off
for a whole run, by where its arrays happened to lie.
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
        """The change over what chance allows: beyond 1 either way it may count."""
        usual, best = math.log(self.ratio), math.log(self.fastest)
        return min(usual, best, key=abs) / self.allowance if usual * best > 0 else 0.0


def compare(old: Record, new: Record) -> list[Change]:
    """Every candidate that both runs know, in the order of the new one."""
    earlier = {_key(benchmark): benchmark for benchmark in old["benchmarks"]}
    both = [(then, now) for now in new["benchmarks"] if (then := earlier.get(_key(now)))]
    changes = [change for pair in both for change in _changes(*pair)]
    others = [abs(math.log(change.ratio)) for change in changes if change.kind != "ours"]
    for change in changes:
        change.allowance = max(LEAST, SIGMAS * 1.4826 * statistics.median(others or [0.0]))
    _mark(changes)
    return changes


def busy(*runs: Record) -> str:
    """A warning, where other programs kept the machine busy when a run began: no statistics make up for that."""
    loads = [run["about"]["load"] or 0 for run in runs]
    shown = ", ".join(f"{load:g}" for load in loads)
    return f"The machine was busy, with a load of {shown}: compare runs of an idle one." if max(loads) > 1 else ""


def _key(benchmark: Record) -> tuple[Any, ...]:
    return tuple(benchmark[k] for k in ("part", "device", "function", "dtype", "size", "mode", "cache", "task"))


def _changes(then: Record, now: Record) -> Iterator[Change]:
    """All but the limit, in one benchmark of both runs."""
    limits = _summary.limit(then), _summary.limit(now)
    for each in now["entries"] if all(limits) else ():
        earlier = _summary.entry(then, each["name"])
        if each["kind"] != "limit" and earlier:
            pairs = [*zip((earlier, each), limits, strict=True)]
            before, after = (_summary.median(entry) / _summary.median(limit) for entry, limit in pairs if limit)
            first, last = (min(entry["seconds"]) / min(limit["seconds"]) for entry, limit in pairs if limit)
            yield Change(now, each["name"], each["kind"], before, after, last / first)


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
