"""Writes a run down as one HTML page that needs nothing else: no network, no script, wide or narrow, light or dark."""

from collections.abc import Iterable, Iterator
from html import escape

from relu_xp.bench import _comparing, _plots, _summary
from relu_xp.bench._comparing import Change
from relu_xp.bench._measuring import SAMPLE
from relu_xp.bench._summary import Record

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --paper: #fff; --faint: #8883; --note: #5b6270; --ours: #b35f00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --paper: #16181d; --note: #a2a9b5; --ours: #ffa94d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--faint); }
h3 { margin: .2rem 0; font-size: 1rem; }
p, li, dl { max-width: 46rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption, .note { color: var(--note); font-size: .875rem; }
figure svg { display: block; width: 100%; max-width: 36rem; height: auto; color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--faint); white-space: nowrap; }
th { vertical-align: bottom; } .left { text-align: left; }
.ours td { color: var(--ours); font-weight: 600; } .slower { color: #d9363e; } .faster { color: #2a9d55; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { color: var(--note); } dd { margin: 0; }
summary { cursor: pointer; margin: .5rem 0; }
@media (max-width: 32rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""

# The sections of plots, by the first word of the plots' names.
_SECTIONS = {
    "How close to the hardware": ("throughput",),
    "What a call costs": ("overhead",),
    "Against the idioms": ("speedup",),
    "How the cost grows": ("growth", "workers", "cold"),
    "Training and inference": ("training",),
}
_METHOD = """
Candidates take turns in one process, since machines drift, and medians of up to {rounds} samples are compared; a
sample of short calls is as many as fill {sample} µs. "±" is half the distance between the samples' quartiles. Warm-up
is outside the samples, and the first call, with whatever it compiles, is told apart. Results are waited for. The data
are normally distributed, so that signs are random. NumPy, PyTorch and onnxruntime run on {workers} worker(s), but for
the networks, where each library has its own way; JAX and Dask bring their own threads everywhere. "Of copy" is the rate
over that of a copy of the same array in the same turns; a function that asks the memory for more at a time may pass it.
"""


def page(record: Record, old: Record | None = None, *, changes: list[Change]) -> str:
    """Give the page's text."""
    drawn = list(_plots.plots(record))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>relu_xp, measured on {escape(record['about']['cpu'])}</title>",
        f"<style>{_STYLE}</style></head><body><h1>relu_xp on this machine</h1>",
    ]
    if record["interrupted"]:
        parts.append("<p><strong>The run was interrupted: what follows is a part of it.</strong></p>")
    if said := _summary.findings(record):
        parts += ["<ul>", *(f"<li>{escape(each)}</li>" for each in said), "</ul>"]
    parts += ["<h2>The machine</h2>", *_machine(record["about"])]
    if old is not None:
        parts += _compared(old, record, changes)
    for title, kinds in _SECTIONS.items():
        if some := [plot for plot in drawn if plot.name.partition("-")[0] in kinds]:
            parts += [f"<h2>{title}</h2>", '<div class="plots">', *map(_figure, some), "</div>"]
        if title == "Training and inference" and (benchmarks := _summary.select(record, "training")):
            parts += ["<details><summary>Times</summary>", *_table(benchmarks), "</details>"]
    parts += ["<h2>First calls</h2>", *_first_calls(record), "<h2>Every number</h2>", *_numbers(record)]
    rounds = max((len(e["seconds"]) for c in record["benchmarks"] for e in c["entries"]), default=0)
    method = _METHOD.format(rounds=rounds, sample=round(SAMPLE * 1e6), workers=record["about"]["workers"])
    parts += [f"<h2>How this was measured</h2><p>{escape(method)}</p>", *_left_out(record), "</body></html>\n"]
    return "\n".join(parts)


def _machine(about: Record) -> Iterator[str]:
    caches = ", ".join(f"{level} {size >> 10:,} KiB" for level, size in about["caches"].items())
    rows = {
        "processor": f"{about['cpu']}, {about['cores']} cores",
        "caches": caches or "unknown",
        "memory": f"{about['memory'] / 2**30:.0f} GiB" if about["memory"] else "unknown",
        "GPU": "; ".join(about["gpus"]) or "none",
        "system": f"{about['system']}; transparent huge pages: {about['huge_pages']}",
        "versions": ", ".join([f"Python {about['python']}", *(f"{k} {v}" for k, v in about["versions"].items())]),
        "run": f"{about['date']}, {about['workers']} worker(s), load {about['load']} at first",
    }
    yield "<dl>"
    for name, text in rows.items():
        yield f"<dt>{name}</dt><dd>{escape(text)}</dd>"
    yield "</dl>"


def _figure(plot: _plots.Plot) -> str:
    label = escape(plot.title, quote=True)
    svg = plot.svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    caption = f"<figcaption>{escape(plot.caption)}</figcaption>"
    return f'<figure id="{plot.name}"><h3>{escape(plot.title)}</h3>{svg}{caption}</figure>'


def _rows(heads: tuple[str, ...], rows: Iterable[tuple[str, tuple[str, ...]]], left: int) -> Iterator[str]:
    """A table, its first columns to the left; each row with its class."""
    align = [' class="left"' if index < left else "" for index in range(len(heads))]

    def cells(tag: str, texts: tuple[str, ...]) -> str:
        return "".join(f"<{tag}{how}>{escape(text)}</{tag}>" for how, text in zip(align, texts, strict=True))

    yield f'<div class="scroll"><table><thead><tr>{cells("th", heads)}</tr></thead><tbody>'
    for kind, row in rows:
        yield f'<tr class="{kind}">{cells("td", row)}</tr>'
    yield "</tbody></table></div>"


def _table(benchmarks: list[Record]) -> Iterator[str]:
    rows = []
    for benchmark in benchmarks:
        what = benchmark["task"] or _summary.size_name(benchmark["size"])
        how = benchmark["mode"] + (", cold" if benchmark["cache"] == "cold" else "")
        ours = _summary.ours(benchmark)
        for each in benchmark["entries"]:
            over = f"{_summary.median(each) / _summary.median(ours[0]):.2f}" if ours else ""
            rows.append((each["kind"], (what, how, each["name"], *_summary.numbers(benchmark, each), over)))
    limit = "of copy" if benchmarks[0]["bytes"] else "products' share"
    return _rows(("what", "how", "candidate", "a call", "±", "GB/s", limit, "over ours"), rows, 3)


def _numbers(record: Record) -> Iterator[str]:
    for part in ("overhead", "kernels", "growth", "workers", "cold"):
        benchmarks = _summary.select(record, part)
        for (device, function, dtype), chosen in _summary.grouped(benchmarks).items():
            yield f"<details><summary>{part}: {function}, {dtype} on {escape(device)}</summary>"
            yield from _table(chosen)
            yield "</details>"


def _first_calls(record: Record) -> Iterator[str]:
    """What the first call costs, where that is more than a page fault: mostly compiling."""
    rows = []
    for benchmark in [*_summary.select(record, "overhead"), *_summary.select(record, "training")]:
        for each in benchmark["entries"]:
            first, later = each["first"], _summary.median(each)
            if first > max(5e-3, 5 * later):
                what, how = benchmark["task"] or "a call", f"{benchmark['function']}, {benchmark['mode']}"
                rows.append(("", (what, how, each["name"], *map(_summary.time_name, (first, later)))))
    if rows:
        yield "<p>What is compiled, loaded or set up by the first call, and by no other:</p>"
        yield from _rows(("what", "function", "candidate", "first call", "later"), rows, 3)
    else:
        yield "<p>No first call took much longer than the others.</p>"


def _left_out(record: Record) -> Iterator[str]:
    if reasons := _summary.left_out(record):
        yield '<details><summary>What could not take part everywhere, and why</summary><ul class="note">'
        yield from (f"<li>{escape(name)}: {escape(why)}</li>" for name, why in reasons)
        yield "</ul></details>"


def _compared(old: Record, new: Record, changes: list[Change]) -> Iterator[str]:
    marked = sum(change.marked for change in changes)
    yield "<h2>Compared with an earlier run</h2>"
    yield (
        f"<p>{marked} of {len(changes)} candidates changed beyond noise since {escape(old['about']['date'])}. Times "
        "are over those of the limit in the same run, so that a machine that is slower as a whole changes nothing.</p>"
    )
    yield f"<p>{escape(_comparing.busy(old, new))}</p>"
    for name, before in old["about"]["versions"].items():
        after = new["about"]["versions"].get(name, "none")
        if before != after:
            yield f"<p>{escape(name)}: {escape(before)} before, {escape(after)} now.</p>"

    heads = ("what", "candidate", *_comparing.HEADINGS, "verdict")
    rows = []
    for change in changes:
        verdict = ("slower" if change.ratio > 1 else "faster") if change.marked else ""
        rows.append((verdict, (_summary.case_name(change.benchmark), change.name, *change.numbers, verdict)))
    if marked:
        yield from _rows(heads, (row for row in rows if row[0]), 2)
    yield "<details><summary>All of them</summary>"
    yield from _rows(heads, rows, 2)
    yield "</details>"
