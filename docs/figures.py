"""Reads the records of what calls cost, and sums them up: for the pages, and for the README.

    python docs/figures.py

It prints the table of the README, which a test compares with the records. Every figure is the time
of relu_xp, divided by the time of what is compared: below 1, relu_xp is faster.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "docs" / "recorded"
NUMPY = ROOT / "benchmarks" / "results" / "numpy"
GPU = ROOT / "benchmarks" / "results" / "gpu"


class Table(NamedTuple):
    """A table as rich prints it: its title, and its rows by the names of their columns."""

    title: str
    rows: list[dict[str, str]]


def tables(text: str) -> Iterator[Table]:
    """Read every table of a record."""
    title: list[str] = []
    head: list[list[str]] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), "└"]:  # a record may lack its last line
        if line.startswith("┏"):
            head, rows = [], []
        elif line.startswith("┃"):
            head.append(_cells(line, "┃"))
        elif line.startswith("│"):
            cells = _cells(line, "│")
            if rows and not any(cells[1:]):  # the rest of a name that was too long
                rows[-1][0] += f" {cells[0]}"
            else:
                rows.append(cells)
        elif line.startswith("└") and rows:
            names = [" ".join(filter(None, parts)) for parts in zip(*head, strict=True)]
            found = [dict(zip(names, cells, strict=True)) for cells in rows]
            yield Table(" ".join(title), found)
            title, rows = [], []
        elif not line.startswith("┡") and (title or line.startswith("  ")):
            title.append(line.strip())


def _cells(line: str, border: str) -> list[str]:
    return [cell.strip() for cell in line.strip(border).split(border)]


def read(name: str) -> list[Table]:
    """Read the tables of a record in docs/recorded."""
    return list(tables((RECORDED / f"{name}.txt").read_text(encoding="utf-8")))


def span(values: Iterable[float]) -> str:
    """Give the smallest and the largest, in two digits: '0.83 to 1.6'."""
    found = [*values]
    low, high = (f"{each:.{_places(each)}f}" for each in (min(found), max(found)))
    return low if low == high else f"{low} to {high}"


def _places(value: float) -> int:
    return 1 if value >= 0.995 else 2 if value >= 0.0995 else 3


class Row(NamedTuple):
    """A line of a summary: what is measured, beside what, and the spans on arrays of each size."""

    what: str
    beside: str
    spans: tuple[str, ...]


SIZES = ("16 elements", "1,000 to 2^17", "2^20 and more")


def markdown(rows: Iterable[Row], columns: tuple[str, ...] = SIZES) -> str:
    """Write a summary as a table."""
    lines = [f"| what | divided by | {' | '.join(columns)} |", f"|---|---{'|--:' * len(columns)}|"]
    lines += [f"| {row.what} | {row.beside} | {' | '.join(row.spans)} |" for row in rows]
    return "\n".join(lines) + "\n"


def numpy_record() -> dict[str, Any]:
    """Read the newest record of `benchmarks/numpy_speed.py`."""
    return json.loads(max(NUMPY.glob("*.json")).read_text(encoding="utf-8"))


def numpy() -> list[Row]:
    """Sum up what calls on NumPy arrays cost on one thread."""
    calls = numpy_record()["calls"]

    def row(what: str, beside: str, which: Callable[[dict[str, Any]], bool], other: Any) -> Row:
        spans = []
        for low, high in ((0, 99), (100, 2**17), (2**20, 2**40)):
            chosen = [c for c in calls if which(c) and low <= c["size"] <= high]
            times = [(c["seconds"]["relu_xp"], other(c["seconds"])) for c in chosen]
            spans.append(span(ours / theirs for ours, theirs in times if theirs))
        return Row(what, beside, tuple(spans))

    def copy(seconds: dict[str, float]) -> float:
        return seconds["copy"]

    def idiom(seconds: dict[str, float]) -> float | None:
        known = [s for name, s in seconds.items() if name not in ("relu_xp", "copy", "torch")]
        exact = [seconds[name] for name in seconds if name[-1] != "*" and seconds[name] in known]
        return min(exact, default=None)

    def torch(seconds: dict[str, float]) -> float | None:
        return seconds.get("torch")

    def wide(call: dict[str, Any]) -> bool:
        return call["dtype"] in ("float32", "float64")

    def narrow(call: dict[str, Any]) -> bool:
        return not wide(call)

    def relu(call: dict[str, Any]) -> bool:
        return call["function"] == "relu" and wide(call)

    everything = "all functions"
    return [
        row("`relu`, float32 and float64", "`np.maximum(x, 0)`", relu, lambda s: s.get("maximum")),
        row(f"{everything}, float32 and float64", "a copy of the array", wide, copy),
        row(f"{everything}, float16 and bfloat16", "a copy of the array", narrow, copy),
        row(everything, "NumPy code with the same bits", lambda c: True, idiom),
        row(everything, "PyTorch on one thread", lambda c: True, torch),
    ]


def workers() -> list[Row]:
    """Sum up what a second thread brings, from the newest record that has it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(NUMPY.glob("*.json"))]
    found = [record for record in map(json.loads, texts) if "workers" in record][-1]["workers"]
    spans = tuple(
        span(each["seconds"]["2"] / each["seconds"]["1"] for each in found if each["size"] == size)
        for size in (2**22, 2**24)
    )
    return [Row("two threads, `relu_xp` on NumPy arrays", "one thread", spans)]


def torch(threads: int = 1) -> list[Row]:
    """Sum up what eager calls on PyTorch tensors cost."""
    passes = {
        "forward, untracked": "forward, no gradient tracked",
        "forward": "forward, gradient tracked",
        "both": "forward and backward",
        "untracked": "a VJP",
    }
    chosen = [t.rows for t in read("in_torch") if f"threads: {threads};" in t.title]
    rows = []
    for prelu in (False, True):
        for name, meaning in passes.items():
            found = [
                row
                for each in chosen
                for row in each
                if row["pass"] == name and (row["call"] == "PReLU") == prelu
            ]
            if found:
                spans = (("2^4",), ("2^10", "2^14", "2^17"), ("2^20", "2^22"))
                texts = tuple(span(float(r[s]) for r in found for s in g if r[s]) for g in spans)
                rows.append(Row(f"PReLU, {meaning}" if prelu else meaning, "PyTorch's own", texts))
    return rows


def tensorflow() -> list[Row]:
    """Sum up what calls on TensorFlow tensors cost."""
    [table] = read("in_tensorflow")
    modes = {
        "eager": "eager call",
        "tape": "eager call and tape",
        "function": "`tf.function`",
        "tape in a function,": "tape in a `tf.function`",
    }
    rows = []
    for vjp in (False, True):
        found = [row for row in table.rows if ("_v" in row["call"]) == vjp]
        for mode, meaning in modes.items():
            columns = [[c for c in table.rows[0] if _is(c, mode, size)] for size in TF_SIZES]
            texts = tuple(span(float(r[c]) for r in found for c in cs) for cs in columns)
            if not vjp or mode in ("eager", "function"):
                name = f"a VJP, {meaning}" if vjp else meaning
                rows.append(Row(name, "TensorFlow's own", texts))
    return rows


TF_SIZES = ("2^4", "1000", "2^20")


def _is(column: str, mode: str, size: str) -> bool:
    return re.sub(r"[,\s]+", " ", column) == re.sub(r"[,\s]+", " ", f"{mode} {size}")


def jax() -> list[Row]:
    """Sum up what calls on JAX arrays cost."""
    eager, new, *compiled = read("in_jax")

    def ratios(rows: list[dict[str, str]], which: Callable[[str], bool]) -> str:
        return span(float(row["ratio"]) for row in rows if which(row[""]))

    def relu(name: str) -> bool:
        return name.startswith("relu(")

    rows = [
        Row("eager `relu`, 128 elements", "`jax.nn.relu`", (ratios(eager.rows, relu),)),
        Row(
            "eager, every other function, 128 elements",
            "a jitted `where`",
            (ratios(eager.rows, lambda name: not relu(name)),),
        ),
        Row(
            "eager `leaky_relu` with a new slope, 128 elements",
            "`jax.nn.leaky_relu`",
            (ratios(new.rows, lambda name: name == "leaky_relu(x, s)"),),
        ),
        Row(
            "`jax.grad` or `jax.vmap` of an eager call with a new number",
            "`jax.nn`",
            (ratios(new.rows, lambda name: name != "leaky_relu(x, s)"),),
        ),
    ]
    for table in compiled:
        dtype = "bfloat16" if "bfloat16" in table.title else "float32"
        rows.append(
            Row(
                f"compiled gradient, 2^20 {dtype}",
                "`jax.nn`",
                (ratios(table.rows, lambda name: True),),
            )
        )
    return rows


def exports() -> list[Row]:
    """Sum up what programs that are recorded from PyTorch cost."""
    [table] = read("exports")
    rows = []
    for column in list(table.rows[0])[1:]:
        ratios = [cell[column].partition(";")[2].split() for cell in table.rows]
        few, many = (span(float(each[i]) for each in ratios) for i in (0, 1))
        rows.append(Row(column, "torch's function, recorded", (few, many)))
    return rows


def gpu_record() -> dict[str, Any]:
    """Read the newest record of `benchmarks/gpu.py`."""
    return json.loads(max(GPU.glob("*.json")).read_text(encoding="utf-8"))


def gpu() -> list[Row]:
    """Sum up what calls on CuPy arrays cost, on the GPU of the newest record."""
    record = gpu_record()
    large = [b for b in record["bench"] if b["size"] >= 2**26]

    def median(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    rates = [
        (median(b["seconds"]["relu_xp"]) / b["bytes"])
        / (median(b["seconds"]["copy"]) / b["bytes of copy"])
        for b in large
    ]
    host = record["overhead"]
    return [
        Row(
            f"CuPy, {record['about']['device'].split()[1]}, 2^26 elements and more",
            "a copy on the GPU",
            (span(rates),),
        ),
        Row(
            "CuPy, time of the host in a call of `relu`",
            "`cupy.maximum(x, 0)`",
            (span([host["relu: relu_xp"] / host["relu: cupy.maximum(x, 0)"]]),),
        ),
    ]


def parts() -> dict[str, str]:
    """Give the tables of the page on performance, by name."""
    ratio, programs = ("time",), ("16 elements", "2^20 elements")
    return {
        "numpy": markdown(numpy()),
        "workers": markdown(workers(), ("2^22 elements", "2^24 elements")),
        "torch": markdown(torch()),
        "torch-2-threads": markdown(torch(2)),
        "exports": markdown(exports(), programs),
        "tensorflow": markdown(tensorflow()),
        "jax": markdown(jax(), ratio),
        "gpu": markdown(gpu(), ratio),
        "gpu-functions": ", ".join(f"`{f}`" for f in measured_on_gpu()) + "\n",
    }


def measured_on_gpu() -> list[str]:
    """Name the functions of the newest record."""
    return list(dict.fromkeys(each["function"] for each in gpu_record()["bench"]))


def readme() -> str:
    """Give the table of the README."""
    relu, copies, _, idioms, by_torch = numpy()
    untracked, tracked, both, vjp, prelu, *_ = torch()
    eager, tape, _, _, tape_vjp, _ = tensorflow()
    called, others, _, _, float32, _ = jax()
    export, *_ = exports()
    rows = {
        "NumPy, `relu`": relu,
        "NumPy, all functions": idioms,
        "NumPy, all functions ": by_torch,
        "NumPy, float32 and float64": copies,
        "PyTorch, forward, no gradient tracked": untracked,
        "PyTorch, forward, gradient tracked": tracked,
        "PyTorch, forward and backward": both,
        "PyTorch, VJP": vjp,
        "PyTorch, PReLU forward": prelu,
        "PyTorch, exported program": export._replace(spans=(export.spans[0], "", export.spans[1])),
        "TensorFlow, eager call": eager,
        "TensorFlow, eager call and tape": tape,
        "TensorFlow, eager VJP": tape_vjp,
        "JAX, eager `relu`": called._replace(spans=(f"{called.spans[0]} (128)", "", "")),
        "JAX, eager, other functions": others._replace(spans=(f"{others.spans[0]} (128)", "", "")),
        "JAX, compiled gradient, float32": float32._replace(spans=("", "", *float32.spans)),
    }
    text = markdown(each._replace(what=name.strip()) for name, each in rows.items())
    return text.replace("| what | divided by |", "| what | compared with |")


if __name__ == "__main__":
    print(readme())
