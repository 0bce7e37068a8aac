"""`relu-xp bench`: what to measure, a progress bar while it is measured, and tables of what was found."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from relu_xp import _survey, _threads
from relu_xp._functions import FUNCTIONS
from relu_xp._survey import Target
from relu_xp.bench import _benchmarks, _comparing, _environment, _summary, _training
from relu_xp.bench._benchmarks import Benchmark
from relu_xp.bench._comparing import Comparison
from relu_xp.bench._summary import Record

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
        console.print(
            f"[yellow]Interrupted[/] after {done} benchmarks, which are all in the tables and files."
        )
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
        msg = f"{file} is a record of format {record['relu_xp_bench']}; this version reads {SCHEMA}: run bench again"
        raise ValueError(msg)
    return record


def plan(targets: list[Target], options: Namespace) -> Iterator[Benchmark]:
    """All benchmarks of a run, the parts one after the other."""
    functions = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    dtypes = options.dtype or ["float32"]
    sizes = options.sizes or SIZES
    peers = [each for each in _survey.survey() if isinstance(each, Target)] if options.peers else []
    targets = [target for target in targets if options.backend or target.name not in BY_NAME]
    yield from _benchmarks.kernels(targets, functions, dtypes, [_benchmarks.SMALL, *sizes], peers)
    names = {target.name for target in targets}
    if "numpy" in names:
        largest = max(sizes)
        both_ends = list(dict.fromkeys((functions[0], functions[-1])))
        yield from _benchmarks.workers(both_ends, dtypes[0], _threads.processors(), largest)
    yield from _training.steps(functions, names)


def measured(console: Console, benchmarks: list[Benchmark], seconds: float) -> Record:
    """Hold the benchmarks within about so many seconds; Ctrl-C ends them, and what is done is kept."""
    about = _environment.describe()
    record: Record = {
        "relu_xp_bench": SCHEMA,
        "about": about,
        "interrupted": False,
        "benchmarks": [],
    }
    console.print(
        f"{about['cpu']}, {about['cores']} cores; {about['workers']} worker(s); load {about['load']} at first"
    )
    whole = sum(benchmark.weight for benchmark in benchmarks)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    left = (
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    try:
        with Progress(*columns, *left, console=Console(stderr=True)) as progress:
            task = progress.add_task("measuring", total=whole)
            for benchmark in benchmarks:
                name = (
                    benchmark.task or f"{benchmark.function}, {_summary.size_name(benchmark.size)}"
                )
                progress.update(task, description=f"{benchmark.part}: {name}")
                record["benchmarks"].append(benchmark.hold(seconds * benchmark.weight / whole))
                progress.advance(task, benchmark.weight)
    except KeyboardInterrupt:
        record["interrupted"] = True
    return record


def show(console: Console, record: Record) -> None:
    """Print what was found, the kernels in a selection of sizes."""
    for finding in _summary.findings(record):
        console.print(f"- {finding}", highlight=False, markup=False)
    for found in _summary.tables(record, most=SHOWN):
        table = Table(title=found.title, title_justify="left", box=box.SIMPLE_HEAD)
        for index, head in enumerate(found.heads):
            table.add_column(head, justify="right" if index else "left", overflow="fold")
        for kind, row in found.rows:
            table.add_row(*map(escape, row), style="bold" if kind == "ours" else None)
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
