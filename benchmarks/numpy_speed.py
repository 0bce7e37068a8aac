"""Times calls on NumPy arrays beside PyTorch, the NumPy idioms and a copy.

    python benchmarks/numpy_speed.py [--workers] [--json FILE]

All run on one thread and take turns in one process; medians are compared. A ratio is the time of
the other over ours: above 1 relu_xp is faster. The copy is `numpy.copyto` of x, or `x.copy()` for a
fresh result; for VJPs it is `numpy.add(x, g)`. A star marks an idiom whose bits differ from ours on
special values; the last lines leave it out. Needs NumPy, ml_dtypes and rich; PyTorch is compared if
it is installed. `--workers` then compares two workers with one.
"""

import argparse
import functools
import itertools
import json
import operator
import platform
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp
from relu_xp import _peers
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._peers import Calls
from relu_xp.bench._measuring import times

DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "float16")}
DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
SIZES = [1 << 4, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24]
SAMPLE = 3e-4  # seconds
Record = dict[str, Any]


def idioms(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """Give the idioms, with our derivative at 0; those that can write into `out` do so."""
    given = function.named(function.defaults)
    arrays = (x, g)[: len(function.arrays)]
    found: Calls = {}
    into = {} if out is None else _peers.idioms_into(out, function, x, g, given, operator.ge)
    for name, way in _peers.ways(function, x.dtype, given, above=operator.ge).items():
        star = "*" * differs(function, x.dtype, way)
        found[name + star] = into.get(name, functools.partial(way, *arrays))
    return found


def differs(function: Function, dtype: Any, way: Any) -> bool:
    """Say whether an idiom's bits are not the definition's, on special values."""
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.0, -2.5], dtype)
    x, g = (np.array(a, dtype) for a in zip(*itertools.product(special, special), strict=True))
    arrays = (x, g)[: len(function.arrays)]
    with np.errstate(all="ignore"):
        want, got = getattr(relu_xp, function.name)(*arrays), np.asarray(way(*arrays))
    is_nan = np.isnan(got.astype(float))
    same = want.tobytes() == np.where(is_nan, want, got).astype(dtype).tobytes()
    return not same or bool((np.isnan(want.astype(float)) != is_nan).any())


def by_torch(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """Give PyTorch's functions and kernels on the same memory; none where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}

    def shared(a: Any) -> Any:
        if a.dtype.name == "bfloat16":
            return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(a)

    given = function.named(function.defaults)
    g = g if len(function.arrays) > 1 else np.ones_like(x)
    x, g = shared(x), shared(g)
    if out is None:
        found = _peers.PEERS["torch"]["torch"](function, x, g, given)
        return dict(zip(["torch"], found.values(), strict=False))
    aten, of, out = torch.ops.aten, functools.partial, shared(out)
    s, c = given.get("negative_slope"), given.get("ceiling")
    values: Calls = {
        "relu": of(torch.clamp_min, x, 0, out=out),
        "leaky_relu": of(aten.leaky_relu.out, x, s, out=out),
        "clipped_relu": of(torch.clamp, x, 0, c, out=out),
    }
    derivatives: Calls = {
        "relu": of(aten.threshold_backward.grad_input, g, x, 0, grad_input=out),
        "leaky_relu": of(aten.leaky_relu_backward.grad_input, g, x, s, False, grad_input=out),
        "clipped_relu": of(aten.hardtanh_backward.grad_input, g, x, 0, c, grad_input=out),
    }
    chosen = {"value": values, "slope_vjp": {}}.get(function.role, derivatives)
    return {"torch": chosen[function.rectifier]} if function.rectifier in chosen else {}


def limit(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """Read and write the same bytes with NumPy's simplest operation."""
    if len(function.arrays) > 1:
        bits = [a if a is None or a.itemsize != 2 else a.view(np.int16) for a in (x, g, out)]
        return {"copy": functools.partial(np.add, bits[0], bits[1], out=bits[2])}
    return {"copy": x.copy if out is None else functools.partial(np.copyto, out, x)}


def run(function: Function, dtype: str, size: int, into: bool, samples: int) -> Record:
    """Measure one function on one array, with a fresh result or into an existing array."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(size, np.float32).astype(DTYPES[dtype]) for _ in range(2))
    out = np.empty_like(x) if into else None
    arrays = (x, g)[: len(function.arrays)]
    given = {"out": out} if into else {}
    calls = {"relu_xp": functools.partial(getattr(relu_xp, function.name), *arrays, **given)}
    for others in (limit, by_torch, idioms):
        calls |= others(function, x, g, out)
    with np.errstate(all="ignore"):
        seconds = times(calls, samples, SAMPLE)
    told = {"function": function.name, "dtype": dtype, "size": size, "out": into}
    return {**told, "seconds": seconds}


def show(console: Console, records: list[Record]) -> None:
    """Print a table for each function and dtype, and the worst ratios at the end."""
    worst: dict[str, tuple[float, str]] = {}
    heads = ("elements", "out", "time", "elements/ns", "copy", "torch", "idioms")
    by = itertools.groupby(records, key=lambda record: (record["function"], record["dtype"]))
    for (function, dtype), group in by:
        table = Table(*heads, title=f"{function}, {dtype}")
        for record in group:
            ours = record["seconds"]["relu_xp"]
            ratios = {name: value / ours for name, value in record["seconds"].items()}
            del ratios["relu_xp"]
            size, mode = (
                f"2**{record['size'].bit_length() - 1}",
                "out=" if record["out"] else "fresh",
            )
            for name, ratio in ratios.items():
                kind = name if name in ("copy", "torch") else "idiom"
                if not name.endswith("*") and ratio < worst.get(kind, (9e9, ""))[0]:
                    worst[kind] = ratio, f"{function}, {dtype}, {size}, {mode}"
            first = [f"{ratios.pop(name):.2f}" if name in ratios else "" for name in heads[4:6]]
            others = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            speed = f"{ours * 1e6:,.2f} µs", f"{record['size'] / ours / 1e9:.2f}"
            table.add_row(size, mode, *speed, *first, others)
        console.print(table)
    for kind, (ratio, where) in worst.items():
        console.print(f"smallest ratio to {kind}: {ratio:.2f} ({where})")


def workers(console: Console, samples: int) -> list[Record]:
    """Compare two workers with one, into an existing array."""
    table = Table("function", "dtype", "elements", "one / two workers", title="two workers")
    records = []
    for function, dtype, size in itertools.product(
        FUNCTIONS.values(), ("float32", "float16"), (1 << 21, 1 << 22, 1 << 24)
    ):
        x = np.random.default_rng(0).standard_normal(size, np.float32).astype(dtype)
        arrays, ours = (x,) * len(function.arrays), getattr(relu_xp, function.name)
        call = functools.partial(ours, *arrays, out=np.empty_like(x))
        seconds = times({"1": call, "2": relu_xp.cpu_options(workers=2)(call)}, samples, SAMPLE)
        told = {"function": function.name, "dtype": dtype, "size": size}
        records.append({**told, "seconds": seconds})
        gain = f"{seconds['1'] / seconds['2']:.2f}"
        table.add_row(function.name, dtype, f"2**{size.bit_length() - 1}", gain)
    console.print(table)
    return records


def main() -> None:
    """Measure what the options ask for, print it, and write it to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--function", nargs="+", choices=FUNCTIONS, default=[*FUNCTIONS])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=[*DTYPES])
    parser.add_argument("--size", nargs="+", type=int, default=SIZES)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    console = Console()
    functions = [FUNCTIONS[name] for name in options.function]
    cases = [*itertools.product(functions, options.dtype, options.size, (False, True))]
    records = [
        run(*case, options.samples)
        for case in track(cases, "measuring", console=Console(stderr=True))
    ]
    show(console, records)
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.platform(),
        "numpy": np.__version__,
        "calls": records,
    }
    if options.workers:
        found["workers"] = workers(console, options.samples)
    if options.json:
        Path(options.json).write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
