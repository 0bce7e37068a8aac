"""What a call costs in PyTorch, eagerly and compiled, against torch's own: `python benchmarks/in_torch.py`.

Contestants take turns in one process, and what is shown is ours over torch's, of medians: forward, where gradients are
tracked; backward alone; and both. A compiled pass is forward and backward through an activation between a product and a
matrix, as in a layer. The last lines name the worst of all beside the best.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp

SIZES = {"2^4": 1 << 4, "2^10": 1 << 10, "2^14": 1 << 14, "2^17": 1 << 17, "2^20": 1 << 20, "2^22": 1 << 22}
LAYER = (256, 512)
PASSES = ("forward, untracked", "forward", "backward", "both")
leaky_relu = torch.nn.functional.leaky_relu
Activation = Callable[[torch.Tensor], torch.Tensor]
Call = Callable[[], Any]
# Ours, torch's, and the share of zeros, from the first one on of which few elements too take our own backward pass.
PAIRS: dict[str, tuple[Activation, Activation, float]] = {
    "relu": (relu_xp.relu, torch.relu, 0.0),
    "relu of 1% zeros": (relu_xp.relu, torch.relu, 0.01),
    "relu, 0 at 0": (functools.partial(relu_xp.relu, grad_at_zero=0.0), torch.relu, 0.0),
    "leaky_relu": (relu_xp.leaky_relu, leaky_relu, 0.0),
    "leaky_relu of 1% zeros": (relu_xp.leaky_relu, leaky_relu, 0.01),
    "leaky_relu, slope at 0": (functools.partial(relu_xp.leaky_relu, grad_at_zero=0.01), leaky_relu, 0.0),
}


def passes(activation: Activation, n: int, zeros: float) -> dict[str, Call]:
    """Give what is timed of an activation, in the order of PASSES."""
    plain = torch.randn(n, generator=torch.Generator().manual_seed(0))
    plain[: math.ceil(zeros * n)] = 0.0
    x, cotangent = plain.clone().requires_grad_(), torch.ones(n)
    y = activation(x)

    def both() -> None:
        x.grad = None
        activation(x).backward(cotangent)

    def backward() -> None:
        x.grad = None
        y.backward(cotangent, retain_graph=True)

    return dict(zip(PASSES, (lambda: activation(plain), lambda: activation(x), backward, both), strict=True))


def compiled(activation: Activation, w: torch.Tensor) -> Call:
    """Give a compiled forward and backward pass."""
    x = torch.randn(LAYER, requires_grad=True)
    layer = torch.compile(lambda x: activation(x * 1.5) @ w, fullgraph=True)

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
    """Time every pair of passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled passes")
    options = parser.parse_args()
    console, most = Console(), torch.get_num_threads()
    found: dict[str, dict[str, float]] = {each: {} for each in (*PASSES, "compiled layer, both")}
    for threads in dict.fromkeys((1, most)):
        torch.set_num_threads(threads)
        title = f"PyTorch {torch.__version__}, float32, threads: {threads}; time over torch's own"
        table = Table("call", "pass", *SIZES, title=title)
        for name, (ours, theirs, zeros) in track(PAIRS.items(), description="measuring", console=console):
            rows: dict[str, list[str]] = {each: [] for each in PASSES}
            for size, n in SIZES.items():
                pairs = passes(ours, n, zeros), passes(theirs, n, zeros)
                for each in PASSES:
                    result = ratio((pairs[0][each], pairs[1][each]), options.rounds)
                    found[each][f"{name}, {size}, threads: {threads}"] = result
                    rows[each].append(f"{result:.2f}")
            for each, cells in rows.items():
                table.add_row(name, each, *cells)
        console.print(table)
    torch.set_num_threads(1)
    if not options.no_compile:
        w = torch.randn(LAYER[1], LAYER[1])
        for name, (ours, theirs, _) in PAIRS.items():
            result = ratio((compiled(ours, w), compiled(theirs, w)), 2 * options.rounds)
            found["compiled layer, both"][name] = result
    for each, ratios in found.items():
        if ratios:
            worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
            console.print(f"{each}: worst {ratios[worst]:.2f} ({worst}), best {ratios[best]:.2f} ({best})")


if __name__ == "__main__":
    main()
