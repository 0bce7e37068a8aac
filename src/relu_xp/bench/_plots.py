"""Draws a record's plots, for the page of `relu-xp bench --report` and, as files, for the documentation.

    python -m relu_xp.bench._plots RESULTS.json FOLDER

What is black here takes the colour of the text around it, so that one drawing serves a light and a dark page.
"""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import EngFormatter

from relu_xp.bench import _summary
from relu_xp.bench._summary import Record

Axes = Any
Lines = dict[str, tuple[list[tuple[float, float]], dict[str, str]]]  # by label, points and a look of its own, or {}

INK, FAINT = "#010203", "#040506"  # stand for the page's colours
# Apart for readers who see few colours, and legible on white and on black.
COLOURS = ("#e07b00", "#2b8cd6", "#16a085", "#c2569b", "#7a6ff0", "#d9534f", "#a9714b", "#5d8a3a", "#8a8f98")
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
WIDTH, HEIGHT = 5.2, 3.8  # inches: small, so that the letters stay large where a page is narrow


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
        for draw in (_throughput, _overhead, _speedups, _growth, _workers, _cold, _training):
            yield from draw(record)


def _throughput(record: Record) -> Iterator[Plot]:
    benchmarks = _summary.select(record, "kernels", mode="fresh")
    for (device, function, dtype), chosen in _summary.grouped(benchmarks).items():
        if len(chosen) < 2:
            continue
        names = dict.fromkeys(e["name"] for c in chosen for e in _summary.ours(c))
        lines: Lines = {"copy: the limit": (_points(chosen, "copy", _summary.rate), PLAIN)}
        lines |= {name.partition(", ")[2]: (_points(chosen, name, _summary.rate), {}) for name in names}
        yield Plot(
            f"throughput-{device}-{function}-{dtype}".replace(":", "-"),
            f"{function}, {dtype} on {device}",
            "Bytes that have to be read and written a second, caches warm, results fresh. Higher is better; a copy of "
            "the same array, measured in the same turns, is what the memory allows.",
            _lines("elements", "GB/s", lines),
        )


def _overhead(record: Record) -> Iterator[Plot]:
    for device in _summary.values(benchmarks := _summary.select(record, "overhead"), "device"):
        chosen = [c for c in benchmarks if c["device"] == device][:1]
        entries = [e for c in chosen for e in c["entries"] if e["kind"] != "limit"]
        if entries:
            bars = [(e["name"], _summary.median(e), e["kind"] == "ours") for e in entries]
            yield Plot(
                f"overhead-{device}".replace(":", "-"),
                f"A call of {chosen[0]['function']} on {chosen[0]['size']} elements, {device}",
                "On a logarithmic scale; nearly all of it is the way to the arithmetic. Shorter is better.",
                _bars(bars, TIME, _summary.time_name),
            )


def _speedups(record: Record) -> Iterator[Plot]:
    benchmarks = _summary.select(record, "kernels", mode="fresh", device="cpu")
    for dtype in _summary.values(benchmarks, "dtype"):
        lines: Lines = {}
        for benchmark in (c for c in benchmarks if c["dtype"] == dtype):
            ours = _summary.entry(benchmark, "relu_xp, numpy")
            idiom = next((e for e in benchmark["entries"] if e["kind"] == "idiom"), None)
            if ours and idiom:
                points, _ = lines.setdefault(f"{benchmark['function']} / {idiom['name']}", ([], {}))
                points.append((benchmark["size"], _summary.median(idiom) / _summary.median(ours)))
        if any(len(points) > 1 for points, _ in lines.values()):
            yield Plot(
                f"speedup-{dtype}",
                f"NumPy arrays, {dtype}: against the idioms",
                "How many times as fast as the idiom named, results fresh. Above the dashed line ours is faster.",
                _lines("elements", "times as fast as the idiom", lines, level=1),
            )


def _growth(record: Record) -> Iterator[Plot]:
    benchmarks = _summary.select(record, "growth")
    if len(benchmarks) < 2:
        return
    names = dict.fromkeys(e["name"] for c in benchmarks for e in c["entries"])
    order = sorted(names, key=lambda name: (not name.startswith("relu_xp"), name))
    caption = (
        f"{benchmarks[0]['function']} of {benchmarks[0]['dtype']} NumPy arrays, results fresh and into an array that "
        "is there: first the call costs most, then the arithmetic, then the memory, and of a fresh result its pages."
    )
    looks = {"copy": PLAIN, "copy, fresh": {**PLAIN, "linestyle": ":"}}
    for what, label, value in (("time", TIME, lambda _, e: _summary.median(e)), ("rate", "GB/s", _summary.rate)):
        lines = {
            "copy, out=" if name == "copy" else name: (_points(benchmarks, name, value), looks.get(name, {}))
            for name in order
        }
        drawing = _lines("elements", label, lines, log=label == TIME)
        yield Plot(f"growth-{what}", f"How the cost grows: {label}", caption, drawing)


def _workers(record: Record) -> Iterator[Plot]:
    benchmarks = _summary.select(record, "workers")
    lines: Lines = {}
    most = 0
    for benchmark in sorted(benchmarks, key=lambda c: (c["function"], c["size"])):
        times = {int(e["name"].split()[0]): _summary.median(e) for e in _summary.ours(benchmark)}
        label = f"{benchmark['function']}, {_summary.size_name(benchmark['size'])}"
        lines[label] = [(n, times[1] / time) for n, time in times.items()], {}
        most = max(most, *times)
    if most > 1:
        lines["as many as workers"] = [(1, 1), (most, most)], PLAIN
        caption = "NumPy arrays shared among threads by relu_xp.cpu_options, into an array that is there."
        drawing = _lines("workers", "times as fast as one", lines, log=False)
        yield Plot("workers", "Several workers", caption, drawing)


def _cold(record: Record) -> Iterator[Plot]:
    benchmarks = _summary.select(record, "cold")
    bars = [
        (
            f"{_summary.size_name(benchmark['size'])}, {benchmark['cache']}, {e['name'].removesuffix(', numpy')}",
            _summary.rate(benchmark, e),
            e["kind"] == "ours",
        )
        for benchmark in benchmarks
        for e in benchmark["entries"]
        if e["kind"] != "idiom"
    ]
    if bars:
        yield Plot(
            "cold",
            "Warm and cold caches",
            f"{benchmarks[0]['function']} of {benchmarks[0]['dtype']} NumPy arrays into an array that is there: GB/s "
            "in a row of calls, and in one call after all caches were overwritten.",
            _bars(bars, "GB/s", lambda value: f"{value:.3g}"),
        )


def _training(record: Record) -> Iterator[Plot]:
    for task in _summary.values(benchmarks := _summary.select(record, "training"), "task"):
        bars = [
            (f"{benchmark['mode']}, {benchmark['function']}: {name}", ratio, False)
            for benchmark in benchmarks
            if benchmark["task"] == task
            for ours in _summary.ours(benchmark)
            for name, ratio in _summary.ratios(benchmark, ours)
        ]
        if bars:
            yield Plot(
                f"training-{task}".replace(" ", "-").replace(",", ""),
                task,
                "Time of the same network with the other rectifier over the time with ours: 1 is equal, more means "
                "that ours is faster.",
                _bars(bars, "times our time", lambda value: f"{value:.2f}", line=1.0),
            )


def _points(benchmarks: list[Record], name: str, value: Callable[[Record, Record], float]) -> list[tuple[float, float]]:
    return [(c["size"], value(c, each)) for c in benchmarks if (each := _summary.entry(c, name))]


def _axes(x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _lines(x: str, y: str, lines: Lines, *, log: bool = True, level: float | None = None) -> str:
    """Curves over x, the legend above them, where it hides none; and a level to compare with."""
    figure, axes = _axes(x, y)
    for label, (points, look) in lines.items():
        axes.plot(*zip(*points, strict=True), label=label, **look)
    if x == "elements":
        axes.set_xscale("log", base=2)
    else:
        axes.set_xticks(sorted({at for points, _ in lines.values() for at, _ in points}))
    if log:
        axes.set_yscale("log", base=10 if level is None else 2)
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter("s") if y == TIME else "{x:g}")
    if level is not None:
        axes.axhline(level, color=INK, linestyle="--", linewidth=1)
    figure.legend(loc="outside upper left", ncols=2)
    return _svg(figure)


def _bars(
    bars: list[tuple[str, float, bool]], label: str, number: Callable[[float], str], line: float | None = None
) -> str:
    """Horizontal, each with its name and its number; what is marked in the first colour."""
    figure, axes = _axes(label, "", 0.7 + 0.27 * len(bars))
    names, widths, marked = zip(*bars, strict=True)
    colours = [COLOURS[0] if mark else COLOURS[-1] for mark in marked]
    drawn = axes.barh(names, widths, color=colours, height=0.7, log=label == TIME)
    axes.bar_label(drawn, [number(width) for width in widths], padding=3, fontsize=9)
    if label == TIME:
        axes.xaxis.set_major_formatter(EngFormatter("s"))
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    if line is not None:
        axes.axvline(line, color=INK, linestyle="--", linewidth=1)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Text for the inside of a page: no prolog, nothing to fetch, and the page's colours."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    _, _, root = text.getvalue().partition("<svg")
    attributes, _, inside = root.partition(">")
    kept = " ".join(re.findall(r'(?:xmlns(?::\w+)?|viewBox)="[^"]*"', attributes))  # its size is the page's to choose
    svg = f"<svg {kept}>{re.sub('<metadata>.*?</metadata>', '', inside, flags=re.DOTALL)}"
    return svg.replace(INK, "currentColor").replace(FAINT, "var(--faint, #8885)")


def main(arguments: list[str]) -> int:
    """Write each plot of a record into a folder, as a file that follows the reader's light or dark scheme."""
    if len(arguments) != 2:
        print("usage: python -m relu_xp.bench._plots RESULTS.json FOLDER", file=sys.stderr)
        return 2
    source, folder = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    style = "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    for plot in plots(json.loads(source.read_text(encoding="utf-8"))):
        svg = re.sub(r"(<svg\b[^>]*>)", rf"\1<title>{plot.title}</title>{style}", plot.svg, count=1)
        (folder / f"{plot.name}.svg").write_text(svg, encoding="utf-8")
        print(folder / f"{plot.name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
