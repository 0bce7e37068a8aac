"""What a call costs in PyTorch, eagerly and compiled, against torch's own: `python benchmarks/in_torch.py`.

Contestants take turns in one process and medians are compared, on one thread. A compiled pass is forward and backward
through an activation between a product and a matrix, as in a layer.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp

ROUNDS = 60
LAYER = (256, 512)
leaky_relu = torch.nn.functional.leaky_relu
Call = Callable[[], Any]


def tracked(activation: Callable[..., Any], x: torch.Tensor) -> Call:
    """Give a forward and backward pass."""
    x = x.clone().requires_grad_()

    def call() -> None:
        x.grad = None
        activation(x).sum().backward()

    return call


def compiled(activation: Callable[..., Any], w: torch.Tensor) -> Call:
    """Give a compiled forward and backward pass."""
    return tracked(torch.compile(lambda x: activation(x * 1.5) @ w, fullgraph=True), torch.randn(LAYER))


def main() -> None:
    """Time each pair in turns."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    few, many, w = torch.randn(16), torch.randn(1 << 20), torch.randn(LAYER[1], LAYER[1])
    zero = functools.partial(relu_xp.relu, grad_at_zero=0.0)
    pairs: dict[str, tuple[Call, Call]] = {}
    for name, ours, theirs in (
        ("relu", relu_xp.relu, torch.relu),
        ("relu, 0 at 0", zero, torch.relu),
        ("leaky_relu", relu_xp.leaky_relu, leaky_relu),
    ):
        pairs[f"{name}, 16 elements"] = (functools.partial(ours, few), functools.partial(theirs, few))
        pairs[f"{name}, 2**20"] = (functools.partial(ours, many), functools.partial(theirs, many))
        pairs[f"{name}, 2**20 with backward"] = (tracked(ours, many), tracked(theirs, many))
        pairs[f"{name}, compiled layer with backward"] = (compiled(ours, w), compiled(theirs, w))
    table = Table("call", "relu_xp", "torch", "ratio", title=f"PyTorch {torch.__version__}, one thread, float32")
    console = Console()
    for name, pair in track(pairs.items(), description="measuring", console=console):
        for call in (*pair, *pair):
            call()
        repeats = 1000 if "16 elements" in name else 1
        seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for call, samples in zip(pair, seconds, strict=True):
                begin = time.perf_counter()
                for _ in range(repeats):
                    call()
                samples.append((time.perf_counter() - begin) / repeats)
        ours, theirs = map(statistics.median, seconds)
        table.add_row(name, f"{ours * 1e6:,.1f} µs", f"{theirs * 1e6:,.1f} µs", f"{ours / theirs:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
