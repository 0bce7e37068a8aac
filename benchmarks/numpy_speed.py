"""What a call on a NumPy array costs beside PyTorch, the NumPy idioms and a copy: `python benchmarks/numpy_speed.py`.

All on one thread, in turns, in one run; medians. A ratio is the time of the other over ours: above
1 relu_xp is faster. The copy is `numpy.copyto` of x, for VJPs `numpy.add(x, g, out=)`, or
`x.copy()` and `x + g` where the result is a fresh array. Idioms whose bits differ from ours on
special values are marked with a star and do not count for the last line. Needs NumPy, ml_dtypes and
rich; PyTorch is compared if it is there. `--workers` then compares two workers with one.
"""

import argparse
import functools
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp
from relu_xp._functions import FUNCTIONS, Function

Calls = dict[str, Callable[[], Any]]

SLOPE = 0.01
DTYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
SIZES = [1 << 4, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24]
SAMPLE_SECONDS = 3e-4


def idioms(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """What people write, as fast as NumPy lets them."""
    s, zero, one, six = (x.dtype.type(value) for value in (SLOPE, 0, 1, 6))
    ufunc: dict[str, Calls] = {
        "relu": {"maximum": lambda: np.maximum(x, 0, out=out)},
        "leaky_relu": {
            "where": lambda: np.where(x > 0, x, s * x),
            "maximum(x, s*x)": lambda: np.maximum(x, np.multiply(x, s, out=out), out=out),
        },
        "relu_grad": {"cast": lambda: (x >= 0).astype(x.dtype)},
        "leaky_relu_grad": {"where": lambda: np.where(x >= 0, one, s)},
        "relu_vjp": {
            "where": lambda: np.where(x >= 0, g, zero),
            "g * mask": lambda: np.multiply(g, x >= 0, out=out),
        },
        "leaky_relu_vjp": {"where": lambda: np.where(x >= 0, g, s * g)},
        "leaky_relu_slope_vjp": {"where": lambda: np.where(x < 0, x * g, zero)},
        "clipped_relu": {
            "clip": lambda: np.clip(x, zero, six, out=out),
            "minimum(maximum)": lambda: np.minimum(np.maximum(x, 0, out=out), six, out=out),
        },
        "clipped_relu_grad": {"cast": lambda: ((x >= 0) & (x < six)).astype(x.dtype)},
        "clipped_relu_vjp": {"where": lambda: np.where((x >= 0) & (x < six), g, zero)},
        "squared_relu": {"maximum, square": lambda: np.square(np.maximum(x, 0, out=out), out=out)},
        "squared_relu_grad": {"maximum, add": lambda: np.maximum(x, 0, out=out) * 2},
        "squared_relu_vjp": {"where": lambda: np.where(x > 0, (x + x) * g, zero)},
    }
    return ufunc.get(function.name, {})


def by_torch(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """PyTorch's kernels, those that autograd calls for the derivatives."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    aten = torch.ops.aten

    def shared(a: Any) -> Any:
        if a.dtype.name == "bfloat16":
            return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(a)

    x, g = shared(x), shared(g)
    ones = torch.ones_like(x)
    if out is None:
        calls = {
            "relu": lambda: torch.relu(x),
            "leaky_relu": lambda: torch.nn.functional.leaky_relu(x, SLOPE),
            "relu_grad": lambda: aten.threshold_backward(ones, x, 0),
            "leaky_relu_grad": lambda: aten.leaky_relu_backward(ones, x, SLOPE, False),
            "relu_vjp": lambda: aten.threshold_backward(g, x, 0),
            "leaky_relu_vjp": lambda: aten.leaky_relu_backward(g, x, SLOPE, False),
            "clipped_relu": lambda: torch.nn.functional.hardtanh(x, 0, 6),
            "clipped_relu_grad": lambda: aten.hardtanh_backward(ones, x, 0, 6),
            "clipped_relu_vjp": lambda: aten.hardtanh_backward(g, x, 0, 6),
        }
    else:
        to = shared(out)
        calls = {
            "relu": lambda: torch.clamp_min(x, 0, out=to),
            "leaky_relu": lambda: aten.leaky_relu.out(x, SLOPE, out=to),
            "relu_grad": lambda: aten.threshold_backward.grad_input(ones, x, 0, grad_input=to),
            "leaky_relu_grad": lambda: aten.leaky_relu_backward.grad_input(
                ones, x, SLOPE, False, grad_input=to
            ),
            "relu_vjp": lambda: aten.threshold_backward.grad_input(g, x, 0, grad_input=to),
            "leaky_relu_vjp": lambda: aten.leaky_relu_backward.grad_input(
                g, x, SLOPE, False, grad_input=to
            ),
            "clipped_relu": lambda: torch.clamp(x, 0, 6, out=to),
            "clipped_relu_grad": lambda: aten.hardtanh_backward.grad_input(
                ones, x, 0, 6, grad_input=to
            ),
            "clipped_relu_vjp": lambda: aten.hardtanh_backward.grad_input(
                g, x, 0, 6, grad_input=to
            ),
        }
    return {"torch": calls[function.name]} if function.name in calls else {}


def limit(function: Function, x: Any, g: Any, out: Any) -> Calls:
    """The same bytes read and written by NumPy's simplest operation."""
    if len(function.arrays) > 1:
        words = [
            None if a is None else a.view(np.int16) if a.itemsize == 2 else a for a in (x, g, out)
        ]
        return {"copy": functools.partial(np.add, words[0], words[1], out=words[2])}
    return {"copy": x.copy if out is None else functools.partial(np.copyto, out, x)}


def measure(calls: Calls, samples: int) -> dict[str, float]:
    """Median seconds of each, sampled in turns, each after one call that is not counted, as the caches are others'."""
    repeats, seconds = {}, {name: [] for name in calls}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        repeats[name] = max(1, int(SAMPLE_SECONDS / max(time.perf_counter() - begin, 1e-7)))
    for _ in range(samples):
        for name, call in calls.items():
            times = repeats[name]
            call()
            begin = time.perf_counter()
            for _ in range(times):
                call()
            seconds[name].append((time.perf_counter() - begin) / times)
    return {name: statistics.median(values) for name, values in seconds.items()}


def differs(function: Function, dtype: Any, name: str) -> bool:
    """Whether an idiom's bits are not the definition's, on special values."""
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.0, -2.5], dtype)
    x, g = (np.array(a, dtype) for a in zip(*itertools.product(special, special), strict=True))
    arrays = (x, g)[: len(function.arrays)]
    with np.errstate(all="ignore"):
        want = getattr(relu_xp, function.name)(*arrays)
        got = np.asarray(idioms(function, x, g, None)[name]())
    same = (
        want.tobytes() == np.where(np.isnan(got.astype(float)), want, got).astype(dtype).tobytes()
    )
    return not same or bool((np.isnan(want.astype(float)) != np.isnan(got.astype(float))).any())


def cases(
    sizes: list[int], dtypes: list[str], functions: list[Function]
) -> Iterator[tuple[Function, str, int, bool]]:
    """Everything that is measured."""
    for function, dtype, size in itertools.product(functions, dtypes, sizes):
        for into in (False, True):
            yield function, dtype, size, into


def run(function: Function, dtype: str, size: int, into: bool, samples: int) -> dict[str, Any]:
    """Measure one case."""
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(size, np.float32).astype(DTYPES[dtype]) for _ in range(2))
    out = np.empty_like(x) if into else None
    arrays = (x, g)[: len(function.arrays)]
    ours = functools.partial(
        getattr(relu_xp, function.name), *arrays, **({"out": out} if into else {})
    )
    named = idioms(function, x, g, out)
    starred = {
        name + "*" * differs(function, DTYPES[dtype], name): call for name, call in named.items()
    }
    calls = {
        "relu_xp": ours,
        **limit(function, x, g, out),
        **by_torch(function, x, g, out),
        **starred,
    }
    with np.errstate(all="ignore"):
        seconds = measure(calls, samples)
    return {
        "function": function.name,
        "dtype": dtype,
        "size": size,
        "out": into,
        "seconds": seconds,
    }


def show(console: Console, records: list[dict[str, Any]]) -> None:
    """One table a function and dtype, and the worst ratios at the end."""
    worst: dict[str, tuple[float, str]] = {}
    for (function, dtype), group in itertools.groupby(
        records, key=lambda r: (r["function"], r["dtype"])
    ):
        table = Table(
            "elements",
            "out",
            "time",
            "elements/ns",
            "copy",
            "torch",
            "idioms",
            title=f"{function}, {dtype}",
        )
        for record in group:
            seconds = dict(record["seconds"])
            ours = seconds.pop("relu_xp")
            ratios = {name: value / ours for name, value in seconds.items()}
            size = f"2**{record['size'].bit_length() - 1}"
            for name, ratio in ratios.items():
                kind = name if name in ("copy", "torch") else "idiom"
                if not name.endswith("*") and ratio < worst.get(kind, (9e9, ""))[0]:
                    worst[kind] = (
                        ratio,
                        f"{function}, {dtype}, {size}, {'out=' if record['out'] else 'fresh'}",
                    )
            copy, torch = (
                f"{ratios.pop(name):.2f}" if name in ratios else "" for name in ("copy", "torch")
            )
            others = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            row = (
                f"{ours * 1e6:,.2f} µs",
                f"{record['size'] / ours / 1e9:.2f}",
                copy,
                torch,
                others,
            )
            table.add_row(size, "out=" if record["out"] else "fresh", *row)
        console.print(table)
    for kind, (ratio, where) in worst.items():
        console.print(f"smallest ratio to {kind}: {ratio:.2f} ({where})")


def workers(console: Console, samples: int) -> list[dict[str, Any]]:
    """Two workers against one, into an array that is there."""
    table = Table("function", "dtype", "elements", "one / two workers", title="two workers")
    records = []
    for function, dtype, size in itertools.product(
        FUNCTIONS.values(), ("float32", "float16"), (1 << 21, 1 << 22, 1 << 24)
    ):
        x = np.random.default_rng(0).standard_normal(size, np.float32).astype(DTYPES[dtype])
        out = np.empty_like(x)
        call = functools.partial(
            getattr(relu_xp, function.name), *(x,) * len(function.arrays), out=out
        )
        seconds = measure({"1": call, "2": relu_xp.cpu_options(workers=2)(call)}, samples)
        records.append(
            {"function": function.name, "dtype": dtype, "size": size, "seconds": seconds}
        )
        ratio = seconds["1"] / seconds["2"]
        table.add_row(function.name, dtype, f"2**{size.bit_length() - 1}", f"{ratio:.2f}")
    console.print(table)
    return records


def main() -> None:
    """Measure what the options ask for; print it, and write it down."""
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
    plan = list(cases(options.size, options.dtype, [FUNCTIONS[name] for name in options.function]))
    records = [run(*case, options.samples) for case in track(plan, "measuring", console=console)]
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
