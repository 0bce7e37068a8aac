"""`relu-xp verify`: what to check, a progress bar while it is checked, and tables of what was found."""

import dataclasses
import json
import platform
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from relu_xp import _machine
from relu_xp._machine import Absence, Place
from relu_xp.verify import _cases as data
from relu_xp.verify._engine import Tally, sweep, verify
from relu_xp.verify._peers import PEER_DTYPES, compare, load_peers

OK, WRONG, MISSING, INTERRUPTED = 0, 1, 2, 130
CHUNK = 1 << 22

Records = dict[Place, dict[str, Tally]]


def run(console: Console, options: Namespace) -> int:
    """Verify what the options ask for; return the process's exit status."""
    if options.json and (trouble := _unwriteable(options.json)):
        console.print(f"[red]--json: {trouble}[/]")
        return MISSING
    if options.peers:
        return _show_peers(console, options.json)
    found = list(_machine.survey())
    present = [each for each in found if isinstance(each, Place)]
    absent = {each.name: each.reason for each in found if isinstance(each, Absence)}
    wanted = set(options.backend or [each.name for each in present])
    places = [each for each in present if each.name in wanted and _is_at(each, options.device)]
    for name in sorted(wanted - {place.name for place in places}):
        devices = ", ".join(each.where for each in present if each.name == name)
        here = ", ".join(sorted({each.name for each in present}))
        reason = f"is on {devices} here" if devices else absent.get(name, f"no such backend here; there are {here}")
        console.print(f"[red]{name}: {reason}[/]")
    for name in sorted(set(absent) - wanted):
        console.print(f"[dim]{name}: {absent[name]}[/]")
    if not places or (options.backend and wanted - {place.name for place in places}):
        return MISSING

    functions = tuple(options.function or data.FUNCTIONS)
    dtypes = [dtype for dtype in data.dtypes() if dtype.name in (options.dtype or data.DTYPES)]
    if unnamed := set(options.dtype or data.DTYPES) - {dtype.name for dtype in dtypes}:
        console.print(f"[dim]{', '.join(unnamed)}: ml_dtypes is not installed[/]")
    records: Records = {}
    interrupted = False
    covered = ""  # of the sweep, in words
    try:
        _all_cases(console, records, places, dtypes, functions, quick=options.quick)
        if options.exhaustive:
            for done in _sweeps(console, records, places, functions):
                covered = done
    except KeyboardInterrupt:
        interrupted = True
    for place, record in records.items():
        _show(console, place, record)
    if options.json:
        Path(options.json).write_text(
            json.dumps({"interrupted": interrupted, **_as_json(records, covered)}, indent=1) + "\n", encoding="utf-8"
        )
    tallies = [tally for record in records.values() for tally in record.values()]
    mismatches, values = sum(t.mismatches for t in tallies), sum(t.values for t in tallies)
    if mismatches:
        console.print(f"[bold red]{mismatches:,} of {values:,} values differ from the definition.[/]")
        return WRONG
    console.print(f"[green]{values:,} values equal the definition, bit for bit, but for the exceptions named.[/]")
    if interrupted:
        console.print(f"[yellow]Interrupted.[/] Covered: the cases in the tables{covered and ', and ' + covered}.")
    return INTERRUPTED if interrupted else OK


def _is_at(place: Place, device: str | None) -> bool:
    """Whether the place is at the device named, or at one of the kind named: cpu is cpu:0 too."""
    return device is None or place.where == device or place.where.startswith(f"{device}:")


def _unwriteable(file: str) -> str:
    """Say why the file can't be written, before the work is done that is to go there."""
    try:
        with Path(file).open("a", encoding="utf-8"):
            return ""
    except OSError as error:
        return f"{error}"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console)


def _all_cases(
    console: Console,
    records: Records,
    places: list[Place],
    dtypes: list[np.dtype[Any]],
    functions: tuple[str, ...],
    *,
    quick: bool,
) -> None:
    count = sum(1 for dtype in dtypes for _ in data.cases(dtype, functions, quick=quick))
    with _progress(console) as progress:
        for place in places:
            task = progress.add_task(f"{place.name} on {place.where}", total=count)
            for record in verify(place, dtypes, functions, quick=quick):
                records[place] = record
                progress.advance(task)
            progress.update(task, completed=count)


def _sweeps(console: Console, records: Records, places: list[Place], functions: tuple[str, ...]) -> Iterator[str]:
    """Sweep all float32; yield, in words, what is done."""
    whole: list[str] = []
    with _progress(console) as progress:
        every = progress.add_task("all float32, all in all", total=len(places) * len(functions) * (1 << 32) // CHUNK)
        for place in places:
            for function in functions:
                name = f"{function} on {place.name}"
                task = progress.add_task(name, total=(1 << 32) // CHUNK)
                tally = records[place][f"float32, sweep: {function}"] = Tally()
                for done in sweep(place, function, tally, chunk=CHUNK):
                    progress.update(task, completed=done // CHUNK)
                    progress.advance(every)
                    yield ", ".join([*whole, f"{done:,} of 2**32 float32 through {name}"])
                whole.append(f"all 2**32 float32 through {name}")


def _show(console: Console, place: Place, record: dict[str, Tally]) -> None:
    table = Table(title=f"{place.name} on {place.where}")
    table.add_column("dtype")
    for heading in ("cases", "values compared", "seconds", "mismatches"):
        table.add_column(heading, justify="right")
    table.add_column("named exceptions, and what was left out")
    for dtype, tally in record.items():
        notes = [f"{name}: {count:,}" for name, count in tally.excepted.items()]
        notes += [f"[dim]{what} left out: {reason}[/]" for what, reason in tally.left_out.items()]
        wrong = f"[bold red]{tally.mismatches:,}[/]" if tally.mismatches else "[green]0[/]"
        table.add_row(dtype, f"{tally.cases:,}", f"{tally.values:,}", f"{tally.seconds:,.1f}", wrong, "\n".join(notes))
    console.print(table)
    for tally in record.values():
        for mismatch in tally.examples:
            console.print(str(mismatch), style="red", markup=False)


def _show_peers(console: Console, file: str | None) -> int:
    """Tell how other libraries differ from the definition: a comparison, in which nobody fails."""
    differences = []
    usable, unusable = load_peers()
    with _progress(console) as progress:
        task = progress.add_task("peers", total=sum(len(PEER_DTYPES) * len(functions) for functions in usable.values()))
        for peer, functions in usable.items():
            for difference in compare(peer, functions):
                differences.append(difference)
                progress.advance(task)
    for peer in usable:
        table = Table(title=f"{peer.name}, on the same cases")
        table.add_column("function")
        table.add_column("dtype")
        table.add_column("differ", justify="right")
        table.add_column("of", justify="right")
        table.add_column("why")
        for each in differences:
            if each.peer == peer.name:
                why = "\n".join(f"{reason}: {count:,}" for reason, count in each.reasons.items())
                table.add_row(each.function, each.dtype, f"{sum(each.reasons.values()):,}", f"{each.values:,}", why)
        console.print(table)
    console.print("What is called a convention is as good as ours, only another.")
    for name, reason in unusable.items():
        console.print(f"[dim]{name}: {reason}[/]")
    if file:
        record = {"peers": [dataclasses.asdict(each) for each in differences]}
        Path(file).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return OK


def _as_json(records: Records, covered: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "sweep": covered,
        "places": [
            {
                "backend": place.name,
                "device": place.where,
                "dtypes": {dtype: dataclasses.asdict(tally) for dtype, tally in record.items()},
            }
            for place, record in records.items()
        ],
    }
