"""Everything that is to be known of a GPU, from a checkout alone: `python benchmarks/gpu.py --json results.json`.

The CuPy tests, `verify` for CuPy and JAX, a memory check, and times against what people use
instead. Needs CuPy, array-api-compat, ml_dtypes, pytest, hypothesis and rich; PyTorch and JAX are
compared if they are there. What fails is recorded, and the rest goes on; the file is written after
each part, and each size of the last.

Times are medians of CUDA events around one call, the cache flushed before each by writing another
array, contestants in turn; data are normally distributed. JAX has streams of its own: its time is
the host's, until the result is there. A ratio above 1 means that relu_xp is faster by that factor.
GB/s count what a function reads and writes, and stand beside those of a device-to-device copy of x.
"""

import argparse
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "src"))

import cupy  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402

import relu_xp  # noqa: E402
from relu_xp import _peers, verify  # noqa: E402
from relu_xp._functions import FUNCTIONS as RECORDS  # noqa: E402
from relu_xp._machine import first_line  # noqa: E402

SCALARS = {"negative_slope": 0.01, "ceiling": 6.0}
FLUSH = 1 << 28  # bytes, more than any cache holds
FUNCTIONS = [name for name in relu_xp.__all__ if "relu" in name]
DTYPES = [
    dtype
    for dtype in verify.dtypes()
    if dtype.name in ("float16", "bfloat16", "float32", "float64")
]
CHECKED = """
import cupy, relu_xp
cupy.cuda.set_allocator(None)  # each array its own memory, or what lies beyond it would be the pool's
for dtype in ("float16", "float32", "float64", "int8"):
    for n in (1, 17, 1000, 100_003):
        x = cupy.arange(2 * n).astype(dtype) - cupy.asarray(n).astype(dtype)
        for a in (x, x[1:], x[::2], x[::-1]):
            relu_xp.relu(a)
            if dtype != "int8":
                relu_xp.leaky_relu_vjp(a, a)
                relu_xp.relu_grad(a, out=a)
cupy.cuda.Device().synchronize()
"""

Calls = dict[str, Callable[[], Any]]


def main() -> int:
    """Run the parts asked for, print what they find, and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["tests", "verify", "memcheck", "overhead", "bench"]
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    parser.add_argument(
        "--exponent", nargs="+", type=int, default=[10, 14, 18, 20, 22, 24, 26, 28, 30]
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    console = Console()
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        console.print(f"no GPU: {error}")
        return 2
    # JAX reads these when it is imported: it would take most of the memory, and hold no float64.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    record: dict[str, Any] = {"about": about()}
    console.print(record["about"])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    for part in options.part:
        if part == "bench":
            for record[part] in bench(options.exponent, options.repeats, console):
                _write(options.json, record)
            _show(console, record.get(part, []))
            continue
        record[part] = (
            overheads(console)
            if part == "overhead"
            else run(commands()[part], environment, console)
        )
        _write(options.json, record)
    return int(any(record.get(part, {}).get("status") not in (0, None) for part in commands()))


def _write(file: str | None, record: dict[str, Any]) -> None:
    if file:
        Path(file).write_text(json.dumps(record) + "\n", encoding="utf-8")


def about() -> dict[str, Any]:
    """Name the device, the driver and the versions."""
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    versions = {name: v for name in ("torch", "jax", "ml_dtypes") if (v := _version(name))}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "processors": properties["multiProcessorCount"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "cupy": cupy.__version__,
        **versions,
    }


def _version(name: str) -> str | None:
    import importlib.metadata

    return importlib.metadata.version(name) if importlib.util.find_spec(name) else None


def commands() -> dict[str, list[str]]:
    """What runs in processes of its own; compute-sanitizer only where it is installed."""
    python = sys.executable
    backends = ["cupy", *(["jax"] if importlib.util.find_spec("jax") else [])]
    sanitizer = shutil.which("compute-sanitizer")
    checked = (
        [sanitizer, "--tool", "memcheck", "--error-exitcode", "1", python, "-c", CHECKED]
        if sanitizer
        else []
    )
    without_gpu = [
        "--ignore=tests/test_cupy_ptx.py",
        "--ignore=tests/test_cupy_on_host.py",
    ]  # CI runs these
    everything = ["-q", "-W", "default", "--backend=cupy", "-m", "large or not large", *without_gpu]
    return {
        "tests": [python, "-m", "pytest", *everything],
        "verify": [python, "-m", "relu_xp", "verify", "--backend", *backends],
        "memcheck": checked,
    }


def run(command: list[str], environment: dict[str, str], console: Console) -> dict[str, Any]:
    """Run one part; keep its status, its time and the end of what it prints."""
    if not command:
        console.print("memcheck: compute-sanitizer is not installed")
        return {"status": None, "output": "compute-sanitizer: not installed"}
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = []
        for line in (
            process.stdout or ()
        ):  # at once: who is killed in the middle has shown how far it came
            console.print(line, end="", markup=False, highlight=False)
            lines.append(line)
    seconds = time.perf_counter() - begin
    console.print(f"{' '.join(command[:6])} …: status {process.returncode} after {seconds:.0f} s")
    return {"status": process.returncode, "seconds": seconds, "output": "".join(lines)[-8000:]}


def contestants(function: str, x: Any, g: Any) -> tuple[Calls, dict[str, str]]:
    """Ours fresh and into an array that is there, then what people use instead, and who can't take part and why."""
    arrays = (x, g) if len(RECORDS[function].arrays) > 1 else (x,)
    ours = functools.partial(getattr(relu_xp, function), *arrays)
    target = cupy.empty_like(x)
    calls: Calls = {"relu_xp": ours, "relu_xp, out=": functools.partial(ours, out=target)}
    calls["copy"] = lambda: target.data.copy_from_device_async(
        x.data, x.nbytes, cupy.cuda.get_current_stream()
    )
    calls["ElementwiseKernel"] = functools.partial(_idiom(function), *arrays)
    cotangent = g if len(RECORDS[function].arrays) > 1 else cupy.ones_like(x)
    calls |= _peers.idioms(RECORDS[function], x, cotangent, SCALARS, cupy)
    left_out = {}
    for name, move in (("torch", _as_torch), ("jax", _as_jax)):
        try:
            calls |= _peers.PEERS[name][name](RECORDS[function], move(x), move(cotangent), SCALARS)
        except Exception as error:
            left_out[name] = first_line(error)
    for name in [*calls]:
        try:  # compiles, and fills the pools
            calls[name]()
            cupy.cuda.Device().synchronize()
        except Exception as error:
            left_out[name] = first_line(error)
            del calls[name]
    return calls, left_out


@functools.cache
def _idiom(function: str) -> Any:
    inputs = "T x, T g" if len(RECORDS[function].arrays) > 1 else "T x"
    body = {
        "relu": "y = x > T(0) ? x : T(0)",
        "leaky_relu": "y = x > T(0) ? x : T(T(0.01) * x)",
        "relu_grad": "y = x >= T(0) ? T(1) : T(0)",
        "leaky_relu_grad": "y = x >= T(0) ? T(1) : T(0.01)",
        "relu_vjp": "y = x >= T(0) ? g : T(0)",
        "leaky_relu_vjp": "y = x >= T(0) ? g : T(T(0.01) * g)",
        "leaky_relu_slope_vjp": "y = x < T(0) ? T(x * g) : T(0)",
        "clipped_relu": "y = x > T(0) ? (x < T(6) ? x : T(6)) : T(0)",
        "clipped_relu_grad": "y = x >= T(0) && x < T(6) ? T(1) : T(0)",
        "clipped_relu_vjp": "y = x >= T(0) && x < T(6) ? g : T(0)",
        "squared_relu": "y = x > T(0) ? T(x * x) : T(0)",
        "squared_relu_grad": "y = x > T(0) ? T(x + x) : T(0)",
        "squared_relu_vjp": "y = x > T(0) ? T(T(x + x) * g) : T(0)",
    }
    return cupy.ElementwiseKernel(inputs, "T y", body[function], f"idiom_{function}")


def _as_torch(a: Any) -> Any:
    """Share the memory; bfloat16 has no target in the exchange protocol of every version, its bits have."""
    import torch

    if a.dtype.name == "bfloat16":
        return torch.from_dlpack(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(a)


def _as_jax(a: Any) -> Any:
    import jax

    return jax.device_put(cupy.asnumpy(a))


def bench(exponents: list[int], repeats: int, console: Console) -> Iterator[list[dict[str, Any]]]:
    """Time every function, dtype and size that the memory holds; give all records so far after each.

    All in the default stream, PyTorch's too.
    """
    flush = cupy.empty(FLUSH, np.uint8), cupy.zeros(FLUSH, np.uint8)
    records: list[dict[str, Any]] = []
    plan = [(f, d, e) for e in exponents for f in FUNCTIONS for d in DTYPES]
    for function, dtype, exponent in track(plan, description="measuring", console=console):
        if 8 * (dtype.itemsize << exponent) > cupy.cuda.Device().mem_info[0]:
            continue
        try:
            records.append(contest(function, dtype, 1 << exponent, repeats, flush))
        except Exception as error:
            console.print(
                f"{function} of {dtype.name}, 2**{exponent}: {first_line(error)}", markup=False
            )
        cupy.get_default_memory_pool().free_all_blocks()
        yield records


def contest(
    function: str, dtype: Any, size: int, repeats: int, flush: tuple[Any, Any]
) -> dict[str, Any]:
    """Time all contestants in turns."""
    rng = cupy.random.default_rng(0)
    x, g = (rng.standard_normal(size, np.float32).astype(dtype) for _ in range(2))
    calls, left_out = contestants(function, x, g)
    samples: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(repeats):
        for label, call in calls.items():
            samples[label].append(
                (_by_clock if label.startswith("jax") else _by_events)(call, flush)
            )
    passes = (
        3 if len(RECORDS[function].arrays) > 1 else 2
    )  # over memory: arrays read, and the result
    return {
        "function": function,
        "dtype": dtype.name,
        "size": size,
        "bytes": passes * x.nbytes,
        "bytes of copy": 2 * x.nbytes,
        "seconds": samples,
        "left_out": left_out,
    }


def _flush(flush: tuple[Any, Any]) -> None:
    """Drive all else out of the caches, and leave nothing in them that is yet to be written to memory."""
    written, read = flush
    written.fill(1)
    read.sum(dtype=np.uint8)


def _by_events(call: Callable[[], Any], flush: tuple[Any, Any]) -> float:
    """Seconds between two events around a call; to flush takes longer than to launch what follows."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    _flush(flush)
    begin.record()
    result = call()
    end.record()
    end.synchronize()
    del result
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def _by_clock(call: Callable[[], Any], flush: tuple[Any, Any]) -> float:
    _flush(flush)
    cupy.cuda.Device().synchronize()
    begin = time.perf_counter()
    call().block_until_ready()
    return time.perf_counter() - begin


def overheads(console: Console, calls: int = 2000, rounds: int = 15) -> dict[str, float]:
    """Median microseconds to make a call on 16 elements, the device not waited for."""
    x = cupy.ones(16, np.float32)
    everyone = {
        f"{f}: {name}": call for f in FUNCTIONS for name, call in contestants(f, x, x)[0].items()
    }
    samples: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(rounds):
        for name, call in everyone.items():
            call()
            cupy.cuda.Device().synchronize()
            begin = time.perf_counter()
            for _ in range(calls // 10):
                call()
            samples[name].append((time.perf_counter() - begin) / (calls // 10) * 1e6)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    table = Table("call on 16 float32", "µs", title="what a call costs the host")
    for name, median in medians.items():
        table.add_row(name, f"{median:.2f}")
    console.print(table)
    return medians


def _show(console: Console, records: list[dict[str, Any]]) -> None:
    for function, dtype in sorted({(record["function"], record["dtype"]) for record in records}):
        table = Table(
            "elements",
            "relu_xp",
            "GB/s",
            "of copy's",
            "time of others / ours",
            title=f"{function}, {dtype}",
        )
        for record in records:
            medians = {
                name: statistics.median(values) for name, values in record["seconds"].items()
            }
            if (record["function"], record["dtype"]) != (function, dtype) or not {
                "relu_xp",
                "copy",
            } <= {*medians}:
                continue
            ours, copy = medians.pop("relu_xp"), medians.pop("copy")
            bandwidth = record["bytes"] / ours
            table.add_row(
                f"2**{record['size'].bit_length() - 1}",
                f"{ours * 1e6:,.1f} µs",
                f"{bandwidth / 1e9:,.0f}",
                f"{bandwidth / (record['bytes of copy'] / copy):.2f}",
                ", ".join(f"{name} {seconds / ours:.2f}" for name, seconds in medians.items()),
            )
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
