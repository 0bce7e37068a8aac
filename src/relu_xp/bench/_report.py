"""`relu-xp bench`: what to measure, a progress bar while it is measured, and tables of what was found."""

import argparse
import importlib.util
import json
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from relu_xp import _machine, _options
from relu_xp._machine import Absence, Place
from relu_xp.bench import _comparing, _contests, _environment, _summary, _training
from relu_xp.bench._contests import Contest
from relu_xp.bench._measuring import measure, words

OK, MISSING, INTERRUPTED = 0, 2, 130
SCHEMA = 1
FUNCTIONS = ("relu", "leaky_relu", "relu_grad", "leaky_relu_grad", "relu_vjp", "leaky_relu_vjp")
SIZES = "2**10:2**22"
# Measured only if they are named: their times say nothing about rectifiers.
BY_NAME = ("array_api_strict", "sparse", "ndonnx", "xarray", "pandas", "pint")
SHOWN = 3  # sizes a function in the terminal; the files have them all
MOST_GROWTH = 1 << 28  # bytes an array

Record = dict[str, Any]


def sizes(text: str) -> list[int]:
    """Read `2**10:2**26`, every fourth power of two from one to the other, or `1000,2**20`, just these."""
    try:
        if ":" in text:
            low, high = map(_number, text.split(":"))
            if low > high:
                raise ValueError
            between = [low]
            while between[-1] * 4 < high:
                between.append(between[-1] * 4)
            return [*between, high] if high > low else between
        return sorted({_number(part) for part in text.split(",")})
    except ValueError:
        msg = f"not sizes: {text!r}; write 2**10:2**26, or 1000,2**20"
        raise argparse.ArgumentTypeError(msg) from None


def _number(text: str) -> int:
    if not (found := re.fullmatch(r"\s*(\d{1,12})(?:\*\*(\d{1,2}))?\s*", text)):
        raise ValueError
    size = int(found[1]) ** int(found[2] or 1)
    if not 0 < size < 1 << 40:
        raise ValueError
    return size


def run(console: Console, options: Namespace) -> int:
    """Measure what the options ask for, or compare two files; return the process's exit status."""
    if trouble := _trouble(options):
        console.print(f"[red]{trouble}[/]", highlight=False)
        return MISSING
    old, new = [*map(_read, options.compare or ()), None, None][:2]
    if new:
        record = new
    else:
        places, trouble = _places(console, options.backend)
        if trouble:
            console.print(f"[red]{trouble}[/]", highlight=False)
            return MISSING
        record = measured(console, list(plan(places, options)), options.seconds)
        if options.json:
            Path(options.json).write_text(json.dumps(record) + "\n", encoding="utf-8")
        show(console, record)
    changes = _comparing.compare(old, record) if old else []
    if old:
        _show_changes(console, changes, _comparing.busy(old, record))
    if options.report:
        from relu_xp.bench import _page

        Path(options.report).write_text(_page.page(record, old, changes), encoding="utf-8")
        console.print(f"The report is in {options.report}.", highlight=False)
    if record["interrupted"] and not new:
        done = len(record["contests"])
        console.print(f"[yellow]Interrupted[/] after {done} contests, which are all in the tables and files above.")
        return INTERRUPTED
    return OK


def _read(file: str) -> Record:
    return json.loads(Path(file).read_text(encoding="utf-8"))


def _trouble(options: Namespace) -> str:
    """Say what would go wrong in the end, before the work is done."""
    if options.report and importlib.util.find_spec("matplotlib") is None:
        return 'bench --report needs matplotlib; in the project\'s folder run python3 -m pip install ".\\[bench]"'
    if len(options.compare or ()) > 2:
        return "--compare takes one file, to compare a new run with, or two"
    for file in options.compare or ():
        try:
            if _read(file).get("relu_xp_bench") != SCHEMA:
                return f"--compare: {file} is no record of this version's bench"
        except (OSError, ValueError, AttributeError) as error:
            return f"--compare: {file}: {words(error)}"
    for option in ("json", "report"):
        try:
            if file := getattr(options, option):
                Path(file).open("a", encoding="utf-8").close()
        except OSError as error:
            return f"--{option}: {error}"
    return ""


def _places(console: Console, wanted: list[str] | None) -> tuple[list[Place], str]:
    """The backends to measure, each of which can compute; or why one that was named is none of them."""
    found = [each for each in _machine.survey() if wanted is None or each.name in wanted]
    reasons = {each.name: each.reason for each in found if isinstance(each, Absence)}
    places = []
    for each in found:
        if isinstance(each, Place) and (wanted or each.name not in BY_NAME):
            if trouble := each.trouble():
                reasons[each.name] = trouble
            else:
                places.append(each)
    for name in wanted or ():
        if name not in {place.name for place in places}:
            return [], f"{name}: {reasons.get(name, 'no such backend; `relu-xp info` lists them')}"
    for name, reason in reasons.items():
        if name not in BY_NAME:
            console.print(f"[dim]{name}: {reason}[/]", highlight=False)
    return places, ""


def plan(places: list[Place], options: Namespace) -> Iterator[Contest]:
    """All contests of a run, the parts one after the other."""
    functions, dtypes = tuple(options.function or FUNCTIONS), tuple(options.dtype or ("float32",))
    chosen = options.sizes or sizes(SIZES)
    yield from _contests.kernels(places, functions, dtypes, [_contests.FEW, *chosen], peers=options.peers)
    if any(place.name == "numpy" for place in places):
        largest = max(chosen)
        room = min(_environment.available_memory() // 2, 4 * MOST_GROWTH)
        if options.sizes:
            room = min(room, 4 * largest * _contests.as_dtype(dtypes[0]).itemsize)
        yield from _contests.growth(functions[0], dtypes[0], room=room)
        both_ends = functions[:1] + functions[-1:] if len(functions) > 1 else functions
        yield from _contests.workers(both_ends, dtypes[0], _options.processors(), largest)
        yield from _contests.cold(functions[0], dtypes[0], largest)
    names = {place.name for place in places}
    yield from (each for each in _training.steps(functions) if each.mode in names)


def measured(console: Console, contests: list[Contest], seconds: float) -> Record:
    """Hold the contests within about so many seconds; Ctrl-C ends them, and what is done is kept."""
    record: Record = {"relu_xp_bench": SCHEMA, "about": _environment.describe(), "interrupted": False, "contests": []}
    about = record["about"]
    console.print(
        f"{about['cpu']}, {about['cores']} cores; {about['workers']} worker(s); load {about['load']} at first"
    )
    whole = sum(contest.weight for contest in contests)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False))
    try:
        with Progress(*columns, *left, console=console) as progress:
            task = progress.add_task("measuring", total=whole)
            for contest in contests:
                name = contest.task or f"{contest.function}, {_summary.size_name(contest.size)}"
                progress.update(task, description=f"{contest.part}: {name}")
                record["contests"].append(held(contest, seconds * contest.weight / whole))
                progress.advance(task, contest.weight)
    except KeyboardInterrupt:
        record["interrupted"] = True
    return record


def held(contest: Contest, seconds: float) -> Record:
    """Hold one contest; give it as plain values."""
    entrants, left_out = contest.enter()
    flush = _contests.flusher() if contest.cache == "cold" else None
    scores, refused = measure(entrants, seconds, flush)
    keys = ("part", "device", "function", "dtype", "size", "mode", "cache", "task", "bytes")
    return {
        **{key: getattr(contest, key) for key in keys},
        "entries": [
            {
                "name": each.name,
                "kind": each.kind,
                "first": _digits(scores[each.name].first),
                "every": scores[each.name].every,
                "seconds": [_digits(sample) for sample in scores[each.name].samples],
            }
            for each in entrants
            if each.name in scores
        ],
        "left_out": left_out | refused,
    }


def _digits(seconds: float) -> float:
    """Four, which is more than a clock is good for."""
    return float(f"{seconds:.4g}")


def show(console: Console, record: Record) -> None:
    """Print what was found, the kernels in a selection of sizes."""
    kernels = [*_summary.select(record, "overhead"), *_summary.select(record, "kernels")]
    for device, function, dtype in dict.fromkeys((c["device"], c["function"], c["dtype"]) for c in kernels):
        chosen = [c for c in kernels if (c["device"], c["function"], c["dtype"]) == (device, function, dtype)]
        among = _summary.values(chosen, "size")
        kept = {among[round(i * (len(among) - 1) / (SHOWN - 1))] for i in range(SHOWN)}
        _show_contests(console, f"{function}, {dtype}, on {device}", [c for c in chosen if c["size"] in kept])
    if regimes := _summary.regimes(record):
        console.print("From 2**0 elements on:", "; ".join(f"{_summary.size_name(n)}: {name}" for n, name in regimes))
    for part, title in (("workers", "on several threads"), ("cold", "out of cold caches"), ("training", "networks")):
        _show_contests(console, title, _summary.select(record, part))
    for name, why in _summary.left_out(record):
        console.print(f"[dim]{name}: {why}[/]", highlight=False)


def _show_contests(console: Console, title: str, contests: list[Record]) -> None:
    """Print a line for each of ours; where we did not take part, one for each of the others."""
    if not contests:
        return
    moves = contests[0]["bytes"] > 0
    table = Table("what", "how", "ours" if moves else "", title=title)
    for heading in ("a call", "±", "GB/s", "of copy") if moves else ("a step", "±", "products"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("times as fast as")
    for contest in contests:
        how = contest["cache"] if contest["part"] == "cold" else contest["mode"]
        what = f"{contest['task']}, {contest['function']}" if contest["task"] else _summary.size_name(contest["size"])
        what = f"{contest['function']}, {what}" if contest["part"] in ("workers", "cold") else what
        for each in _summary.ours(contest) or [e for e in contest["entries"] if e["kind"] in ("idiom", "peer")]:
            ratios = ""
            if each["kind"] == "ours":
                # On the CPU another library's arrays are held against that library; the files have the rest.
                own = each["name"].removeprefix("relu_xp, ")
                all_ = own == "numpy" or contest["task"] or contest["device"] != "cpu"
                found = (pair for pair in _summary.ratios(contest, each) if all_ or pair[0].startswith(own))
                ratios = "; ".join(f"[bold]{ratio:.2f}[/] {name}" for name, ratio in found)
            middle, (low, high), share = _summary.median(each), _summary.spread(each), _summary.share(contest, each)
            rate = [f"{_summary.rate(contest, each):.2f}"] if moves else []
            numbers = (
                _summary.time_name(middle),
                f"{(high - low) / 2 / middle:.0%}",
                *rate,
                f"{share:.0%}" if share else "",
            )
            table.add_row(what, how, each["name"].removeprefix("relu_xp, "), *numbers, ratios)
    console.print(table)


def _show_changes(console: Console, changes: list[_comparing.Change], warning: str) -> None:
    marked = [change for change in changes if change.marked]
    table = Table("what", "contestant", title="changed beyond noise; times over the limit's of the same run")
    for heading in ("before", "now", "now / before", "chance allows"):
        table.add_column(heading, justify="right")
    for change in marked:
        numbers = (f"{v:.3g}" for v in (change.before, change.after))
        ratio = f"[{'red' if change.ratio > 1 else 'green'}]{change.ratio:.2f}[/]"
        table.add_row(case_name(change.contest), change.name, *numbers, ratio, f"± {change.allowance:.0%}")
    if marked:
        console.print(table)
    console.print(f"{len(marked)} of {len(changes)} contestants changed beyond noise.", f"[yellow]{warning}[/]")


def case_name(contest: Record) -> str:
    """A contest in words."""
    size = contest["task"] or f"{_summary.size_name(contest['size'])} {contest['dtype']}"
    cache = ", cold" if contest["cache"] == "cold" else ""
    return f"{contest['part']}: {contest['function']}, {size}, {contest['mode']}{cache}, {contest['device']}"
