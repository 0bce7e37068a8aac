"""Reads a record: medians, rates, ratios, and a few sentences on them."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from relu_xp._functions import FUNCTIONS

Record = dict[str, Any]
Benchmark = dict[str, Any]
Entry = dict[str, Any]


def median(entry: Entry) -> float:
    """Seconds a call."""
    return statistics.median(entry["seconds"])


def numbers(benchmark: Benchmark, each: Entry) -> tuple[str, str, str, str]:
    """A table's: the time of a call, half the distance of its quartiles, GB/s, and the share of the limit."""
    low, middle, high = statistics.quantiles(each["seconds"], n=4, method="inclusive")
    moved = f"{rate(benchmark, each):.2f}" if benchmark["bytes"] else ""
    part = f"{best:.0%}" if (best := share(benchmark, each)) else ""
    return time_name(middle), f"{(high - low) / 2 / middle:.0%}", moved, part


def entry(benchmark: Benchmark, name: str) -> Entry | None:
    """One candidate, if it took part."""
    return next((each for each in benchmark["entries"] if each["name"] == name), None)


def limit(benchmark: Benchmark) -> Entry | None:
    """What none can beat there: a copy, or a network without rectifiers."""
    return next((each for each in benchmark["entries"] if each["kind"] == "limit"), None)


def rate(benchmark: Benchmark, each: Entry) -> float:
    """GB/s, counting what the function has to read and write; a copy reads and writes x."""
    moved = benchmark["bytes"]
    if each["kind"] in ("limit", "copy"):
        moved = moved * 2 // (len(FUNCTIONS[benchmark["function"]].arrays) + 1)
    return moved / median(each) / 1e9


def share(benchmark: Benchmark, each: Entry) -> float | None:
    """The rate over the copy's, or, of a network, the products' time over the whole."""
    best = limit(benchmark)
    if best is None:
        return None
    return rate(benchmark, each) / rate(benchmark, best) if benchmark["bytes"] else median(best) / median(each)


def select(record: Record, part: str, **wanted: Any) -> list[Benchmark]:
    """A part's benchmarks with any candidate, in the order of their sizes."""
    found = [
        each
        for each in record["benchmarks"]
        if each["part"] == part and each["entries"] and all(each[key] == value for key, value in wanted.items())
    ]
    return sorted(found, key=lambda each: each["size"])


def grouped(benchmarks: Iterable[Benchmark]) -> dict[tuple[str, str, str], list[Benchmark]]:
    """By device, function and dtype."""
    groups: dict[tuple[str, str, str], list[Benchmark]] = {}
    for each in benchmarks:
        groups.setdefault((each["device"], each["function"], each["dtype"]), []).append(each)
    return groups


def values(benchmarks: Iterable[Benchmark], key: str) -> list[Any]:
    """What occurs under a key, each once, in order."""
    return list(dict.fromkeys(each[key] for each in benchmarks))


def ratios(benchmark: Benchmark, ours: Entry) -> Iterator[tuple[str, float]]:
    """How many times slower each idiom and peer is than ours."""
    for each in benchmark["entries"]:
        if each["kind"] in ("idiom", "peer"):
            yield each["name"], median(each) / median(ours)


def ours(benchmark: Benchmark) -> list[Entry]:
    """Our own candidates."""
    return [each for each in benchmark["entries"] if each["kind"] == "ours"]


def left_out(record: Record) -> list[tuple[str, str]]:
    """What could not take part somewhere, and why; that some arrays can't be written goes without saying."""
    benchmarks = (each for each in record["benchmarks"] if each["mode"] != "out=")
    return list(dict.fromkeys(pair for each in benchmarks for pair in each["left_out"].items()))


def case_name(benchmark: Benchmark) -> str:
    """A benchmark in words."""
    size = benchmark["task"] or f"{size_name(benchmark['size'])} {benchmark['dtype']}"
    cache = ", cold" if benchmark["cache"] == "cold" else ""
    return f"{benchmark['part']}: {benchmark['function']}, {size}, {benchmark['mode']}{cache}, {benchmark['device']}"


def size_name(size: int) -> str:
    """Powers of two as such."""
    return f"2**{size.bit_length() - 1}" if size & (size - 1) == 0 else f"{size:,}"


def time_name(seconds: float) -> str:
    """Three digits and a unit."""
    for factor, unit in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def findings(record: Record) -> list[str]:
    """The report in a few sentences."""
    said = []
    for function in values(select(record, "kernels"), "function")[:2]:
        benchmarks = select(record, "kernels", function=function, mode="fresh", device="cpu")
        both = [(benchmark, each) for benchmark in benchmarks if (each := entry(benchmark, "relu_xp, numpy"))]
        if not both:
            continue
        benchmark, each = both[-1]
        size = f"{size_name(benchmark['size'])} {benchmark['dtype']}"
        words = f"{function} of {size} in NumPy runs at {rate(benchmark, each):.1f} GB/s"
        if part := share(benchmark, each):
            words += f", {part:.0%} of what a copy reaches"
        # An idiom has the same arrays; another library's calls cost what they cost.
        others = ((c, e, other) for c, e in both for other in c["entries"] if other["kind"] == "idiom")
        if gains := [(median(other) / median(e), other["name"], c["size"]) for c, e, other in others]:
            ratio, name, at = max(gains)
            words += f"; at best ({size_name(at)}) {ratio:.1f} times as fast as {name}"
        said.append(f"{words}.")
    for benchmark in select(record, "overhead")[:1]:
        calls = ", ".join(f"{time_name(median(e))} in {e['name'].partition(', ')[2]}" for e in ours(benchmark))
        if calls:
            said.append(f"A call of {benchmark['function']} on {benchmark['size']} elements takes {calls}.")
    return said
