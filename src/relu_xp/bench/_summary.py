"""Reads a record: medians, rates and ratios, the tables of a run, and a few sentences on it."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from relu_xp._backends.numpy import SHARE
from relu_xp._functions import FUNCTIONS

Record = dict[str, Any]
Benchmark = dict[str, Any]
Entry = dict[str, Any]


class Table(NamedTuple):
    """Times under a title; each row with the kind of its candidate."""

    title: str
    heads: list[str]
    rows: list[tuple[str, list[str]]]


def median(entry: Entry) -> float:
    """Seconds a call."""
    return statistics.median(entry["seconds"])


def entry(benchmark: Benchmark, name: str) -> Entry | None:
    """One candidate, if it took part."""
    return next((each for each in benchmark["entries"] if each["name"] == name), None)


def of_kind(benchmark: Benchmark, *kinds: str) -> list[Entry]:
    """The candidates that are ours, an idiom, a peer, a copy or the limit, which none can beat there."""
    return [each for each in benchmark["entries"] if each["kind"] in kinds]


def rate(benchmark: Benchmark, each: Entry) -> float:
    """GB/s, counting what the function has to read and write; a copy reads and writes x."""
    moved = benchmark["bytes"]
    if each["kind"] in ("limit", "copy"):
        moved = moved * 2 // (len(FUNCTIONS[benchmark["function"]].arrays) + 1)
    return moved / median(each) / 1e9


def select(record: Record, *parts: str, **wanted: Any) -> list[Benchmark]:
    """The benchmarks of some parts with any candidate, in the order of their sizes."""
    found = [
        each
        for each in record["benchmarks"]
        if each["part"] in parts
        and each["entries"]
        and all(each[key] == value for key, value in wanted.items())
    ]
    return sorted(found, key=lambda each: each["size"])


def grouped(benchmarks: Iterable[Benchmark], *keys: str) -> dict[tuple[str, ...], list[Benchmark]]:
    """By what they have under some keys."""
    groups: dict[tuple[str, ...], list[Benchmark]] = {}
    for each in benchmarks:
        groups.setdefault(tuple(each[key] for key in keys), []).append(each)
    return groups


def left_out(record: Record) -> list[tuple[str, str]]:
    """What could not take part somewhere, and why; that some arrays can't be written goes without saying."""
    benchmarks = (each for each in record["benchmarks"] if each["mode"] != "out=")
    return list(dict.fromkeys(pair for each in benchmarks for pair in each["left_out"].items()))


def size_name(size: int) -> str:
    """Powers of two as such."""
    return f"2**{size.bit_length() - 1}" if size & (size - 1) == 0 else f"{size:,}"


def time_name(seconds: float) -> str:
    """Three digits and a unit."""
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def tables(record: Record, most: int | None = None) -> Iterator[Table]:
    """The time of a call in every part of the run, at so many sizes at most."""
    by = grouped(select(record, "overhead", "kernels"), "device", "function", "dtype")
    for (device, function, dtype), chosen in by.items():
        sizes = list(dict.fromkeys(each["size"] for each in chosen))
        if most and len(sizes) > most:
            sizes = [sizes[round(i * (len(sizes) - 1) / (most - 1))] for i in range(most)]
        rows: dict[tuple[str, str], dict[int, str]] = {}
        for benchmark in chosen:
            for each in benchmark["entries"]:
                name = each["name"] + (", out=" if benchmark["mode"] == "out=" else "")
                rows.setdefault((each["kind"], name), {})[benchmark["size"]] = time_name(
                    median(each)
                )
        cells = [
            (kind, [name, *(times.get(size, "") for size in sizes)])
            for (kind, name), times in rows.items()
        ]
        yield Table(
            f"{function} of {dtype} on {device}: a call",
            ["elements", *map(size_name, sizes)],
            cells,
        )
    yield from filter(
        lambda table: table.rows, (_workers(record), *_training(record), _first(record))
    )


def _workers(record: Record) -> Table:
    rows = []
    for benchmark in select(record, "workers"):
        first, *_, last = of_kind(benchmark, "ours")
        gain = f"{median(first) / median(last):.2f}" if is_split(benchmark) else "not split"
        times = time_name(median(first)), time_name(median(last))
        rows.append(
            (
                "ours",
                [benchmark["function"], size_name(benchmark["size"]), *times, last["name"], gain],
            )
        )
    heads = ["function", "elements", "1 worker", "several", "how many", "times as fast"]
    return Table(
        f"Several threads: an array of less than {size_name(2 * SHARE)} elements is too small to split",
        heads,
        rows,
    )


def is_split(benchmark: Benchmark) -> bool:
    """Whether the array is long enough for more threads than one."""
    return benchmark["size"] >= 2 * SHARE


def _training(record: Record) -> Iterator[Table]:
    heads = ["library", "function", "relu_xp", "its own", "ratio", "no rectifier"]
    for (task,), chosen in grouped(select(record, "training"), "task").items():
        rows = []
        for benchmark in chosen:
            found = [
                next(iter(of_kind(benchmark, *k)), None)
                for k in (("ours",), ("idiom", "peer"), ("limit",))
            ]
            times = [median(each) if each else None for each in found]
            ratio = f"{times[1] / times[0]:.2f}" if times[0] and times[1] else ""
            ours, other, limit = (time_name(time) if time else "" for time in times)
            rows.append(
                ("ours", [benchmark["mode"], benchmark["function"], ours, other, ratio, limit])
            )
        yield Table(f"Network: {task}; ratio: its own over relu_xp", heads, rows)


def _first(record: Record) -> Table:
    """What is compiled, loaded or set up by the first call: where that is more than a page fault."""
    rows = []
    for benchmark in select(record, "overhead"):
        for each in benchmark["entries"]:
            if each["first"] > max(5e-3, 5 * median(each)):
                times = time_name(each["first"]), time_name(median(each))
                rows.append((each["kind"], [benchmark["function"], each["name"], *times]))
    return Table("First calls that take longer", ["function", "candidate", "first", "later"], rows)


def findings(record: Record) -> list[str]:
    """The run in three sentences, the bad beside the good."""
    said = []
    found = select(record, "kernels", mode="fresh", device="cpu")
    both = [
        (benchmark, each) for benchmark in found if (each := entry(benchmark, "relu_xp, numpy"))
    ]
    largest = both[-1][0]["size"] if both else 0
    pairs = ((c, e, best) for c, e in both if c["size"] == largest for best in of_kind(c, "limit"))
    if shares := [(rate(c, e) / rate(c, best), c["function"]) for c, e, best in pairs]:
        (low, slow), (high, fast) = min(shares), max(shares)
        told = (
            f"{low:.0%} ({slow})"
            + f" to {high:.0%} ({fast})" * (slow != fast)
            + " of a copy's speed"
        )
        said.append(f"On NumPy arrays of {size_name(largest)} elements relu_xp reaches {told}.")
    # An idiom has the same arrays; another library's calls cost what they cost.
    others = ((c, e, other) for c, e in both for other in of_kind(c, "idiom"))
    if gains := [
        (median(other) / median(e), c["function"], other["name"], c["size"])
        for c, e, other in others
    ]:
        ends = [
            f"{gain:.3g} at {f} ({idiom}, {size_name(n)})"
            for gain, f, idiom, n in (min(gains), max(gains))
        ]
        said.append(
            f"Times as fast as NumPy's idioms: {ends[0]} at the worst, {ends[1]} at the best."
        )
    for benchmark in select(record, "overhead")[:1]:
        calls = [
            f"{time_name(median(e))} in {e['name'].partition(', ')[2]}"
            for e in of_kind(benchmark, "ours")
        ]
        if calls:
            said.append(
                f"A call of {benchmark['function']} on {benchmark['size']} elements takes {', '.join(calls)}."
            )
    return said
