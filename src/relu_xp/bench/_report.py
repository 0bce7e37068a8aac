"""`relu-xp bench`: the plan of a run, a progress bar while it is measured, and its tables."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from relu_xp import _survey, _threads
from relu_xp._functions import FUNCTIONS
from relu_xp._peers import PEERS
from relu_xp._survey import Target
from relu_xp.bench import _benchmarks, _comparing, _environment, _summary, _training
from relu_xp.bench._benchmarks import Benchmark
from relu_xp.bench._comparing import Comparison
from relu_xp.bench._summary import Record
from relu_xp.verify._progress import progress

OK, MISSING, INTERRUPTED = 0, 2, 130
SCHEMA = 3
SIZES = [1 << k for k in range(10, 23, 2)]
# Measured only if they are named: their times say nothing about rectifiers.
BY_NAME = ("array_api_strict", "sparse", "ndonnx", "xarray", "pandas", "polars", "scipy", "pint")
SHOWN = 4  # sizes a function in the terminal; the files have them all
MOST_CHANGES = 12  # lines in the terminal; the report has them all


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
        targets = _survey.choose(console, options.backend)
        if not targets:
            return MISSING
        runs.append(measured(console, list(plan(targets, options)), options.seconds))
        if options.json:
            options.json.write(json.dumps(runs[-1]) + "\n")
    *old, record = runs
    comparison = _comparing.compare(*runs) if old else None
    if comparison:
        show_changes(console, comparison)
    else:
        show(console, record)
    if options.report:
        from relu_xp.bench import _page

        options.report.write(_page.page(record, comparison))
        console.print(f"The report is in {options.report.file}.", highlight=False)
    if record["interrupted"] and len(options.compare or ()) < 2:
        done = len(record["benchmarks"])
        which = f"after {done} benchmarks, which are all in the tables and files."
        console.print(f"[yellow]Interrupted[/] {which}")
        return INTERRUPTED
    return OK


def _read(file: str) -> Record:
    """Read a record, or say in an error what else the file is."""
    try:
        record = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{file} is no record of relu-xp bench: {error}"
        raise ValueError(msg) from None
    if (
        not isinstance(record, dict)
        or not {"relu_xp_bench", "about", "benchmarks"} <= record.keys()
    ):
        msg = f"{file} is no record of relu-xp bench, as its --json writes one"
        raise ValueError(msg)
    if record["relu_xp_bench"] != SCHEMA:
        was = f"is a record of format {record['relu_xp_bench']}"
        msg = f"{file} {was}; this version reads {SCHEMA}: run bench again"
        raise ValueError(msg)
    return record


def plan(targets: list[Target], options: Namespace) -> Iterator[Benchmark]:
    """All benchmarks of a run, the parts one after the other."""
    functions = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    dtypes = options.dtype or ["float32"]
    sizes = options.sizes or SIZES
    targets = [target for target in targets if options.backend or target.name not in BY_NAME]
    # A library's own functions take part wherever ours do; those of other libraries with --peers.
    peers = [target for target in targets if target.name in PEERS.get(target.name, ())]
    if options.peers:
        peers = [each for each in _survey.survey() if isinstance(each, Target)]
    yield from _benchmarks.kernels(targets, functions, dtypes, [_benchmarks.SMALL, *sizes], peers)
    names = {target.name for target in targets}
    if "numpy" in names:
        largest = max(sizes)
        both_ends = list(dict.fromkeys((functions[0], functions[-1])))
        yield from _benchmarks.workers(both_ends, dtypes[0], _threads.processors(), largest)
    yield from _training.steps(functions, names)


def measured(console: Console, benchmarks: list[Benchmark], seconds: float) -> Record:
    """Run the benchmarks within about so many seconds; Ctrl-C ends them and keeps what is done."""
    about = _environment.describe()
    record: Record = {
        "relu_xp_bench": SCHEMA,
        "about": about,
        "interrupted": False,
        "benchmarks": [],
    }
    cores = f"{about['cores']} cores; {about['workers']} worker(s)"
    console.print(f"{about['cpu']}, {cores}; load {about['load']} at first")
    console.print(_summary.busy(record), style="bold red", highlight=False)
    whole = sum(benchmark.weight for benchmark in benchmarks)
    begin = time.perf_counter()
    try:
        with progress(percent=True) as bar:
            task = bar.add_task("measuring", total=whole)
            for benchmark in benchmarks:
                size = _summary.size_name(benchmark.size)
                name = benchmark.task or f"{benchmark.function}, {size}"
                bar.update(task, description=f"{benchmark.part}: {name}")
                record["benchmarks"].append(benchmark.hold(seconds * benchmark.weight / whole))
                bar.advance(task, benchmark.weight)
    except KeyboardInterrupt:
        record["interrupted"] = True
    took = time.perf_counter() - begin
    console.print(f"{len(record['benchmarks'])} benchmarks took {took:.0f} s, set-up included.")
    return record


def _show_busy(console: Console, record: Record) -> None:
    if told := _summary.busy(record):
        again = "Run it again when nothing else runs."
        console.print(Panel(f"[bold red]{told.upper()}[/]\n{again}", border_style="red"))


def show(console: Console, record: Record) -> None:
    """Print what was found, the kernels in a selection of sizes."""
    _show_busy(console, record)
    for finding in _summary.findings(record):
        console.print(f"- {finding}", highlight=False, markup=False)
    for found in _summary.tables(record, most=SHOWN):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, (head, *cells) in enumerate(
            zip(found.heads, *(row for _, row in found.rows), strict=True)
        ):
            # Words are folded where the terminal is narrow, but no number is cut.
            is_number = index > 0 and all(not cell or cell[0].isdigit() for cell in cells)
            column: Any = {"justify": "right" if index else "left", "no_wrap": is_number}
            table.add_column(head, overflow="fold", **column)
        for kind, row in found.rows:
            table.add_row(*map(escape, row), style="bold" if kind == "ours" else None)
        console.print(found.title, style="italic", markup=False, highlight=False)
        console.print(table)
    for name, why in _summary.left_out(record):
        console.print(f"{name}: {why}", style="dim", markup=False, highlight=False)


def show_changes(console: Console, comparison: Comparison) -> None:
    """Print the answer, and at most a screen of what it is about."""
    console.print(comparison.answer(), highlight=False, markup=False)
    marked = comparison.marked
    table = Table("what", "candidate", box=box.SIMPLE_HEAD)
    table.add_column("now / before", justify="right", no_wrap=True)
    for change in marked[:MOST_CHANGES]:
        table.add_row(
            change.what,
            change.name,
            f"{change.ratio:.2f}",
            style="red" if change.change > 0 else "green",
        )
    if marked:
        console.print(table)
    if len(marked) > MOST_CHANGES:
        console.print(
            f"And {len(marked) - MOST_CHANGES} smaller changes, which --report lists.",
            highlight=False,
        )
