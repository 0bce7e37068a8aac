"""What is measured: each contest's data, who takes part, and the parts of a run that contests make up.

The data are normally distributed, so signs are random: what branches on the data pays for it, as it would in use.
"""

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _peers
from relu_xp._machine import Target, first_line
from relu_xp._peers import Array, Call, Calls
from relu_xp.bench import _environment
from relu_xp.bench._measuring import Entrant, Timer, by_clock, by_cupy_events, by_last, by_torch_events, measure
from relu_xp.verify import dtypes as all_dtypes

Field = tuple[list[Entrant], dict[str, str]]  # who takes part, and why others do not

DTYPES = {dtype.name: dtype for dtype in all_dtypes()}
SLOPE = 0.01
FRESH, OUT = "fresh", "out="
FEW = 16  # elements, whose arithmetic costs nothing beside the call
LIMIT = "copy"
DIFFERENT = 1 << 20
COLD_SIZES = (1 << 14, 1 << 17, 1 << 20)
WORKER_SIZES = (1 << 20, 1 << 22, 1 << 24)


@dataclass(frozen=True)
class Contest:
    """Contestants who do the same work on the same data, in turns."""

    part: str
    device: str
    function: str
    dtype: str
    size: int
    mode: str
    enter: Callable[[], Field]
    cache: str = "warm"
    task: str = ""
    weight: float = 1.0  # its part of the time

    def hold(self, seconds: float) -> dict[str, Any]:
        """Let them run for about so long; give the record."""
        candidates, left_out = self.enter()
        entries, refused = measure(candidates, seconds, _flusher() if self.cache == "cold" else None)
        # What the function reads and writes, at least; a task is not counted in bytes.
        passes = 0 if self.task else 3 if self.function.endswith("vjp") else 2
        keys = ("part", "device", "function", "dtype", "size", "mode", "cache", "task")
        return {
            **{key: getattr(self, key) for key in keys},
            "bytes": passes * self.size * DTYPES[self.dtype].itemsize,
            "entries": entries,
            "left_out": left_out | refused,
        }


@functools.lru_cache(maxsize=1)
def data(dtype: str, size: int) -> tuple[Array, Array]:
    """An x and a cotangent; beyond what a branch predictor could learn by heart, the same numbers again."""
    rng = np.random.default_rng(size)
    x, g = (rng.standard_normal(min(size, DIFFERENT), np.float32).astype(DTYPES[dtype]) for _ in range(2))
    return np.resize(x, size), np.resize(g, size)


def device_of(target: Target) -> str:
    """Where its times may be compared: libraries name one device differently."""
    kind, colon, number = target.where.partition(":")
    return "cpu" if kind == "cpu" else {"gpu": "cuda"}.get(kind, kind) + colon + number


def kernels(
    targets: Sequence[Target], functions: Sequence[str], dtypes: Sequence[str], sizes: Sequence[int],
    peers: Sequence[Target],
) -> Iterator[Contest]:  # fmt: skip
    """Every function at the places of each device, against the idioms and a copy, and against the places' own.

    Each has its result fresh, and, beyond a few elements, also in an array that is there.
    """
    devices = dict.fromkeys(map(device_of, targets))
    for size, device, dtype, function in itertools.product(sizes, devices, dtypes, functions):
        for mode in (FRESH,) if size == FEW else (FRESH, OUT):
            ours, others = ([p for p in some if device_of(p) == device] for some in (targets, peers))
            enter = functools.partial(_all, ours, others if mode == FRESH else [], function, dtype, size, mode)
            part = "overhead" if size == FEW else "kernels"
            yield Contest(part, device, function, dtype, size, mode, enter, weight=_weight(size))


def growth(function: str, dtype: str, *, room: int) -> Iterator[Contest]:
    """One NumPy function from one element to what memory sensibly holds."""
    size = 1
    while 4 * size * DTYPES[dtype].itemsize <= room:
        enter = functools.partial(_fresh_and_out, function, dtype, size)
        yield Contest("growth", "cpu", function, dtype, size, "both", enter, weight=0.4 + size / (1 << 24))
        size *= 2


def workers(functions: Sequence[str], dtype: str, most: int, largest: int) -> Iterator[Contest]:
    """Large NumPy arrays on one thread and on several; without the page faults of a fresh result."""
    counts = sorted({most, *itertools.takewhile(lambda n: n <= most, (1 << i for i in range(10)))})
    for size in (size for size in WORKER_SIZES if size <= largest):
        for function in functions:
            enter = functools.partial(_threads, function, dtype, size, counts)
            yield Contest("workers", "cpu", function, dtype, size, OUT, enter, weight=_weight(size))


def cold(function: str, dtype: str, largest: int) -> Iterator[Contest]:
    """Data that no cache holds any more, as after other work."""
    for size in (size for size in COLD_SIZES if size <= largest):
        enter = functools.partial(_into, function, dtype, size)
        for cache in ("warm", "cold"):
            yield Contest("cold", "cpu", function, dtype, size, OUT, enter, cache, weight=3.0 if cache == "cold" else 1)


def _flusher() -> Call:
    """Something that drives all else out of the caches: it writes as much as the last of them holds."""
    most = max(_environment.caches().values(), default=64 << 20)
    filler = np.empty(min(most, _environment.available_memory() // 8), np.uint8)
    turns = itertools.count(1)
    return lambda: filler.fill(next(turns) % 251)


def _weight(size: int) -> float:
    return 1.0 + 8 * size / (1 << 24)


def _ours(function: str, arrays: Sequence[Array], target: Array | None = None) -> Call:
    into = {} if target is None else {"out": target}
    return functools.partial(getattr(relu_xp, function), *arrays[: 2 if function.endswith("vjp") else 1], **into)


def _limit(x: Array, target: Array | None) -> Entrant:
    call = x.copy if target is None else functools.partial(np.copyto, target, x)
    return Entrant(LIMIT, "limit", call)


def _idioms(function: str, x: Array, g: Array, target: Array | None = None) -> list[Entrant]:
    given = function, x, g, SLOPE
    calls = _peers.idioms(*given) if target is None else _peers.idioms_into(target, *given)
    return [Entrant(name, "idiom", call) for name, call in calls.items()]


def _all(targets: Sequence[Target], peers: Sequence[Target], function: str, dtype: str, size: int, mode: str) -> Field:
    need = (4 + 2 * len({*targets, *peers})) * size * DTYPES[dtype].itemsize
    if need > 0.7 * _environment.available_memory():
        return [], {"all": f"{need / 2**30:.2g} GiB of memory would be needed"}
    x, g = data(dtype, size)
    on_host = device_of(targets[0]) == "cpu"
    target = np.empty_like(x) if on_host and mode == OUT else None
    candidates = [_limit(x, target)] if on_host else []
    left_out: dict[str, str] = {}
    if on_host and any(target.name == "numpy" for target in places):
        candidates += _idioms(function, x, g, target)
    for target in places:
        try:  # one library must not end the contest of the others
            px, pg = _put(target, x, g)
            out = copy.deepcopy(px) if mode == OUT else None
            calls = {f"relu_xp, {target.name}": _ours(function, (px, pg), out)}
            if not candidates:  # pragma: no cover  # on a GPU the first backend also gives the copy
                candidates += _timed(target, px, "limit", {LIMIT: px.clone if target.name == "torch" else px.copy})
            candidates += _timed(target, px, "ours", calls)
        except Exception as error:
            left_out[f"relu_xp, {target.name}"] = first_line(error)
    for target in peers:
        for library, peer in _peers.PEERS.get(target.name, {}).items():
            try:
                px, pg = _put(target, x, g if function.endswith("vjp") else np.ones_like(x))
                candidates += _timed(target, px, "peer", peer(function, px, pg, SLOPE))
            except Exception as error:  # not installed, or without this dtype
                left_out[library] = first_line(error)
    return candidates, left_out


def _put(target: Target, x: Array, g: Array) -> tuple[Array, Array]:
    px, pg = target.put(x), target.put(g)
    if str(px.dtype).rpartition(".")[2] != x.dtype.name:
        msg = f"holds no {x.dtype.name} here"
        raise TypeError(msg)
    return px, pg


def _timed(target: Target, x: Array, kind: str, calls: Calls) -> Iterator[Entrant]:
    """Contestants on a target's arrays, such as x; waited for as those need."""
    timer: Timer = by_clock
    finish: Callable[[Array], Any] | None = None
    on_host = device_of(target) == "cpu"
    if hasattr(x, "block_until_ready"):
        timer, finish = (by_clock, type(x).block_until_ready) if on_host else (by_last, None)
    elif target.name in ("dask", "mlx") or not target.backend.__name__.startswith("relu_xp."):
        finish = target.get  # they are lazy, as a plug-in's may be
    elif not on_host and target.name in ("cupy", "torch"):  # pragma: no cover  # on a GPU
        by_events = by_cupy_events if target.name == "cupy" else by_torch_events
        timer = functools.partial(by_events, device=int(target.where.partition(":")[2] or 0))
    for name, call in calls.items():
        waited = functools.partial(_finished, call, finish) if finish else call
        yield Entrant(name, kind, waited, timer, target.options if kind == "ours" else contextlib.nullcontext)


def _finished(call: Call, finish: Callable[[Array], Any]) -> Any:
    return finish(call())


def _fresh_and_out(function: str, dtype: str, size: int) -> Field:
    x, g = data(dtype, size)
    target = np.empty_like(x)
    return [
        Entrant("copy, fresh", "copy", x.copy),
        _limit(x, target),
        _idioms(function, x, g)[0],
        Entrant("relu_xp, fresh", "ours", _ours(function, (x, g))),
        Entrant("relu_xp, out=", "ours", _ours(function, (x, g), target)),
    ], {}


def _into(function: str, dtype: str, size: int) -> Field:
    x, g = data(dtype, size)
    target = np.empty_like(x)
    ours = Entrant("relu_xp, numpy", "ours", _ours(function, (x, g), target))
    return [_limit(x, target), _idioms(function, x, g)[0], ours], {}


def _threads(function: str, dtype: str, size: int, counts: Sequence[int]) -> Field:
    x, g = data(dtype, size)
    target = np.empty_like(x)
    candidates = [_limit(x, target)]
    for n in counts:
        options = functools.partial(relu_xp.cpu_options, workers=n)
        name = f"{n} worker{'s'[: n > 1]}"
        candidates.append(Entrant(name, "ours", _ours(function, (x, g), target), options=options))
    return candidates, {}
