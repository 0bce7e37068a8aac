"""Reads a record: medians, rates and ratios, tables, and a few sentences on what was found."""

import re
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
    """Give the seconds of a call."""
    return statistics.median(entry["seconds"])


def entry(benchmark: Benchmark, name: str) -> Entry | None:
    """Give one candidate, if it took part."""
    return next((each for each in benchmark["entries"] if each["name"] == name), None)


def of_kind(benchmark: Benchmark, *kinds: str) -> list[Entry]:
    """Give the candidates that are ours, an idiom, a peer, a copy or the limit."""
    return [each for each in benchmark["entries"] if each["kind"] in kinds]


def rate(benchmark: Benchmark, each: Entry) -> float:
    """Give GB/s: the bytes that the function reads and writes; a copy reads and writes x."""
    moved = benchmark["bytes"]
    if each["kind"] in ("limit", "copy"):
        moved = moved * 2 // (len(FUNCTIONS[benchmark["function"]].arrays) + 1)
    return moved / median(each) / 1e9


def select(record: Record, *parts: str, **wanted: Any) -> list[Benchmark]:
    """Give the benchmarks of some parts that have candidates, in the order of their sizes."""
    found = [
        each
        for each in record["benchmarks"]
        if each["part"] in parts
        and each["entries"]
        and all(each[key] == value for key, value in wanted.items())
    ]
    return sorted(found, key=lambda each: each["size"])


def grouped(benchmarks: Iterable[Benchmark], *keys: str) -> dict[tuple[str, ...], list[Benchmark]]:
    """Group benchmarks by their values under some keys."""
    groups: dict[tuple[str, ...], list[Benchmark]] = {}
    for each in benchmarks:
        groups.setdefault(tuple(each[key] for key in keys), []).append(each)
    return groups


def left_out(record: Record) -> list[tuple[str, str]]:
    """Give what could not take part somewhere, by name, and why.

    Candidates with one reason share a line. It is no news that some arrays cannot be written.
    """
    reasons: dict[str, dict[str, None]] = {}
    for benchmark in (each for each in record["benchmarks"] if each["mode"] != "out="):
        for name, why in benchmark["left_out"].items():
            missing = re.fullmatch(r"ModuleNotFoundError: No module named '(\w+)'?.*", why)
            told = f"{missing[1]} is not installed" if missing else why
            reasons.setdefault(told, {})[name] = None
    return [(", ".join(names), why) for why, names in reasons.items()]


def busy(record: Record) -> str:
    """Say in a sentence that the machine was busy with other work; nothing if it was not."""
    load, cores = record["about"]["load"] or 0, record["about"].get("cores", 1)
    if load <= max(1, cores / 2):
        return ""
    machine = f"load {load:g} on {cores} core{'s'[: cores > 1]}"
    return f"The machine was busy ({machine}): do not trust these numbers."


def size_name(size: int) -> str:
    """Write a power of two as such."""
    return f"2**{size.bit_length() - 1}" if size & (size - 1) == 0 else f"{size:,}"


def time_name(seconds: float) -> str:
    """Write a time with three digits and a unit."""
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def tables(record: Record, most: int | None = None) -> Iterator[Table]:
    """Give the time of a call in every part of the run, at so many sizes at most."""
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
    least = f"an array of less than {size_name(2 * SHARE)} elements is too small to split"
    return Table(f"Several threads: {least}", heads, rows)


def is_split(benchmark: Benchmark) -> bool:
    """Say whether the array is long enough for several threads."""
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
    """Give the first calls that take much longer: they compile, load or set up."""
    rows = []
    for benchmark in select(record, "overhead"):
        for each in benchmark["entries"]:
            if each["first"] > max(5e-3, 5 * median(each)):
                times = time_name(each["first"]), time_name(median(each))
                rows.append((each["kind"], [benchmark["function"], each["name"], *times]))
    return Table("First calls that take longer", ["function", "candidate", "first", "later"], rows)


def findings(record: Record) -> list[str]:
    """Say in three sentences what was found, the worst beside the best; nothing of a busy run."""
    if busy(record):
        return []
    found = select(record, "kernels", mode="fresh", device="cpu")
    both = [(c, each) for c in found if (each := entry(c, "relu_xp, numpy"))]
    return [*_beside_copy(both), *_beside_idioms(both), *_calls(record)]


def _beside_copy(both: list[tuple[Benchmark, Entry]]) -> Iterator[str]:
    largest = both[-1][0]["size"] if both else 0
    pairs = ((c, e, best) for c, e in both if c["size"] == largest for best in of_kind(c, "limit"))
    if shares := [(rate(c, e) / rate(c, best), c["function"]) for c, e, best in pairs]:
        ends = dict.fromkeys(f"{share:.0%} ({f})" for share, f in (min(shares), max(shares)))
        yield (
            "Speed compared with copying the array (100% is as fast as a copy): "
            f"{' to '.join(ends)}, on NumPy arrays of {size_name(largest)} elements."
        )


def _beside_idioms(both: list[tuple[Benchmark, Entry]]) -> Iterator[str]:
    # Idioms alone: they work on the same arrays, where a call of another library costs its own way.
    gains = [
        (median(other) / median(e), c["function"], other["name"], c["size"])
        for c, e in both
        for other in of_kind(c, "idiom")
    ]
    if gains:
        ends = (
            f"{gain:.3g}x ({f} against {idiom}, {size_name(n)} elements)"
            for gain, f, idiom, n in (min(gains), max(gains))
        )
        yield f"Speed compared with NumPy's idioms (1x is as fast): {' to '.join(ends)}."


def _calls(record: Record) -> Iterator[str]:
    for benchmark in select(record, "overhead")[:1]:
        times = [
            f"{time_name(median(e))} in {e['name'].partition(', ')[2]}"
            for e in of_kind(benchmark, "ours")
        ]
        if times:
            what = f"A call of {benchmark['function']} on {benchmark['size']} elements"
            yield f"{what} takes {', '.join(times)}."
