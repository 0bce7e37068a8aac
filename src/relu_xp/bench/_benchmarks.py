"""The benchmarks of a run: the data and the candidates of each.

The data are normally distributed, so their signs are random: code that branches on them pays for
mispredicted branches, as it does in use.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _dtypes, _peers
from relu_xp._functions import Function
from relu_xp._peers import Array, Call, Calls
from relu_xp._survey import Target, first_line
from relu_xp.bench import _environment
from relu_xp.bench._measuring import Candidate, measure
from relu_xp.verify import dtypes as all_dtypes

Candidates = tuple[list[Candidate], dict[str, str]]  # and why others are left out, by name

DTYPES = {dtype.name: dtype for dtype in all_dtypes()}
FRESH, OUT = "fresh", "out="
SMALL = 16  # elements; beside the call their arithmetic costs nothing
LIMIT = "copy"
DIFFERENT = 1 << 20  # numbers, more than a branch predictor remembers
WORKER_SIZES = (1 << 20, 1 << 22, 1 << 24)


@dataclass(frozen=True)
class Benchmark:
    """Candidates that do the same work on the same data, in turns."""

    part: str
    device: str
    function: Function
    dtype: str
    size: int
    mode: str
    make: Callable[[], Candidates]
    task: str = ""
    weight: float = 1.0  # its share of the time, beside those of the others

    def hold(self, seconds: float) -> dict[str, Any]:
        """Measure the candidates for about so long; give the record."""
        candidates, left_out = self.make()
        entries, refused = measure(candidates, seconds)
        # Passes over memory: each array is read, and the result written. A task has no such count.
        passes = 0 if self.task else len(self.function.arrays) + 1
        keys = ("part", "device", "dtype", "size", "mode", "task")
        return {
            **{key: getattr(self, key) for key in keys},
            "function": self.function.name,
            "bytes": passes * self.size * DTYPES[self.dtype].itemsize,
            "entries": entries,
            "left_out": left_out | refused,
        }


@functools.lru_cache(maxsize=1)
def data(dtype: str, size: int) -> tuple[Array, Array]:
    """Draw an x and a cotangent; a long one repeats its numbers."""
    rng = np.random.default_rng(size)
    x, g = (
        rng.standard_normal(min(size, DIFFERENT), np.float32).astype(DTYPES[dtype])
        for _ in range(2)
    )
    return np.resize(x, size), np.resize(g, size)


def device_of(target: Target) -> str:
    """Give one name for a device, which libraries name differently: 'cuda:0' for 'gpu:0'."""
    kind, colon, number = target.where.partition(":")
    return "cpu" if kind == "cpu" else {"gpu": "cuda"}.get(kind, kind) + colon + number


def kernels(
    targets: Sequence[Target],
    functions: Sequence[Function],
    dtypes: Sequence[str],
    sizes: Sequence[int],
    peers: Sequence[Target],
) -> Iterator[Benchmark]:
    """Give each function on each device, beside the idioms, a copy and the peers there.

    The result is fresh, and for more than a few elements also written into an existing array.
    """
    devices = dict.fromkeys(map(device_of, targets))
    for size, device, dtype, function in itertools.product(sizes, devices, dtypes, functions):
        for mode in (FRESH,) if size == SMALL else (FRESH, OUT):
            ours, others = (
                [p for p in some if device_of(p) == device] for some in (targets, peers)
            )
            make = functools.partial(
                _all, ours, others if mode == FRESH else [], function, dtype, size, mode
            )
            part = "overhead" if size == SMALL else "kernels"
            yield Benchmark(part, device, function, dtype, size, mode, make, weight=_weight(size))


def workers(
    functions: Sequence[Function], dtype: str, most: int, largest: int
) -> Iterator[Benchmark]:
    """Give large NumPy arrays on one and several threads, without a fresh result's page faults."""
    counts = sorted({most, *itertools.takewhile(lambda n: n <= most, (1 << i for i in range(10)))})
    for size in (size for size in WORKER_SIZES if size <= largest):
        for function in functions:
            make = functools.partial(_threads, function, dtype, size, counts)
            yield Benchmark(
                "workers", "cpu", function, dtype, size, OUT, make, weight=_weight(size)
            )


def _weight(size: int) -> float:
    return 1.0 + 8 * size / (1 << 24)


def _ours(function: Function, arrays: Sequence[Array], out: Array | None = None) -> Call:
    into = {} if out is None else {"out": out}
    return functools.partial(
        getattr(relu_xp, function.name), *arrays[: len(function.arrays)], **into
    )


def _limit(x: Array, out: Array | None) -> Candidate:
    call = x.copy if out is None else functools.partial(np.copyto, out, x)
    return Candidate(LIMIT, "limit", call)


def _idioms(function: Function, x: Array, g: Array, out: Array | None = None) -> list[Candidate]:
    given = function, x, g, function.named(function.defaults)
    calls = _peers.idioms(*given) if out is None else _peers.idioms_into(out, *given)
    return [Candidate(name, "idiom", call) for name, call in calls.items()]


def _all(
    targets: Sequence[Target],
    peers: Sequence[Target],
    function: Function,
    dtype: str,
    size: int,
    mode: str,
) -> Candidates:
    need = (4 + 2 * len({*targets, *peers})) * size * DTYPES[dtype].itemsize
    if need > 0.7 * _environment.available_memory():
        return [], {"all": f"{need / 2**30:.2g} GiB of memory would be needed"}
    x, g = data(dtype, size)
    on_host = device_of(targets[0]) == "cpu"
    out = np.empty_like(x) if on_host and mode == OUT else None
    candidates = [_limit(x, out)] if on_host else []
    left_out: dict[str, str] = {}
    if on_host and any(target.name == "numpy" for target in targets):
        candidates += _idioms(function, x, g, out)
    for target in targets:
        try:  # an error in one library must not end the benchmark of the others
            px, pg = _put(target, x, g)
            into = copy.deepcopy(px) if mode == OUT else None
            calls = {f"relu_xp, {target.name}": _ours(function, (px, pg), into)}
            if not candidates:  # pragma: no cover  # on a GPU the first backend also gives the copy
                copies = {LIMIT: getattr(px, "clone", None) or getattr(px, "copy", x.copy)}
                candidates += _timed(target, px, "limit", copies)
            candidates += _timed(target, px, "ours", calls)
        except Exception as error:
            left_out[f"relu_xp, {target.name}"] = first_line(error)
    for target in peers:
        for library, peer in _peers.PEERS.get(target.name, {}).items():
            try:
                px, pg = _put(target, x, g if len(function.arrays) > 1 else np.ones_like(x))
                calls = peer(function, px, pg, function.named(function.defaults))
                candidates += _timed(target, px, "peer", calls)
            except Exception as error:  # not installed, or without this dtype
                left_out[library] = first_line(error)
    return candidates, left_out


def _put(target: Target, x: Array, g: Array) -> tuple[Array, Array]:
    px, pg = target.put(x), target.put(g)
    if _dtypes.name(px.dtype) != x.dtype.name:
        msg = f"holds no {x.dtype.name} here"
        raise TypeError(msg)
    return px, pg


def _timed(target: Target, x: Array, kind: str, calls: Calls) -> Iterator[Candidate]:
    """Give candidates on a target's arrays, such as x, that wait for the result as those need."""
    wait: Callable[[Array], Any] | None = None
    finish: Callable[[Array], Any] | None = None
    on_host = device_of(target) == "cpu"
    if hasattr(x, "block_until_ready"):
        wait = type(x).block_until_ready
        finish = wait if on_host else None  # in a queue, the last result is ready after all others
    elif target.name in ("dask", "mlx") or not target.backend.__name__.startswith("relu_xp."):
        finish = target.get  # these arrays are lazy, and those of a plug-in may be
    elif not on_host and target.name in ("cupy", "torch"):  # pragma: no cover  # on a GPU
        wait = _synchronize
    for name, call in calls.items():
        yield Candidate(
            name, kind, functools.partial(_finished, call, finish) if finish else call, wait
        )


def _synchronize(x: Array) -> None:  # pragma: no cover  # on a GPU
    """Wait for the GPU that a CuPy array or a torch tensor is on."""
    if hasattr(x.device, "synchronize"):
        x.device.synchronize()
    else:
        import torch

        torch.cuda.synchronize(x.device)


def _finished(call: Call, finish: Callable[[Array], Any]) -> Any:
    return finish(call())


def _threads(function: Function, dtype: str, size: int, counts: Sequence[int]) -> Candidates:
    x, g = data(dtype, size)
    out = np.empty_like(x)
    ours = _ours(function, (x, g), out)
    each = [
        Candidate(
            f"{n} worker{'s'[: n > 1]}",
            "ours",
            ours,
            options=functools.partial(relu_xp.cpu_options, workers=n),
        )
        for n in counts
    ]
    return [_limit(x, out), *each], {}
