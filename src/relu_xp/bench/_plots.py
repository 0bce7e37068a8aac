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
from matplotlib.ticker import FuncFormatter

from relu_xp.bench import _summary

Record = dict[str, Any]
Axes = Any

INK, FAINT = "#010203", "#040506"  # stand for the page's colours
# Apart for readers who see few colours, and legible on white and on black.
COLOURS = ("#e07b00", "#2b8cd6", "#16a085", "#c2569b", "#7a6ff0", "#d9534f", "#a9714b", "#5d8a3a", "#8a8f98")
MARKERS = "osD^vP*X<"
STYLE = {
    "font.family": "sans-serif", "font.size": 10, "svg.fonttype": "none", "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6, "legend.frameon": False,
    "legend.fontsize": 9, "figure.facecolor": "none", "axes.facecolor": "none", "lines.linewidth": 1.8,
    "lines.markersize": 4, "axes.axisbelow": True,
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
    contests = _summary.select(record, "kernels", mode="fresh")
    for key in dict.fromkeys((c["device"], c["function"], c["dtype"]) for c in contests):
        device, function, dtype = key
        chosen = [c for c in contests if (c["device"], c["function"], c["dtype"]) == key]
        if len(chosen) < 2:
            continue
        names = list(dict.fromkeys(e["name"] for c in chosen for e in _summary.ours(c)))
        figure, axes = _axes("elements", "GB/s")
        _lines(axes, chosen, "copy", _summary.rate, color=INK, linestyle="--", label="copy: the limit")
        for index, name in enumerate(names):
            _lines(axes, chosen, name, _summary.rate, **_look(index), label=name.partition(", ")[2])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        _legend(figure)
        yield Plot(
            f"throughput-{device}-{function}-{dtype}".replace(":", "-"),
            f"{function}, {dtype} on {device}",
            "Bytes that have to be read and written a second, caches warm, results fresh. Higher is better; a copy of "
            "the same array, measured in the same turns, is what the memory allows.",
            _svg(figure),
        )


def _overhead(record: Record) -> Iterator[Plot]:
    for device in _summary.values(contests := _summary.select(record, "overhead"), "device"):
        chosen = [c for c in contests if c["device"] == device][:1]
        entries = [e for c in chosen for e in c["entries"] if e["kind"] != "limit"]
        if entries:
            bars = [(e["name"], _summary.median(e) * 1e6, e["kind"] == "ours") for e in entries]
            yield Plot(
                f"overhead-{device}".replace(":", "-"),
                f"A call of {chosen[0]['function']} on {chosen[0]['size']} elements, {device}",
                "On a logarithmic scale; nearly all of it is the way to the arithmetic. Shorter is better.",
                _bars(bars, "µs", lambda value: _summary.time_name(value / 1e6), log=True),
            )


def _speedups(record: Record) -> Iterator[Plot]:
    contests = _summary.select(record, "kernels", mode="fresh", device="cpu")
    for dtype in _summary.values(contests, "dtype"):
        figure, axes = _axes("elements", "times as fast as the idiom")
        drawn = 0
        for function in _summary.values(contests, "function"):
            points, idiom = [], ""
            for c in (c for c in contests if (c["function"], c["dtype"]) == (function, dtype)):
                ours = _summary.entry(c, "relu_xp, numpy")
                first = next((e for e in c["entries"] if e["kind"] == "idiom"), None)
                if ours and first:
                    idiom = first["name"]
                    points.append((c["size"], _summary.median(first) / _summary.median(ours)))
            if len(points) > 1:
                axes.plot(*zip(*points, strict=True), **_look(drawn), label=f"{function} / {idiom}")
                drawn += 1
        if drawn:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.axhline(1, color=INK, linestyle="--", linewidth=1)
            _legend(figure)
            yield Plot(
                f"speedup-{dtype}",
                f"NumPy arrays, {dtype}: against the idioms",
                "How many times as fast as the idiom named, results fresh. Above the dashed line ours is faster.",
                _svg(figure),
            )


def _growth(record: Record) -> Iterator[Plot]:
    contests = _summary.select(record, "growth")
    if len(contests) < 2:
        return
    regimes = _summary.regimes(record)
    function, dtype = contests[0]["function"], contests[0]["dtype"]
    names = list(dict.fromkeys(e["name"] for c in contests for e in c["entries"]))
    numbered = list(enumerate(regimes, 1))
    words = "; ".join(f"{number} from {_summary.size_name(size)}: {name}" for number, (size, name) in numbered)
    order = sorted(names, key=lambda name: (not name.startswith("relu_xp"), name))
    for what, label, value in (
        ("time", "seconds a call", lambda c, e: _summary.median(e)),
        ("rate", "GB/s", _summary.rate),
    ):
        figure, axes = _axes("elements", label)
        for index, name in enumerate(order):
            look = (
                {"color": INK, "linestyle": ":" if "fresh" in name else "--"}
                if name.startswith("copy")
                else _look(index)
            )
            _lines(axes, contests, name or "copy", value, **look, label="copy, out=" if name == "copy" else name)
        axes.set_xscale("log", base=2)
        if what == "time":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        top = axes.get_ylim()[1]
        for number, (size, _) in numbered:
            axes.axvline(size, color=INK, linewidth=0.8, alpha=0.6)
            axes.text(size, top, f" {number}", va="top", fontsize=9)
        _legend(figure)
        caption = f"{function} of {dtype} NumPy arrays, results fresh and into an array that is there. " + (
            f"The regimes, as these curves show them: {words}." if words else "No change of regime shows."
        )
        yield Plot(f"growth-{what}", f"How the cost grows: {label}", caption, _svg(figure))


def _workers(record: Record) -> Iterator[Plot]:
    contests = _summary.select(record, "workers")
    counts = list(dict.fromkeys(e["name"] for c in contests for e in _summary.ours(c)))
    if len(counts) < 2:
        return
    figure, axes = _axes("workers", "times as fast as one")
    for index, contest in enumerate(sorted(contests, key=lambda c: (c["function"], c["size"]))):
        points = [(int(e["name"].split()[0]), _summary.median(e)) for e in _summary.ours(contest)]
        label = f"{contest['function']}, {_summary.size_name(contest['size'])}"
        axes.plot([n for n, _ in points], [points[0][1] / t for _, t in points], **_look(index), label=label)
    most = int(counts[-1].split()[0])
    axes.plot([1, most], [1, most], color=INK, linestyle="--", linewidth=1, label="as many as workers")
    axes.set_xticks([int(name.split()[0]) for name in counts])
    axes.set_ylim(bottom=0)
    _legend(figure)
    caption = "NumPy arrays shared among threads by relu_xp.cpu_options, into an array that is there."
    yield Plot("workers", "Several workers", caption, _svg(figure))


def _cold(record: Record) -> Iterator[Plot]:
    contests = _summary.select(record, "cold")
    sizes = _summary.values(contests, "size")
    bars = []
    for size in sizes:
        for contest in (c for c in contests if c["size"] == size):
            for e in contest["entries"]:
                if e["kind"] != "idiom":
                    name = f"{_summary.size_name(size)}, {contest['cache']}, {e['name'].removesuffix(', numpy')}"
                    bars.append((name, _summary.rate(contest, e), e["kind"] == "ours"))
    if bars:
        yield Plot(
            "cold",
            "Warm and cold caches",
            f"{contests[0]['function']} of {contests[0]['dtype']} NumPy arrays into an array that is there: GB/s in a "
            "row of calls, and in one call after all caches were overwritten.",
            _bars(bars, "GB/s", lambda value: f"{value:.3g}"),
        )


def _training(record: Record) -> Iterator[Plot]:
    for task in _summary.values(contests := _summary.select(record, "training"), "task"):
        bars = []
        for contest in (c for c in contests if c["task"] == task):
            for ours in _summary.ours(contest):
                for name, ratio in _summary.ratios(contest, ours):
                    bars.append((f"{contest['mode']}, {contest['function']}: {name}", ratio, False))
        if bars:
            yield Plot(
                f"training-{task}".replace(" ", "-").replace(",", ""),
                task,
                "Time of the same network with the other rectifier over the time with ours: 1 is equal, more means "
                "that ours is faster.",
                _bars(bars, "times our time", lambda value: f"{value:.2f}", line=1.0),
            )


def _axes(x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _legend(figure: Figure) -> None:
    """Above the axes, where it hides no line."""
    figure.legend(loc="outside upper left", ncols=2, fontsize=8.5, borderpad=0, columnspacing=1.2, handlelength=1.6)


def _look(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def _lines(axes: Axes, contests: list[Record], name: str, value: Callable[..., float], **look: Any) -> None:
    points = [(c["size"], value(c, e)) for c in contests if (e := _summary.entry(c, name))]
    if points:
        axes.plot(*zip(*points, strict=True), **look)


def _bars(
    bars: list[tuple[str, float, bool]], label: str, number: Callable[[float], str], *, log: bool = False,
    line: float | None = None,
) -> str:  # fmt: skip
    """Horizontal, each with its name and its number; what is marked in the first colour."""
    figure, axes = _axes(label, "", 0.7 + 0.27 * len(bars))
    names, widths, marked = zip(*bars, strict=True)
    at = range(len(bars))
    drawn = axes.barh(at, widths, color=[COLOURS[0] if m else COLOURS[-1] for m in marked], height=0.7, log=log)
    axes.bar_label(drawn, [number(w) for w in widths], padding=3, fontsize=9)
    axes.set_yticks(at, names)
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
