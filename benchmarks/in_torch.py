"""What a call costs in PyTorch, eagerly and compiled, against torch's own: `python benchmarks/in_torch.py`.

Contestants take turns in one process, and what is shown is ours over torch's, of medians: forward,
where no gradient is tracked, and where one is; both passes; and a VJP against torch's backward
kernel. A compiled pass is forward and backward through an activation between a product and a
matrix, as in a layer. The last lines name the worst and the best of each. What programs recorded by
torch cost, `benchmarks/exports.py` prints.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional

import relu_xp

SIZES = {
    "2^4": 1 << 4,
    "2^10": 1 << 10,
    "2^14": 1 << 14,
    "2^17": 1 << 17,
    "2^20": 1 << 20,
    "2^22": 1 << 22,
}
CHANNELS = 16
LAYER = (256, 512)
PASSES = ("forward, untracked", "forward", "both")
SLOPES = torch.linspace(0.1, 0.4, CHANNELS)
aten = torch.ops.aten
Activation = Callable[[torch.Tensor], torch.Tensor]
Call = Callable[[], Any]


def prelu(x: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Ours, with a slope for each index of axis 1."""
    return relu_xp.leaky_relu(x, slopes.reshape(-1, 1))


# Ours and torch's.
PAIRS: dict[str, tuple[Activation, Activation]] = {
    "relu": (relu_xp.relu, torch.relu),
    "relu, 0 at 0": (lambda x: relu_xp.relu(x, grad_at_zero=0.0), torch.relu),
    "relu, 0.5 at 0": (lambda x: relu_xp.relu(x, grad_at_zero=0.5), torch.relu),
    "leaky_relu": (relu_xp.leaky_relu, functional.leaky_relu),
    "leaky_relu, 0 at 0": (
        lambda x: relu_xp.leaky_relu(x, grad_at_zero=0.0),
        functional.leaky_relu,
    ),
    "leaky_relu, slope at 0": (
        lambda x: relu_xp.leaky_relu(x, grad_at_zero=0.01),
        functional.leaky_relu,
    ),
    "leaky_relu, -0.1": (
        lambda x: relu_xp.leaky_relu(x, -0.1),
        lambda x: functional.leaky_relu(x, -0.1),
    ),
    "clipped_relu": (relu_xp.clipped_relu, functional.relu6),
    "clipped_relu, 0.5 at 0": (
        lambda x: relu_xp.clipped_relu(x, grad_at_zero=0.5),
        functional.relu6,
    ),
    "squared_relu": (relu_xp.squared_relu, lambda x: torch.relu(x).square()),
}
VJPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu_vjp": (relu_xp.relu_vjp, lambda x, g: aten.threshold_backward(g, x, 0)),
    "leaky_relu_vjp": (
        relu_xp.leaky_relu_vjp,
        lambda x, g: aten.leaky_relu_backward(g, x, 0.01, False),
    ),
    "clipped_relu_vjp": (
        relu_xp.clipped_relu_vjp,
        lambda x, g: aten.hardtanh_backward(g, x, 0.0, 6.0),
    ),
}


def both_passes(call: Call, x: torch.Tensor, g: torch.Tensor, *learned: torch.Tensor) -> Call:
    """Give a forward and a backward pass."""

    def both() -> None:
        for each in (x, *learned):
            each.grad = None
        call().backward(g)

    return both


def rows(n: int, dtype: torch.dtype) -> dict[tuple[str, str], tuple[Call, Call]]:
    """Give what is timed of n elements: by name and pass, ours and torch's."""
    plain = torch.randn(n, generator=torch.Generator().manual_seed(0)).to(dtype)
    x, g, found = plain.clone().requires_grad_(), torch.ones(n, dtype=dtype), {}
    for name, pair in PAIRS.items():
        untracked, forward = ([lambda f=f, a=a: f(a) for f in pair] for a in (plain, x))
        passes = untracked, forward, [both_passes(call, x, g) for call in forward]
        found |= {(name, each): tuple(calls) for each, calls in zip(PASSES, passes, strict=True)}
    for name, pair in VJPS.items():
        found[name, "untracked"] = tuple(lambda f=f: f(plain, g) for f in pair)
    images, cotangent = plain.reshape(1, CHANNELS, -1), g.reshape(1, CHANNELS, -1)
    slopes, learned = SLOPES.to(dtype), SLOPES.to(dtype).requires_grad_()
    tracked = images.clone().requires_grad_()
    pair = prelu, functional.prelu
    found["PReLU", PASSES[0]] = tuple(lambda f=f: f(images, slopes) for f in pair)
    calls = [lambda f=f: f(tracked, learned) for f in pair]
    found["PReLU", PASSES[2]] = tuple(
        both_passes(call, tracked, cotangent, learned) for call in calls
    )
    if n >= 1 << 10:
        last = (
            plain.reshape(-1, CHANNELS, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
        )
        calls = [lambda f=f: f(last) for f in PAIRS["relu"]]
        found["relu, channels last", PASSES[2]] = tuple(
            both_passes(call, last, g.reshape(last.shape)) for call in calls
        )
    return found


def compiled(activation: Activation, w: torch.Tensor) -> Call:
    """Give a compiled forward and backward pass."""
    x = torch.randn(LAYER, requires_grad=True)

    def layer(x: torch.Tensor) -> torch.Tensor:
        return activation(x * 1.5) @ w

    # A code object of its own: torch keeps what it compiled by that, and looks through all of it at
    # each call.
    layer.__code__ = layer.__code__.replace()
    layer = torch.compile(layer, fullgraph=True)

    def call() -> None:
        x.grad = None
        layer(x).sum().backward()

    return call


def ratio(pair: tuple[Call, Call], rounds: int) -> float:
    """Time the two in turns."""
    for call in (*pair, *pair):
        call()
    begin = time.perf_counter()
    pair[1]()
    repeats = max(1, int(1e-3 / (time.perf_counter() - begin)))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, samples in zip(pair, seconds, strict=True):
            begin = time.perf_counter()
            for _ in range(repeats):
                call()
            samples.append(time.perf_counter() - begin)
    ours, theirs = map(statistics.median, seconds)
    return ours / theirs


def main() -> None:
    """Time every pair of calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled passes")
    options = parser.parse_args()
    console, most = Console(width=100), torch.get_num_threads()
    found: dict[str, dict[str, float]] = {}
    runs = [(torch.float32, 1), (torch.bfloat16, 1), *([(torch.float32, most)] if most > 1 else [])]
    for dtype, threads in runs:
        torch.set_num_threads(threads)
        kind = f"{str(dtype).removeprefix('torch.')}, threads: {threads}"
        table = Table(
            "call",
            "pass",
            *SIZES,
            title=f"PyTorch {torch.__version__}, {kind}; time over torch's own",
        )
        shown: dict[tuple[str, str], dict[str, str]] = {}
        for size, n in track(SIZES.items(), description=kind, console=console):
            for (name, each), pair in rows(n, dtype).items():
                result = ratio(pair, options.rounds)
                found.setdefault(each, {})[f"{name}, {size}, {kind}"] = result
                shown.setdefault((name, each), {})[size] = f"{result:.2f}"
        for (name, each), cells in shown.items():
            table.add_row(name, each, *(cells.get(size, "") for size in SIZES))
        console.print(table)
    torch.set_num_threads(1)
    if not options.no_compile:
        w = torch.randn(LAYER[1], LAYER[1])
        for name, (ours, theirs) in PAIRS.items():
            pair = compiled(ours, w), compiled(theirs, w)
            result = ratio(pair, 2 * options.rounds)
            found.setdefault("compiled layer, both", {})[name] = result
    for each, ratios in found.items():
        worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
        console.print(
            f"{each}: worst {ratios[worst]:.2f} ({worst}), best {ratios[best]:.2f} ({best})"
        )


if __name__ == "__main__":
    main()
