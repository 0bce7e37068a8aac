"""Draws a record's plots, for `relu-xp bench --report` and for the documentation.

INK takes the color of the text around the drawing, so one drawing serves light and dark pages.
"""

import io
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import EngFormatter, NullFormatter, NullLocator

from relu_xp.bench import _summary
from relu_xp.bench._summary import Record

Axes = Any
Lines = dict[str, list[tuple[float, float]]]  # by label, points

INK, FAINT = "#010203", "#040506"  # stand for the page's colors
# Apart for readers who see few colors, and legible on white and on black.
COLORS = (
    "#e07b00",
    "#2b8cd6",
    "#16a085",
    "#c2569b",
    "#7a6ff0",
    "#d9534f",
    "#a9714b",
    "#5d8a3a",
    "#8a8f98",
)
MARKERS = "osD^vP*X<"
TIME = "time a call"
PLAIN = {"color": INK, "marker": "", "linestyle": "--"}  # what others are held against
STYLE = {
    "font.family": "sans-serif", "font.size": 10, "svg.fonttype": "none", "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT,
    "grid.linewidth": 0.6, "legend.frameon": False, "legend.fontsize": 8.5, "legend.borderpad": 0,
    "legend.columnspacing": 1.2, "legend.handlelength": 1.6, "figure.facecolor": "none",
    "figure.constrained_layout.use": True, "axes.facecolor": "none", "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLORS, marker=list(MARKERS)),
    "lines.linewidth": 1.8, "lines.markersize": 4,
}  # fmt: skip
MORE, LESS = COLORS[1], COLORS[5]  # bars at or above 1, and below
FASTER = (
    "Blue bars, above 1: relu_xp is faster. Red bars, below 1: it is slower. The dotted line is "
    "equal speed."
)
COPY = "a copy"
STEEP = 0.6  # a curve that falls to less of its speed is pointed out
# The superscripts of 2**10.
RAISED = {ord(digit): raised for digit, raised in zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True)}
MIDDLE = 1 << 16  # elements: in the caches, and no longer small
WIDTH, HEIGHT = 5.6, 3.8  # inches: small, so that the letters stay large where a page is narrow


@dataclass(frozen=True)
class Plot:
    """A drawing, and how to read it."""

    name: str
    title: str
    caption: str
    svg: str
    # Plots of one group are alike: a page shows them small, under one legend and one caption.
    group: str = ""
    small: str = ""
    function: str = ""
    legend: dict[str, str] = field(default_factory=dict)  # colors, by label
    note: str = ""  # on this plot alone


def plots(record: Record) -> Iterator[Plot]:
    """Draw all that the record has the samples for."""
    with mpl.rc_context(STYLE):
        for draw in (_throughput, _overhead, _speedups, _growth, _training):
            yield from draw(record)


def _throughput(record: Record) -> Iterator[Plot]:
    chosen = _summary.select(record, "kernels", mode="fresh")
    looks, busy = _looks(chosen), _summary.busy(record)
    by = _summary.grouped(chosen, "device", "function", "dtype")
    for (device, function, dtype), benchmarks in by.items():
        if len(benchmarks) > 1:
            lines = _beside_copy(benchmarks, _summary.rate)
            of = [each["bytes"] for each in benchmarks]
            yield Plot(
                f"throughput-{device}-{function}-{dtype}".replace(":", "-"),
                f"{function} of {dtype} on {device}",
                "Bytes read and written a second, results fresh. Higher is better.",
                _lines("GB/s", lines, looks),
                group=f"{dtype} on {device}",
                function=function,
                small=_lines("GB/s", lines, looks, small=True),
                legend={label: looks[label]["color"] for label in lines},
                note="" if busy else _falls(lines, of, record["about"].get("caches", {})),
            )


def _falls(lines: Lines, moved: list[int], caches: dict[str, int]) -> str:
    """Name in a sentence the largest fall of a curve, if one is steep, and the cache it leaves."""
    falls = [
        (b / a, label, low, high)
        for label, points in lines.items()
        for (low, a), (high, b) in itertools.pairwise(points)
    ]
    least, label, low, high = min(falls, default=(1.0, "", 0, 0))
    if least > STEEP:
        return ""
    names = _summary.size_name(int(low)), _summary.size_name(int(high))
    each = moved[0] / lines[label][0][0]  # bytes an element
    left = [name for name, size in caches.items() if low * each <= size < high * each]
    why = f", where the data outgrow {left[-1]}" if left else ""
    return f"{label} falls to {least:.0%} of its speed from {names[0]} to {names[1]}{why}."


def _overhead(record: Record) -> Iterator[Plot]:
    by = _summary.grouped(_summary.select(record, "overhead"), "device")
    for (device,), (benchmark, *_) in by.items():
        found = [
            (e["name"], _summary.median(e), e["kind"])
            for e in benchmark["entries"]
            if e["kind"] != "limit"
        ]
        if found:
            yield Plot(
                f"overhead-{device}".replace(":", "-"),
                f"{benchmark['function']} of {benchmark['size']} elements on {device}",
                "Nearly all of this time is spent before the arithmetic. Lower is better. Each "
                "line is ten times the one to its left.",
                _dots(found),
            )


def _speedups(record: Record) -> Iterator[Plot]:
    """Draw the gain over NumPy's idioms, and over what each library has itself."""
    by = _summary.grouped(
        _summary.select(record, "kernels", mode="fresh"), "device", "dtype", "size"
    )
    for device, dtype in dict.fromkeys(key[:2] for key in by):
        sizes = [int(key[2]) for key in by if key[:2] == (device, dtype)]
        size = min(sizes, key=lambda size: abs(size - MIDDLE))
        chosen = by[device, dtype, size]  # type: ignore[index]
        ours = dict.fromkeys(e["name"] for c in chosen for e in _summary.of_kind(c, "ours"))
        for name in ours:
            library = name.partition(", ")[2]
            bars = [
                (f"{benchmark['function']}: {other['name']}", _summary.median(other) / median)
                for benchmark in chosen
                if (mine := _summary.entry(benchmark, name)) and (median := _summary.median(mine))
                for other in _own(benchmark, library)
            ]
            if bars:
                told = f"{_summary.size_name(size)} elements of {dtype} on {device}"
                end = "" if library == "numpy" else f"-{library}-{device}".replace(":", "-")
                yield Plot(
                    f"speedup-{dtype}{end}",
                    f"{library}, {told}: speed of relu_xp over that of the other",
                    FASTER,
                    _bars(bars),
                )


def _own(benchmark: Record, library: str) -> list[Record]:
    """Give what a library has itself: of NumPy the first idiom, of others their functions."""
    if library == "numpy":
        return _summary.of_kind(benchmark, "idiom")[:1]
    peers = _summary.of_kind(benchmark, "peer")
    return [each for each in peers if re.split("[.,]", each["name"])[0] == library]


def _growth(record: Record) -> Iterator[Plot]:
    found = _summary.select(record, "overhead", "kernels", mode="fresh")
    by = _summary.grouped(found, "device", "function", "dtype")
    first = {key[0]: key for key in reversed(by)}  # of each device
    for device, function, dtype in first.values():
        chosen = by[device, function, dtype]
        if len(chosen) > 1:
            lines = _beside_copy(chosen, lambda _, each: _summary.median(each))
            yield Plot(
                f"growth-{device}".replace(":", "-"),
                f"{function} of {dtype} on {device}: {TIME}",
                "For few elements the call itself costs most; then the arithmetic and the memory "
                "do. Lower is better.",
                _lines(TIME, lines, _looks(found)),
            )


def _training(record: Record) -> Iterator[Plot]:
    for (task,), benchmarks in _summary.grouped(
        _summary.select(record, "training"), "task"
    ).items():
        bars = [
            (
                f"{benchmark['mode']}, {benchmark['function']}",
                _summary.median(other) / _summary.median(ours),
            )
            for benchmark in benchmarks
            for ours in _summary.of_kind(benchmark, "ours")
            for other in _summary.of_kind(benchmark, "idiom", "peer")
        ]
        if bars:
            yield Plot(
                f"training-{task}".replace(" ", "-").replace(",", ""),
                f"{task}: time with the library's own rectifier over time with relu_xp's",
                FASTER,
                _bars(bars),
            )


def _looks(benchmarks: list[Record]) -> dict[str, dict[str, Any]]:
    """Give each line its color and marker, the same in every plot."""
    ours = (each["name"] for c in benchmarks for each in _summary.of_kind(c, "ours"))
    labels = dict.fromkeys(name.partition(", ")[2] for name in ours)
    cycle = itertools.cycle(zip(COLORS, MARKERS, strict=True))
    looks = {label: {"color": c, "marker": m} for label, (c, m) in zip(labels, cycle, strict=False)}
    return {COPY: PLAIN, **looks}


def _beside_copy(benchmarks: list[Record], value: Callable[[Record, Record], float]) -> Lines:
    """Give a line for each of ours, and one for the copy."""
    ours = [
        each["name"] for benchmark in benchmarks for each in _summary.of_kind(benchmark, "ours")
    ]
    labels = {"copy": COPY} | {name: name.partition(", ")[2] for name in ours}
    lines = {
        label: [
            (c["size"], value(c, each)) for c in benchmarks if (each := _summary.entry(c, name))
        ]
        for name, label in labels.items()
    }
    return {label: points for label, points in lines.items() if points}


def _axes(x: str, y: str, height: float = HEIGHT, width: float = WIDTH) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _lines(y: str, lines: Lines, looks: dict[str, dict[str, Any]], *, small: bool = False) -> str:
    """Draw curves over the number of elements; a small plot has no legend and no labels."""
    names = ("", "", 2.2, 2.8) if small else ("elements", y)
    figure, axes = _axes(*names)
    for label, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=label, **looks[label])
    axes.set_yscale("log")
    sizes_below(axes, {size for points in lines.values() for size, _ in points}, 4 if small else 8)
    axes.yaxis.set_major_formatter(EngFormatter("s") if y == TIME else "{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    if not small:
        figure.legend(loc="outside upper left", ncols=2)
    return svg(figure)


def sizes_below(axes: Axes, sizes: Collection[float], most: int) -> None:
    """Put ticks at sizes that were measured, so many at most, as powers of two."""
    ordered = sorted({*map(int, sizes)})
    shown = ordered[:: math.ceil(len(ordered) / most)]
    axes.set_xscale("log", base=2)
    axes.set_xticks(shown, [power(size) for size in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def power(size: int) -> str:
    """Write a power of two with its exponent raised."""
    base, stars, exponent = _summary.size_name(size).partition("**")
    return base + exponent.translate(RAISED) if stars else base


def _named(names: list[str]) -> tuple[Figure, Axes]:
    """Give a line for each name, which has its number: one in the drawing would hide something."""
    figure, axes = _axes("", "", 0.6 + 0.27 * len(names))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure, axes


def _bars(bars: list[tuple[str, float]]) -> str:
    """Draw horizontal bars from 0 on, of another color below 1."""
    figure, axes = _named([f"{name}   {width:.2f}" for name, width in bars])
    widths = [width for _, width in bars]
    axes.barh(
        range(len(bars)),
        widths,
        color=[MORE if round(w, 2) >= 1 else LESS for w in widths],
        height=0.6,
    )
    axes.axvline(1.0, color=INK, linestyle=":", linewidth=1.2)
    axes.set_xlim(left=0)
    return svg(figure)


def _dots(dots: list[tuple[str, float, str]]) -> str:
    """Draw times on a logarithmic scale, which has no 0 for bars; ours in the first color."""
    figure, axes = _named([f"{name}   {_summary.time_name(time)}" for name, time, _ in dots])
    for row, (_, time, kind) in enumerate(dots):
        axes.plot(time, row, "o", color=COLORS[0] if kind == "ours" else COLORS[-1], markersize=7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = min(time for _, time, _ in dots), max(time for _, time, _ in dots)
    axes.set_xlim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    return svg(figure)


def svg(figure: Figure) -> str:
    """Give text for the inside of a page: no prolog, nothing to fetch, and the page's colors."""
    text = io.StringIO()
    figure.savefig(
        text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    _, _, root = text.getvalue().partition("<svg")
    attributes, _, inside = root.partition(">")
    # Not the size, which the page chooses.
    kept = " ".join(re.findall(r'(?:xmlns(?::\w+)?|viewBox)="[^"]*"', attributes))
    svg = f"<svg {kept}>{re.sub('<metadata>.*?</metadata>', '', inside, flags=re.DOTALL)}"
    return svg.replace(INK, "currentColor").replace(FAINT, "var(--faint, #8885)")


def stand_alone(text: str, title: str) -> str:
    """Give the text of a file, which follows the reader's light or dark scheme."""
    style = "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", rf"\1<title>{title}</title>{style}", text, count=1)
