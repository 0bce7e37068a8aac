"""Draws a record's plots, for the page of `relu-xp bench --report` and, as files, for the documentation.

    python -m relu_xp.bench._plots RESULTS.json FOLDER

What is black here takes the colour of the text around it, so that one drawing serves a light and a
dark page.
"""

import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import EngFormatter, NullFormatter

from relu_xp.bench import _summary
from relu_xp.bench._summary import Record

Axes = Any
Lines = dict[str, list[tuple[float, float]]]  # by label, points

INK, FAINT = "#010203", "#040506"  # stand for the page's colours
# Apart for readers who see few colours, and legible on white and on black.
COLOURS = (
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
    "font.family": "sans-serif", "font.size": 10, "svg.fonttype": "none", "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6, "legend.frameon": False,
    "legend.fontsize": 8.5, "legend.borderpad": 0, "legend.columnspacing": 1.2, "legend.handlelength": 1.6,
    "figure.facecolor": "none", "figure.constrained_layout.use": True, "axes.facecolor": "none", "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS, marker=list(MARKERS)),
    "lines.linewidth": 1.8, "lines.markersize": 4,
}  # fmt: skip
MIDDLE = 1 << 16  # elements: in the caches, and no longer small
WIDTH, HEIGHT = 5.6, 3.8  # inches: small, so that the letters stay large where a page is narrow


@dataclass(frozen=True)
class Plot:
    """A drawing, and how to read it."""

    name: str
    title: str
    caption: str
    svg: str


def plots(record: Record) -> Iterator[Plot]:
    """Draw all that the record has the samples for."""
    with mpl.rc_context(STYLE):
        for draw in (_throughput, _overhead, _speedups, _growth, _training):
            yield from draw(record)


def _throughput(record: Record) -> Iterator[Plot]:
    by = _summary.grouped(
        _summary.select(record, "kernels", mode="fresh"), "device", "function", "dtype"
    )
    for (device, function, dtype), chosen in by.items():
        if len(chosen) > 1:
            yield Plot(
                f"throughput-{device}-{function}-{dtype}".replace(":", "-"),
                f"{function} of {dtype} on {device}",
                "Bytes read and written a second, results fresh. Higher is better.",
                _lines("GB/s", _beside_copy(chosen, _summary.rate)),
            )


def _overhead(record: Record) -> Iterator[Plot]:
    for (device,), benchmarks in _summary.grouped(
        _summary.select(record, "overhead"), "device"
    ).items():
        benchmark = benchmarks[0]
        found = [
            (e["name"], _summary.median(e), e["kind"])
            for e in benchmark["entries"]
            if e["kind"] != "limit"
        ]
        if found:
            yield Plot(
                f"overhead-{device}".replace(":", "-"),
                f"{benchmark['function']} of {benchmark['size']} elements on {device}",
                "Nearly all of it is the way to the arithmetic. Each line is ten times the one to its left.",
                _dots(found),
            )


def _speedups(record: Record) -> Iterator[Plot]:
    by = _summary.grouped(
        _summary.select(record, "kernels", mode="fresh", device="cpu"), "dtype", "size"
    )
    for dtype in dict.fromkeys(dtype for dtype, _ in by):
        sizes = [int(size) for of, size in by if of == dtype]
        size = min(sizes, key=lambda size: abs(size - MIDDLE))
        bars = []
        for benchmark in by[dtype, size]:  # type: ignore[index]
            ours, idioms = (
                _summary.entry(benchmark, "relu_xp, numpy"),
                _summary.of_kind(benchmark, "idiom"),
            )
            if ours and idioms:
                ratio = _summary.median(idioms[0]) / _summary.median(ours)
                bars.append((f"{benchmark['function']}: {idioms[0]['name']}", ratio))
        if bars:
            yield Plot(
                f"speedup-{dtype}",
                f"{_summary.size_name(size)} elements of {dtype} in NumPy: times as fast as the idiom",
                "The dotted line is equal speed; to its right relu_xp is faster.",
                _bars(bars, 1.0),
            )


def _growth(record: Record) -> Iterator[Plot]:
    by = _summary.grouped(
        _summary.select(record, "overhead", "kernels", mode="fresh"), "device", "function", "dtype"
    )
    first = {
        device: (device, function, dtype) for device, function, dtype in reversed(by)
    }  # of each device
    for device, function, dtype in first.values():
        chosen = by[device, function, dtype]
        if len(chosen) > 1:
            yield Plot(
                f"growth-{device}".replace(":", "-"),
                f"{function} of {dtype} on {device}: {TIME}",
                "At first the call costs most, then the arithmetic and the memory. Lower is better.",
                _lines(TIME, _beside_copy(chosen, lambda _, each: _summary.median(each))),
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
                "The dotted line is equal time; to its right relu_xp is faster.",
                _bars(bars, 1.0),
            )


def _beside_copy(benchmarks: list[Record], value: Callable[[Record, Record], float]) -> Lines:
    """A line for each of ours, and one for the copy."""
    ours = [
        each["name"] for benchmark in benchmarks for each in _summary.of_kind(benchmark, "ours")
    ]
    labels = {"copy": "a copy"} | {name: name.partition(", ")[2] for name in ours}
    return {
        label: [
            (c["size"], value(c, each)) for c in benchmarks if (each := _summary.entry(c, name))
        ]
        for name, label in labels.items()
    }


def _axes(x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _lines(y: str, lines: Lines) -> str:
    """Curves over the number of elements, the legend above them, where it hides none."""
    figure, axes = _axes("elements", y)
    for label, points in lines.items():
        if points:
            axes.plot(
                *zip(*points, strict=True), label=label, **(PLAIN if label == "a copy" else {})
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(EngFormatter("s") if y == TIME else "{x:g}")
    figure.legend(loc="outside upper left", ncols=2)
    return svg(figure)


def _named(names: list[str]) -> tuple[Figure, Axes]:
    """A line down for each name, which has its number with it: a number in the drawing would lie on something."""
    figure, axes = _axes("", "", 0.6 + 0.27 * len(names))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure, axes


def _bars(bars: list[tuple[str, float]], line: float) -> str:
    """Horizontal, from 0 on, and a line to compare with."""
    figure, axes = _named([f"{name}   {width:.2f}" for name, width in bars])
    axes.barh(range(len(bars)), [width for _, width in bars], color=COLOURS[0], height=0.6)
    axes.axvline(line, color=INK, linestyle=":", linewidth=1.2)
    axes.set_xlim(left=0)
    return svg(figure)


def _dots(dots: list[tuple[str, float, str]]) -> str:
    """Times on a logarithmic scale, which has no zero for a bar to begin at; ours in the first colour."""
    figure, axes = _named([f"{name}   {_summary.time_name(time)}" for name, time, _ in dots])
    for row, (_, time, kind) in enumerate(dots):
        axes.plot(time, row, "o", color=COLOURS[0] if kind == "ours" else COLOURS[-1], markersize=7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = min(time for _, time, _ in dots), max(time for _, time, _ in dots)
    axes.set_xlim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    return svg(figure)


def svg(figure: Figure) -> str:
    """Text for the inside of a page: no prolog, nothing to fetch, and the page's colours."""
    text = io.StringIO()
    figure.savefig(
        text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    _, _, root = text.getvalue().partition("<svg")
    attributes, _, inside = root.partition(">")
    kept = " ".join(
        re.findall(r'(?:xmlns(?::\w+)?|viewBox)="[^"]*"', attributes)
    )  # its size is the page's to choose
    svg = f"<svg {kept}>{re.sub('<metadata>.*?</metadata>', '', inside, flags=re.DOTALL)}"
    return svg.replace(INK, "currentColor").replace(FAINT, "var(--faint, #8885)")


def stand_alone(text: str, title: str) -> str:
    """Make a file's text of it, which follows the reader's light or dark scheme."""
    style = "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", rf"\1<title>{title}</title>{style}", text, count=1)


def main(arguments: list[str]) -> int:
    """Write each plot of a record into a folder."""
    if len(arguments) != 2:
        print("usage: python -m relu_xp.bench._plots RESULTS.json FOLDER", file=sys.stderr)
        return 2
    source, folder = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots(json.loads(source.read_text(encoding="utf-8"))):
        (folder / f"{plot.name}.svg").write_text(
            stand_alone(plot.svg, plot.title), encoding="utf-8"
        )
        print(folder / f"{plot.name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
