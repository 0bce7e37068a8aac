"""NumPy arrays against what people use instead: ratios in one run, `python benchmarks/cpu.py --json cpu.json`.

Contestants are interleaved in one process and medians are compared, since machines drift; caches are warm. The data are
normally distributed, so signs are random: what branches on the data pays for it, as it would in use. A ratio above 1
means that relu_xp is faster by that factor; `copy` is what `numpy.copyto` reaches on the same bytes in and out.
"""

import argparse
import functools
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp

SLOPE = 0.01
TORCH_THREADS = [1]
DTYPES = {t.__name__: np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)}
Call = Callable[[], Any]
Contestants = dict[str, Call]


def contestants(function: str, x: Any, g: Any, *, out: bool) -> Contestants:
    """Ours first, then the idioms, then what is installed, each as a call without arguments."""
    s = x.dtype.type(SLOPE)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    arrays = (x, g) if function.endswith("vjp") else (x,)
    target = np.empty_like(x)
    into = {"out": target} if out else {}
    calls: Contestants = {"relu_xp": functools.partial(getattr(relu_xp, function), *arrays, **into)}
    idioms: dict[str, Contestants] = {
        "relu": {"np.maximum(x, 0)": lambda: np.maximum(x, 0, **into)},
        "leaky_relu": {"np.where": lambda: np.where(x > 0, x, s * x)},
        "relu_grad": {"np.where": lambda: np.where(x >= 0, one, zero)},
        "leaky_relu_grad": {"np.where": lambda: np.where(x >= 0, one, s)},
        "relu_vjp": {"np.where": lambda: np.where(x >= 0, g, zero)},
        "leaky_relu_vjp": {"np.where": lambda: np.where(x >= 0, g, s * g)},
    }
    calls |= idioms[function]
    calls["copy"] = (lambda: np.copyto(target, x)) if out else x.copy
    if x.dtype.name != "bfloat16" and importlib.util.find_spec("torch"):
        calls |= _torch(function, x, g, out=out)
    if x.dtype.name != "float64" and importlib.util.find_spec("jax") and not out:
        calls |= _jax(function, x, g)
    if x.dtype.kind == "f" and not out:
        if importlib.util.find_spec("keras") and function in ("relu", "leaky_relu"):
            calls |= _keras(function, x)
        if importlib.util.find_spec("thinc") and function == "relu":
            from thinc.api import NumpyOps

            calls["thinc"] = functools.partial(NumpyOps().relu, x)
    return calls


def _torch(function: str, x: Any, g: Any, *, out: bool) -> Contestants:
    import torch

    tx, tg, aten = torch.from_numpy(x), torch.from_numpy(g), torch.ops.aten
    target = torch.empty_like(tx)
    ones = torch.ones_like(tx)
    at = {"grad_input": target} if out else {}
    to = {"out": target} if out else {}
    table = {
        "relu": lambda: torch.clamp_min(tx, 0, **to) if out else torch.relu(tx),
        "leaky_relu": lambda: aten.leaky_relu(tx, SLOPE, **to),
        "relu_grad": lambda: aten.threshold_backward(ones, tx, 0, **at),
        "relu_vjp": lambda: aten.threshold_backward(tg, tx, 0, **at),
        "leaky_relu_grad": lambda: aten.leaky_relu_backward(ones, tx, SLOPE, False, **at),
        "leaky_relu_vjp": lambda: aten.leaky_relu_backward(tg, tx, SLOPE, False, **at),
    }

    def on(threads: int) -> Call:
        def call() -> Any:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            return table[function]()

        return call

    return {f"torch, {n} thread{'s'[: n > 1]}": on(n) for n in TORCH_THREADS}


def _jax(function: str, x: Any, g: Any) -> Contestants:
    import jax

    jx, jg = jax.device_put(x), jax.device_put(g)
    nn = {"relu": jax.nn.relu, "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=SLOPE)}
    if function in nn:
        jitted = jax.jit(nn[function])
        return {"jax.nn, jit": lambda: jitted(jx).block_until_ready()}
    value = nn["leaky_relu" if function.startswith("leaky") else "relu"]
    cotangent = jg if function.endswith("vjp") else jax.numpy.ones_like(jx)
    pull = jax.jit(lambda x, g: jax.vjp(value, x)[1](g)[0])
    return {"jax.nn, jit": lambda: pull(jx, cotangent).block_until_ready()}


def _keras(function: str, x: Any) -> Contestants:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    call = keras.ops.relu if function == "relu" else functools.partial(keras.ops.leaky_relu, negative_slope=SLOPE)
    return {"keras.ops": functools.partial(call, x)}


def measure(calls: Contestants, seconds: float) -> dict[str, list[float]]:
    """Seconds a call, in rounds that every contestant takes part in, each after a call of its own that is not timed."""
    repeats = {}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        repeats[name] = max(1, min(2000, int(1e-4 / max(time.perf_counter() - begin, 1e-9))))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples["relu_xp"]) < 7:
        for name, call in calls.items():
            call()  # with what the contestant before it left in the caches, none would start alike
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            samples[name].append((time.perf_counter() - begin) / repeats[name])
    return samples


def main() -> None:
    """Measure, print a table for each function and dtype, and write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--function", nargs="+", choices=FUNCTIONS, default=FUNCTIONS)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--exponent", nargs="+", type=int, default=[0, 4, 6, 10, 14, 16, 18, 20, 22, 24])
    parser.add_argument("--out", action="store_true", help="into an array that is there, not a fresh one")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=["numpy", "numba"], default="numpy", help="what computes relu_xp's results")
    parser.add_argument("--torch-threads", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each function, dtype and size")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    TORCH_THREADS[:] = options.torch_threads
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # or threads that wait would spin through the next contestant's turn
    console = Console()
    records = []
    plan = [(f, d, e) for f in options.function for d in options.dtype for e in options.exponent]
    for function, dtype, exponent in track(plan, description="measuring", console=console):
        rng = np.random.default_rng(0)
        x, g = (rng.normal(size=2**exponent).astype(DTYPES[dtype]) for _ in range(2))
        with relu_xp.cpu_options(workers=options.workers, engine=options.engine):
            samples = measure(contestants(function, x, g, out=options.out), options.seconds)
        records.append({"function": function, "dtype": dtype, "size": 2**exponent, "seconds": samples})
    for function in options.function:
        for dtype in options.dtype:
            _show(console, function, dtype, [r for r in records if (r["function"], r["dtype"]) == (function, dtype)])
    if options.json:
        about = {
            "date": time.strftime("%Y-%m-%d"),
            "processor": platform.processor() or platform.machine(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "workers": options.workers,
            "engine": options.engine,
            "out": options.out,
        }
        Path(options.json).write_text(json.dumps({"about": about, "records": records}) + "\n", encoding="utf-8")


def _show(console: Console, function: str, dtype: str, records: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for record in records for name in record["seconds"]))
    table = Table(title=f"{function}, {dtype}: how many times faster than each")
    for heading in ("elements", "relu_xp", "elements/ns", *names[1:]):
        table.add_column(heading, justify="right")
    for record in records:
        medians = {name: statistics.median(samples) for name, samples in record["seconds"].items()}
        ours = medians["relu_xp"]
        ratios = [f"{medians[name] / ours:.2f}" if name in medians else "" for name in names[1:]]
        size = record["size"]
        table.add_row(f"2**{size.bit_length() - 1}", f"{ours * 1e6:,.2f} µs", f"{size / ours / 1e9:.2f}", *ratios)
    console.print(table)


FUNCTIONS = [name for name in relu_xp.__all__ if "relu" in name]

if __name__ == "__main__":
    main()
