"""`relu-xp bench`: what to measure, a progress bar while it is measured, and tables of what was found."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from relu_xp import _machine, _threads
from relu_xp._functions import FUNCTIONS
from relu_xp._machine import Target
from relu_xp.bench import _benchmarks, _comparing, _environment, _summary, _training
from relu_xp.bench._benchmarks import Benchmark
from relu_xp.bench._summary import Record

OK, MISSING, INTERRUPTED = 0, 2, 130
SCHEMA = 2
SIZES = [1 << k for k in range(10, 23, 2)]
# Measured only if they are named: their times say nothing about rectifiers.
BY_NAME = ("array_api_strict", "sparse", "ndonnx", "xarray", "pandas", "pint")
SHOWN = 3  # sizes a function in the terminal; the files have them all
MOST_GROWTH = 1 << 28  # bytes an array


def run(console: Console, options: Namespace) -> int:
    """Measure what the options ask for, or compare two files; return the process's exit status."""
    if unnamed := {*(options.dtype or ())} - {*_benchmarks.DTYPES}:
        console.print(f"{', '.join(unnamed)}: ml_dtypes is not installed", highlight=False)
        return MISSING
    try:
        runs = [_read(file) for file in options.compare or ()]
    except (OSError, ValueError) as error:
        print(f"relu-xp bench: --compare: {error}", file=sys.stderr)
        return MISSING
    if len(runs) < 2:
        targets = _machine.choose(console, options.backend)
        if not targets:
            return MISSING
        runs.append(measured(console, list(plan(targets, options)), options.seconds))
        if options.json:
            options.json.write(json.dumps(runs[-1]) + "\n")
        show(console, runs[-1])
    *old, record = runs
    changes = _comparing.compare(*runs) if old else []
    if old:
        _show_changes(console, changes, _comparing.busy(*runs))
    if options.report:
        from relu_xp.bench import _page

        options.report.write(_page.page(record, *old, changes=changes))
        console.print(f"The report is in {options.report.file}.", highlight=False)
    if record["interrupted"] and len(options.compare or ()) < 2:
        done = len(record["benchmarks"])
        console.print(f"[yellow]Interrupted[/] after {done} benchmarks, which are all in the tables and files above.")
        return INTERRUPTED
    return OK


def _read(file: str) -> Record:
    """Read a record, or say in an error what else the file is."""
    try:
        record = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{file} is no record of relu-xp bench: {error}"
        raise ValueError(msg) from None
    if not isinstance(record, dict) or not {"relu_xp_bench", "about", "benchmarks"} <= record.keys():
        msg = f"{file} is no record of relu-xp bench, as its --json writes one"
        raise ValueError(msg)
    if record["relu_xp_bench"] != SCHEMA:
        msg = f"{file} is a record of format {record['relu_xp_bench']}; this version reads {SCHEMA}: run bench again"
        raise ValueError(msg)
    return record


def plan(targets: list[Target], options: Namespace) -> Iterator[Benchmark]:
    """All benchmarks of a run, the parts one after the other."""
    functions = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    dtypes = options.dtype or ["float32"]
    sizes = options.sizes or SIZES
    peers = [each for each in _machine.survey() if isinstance(each, Target)] if options.peers else []
    targets = [target for target in targets if options.backend or target.name not in BY_NAME]
    yield from _benchmarks.kernels(targets, functions, dtypes, [_benchmarks.SMALL, *sizes], peers)
    names = {target.name for target in targets}
    if "numpy" in names:
        largest = max(sizes)
        room = min(_environment.available_memory() // 2, 4 * MOST_GROWTH)
        if options.sizes:
            room = min(room, 4 * largest * _benchmarks.DTYPES[dtypes[0]].itemsize)
        yield from _benchmarks.growth(functions[0], dtypes[0], room=room)
        both_ends = list(dict.fromkeys((functions[0], functions[-1])))
        yield from _benchmarks.workers(both_ends, dtypes[0], _threads.processors(), largest)
        yield from _benchmarks.cold(functions[0], dtypes[0], largest)
    yield from _training.steps(functions, names)


def measured(console: Console, benchmarks: list[Benchmark], seconds: float) -> Record:
    """Hold the benchmarks within about so many seconds; Ctrl-C ends them, and what is done is kept."""
    about = _environment.describe()
    record: Record = {"relu_xp_bench": SCHEMA, "about": about, "interrupted": False, "benchmarks": []}
    console.print(
        f"{about['cpu']}, {about['cores']} cores; {about['workers']} worker(s); load {about['load']} at first"
    )
    whole = sum(benchmark.weight for benchmark in benchmarks)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False))
    try:
        with Progress(*columns, *left, console=console) as progress:
            task = progress.add_task("measuring", total=whole)
            for benchmark in benchmarks:
                name = benchmark.task or f"{benchmark.function}, {_summary.size_name(benchmark.size)}"
                progress.update(task, description=f"{benchmark.part}: {name}")
                record["benchmarks"].append(benchmark.hold(seconds * benchmark.weight / whole))
                progress.advance(task, benchmark.weight)
    except KeyboardInterrupt:
        record["interrupted"] = True
    return record


def show(console: Console, record: Record) -> None:
    """Print what was found, the kernels in a selection of sizes."""
    kernels = [*_summary.select(record, "overhead"), *_summary.select(record, "kernels")]
    for (device, function, dtype), chosen in _summary.grouped(kernels).items():
        sizes = _summary.values(chosen, "size")
        kept = {sizes[round(i * (len(sizes) - 1) / (SHOWN - 1))] for i in range(SHOWN)}
        _show_benchmarks(console, f"{function}, {dtype}, on {device}", [c for c in chosen if c["size"] in kept])
    for part, title in (("workers", "on several threads"), ("cold", "out of cold caches"), ("training", "networks")):
        _show_benchmarks(console, title, _summary.select(record, part))
    for name, why in _summary.left_out(record):
        console.print(f"{name}: {why}", style="dim", markup=False, highlight=False)


def _show_benchmarks(console: Console, title: str, benchmarks: list[Record]) -> None:
    """Print a line for each of ours; where we did not take part, one for each of the others."""
    if not benchmarks:
        return
    moves = benchmarks[0]["bytes"] > 0
    table = Table("what", "how", "ours" if moves else "", title=title)
    for heading in ("a call", "±", "GB/s", "of copy") if moves else ("a step", "±", "products"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("times as fast as")
    for benchmark in benchmarks:
        how = benchmark["cache"] if benchmark["part"] == "cold" else benchmark["mode"]
        what = (
            f"{benchmark['task']}, {benchmark['function']}"
            if benchmark["task"]
            else _summary.size_name(benchmark["size"])
        )
        what = f"{benchmark['function']}, {what}" if benchmark["part"] in ("workers", "cold") else what
        ours = _summary.ours(benchmark)
        for each in ours or [e for e in benchmark["entries"] if e["kind"] in ("idiom", "peer")]:
            # On the CPU another library's arrays are held against that library; the files have the rest.
            own = each["name"].removeprefix("relu_xp, ")
            all_ = own == "numpy" or benchmark["task"] or benchmark["device"] != "cpu"
            found = _summary.ratios(benchmark, each) if ours else ()
            ratios = "; ".join(f"[bold]{ratio:.2f}[/] {name}" for name, ratio in found if all_ or name.startswith(own))
            time, spread, rate, share = _summary.numbers(benchmark, each)
            table.add_row(what, how, own, time, spread, *([rate] if moves else []), share, ratios)
    console.print(table)


def _show_changes(console: Console, changes: list[_comparing.Change], warning: str) -> None:
    marked = [change for change in changes if change.marked]
    table = Table("what", "candidate", title="changed beyond noise; times over the limit's of the same run")
    for heading in _comparing.HEADINGS:
        table.add_column(heading, justify="right")
    for change in marked:
        before, now, ratio, allowance = change.numbers
        coloured = f"[{'red' if change.ratio > 1 else 'green'}]{ratio}[/]"
        table.add_row(_summary.case_name(change.benchmark), change.name, before, now, coloured, allowance)
    if marked:
        console.print(table)
    console.print(f"{len(marked)} of {len(changes)} candidates changed beyond noise.", f"[yellow]{warning}[/]")
