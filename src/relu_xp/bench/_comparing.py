"""Holds two runs against each other, and tells a change from noise.

What is compared is each contestant's time over that of the limit in the same contest, a copy of the same array, so
that a machine that drifts as a whole cancels out. A change counts if it is larger than ten per cent and than what
chance allows, as seen from the spread of the samples and from how much idioms and peers, which nobody here has touched,
differ between the two runs. The fastest samples must tell the same, since what only stalls at times does not slow them.
And it must not be alone: where other sizes of the same line were measured, a neighbour has to have changed the same
way. (A single size may be off for a whole run, by where its arrays happened to lie.)
"""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from relu_xp.bench import _summary

LEAST = math.log(1.10)  # no smaller change is worth a mark
SIGMAS = 4.0
BENT = math.log(2.5)  # where the limit itself has changed so much more than elsewhere, it measures nothing
LONELY = 2.0  # times the allowance, for what has no neighbour

Record = dict[str, Any]
Key = tuple[Any, ...]


@dataclass
class Change:
    """One contestant in both runs; times are over the limit's, and a ratio above 1 is slower than before."""

    contest: dict[str, Any]
    name: str
    before: float
    after: float
    fastest: float  # the ratio of the fastest samples
    allowance: float  # of the ratio's logarithm, by chance
    marked: bool = False

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before

    @property
    def excess(self) -> float:
        """The change over what chance allows: beyond 1 either way it may count; 0 if the fastest samples deny it."""
        usual, best = math.log(self.ratio), math.log(self.fastest)
        return usual / self.allowance if abs(best) > LEAST and best * usual > 0 else 0.0


def compare(old: Record, new: Record) -> list[Change]:
    """Every contestant that both runs know, in the order of the new one; the limits themselves are the yardstick."""
    before = {_key(contest): contest for contest in old["contests"] if _summary.limit(contest)}
    both = [(before[_key(now)], now) for now in new["contests"] if _summary.limit(now) and _key(now) in before]
    drifts = [math.log(_yardstick(now) / _yardstick(then)) for then, now in both]
    usual = statistics.median(drifts) if drifts else 0.0
    found: list[tuple[Change, float]] = []
    others: list[float] = []  # what changed between the runs without our doing
    for (then, contest), drift in zip(both, drifts, strict=True):
        if abs(drift - usual) > BENT:
            continue
        for each in contest["entries"]:
            earlier = _summary.entry(then, each["name"])
            if each["kind"] != "limit" and earlier:
                (a, sa), (b, sb) = _relative(then, earlier), _relative(contest, each)
                fastest = _fastest(contest, each) / _fastest(then, earlier)
                found.append((Change(contest, each["name"], a, b, fastest, 0.0), math.hypot(sa, sb)))
                if each["kind"] != "ours":
                    others.append(math.log(b / a))
    between = 1.4826 * statistics.median(map(abs, others)) if others else 0.0
    for change, within in found:
        change.allowance = max(LEAST, SIGMAS * math.hypot(between, within))
    changes = [change for change, _ in found]
    _mark(changes)
    return changes


def busy(*runs: Record) -> str:
    """A warning, where other programs kept the machine busy when a run began: no statistics make up for that."""
    loads = [run["about"]["load"] or 0 for run in runs]
    shown = ", ".join(f"{load:g}" for load in loads)
    return f"The machine was busy, with a load of {shown}: compare runs of an idle one." if max(loads) > 1 else ""


def _key(contest: dict[str, Any]) -> Key:
    return tuple(contest[k] for k in ("part", "device", "function", "dtype", "size", "mode", "cache", "task"))


def _relative(contest: dict[str, Any], each: dict[str, Any]) -> tuple[float, float]:
    """The median over the rounds of the contestant's time over the limit's, and its logarithm's standard error."""
    limit = _summary.limit(contest) or each
    beside = limit["seconds"][:: each.get("every", 1)]  # of the same rounds
    logs = [math.log(a / b) for a, b in zip(each["seconds"], beside, strict=True)]
    middle = statistics.median(logs)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in logs)
    return math.exp(middle), 1.25 * deviation / math.sqrt(len(logs)) * (1 + 4 / len(logs))  # few samples say little


def _yardstick(contest: dict[str, Any]) -> float:
    return _summary.median(_summary.limit(contest) or {})


def _fastest(contest: dict[str, Any], each: dict[str, Any]) -> float:
    return min(each["seconds"]) / min((_summary.limit(contest) or each)["seconds"])


def _mark(changes: list[Change]) -> None:
    lines = defaultdict(list)
    for change in changes:
        lines[(*(k for i, k in enumerate(_key(change.contest)) if i != 4), change.name)].append(change)
    for line in lines.values():
        line.sort(key=lambda change: change.contest["size"])
        for index, change in enumerate(line):
            neighbours = line[max(0, index - 1) : index] + line[index + 1 : index + 2]
            if neighbours:
                change.marked = abs(change.excess) > 1 and any(
                    abs(other.excess) > 1 and other.excess * change.excess > 0 for other in neighbours
                )
            else:
                change.marked = abs(change.excess) > LONELY
