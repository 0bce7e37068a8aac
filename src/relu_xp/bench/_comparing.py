"""Compares two runs, and tells a change from noise.

Each candidate's time is compared with the copy's in the same benchmark, and with those of idioms
and peers, which no change of ours affects. So a drift of the whole machine cancels out, and so does
a disturbance of the copy alone. A change must show in the medians and in the fastest samples: a
stall now and then does not slow the fastest. Short arrays are one line and long arrays another, and
the median over the sizes counts: the position of one size's arrays in memory may slow it for a
whole run. A change counts if it is larger than ten per cent and larger than the changes of idioms
and peers, which are chance.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from relu_xp.bench import _summary
from relu_xp.bench._summary import Record

LEAST = math.log(1.10)  # no smaller change is worth a mark
SIGMAS = 4.0
ALONE = 2.0  # a line of one benchmark must change by so many times what chance allows
MOST = math.log(2)  # beyond it, chance explains everything
LONG = 1 << 16  # elements, from which on an array counts as long


@dataclass(frozen=True)
class Change:
    """One candidate's line in both runs."""

    what: str
    name: str
    kind: str
    change: float  # the logarithm of now over before
    count: int  # of its benchmarks

    @property
    def ratio(self) -> float:
        """Now over before: above 1 is slower."""
        return math.exp(self.change)


@dataclass(frozen=True)
class Comparison:
    """The lines that both runs have, and how far chance alone moves one."""

    changes: list[Change]
    chance: float  # a logarithm
    loads: tuple[float, ...]
    since: str
    versions: list[tuple[str, str, str]]  # what was updated or removed: its name, then and now

    @property
    def marked(self) -> list[Change]:
        """Give the changes beyond chance, the largest first."""
        if self.chance > MOST:
            return []
        found = [
            each
            for each in self.changes
            if abs(each.change) > self.chance * (ALONE if each.count == 1 else 1)
        ]
        return sorted(found, key=lambda each: -abs(each.change))

    def answer(self) -> str:
        """Say in a sentence or two what came out."""
        by_chance = math.expm1(self.chance)
        if self.chance > MOST:
            said = (
                "The two runs can't be compared: even what we cannot change differs by more than "
            )
            said += "a factor of two."
        else:
            slower = sum(each.change > 0 for each in self.marked)
            said = f"Since {self.since}, {slower} of {len(self.changes)} lines became slower and "
            said += f"{len(self.marked) - slower} faster; up to {by_chance:.0%} counts as chance."
        if max(self.loads) > 1:
            shown = " and ".join(f"{load:g}" for load in self.loads)
            busy = f"The machine was busy, with a load of {shown}: do not trust these numbers."
            return f"{busy} {said}"
        return said


def compare(old: Record, new: Record) -> Comparison:
    """Every candidate that both runs have."""
    keys = ("part", "device", "function", "dtype", "size", "mode", "task")
    earlier = {tuple(each[key] for key in keys): each for each in old["benchmarks"]}
    lines: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for now in new["benchmarks"]:
        if then := earlier.get(tuple(now[key] for key in keys)):
            for each, change in _moved(then, now):
                lines[_line(now), each["name"], each["kind"]].append(change)
    changes = [Change(*line, statistics.median(found), len(found)) for line, found in lines.items()]
    others = [abs(each.change) for each in changes if each.kind != "ours"]
    chance = max(LEAST, SIGMAS * 1.4826 * statistics.median(others or [0.0]))
    about, now = old["about"], new["about"]["versions"]
    versions = [
        (name, was, now.get(name, "none"))
        for name, was in about["versions"].items()
        if was != now.get(name)
    ]
    return Comparison(
        changes, chance, (about["load"] or 0, new["about"]["load"] or 0), about["date"], versions
    )


def _moved(then: Record, now: Record) -> Iterator[tuple[Record, float]]:
    """Give how each candidate moved beside the copy and beside the others; 0 if they disagree."""
    moved = {}
    for each in now["entries"]:
        if before := _summary.entry(then, each["name"]):
            pairs = (
                (how(each["seconds"]), how(before["seconds"])) for how in (statistics.median, min)
            )
            moved[each["name"]] = [math.log(after / earlier) for after, earlier in pairs]
    limits = [
        moved[each["name"]] for each in _summary.of_kind(now, "limit") if each["name"] in moved
    ]
    for each in now["entries"] if limits else ():
        if each["name"] in moved and each["kind"] != "limit":
            others = [
                e
                for e in now["entries"]
                if e is not each and e["name"] in moved and e["kind"] != "limit"
            ]
            fixed = [e for e in others if e["kind"] != "ours"] or others
            columns = zip(*(moved[e["name"]] for e in fixed), strict=True)
            beside = [*limits, list(map(statistics.median, columns))] if fixed else limits
            found = [
                mine - its
                for it in beside
                for mine, its in zip(moved[each["name"]], it, strict=True)
            ]
            yield each, min(found, key=abs) if min(found) > 0 or max(found) < 0 else 0.0


def _line(benchmark: Record) -> str:
    """Name the line that a benchmark belongs to."""
    size = _summary.size_name(benchmark["size"])
    if benchmark["part"] == "kernels":
        size = f"{'from' if benchmark['size'] >= LONG else 'below'} {_summary.size_name(LONG)}"
    told = [benchmark["function"], benchmark["dtype"], benchmark["task"] or size, benchmark["mode"]]
    told += [benchmark["device"]] if benchmark["device"] != "cpu" else []
    told += [benchmark["part"]] if benchmark["part"] == "workers" else []
    return ", ".join(told)
