"""`relu-xp verify`: runs the checks that are asked for, and shows progress and results."""

import dataclasses
import importlib
import itertools
import json
import operator
import platform
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from relu_xp import _survey
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._survey import Target
from relu_xp.verify import _cases as data
from relu_xp.verify._cases import CHUNK
from relu_xp.verify._engine import Tally, sweep, verify
from relu_xp.verify._faults import CONVENTIONS
from relu_xp.verify._kernels import Checking
from relu_xp.verify._peers import PEER_DTYPES, Difference, compare, peers_at
from relu_xp.verify._progress import progress

OK, WRONG, MISSING, INTERRUPTED = 0, 1, 2, 130

Records = dict[Target, dict[str, Tally]]


def run(console: Console, options: Namespace) -> int:
    """Verify what the options ask for; return the process's exit status."""
    targets = _survey.choose(console, options.backend, options.device)
    if not targets:
        return MISSING
    if options.peers:
        return _show_peers(console, targets, options.json)

    functions = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    dtypes = _dtypes(console, options.dtype)
    if not dtypes:
        return MISSING
    records: Records = {}
    interrupted = False
    covered = ""  # as much of the sweep as is done
    try:
        _all_cases(records, targets, dtypes, functions, quick=options.quick)
        for done in _sweeps(records, targets, functions if options.exhaustive else []):
            covered = done
    except KeyboardInterrupt:
        interrupted = True
    if options.json:
        options.json.write(
            json.dumps({"interrupted": interrupted, **_as_json(records, covered)}, indent=1) + "\n"
        )
    for target, record in records.items():
        _show(console, target, record)
    if status := _concluded(console, records):
        return status
    if interrupted:
        swept = f", and {covered}" if covered else ""
        console.print(f"[yellow]Interrupted.[/] Covered: the cases in the tables{swept}.")
    return INTERRUPTED if interrupted else OK


def _dtypes(console: Console, names: Any) -> list[Any]:
    """The dtypes of these names, or all by default; none where one of these is missing."""
    found = [dtype for dtype in data.dtypes() if dtype.name in (names or data.DTYPES)]
    if missing := set(names or data.DTYPES) - {dtype.name for dtype in found}:
        console.print(f"[dim]{', '.join(missing)}: ml_dtypes is not installed[/]")
        return [] if names else found
    if not names:
        console.print("[dim]longdouble and the 8-bit floats are left out.[/]")
    return found


def _concluded(console: Console, records: Records) -> int:
    """Say in one line what was found."""
    tallies = [tally for record in records.values() for tally in record.values()]
    mismatches, values = sum(t.mismatches for t in tallies), sum(t.values for t in tallies)
    if mismatches:
        console.print(
            f"[bold red]{mismatches:,} of {values:,} values differ from the definition.[/]"
        )
        return WRONG
    but = ", but for the deviations named" if any(t.excepted for t in tallies) else ""
    console.print(f"[green]{values:,} values equal the definition, bit for bit{but}.[/]")
    return OK


def run_kernel(console: Console, options: Namespace) -> int:
    """Check the kernel that the options name; return the process's exit status."""
    promised = {
        name: not getattr(options, f"no_{name}") for name in ("zero_signs", "subnormals", "nan")
    }
    timeout = 60.0 if options.timeout is None else options.timeout
    how = {
        "dtypes": options.dtype,
        "layouts": options.layouts,
        "exhaustive": options.exhaustive,
        "timeout": timeout,
    }
    try:
        f = _imported(options.kernel)
        scalars = dict(options.scalar or ())
        checking = Checking(
            f, options.name, options.library or "numpy", options.device, scalars, promised, **how
        )
    except (ImportError, TypeError, ValueError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return MISSING
    interrupted = False
    with progress() as bar:
        task = bar.add_task(options.kernel, total=checking.total)
        try:
            for _ in checking.steps():
                bar.advance(task)
        except KeyboardInterrupt:
            interrupted = True
    report = checking.report()
    if options.json:
        options.json.write(
            json.dumps({"interrupted": interrupted, **report.to_dict()}, indent=1) + "\n"
        )
    console.print(str(report), markup=False, highlight=False, soft_wrap=True)
    if report.faults:
        return WRONG
    if interrupted:
        console.print("[yellow]Interrupted.[/]")
        return INTERRUPTED
    return OK if report.passed else MISSING


def _imported(name: str) -> Any:
    """The function named as `package.module:function`, from here or from what is installed."""
    module, _, path = name.partition(":")
    if not module or not path:
        msg = f"--kernel takes package.module:function, got {name}"
        raise ValueError(msg)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return operator.attrgetter(path)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # importing a module may raise anything
        msg = f"cannot import {name}: {type(error).__name__}: {error}"
        raise ImportError(msg) from None


def _all_cases(
    records: Records,
    targets: list[Target],
    dtypes: list[np.dtype[Any]],
    functions: list[Function],
    *,
    quick: bool,
) -> None:
    with progress() as bar:
        for target in targets:
            few = quick or data.is_slow(target.name)
            count = (
                sum(1 for dtype in dtypes for _ in data.cases(dtype, functions, few=few))
                + len(dtypes) * len(functions)
                + 1
            )
            task = bar.add_task(f"{target.name} on {target.where}", total=count)
            for record in verify(target, dtypes, functions, quick=quick):
                records[target] = record
                bar.advance(task)
            bar.update(task, completed=count)


def _sweeps(records: Records, targets: list[Target], functions: list[Function]) -> Iterator[str]:
    """Sweep all float32; yield what is done, as text."""
    if not functions:
        return
    whole: list[str] = []
    with progress() as bar:
        every = bar.add_task(
            "all float32, all functions", total=len(targets) * len(functions) * (1 << 32) // CHUNK
        )
        for target in targets:
            for function in functions:
                name = f"{function} on {target.name}"
                task = bar.add_task(name, total=(1 << 32) // CHUNK)
                tally = records[target][f"float32, sweep: {function}"] = Tally()
                for done in sweep(target, function, tally, chunk=CHUNK):
                    bar.update(task, completed=done // CHUNK)
                    bar.advance(every)
                    yield ", ".join([*whole, f"{done:,} of 2**32 float32 through {name}"])
                whole.append(f"all 2**32 float32 through {name}")


def _show(console: Console, target: Target, record: dict[str, Tally]) -> None:
    table = Table("dtype", title=f"{target.name} on {target.where}")
    for heading in ("cases", "values compared", "seconds", "mismatches"):
        table.add_column(heading, justify="right")
    for dtype, tally in record.items():
        counts = f"{tally.cases:,}", f"{tally.values:,}", f"{tally.seconds:,.1f}"
        wrong = f"[bold red]{tally.mismatches:,}[/]" if tally.mismatches else "[green]0[/]"
        table.add_row(dtype, *counts, wrong)
    console.print(table)
    for note in _notes(record):
        console.print(note, markup=False, highlight=False)
    for tally in record.values():
        for mismatch in tally.examples:
            console.print(str(mismatch), style="red", markup=False)


def _notes(record: dict[str, Tally]) -> Iterator[str]:
    """Name the known deviations that were met, and what was left out, with the dtypes."""
    notes: dict[str, list[str]] = {}
    for dtype, tally in record.items():
        for name, count in tally.excepted.items():
            notes.setdefault(f"known deviation, {name}", []).append(f"{count:,} of {dtype}")
        for what, reason in tally.left_out.items():
            told = "" if what == "all" else f" {what}"
            notes.setdefault(f"left out{told}, {reason}", []).append(dtype)
    for note, dtypes in notes.items():
        yield f"- {note}: {'every dtype' if dtypes == [*record] else ', '.join(dtypes)}"


def _show_peers(console: Console, targets: list[Target], output: Any) -> int:
    """Tell how other libraries differ from the definition: a comparison, which cannot fail."""
    entered = [
        (target, library, peer) for target in targets for library, peer in peers_at(target).items()
    ]
    dtypes = [dtype for dtype in data.dtypes() if dtype.name in PEER_DTYPES]
    found: dict[str, list[Difference]] = {library: [] for _, library, _ in entered}
    reasons: dict[str, str] = {}
    with progress() as bar:
        task = bar.add_task("peers", total=len(entered) * len(FUNCTIONS) * len(dtypes))
        for (target, library, peer), function, dtype in itertools.product(
            entered, FUNCTIONS.values(), dtypes
        ):
            try:
                found[library] += compare(target, peer, function, dtype)
            except ImportError as error:  # it, or something that it needs in its turn
                reasons[library] = str(error)
            except Exception as error:  # each library raises errors of its own
                reasons[f"{library}, {function} of {dtype.name}"] = _survey.first_line(error)
            bar.advance(task)
    for library, differences in found.items():
        table = Table("what computes", "function", "dtype", title=f"{library}, on the same cases")
        table.add_column("differ", justify="right")
        table.add_column("of", justify="right")
        table.add_column("why")
        for each in differences:
            why = "\n".join(
                f"{kind}: {count:,} [dim]{each.names[kind]}[/]"
                for kind, count in each.reasons.most_common()
            )
            numbers = f"{each.reasons.total():,}", f"{each.values:,}"
            table.add_row(each.peer, each.function, each.dtype, *numbers, why)
        if differences:
            console.print(table)
    console.print(f"{', '.join(CONVENTIONS)}: a convention, which is a choice as good as ours.")
    for name, reason in reasons.items():
        console.print(f"{name}: {reason}", style="dim", markup=False, highlight=False)
    if output:
        all_ = itertools.chain(*found.values())
        record = {
            "peers": [{**vars(each), "reasons": dict(each.reasons.most_common())} for each in all_]
        }
        output.write(json.dumps(record, indent=1) + "\n")
    return OK


def _as_json(records: Records, covered: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "sweep": covered,
        "targets": [
            {
                "backend": target.name,
                "device": target.where,
                "dtypes": {dtype: dataclasses.asdict(tally) for dtype, tally in record.items()},
            }
            for target, record in records.items()
        ],
    }
