"""Tests, verifies and times relu_xp on a GPU, from a checkout alone.

    python benchmarks/gpu.py --json results.json

It runs the CuPy tests, `verify` for CuPy and JAX and a memory check, and times relu_xp beside what
people use instead. Needs CuPy, array-api-compat, ml_dtypes, pytest, hypothesis and rich; PyTorch
and JAX are compared if they are installed. A part that fails is recorded, and the others go on. The
file is written after each part, and after each case of the last part.

Times are medians. CUDA events time one call; before it another array is written, which flushes the
cache. All take turns. The data are normally distributed. JAX has streams of its own, so the host's
clock times it until the result is there. A ratio above 1 means that relu_xp is faster. GB/s count
what a function reads and writes, and stand beside those of a device-to-device copy of x.
"""

import argparse
import contextlib
import functools
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from relu_xp._functions import FUNCTIONS, Function  # noqa: E402
from relu_xp._peers import Call, Calls  # noqa: E402
from relu_xp._survey import first_line  # noqa: E402
from relu_xp.bench import _environment  # noqa: E402
from relu_xp.bench._measuring import Candidate, measure  # noqa: E402

FLUSH = 1 << 28  # bytes, more than any cache holds
NAMES = ("float16", "bfloat16", "float32", "float64")
DTYPES = [dtype for dtype in verify.dtypes() if dtype.name in NAMES]
CHECKED = """
import cupy, relu_xp
cupy.cuda.set_allocator(None)  # no pool, so that each array ends where its memory ends
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


def main() -> int:
    """Run the parts asked for, print what they find, and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["tests", "verify", "memcheck", "overhead", "bench"]
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    exponents = [10, 14, 18, 20, 22, 24, 26, 28, 30]
    parser.add_argument("--exponent", nargs="+", type=int, default=exponents)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    console = Console()
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        console.print(f"no GPU: {error}")
        return 2
    # JAX reads these when it is imported. Without them it takes most of the memory, and has no
    # float64.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    record: dict[str, Any] = {"about": about()}
    console.print(record["about"])
    for part in options.part:
        if part == "bench":
            for record[part] in bench(options.exponent, options.repeats, console):
                _write(options.json, record)
            _show(console, record.get(part, []))
        else:
            record[part] = overheads(console) if part == "overhead" else run(part, console)
            _write(options.json, record)
    return int(any(record.get(part, {}).get("status") not in (0, None) for part in commands()))


def _write(file: str | None, record: dict[str, Any]) -> None:
    if file:
        Path(file).write_text(json.dumps(record) + "\n", encoding="utf-8")


def about() -> dict[str, Any]:
    """Name the device, the driver, the machine and the versions."""
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        **_environment.describe(),
        "device": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "processors": properties["multiProcessorCount"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
    }


def commands() -> dict[str, list[str]]:
    """Give the command of each part that runs in a process of its own; none if it is missing."""
    python = sys.executable
    backends = ["cupy", *(["jax"] if importlib.util.find_spec("jax") else [])]
    sanitizer = shutil.which("compute-sanitizer")
    checked = ["--tool", "memcheck", "--error-exitcode", "1", python, "-c", CHECKED]
    # These two need no GPU, and CI runs them.
    ignored = [f"--ignore=tests/test_cupy_{name}.py" for name in ("ptx", "on_host")]
    everything = ["-q", "-W", "default", "--backend=cupy", "-m", "large or not large", *ignored]
    return {
        "tests": [python, "-m", "pytest", *everything],
        "verify": [python, "-m", "relu_xp", "verify", "--backend", *backends],
        "memcheck": [sanitizer, *checked] if sanitizer else [],
    }


def run(part: str, console: Console) -> dict[str, Any]:
    """Run one part; keep its status, its time and the end of what it prints."""
    command = commands()[part]
    if not command:
        console.print(f"{part}: compute-sanitizer is not installed")
        return {"status": None, "output": "compute-sanitizer: not installed"}
    paths = os.pathsep.join([str(HERE / "src"), os.environ.get("PYTHONPATH", "")])
    begin, lines = time.perf_counter(), []
    with subprocess.Popen(
        command,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        # Print each line at once: a run that is killed has then shown how far it came.
        for line in process.stdout or ():
            console.print(line, end="", markup=False, highlight=False)
            lines.append(line)
    seconds = time.perf_counter() - begin
    console.print(f"{' '.join(command[:6])} …: status {process.returncode} after {seconds:.0f} s")
    return {"status": process.returncode, "seconds": seconds, "output": "".join(lines)[-8000:]}


def contestants(function: Function, x: Any, g: Any) -> tuple[Calls, dict[str, str]]:
    """Give our calls and those of the others, and say why some others cannot take part."""
    given, is_vjp = function.named(function.defaults), len(function.arrays) > 1
    arrays, target = (x, g)[: len(function.arrays)], cupy.empty_like(x)
    ours = functools.partial(getattr(relu_xp, function.name), *arrays)
    calls: Calls = {"relu_xp": ours, "relu_xp, out=": functools.partial(ours, out=target)}
    calls["copy"] = lambda: target.data.copy_from_device_async(
        x.data, x.nbytes, cupy.cuda.get_current_stream()
    )
    calls["ElementwiseKernel"] = functools.partial(_idiom(function.name), *arrays)
    g = g if is_vjp else cupy.ones_like(x)
    calls |= _peers.idioms(function, x, g, given, cupy)
    left_out = {}
    for name, move in (("torch", _as_torch), ("jax", _as_jax)):
        try:
            calls |= _peers.PEERS[name][name](function, move(x), move(g), given)
        except Exception as error:
            left_out[name] = first_line(error)
    return calls, left_out


@functools.cache
def _idiom(function: str) -> Any:
    inputs = "T x, T g" if len(FUNCTIONS[function].arrays) > 1 else "T x"
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
    """Share the memory; as bits for bfloat16, which some versions of DLPack cannot exchange."""
    import torch

    if a.dtype.name == "bfloat16":
        return torch.from_dlpack(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(a)


def _as_jax(a: Any) -> Any:
    import jax

    return jax.device_put(cupy.asnumpy(a))


@dataclass(frozen=True)
class OnDevice(Candidate):
    """A call that is timed on the device, or by the host's clock, with nothing of use in caches."""

    flush: tuple[Any, Any] = ()

    def seconds(self, repeats: int) -> float:
        """Time so many calls, each alone."""
        by = self._by_clock if self.name.startswith("jax") else self._by_events
        return sum(by() for _ in range(repeats))

    def _empty_caches(self) -> None:
        written, read = self.flush
        written.fill(1)
        read.sum(dtype=np.uint8)  # so that nothing in them is yet to be written to memory

    def _by_events(self) -> float:
        """Time between two events: the flush takes longer than the launch of what follows."""
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        self._empty_caches()
        begin.record()
        result = self.call()
        end.record()
        end.synchronize()
        del result
        return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3

    def _by_clock(self) -> float:
        self._empty_caches()
        cupy.cuda.Device().synchronize()
        begin = time.perf_counter()
        self.call().block_until_ready()
        return time.perf_counter() - begin


def bench(exponents: list[int], repeats: int, console: Console) -> Iterator[list[dict[str, Any]]]:
    """Time every function, dtype and size that fits the memory; give all records after each.

    All run in the default stream, PyTorch's too.
    """
    flush = cupy.empty(FLUSH, np.uint8), cupy.zeros(FLUSH, np.uint8)
    records: list[dict[str, Any]] = []
    cases = [*itertools.product(exponents, FUNCTIONS.values(), DTYPES)]
    for exponent, function, dtype in track(
        cases, description="measuring", console=Console(stderr=True)
    ):
        if 8 * (dtype.itemsize << exponent) > cupy.cuda.Device().mem_info[0]:
            continue
        try:
            records.append(contest(function, dtype, 1 << exponent, repeats, flush))
        except Exception as error:
            where = f"{function} of {dtype.name}, 2**{exponent}"
            console.print(f"{where}: {first_line(error)}", markup=False)
        cupy.get_default_memory_pool().free_all_blocks()
        yield records


def contest(
    function: Function, dtype: Any, size: int, repeats: int, flush: tuple[Any, Any]
) -> dict[str, Any]:
    """Time all contestants in turns."""
    rng = cupy.random.default_rng(0)
    x, g = (rng.standard_normal(size, np.float32).astype(dtype) for _ in range(2))
    calls, left_out = contestants(function, x, g)
    candidates = [OnDevice(name, "", call, flush=flush) for name, call in calls.items()]
    entries, refused = measure(candidates, 0, repeats, sample=0)
    return {
        "function": function.name,
        "dtype": dtype.name,
        "size": size,
        "bytes": (len(function.arrays) + 1) * x.nbytes,  # arrays read, and the result
        "bytes of copy": 2 * x.nbytes,
        "seconds": {entry["name"]: entry["seconds"] for entry in entries},
        "left_out": left_out | refused,
    }


@contextlib.contextmanager
def _idle() -> Iterator[None]:
    """Start with an empty queue."""
    cupy.cuda.Device().synchronize()
    yield


def overheads(console: Console, rounds: int = 15) -> dict[str, float]:
    """Give the median microseconds that a call on 16 elements costs the host, without waiting."""
    x = cupy.ones(16, np.float32)
    everyone: dict[str, Call] = {
        f"{f}: {name}": call
        for f in FUNCTIONS.values()
        for name, call in contestants(f, x, x)[0].items()
    }
    candidates = [Candidate(name, "", call, options=_idle) for name, call in everyone.items()]
    entries, _ = measure(candidates, 0, rounds, sample=1e-3)
    medians = {each["name"]: 1e6 * statistics.median(each["seconds"]) for each in entries}
    table = Table("call on 16 float32", "µs", title="what a call costs the host")
    for name, median in medians.items():
        table.add_row(name, f"{median:.2f}")
    console.print(table)
    return medians


def _show(console: Console, records: list[dict[str, Any]]) -> None:
    heads = "elements", "relu_xp", "GB/s", "of copy's", "time of others / ours"
    tables: dict[str, Table] = {}
    for record in records:
        medians = {name: statistics.median(values) for name, values in record["seconds"].items()}
        if not {"relu_xp", "copy"} <= {*medians}:
            continue
        title = f"{record['function']}, {record['dtype']}"
        ours, copy = medians.pop("relu_xp"), medians.pop("copy")
        bandwidth = record["bytes"] / ours
        tables.setdefault(title, Table(*heads, title=title)).add_row(
            f"2**{record['size'].bit_length() - 1}",
            f"{ours * 1e6:,.1f} µs",
            f"{bandwidth / 1e9:,.0f}",
            f"{bandwidth / (record['bytes of copy'] / copy):.2f}",
            ", ".join(f"{name} {seconds / ours:.2f}" for name, seconds in medians.items()),
        )
    console.print(*tables.values(), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
