"""What is measured: each contest's data, who takes part, and the parts of a run that contests make up.

The data are normally distributed, so signs are random: what branches on the data pays for it, as it would in use.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import relu_xp
from relu_xp._machine import Place
from relu_xp.bench import _environment, _rivals
from relu_xp.bench._measuring import Call, Entrant, Timer, by_clock, by_cupy_events, by_last, by_torch_events, words

Array = Any
Field = tuple[list[Entrant], dict[str, str]]  # who takes part, and why others do not

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
    enter: Callable[[], Field] = field(repr=False, compare=False)
    cache: str = "warm"
    task: str = ""
    weight: float = 1.0  # its part of the time

    @property
    def bytes(self) -> int:
        """What the function reads and writes, at least; a task is not counted in bytes."""
        passes = 3 if self.function.endswith("vjp") else 2
        return 0 if self.task else passes * self.size * as_dtype(self.dtype).itemsize


def as_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype, or that of ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


@functools.lru_cache(maxsize=1)
def data(dtype: str, size: int) -> tuple[Array, Array]:
    """An x and a cotangent; beyond what a branch predictor could learn by heart, the same numbers again."""
    rng = np.random.default_rng(size)
    x, g = (rng.standard_normal(min(size, DIFFERENT), np.float32).astype(as_dtype(dtype)) for _ in range(2))
    return np.resize(x, size), np.resize(g, size)


def device_of(place: Place) -> str:
    """Where its times may be compared: libraries name one device differently."""
    kind, colon, number = place.where.partition(":")
    return "cpu" if kind == "cpu" else {"gpu": "cuda"}.get(kind, kind) + colon + number


def kernels(
    places: Sequence[Place], functions: Sequence[str], dtypes: Sequence[str], sizes: Sequence[int], *, peers: bool
) -> Iterator[Contest]:
    """Every function on every device's backends, against the idioms and a copy; each result fresh, and into `out`."""
    devices = {device_of(place): [p for p in places if device_of(p) == device_of(place)] for place in places}
    for size, (device, here), dtype, function in itertools.product(sizes, devices.items(), dtypes, functions):
        for mode in (FRESH, OUT):
            enter = functools.partial(_all, here, device, function, dtype, size, mode, peers=peers)
            part = "overhead" if size == FEW else "kernels"
            if part == "kernels" or mode == FRESH:
                yield Contest(part, device, function, dtype, size, mode, enter, weight=_weight(size))


def growth(function: str, dtype: str, *, room: int) -> Iterator[Contest]:
    """One NumPy function from one element to what memory sensibly holds."""
    size = 1
    while 4 * size * as_dtype(dtype).itemsize <= room:
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


def flusher() -> Call:
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


def _all(
    places: Sequence[Place], device: str, function: str, dtype: str, size: int, mode: str, *, peers: bool
) -> Field:
    x, g = data(dtype, size)
    if (need := (4 + 2 * len(places)) * x.nbytes) > 0.7 * _environment.available_memory():
        return [], {"all": f"{need / 2**30:.0f} GiB of memory would be needed"}
    host = device == "cpu"
    target = np.empty_like(x) if host and mode == OUT else None
    entrants = [_limit(x, target)] if host else []
    left_out: dict[str, str] = {}
    if not any(place.name == "numpy" for place in places) and host:
        numpy_calls: dict[str, Call] = {}
    else:
        numpy_calls = _rivals.idioms(function, x, g, target) if host else {}
    entrants += [Entrant(name, "idiom", call) for name, call in numpy_calls.items()]
    for place in places:
        try:
            entrants += _of_place(place, function, x, g, mode, limit=not host and len(entrants) == 0)
        except Exception as error:  # one library must not end the contest of the others
            left_out[f"relu_xp, {place.name}"] = words(error)
    if peers and mode == FRESH:
        offered = _rivals.on_host(function, x, g) if host else _rivals.on_gpu(function, x, g, device)
        for name, make in offered.items():
            try:
                entrants += [Entrant(each, "peer", call, timer) for each, (call, timer) in make().items()]
            except Exception as error:  # not installed, or without this dtype
                left_out[name] = words(error)
    return entrants, left_out


def _of_place(place: Place, function: str, x: Array, g: Array, mode: str, *, limit: bool) -> list[Entrant]:
    """Ours on one backend, waited for as its arrays need; on a GPU the first backend also gives the copy."""
    px, pg = place.put(x), place.put(g)
    if str(px.dtype).rpartition(".")[2] != x.dtype.name:
        msg = f"holds no {x.dtype.name} here"
        raise TypeError(msg)
    timer: Timer = by_clock
    finish: Callable[[Array], Any] | None = None
    copy: Call | None = None
    on_gpu = device_of(place) != "cpu"
    number = int(place.where.partition(":")[2] or 0)
    if hasattr(px, "block_until_ready"):
        timer = by_last if on_gpu else by_clock
        finish = None if on_gpu else lambda y: y.block_until_ready()
        copy = px.copy
    elif hasattr(px, "compute"):
        finish = place.get
    elif place.name == "cupy":
        timer, copy = functools.partial(by_cupy_events, device=number), px.copy
    elif place.name == "torch" and on_gpu:
        timer, copy = functools.partial(by_torch_events, device=number), px.clone
    target = None
    if mode == OUT:
        import copy as copying

        target = copying.deepcopy(px)
        with place.options():
            _ours(function, (px, pg), target)()  # arrays that can't be written are refused here
    call = _ours(function, (px, pg), target)
    waited = call if finish is None else functools.partial(_finished, call, finish)
    entrants = [Entrant(LIMIT, "limit", copy, timer)] if limit and copy else []
    return [*entrants, Entrant(f"relu_xp, {place.name}", "ours", waited, timer, place.options)]


def _finished(call: Call, finish: Callable[[Array], Any]) -> Any:
    return finish(call())


def _fresh_and_out(function: str, dtype: str, size: int) -> Field:
    arrays = data(dtype, size)
    x, target = arrays[0], np.empty_like(arrays[0])
    idiom = next(iter(_rivals.idioms(function, *arrays, None).items()))
    return [
        Entrant("copy, fresh", "copy", x.copy),
        _limit(x, target),
        Entrant(idiom[0], "idiom", idiom[1]),
        Entrant("relu_xp, fresh", "ours", _ours(function, arrays)),
        Entrant("relu_xp, out=", "ours", _ours(function, arrays, target)),
    ], {}


def _into(function: str, dtype: str, size: int) -> Field:
    arrays = data(dtype, size)
    target = np.empty_like(arrays[0])
    idiom = next(iter(_rivals.idioms(function, *arrays, None).items()))
    ours = Entrant("relu_xp, numpy", "ours", _ours(function, arrays, target))
    return [_limit(arrays[0], target), Entrant(idiom[0], "idiom", idiom[1]), ours], {}


def _threads(function: str, dtype: str, size: int, counts: Sequence[int]) -> Field:
    arrays = data(dtype, size)
    target = np.empty_like(arrays[0])
    call = _ours(function, arrays, target)
    on = [functools.partial(relu_xp.cpu_options, workers=n) for n in counts]
    names = [f"{n} worker{'s'[: n > 1]}" for n in counts]
    entrants = [Entrant(name, "ours", call, options=options) for name, options in zip(names, on, strict=True)]
    return [_limit(arrays[0], target), *entrants], {}
