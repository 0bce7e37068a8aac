"""Times calls in PyTorch, eager and compiled, against torch's own.

    python benchmarks/in_torch.py [--no-compile]

All take turns in one process, and a cell shows our time over torch's, of medians: forward, with and
without a gradient tracked; forward and backward; and a VJP against torch's backward kernel. A
compiled pass is forward and backward through an activation between a product and a matrix, as in a
layer. The last lines name the worst and the best of each. `benchmarks/exports.py` prints what
programs cost that torch records.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional

import relu_xp
from relu_xp.bench._measuring import ratio

SIZES = {f"2^{k}": 1 << k for k in (4, 10, 14, 17, 20, 22)}
CHANNELS = 16
LAYER = (256, 512)
SAMPLE = 1e-3  # seconds
PASSES = ("forward, untracked", "forward", "both")
SLOPES = torch.linspace(0.1, 0.4, CHANNELS)
aten = torch.ops.aten
of = functools.partial
Activation = Callable[[torch.Tensor], torch.Tensor]
Call = Callable[[], Any]

# Our function and torch's, by name.
PAIRS: dict[str, tuple[Activation, Activation]] = {
    "relu": (relu_xp.relu, torch.relu),
    "relu, 0 at 0": (of(relu_xp.relu, grad_at_zero=0.0), torch.relu),
    "relu, 0.5 at 0": (of(relu_xp.relu, grad_at_zero=0.5), torch.relu),
    "leaky_relu": (relu_xp.leaky_relu, functional.leaky_relu),
    "leaky_relu, 0 at 0": (of(relu_xp.leaky_relu, grad_at_zero=0.0), functional.leaky_relu),
    "leaky_relu, slope at 0": (of(relu_xp.leaky_relu, grad_at_zero=0.01), functional.leaky_relu),
    "leaky_relu, -0.1": (
        of(relu_xp.leaky_relu, negative_slope=-0.1),
        of(functional.leaky_relu, negative_slope=-0.1),
    ),
    "clipped_relu": (relu_xp.clipped_relu, functional.relu6),
    "clipped_relu, 0.5 at 0": (of(relu_xp.clipped_relu, grad_at_zero=0.5), functional.relu6),
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


def prelu(x: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Call ours as torch calls its own: with one slope for each index of axis 1."""
    return relu_xp.leaky_relu(x, slopes.reshape(-1, 1))


def both_passes(call: Call, x: torch.Tensor, g: torch.Tensor, *learned: torch.Tensor) -> Call:
    """Give a forward and a backward pass."""

    def both() -> None:
        for each in (x, *learned):
            each.grad = None
        call().backward(g)

    return both


def rows(n: int, dtype: torch.dtype) -> dict[tuple[str, str], tuple[Call, Call]]:
    """Give what is timed for n elements: by name and pass, ours and torch's."""
    plain = torch.randn(n, generator=torch.Generator().manual_seed(0)).to(dtype)
    g, found = torch.ones(n, dtype=dtype), {}

    def add(name: str, pair: tuple[Any, Any], x: torch.Tensor, *learned: torch.Tensor) -> None:
        tracked = [a.clone().requires_grad_() for a in (x, *learned)]
        calls = tuple(of(f, *tracked) for f in pair)
        found[name, PASSES[0]] = tuple(of(f, x, *learned) for f in pair)
        found[name, PASSES[1]] = calls
        found[name, PASSES[2]] = tuple(
            both_passes(c, tracked[0], g.reshape(x.shape), *tracked[1:]) for c in calls
        )

    for name, pair in PAIRS.items():
        add(name, pair, plain)
    for name, pair in VJPS.items():
        found[name, "untracked"] = tuple(of(f, plain, g) for f in pair)
    add("PReLU", (prelu, functional.prelu), plain.reshape(1, CHANNELS, -1), SLOPES.to(dtype))
    if n >= 1 << 10:
        images = plain.reshape(-1, CHANNELS, 8, 8).to(memory_format=torch.channels_last)
        add("relu, channels last", PAIRS["relu"], images)
    return found


def compiled(activation: Activation, w: torch.Tensor) -> Call:
    """Give a compiled forward and backward pass."""
    x = torch.randn(LAYER, requires_grad=True)

    def layer(x: torch.Tensor) -> torch.Tensor:
        return activation(x * 1.5) @ w

    # A code object of its own: torch caches compiled code by it, and searches that at each call.
    layer.__code__ = layer.__code__.replace()
    layer = torch.compile(layer, fullgraph=True)

    def call() -> None:
        x.grad = None
        layer(x).sum().backward()

    return call


def main() -> None:
    """Time every pair of calls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled passes")
    options = parser.parse_args()
    console, most = Console(width=100), torch.get_num_threads()
    found: dict[str, dict[str, float]] = {}
    for dtype, threads in dict.fromkeys(
        [(torch.float32, 1), (torch.bfloat16, 1), (torch.float32, most)]
    ):
        torch.set_num_threads(threads)
        kind = f"{str(dtype).removeprefix('torch.')}, threads: {threads}"
        title = f"PyTorch {torch.__version__}, {kind}; time over torch's own"
        table = Table("call", "pass", *SIZES, title=title)
        shown: dict[tuple[str, str], dict[str, str]] = {}
        for size, n in track(SIZES.items(), description=kind, console=Console(stderr=True)):
            for (name, each), pair in rows(n, dtype).items():
                result = ratio(*pair, options.rounds, SAMPLE)
                found.setdefault(each, {})[f"{name}, {size}, {kind}"] = result
                shown.setdefault((name, each), {})[size] = f"{result:.2f}"
        for row, cells in shown.items():
            table.add_row(*row, *(cells.get(size, "") for size in SIZES))
        console.print(table)
    torch.set_num_threads(1)
    w = torch.randn(LAYER[1], LAYER[1])
    for name, pair in () if options.no_compile else PAIRS.items():
        layers = [compiled(activation, w) for activation in pair]
        result = ratio(*layers, 2 * options.rounds, SAMPLE)
        found.setdefault("compiled layer, both", {})[name] = result
    for each, ratios in found.items():
        (least, best), *_, (most, worst) = sorted((ratio, name) for name, ratio in ratios.items())
        console.print(f"{each}: worst {most:.2f} ({worst}), best {least:.2f} ({best})")


if __name__ == "__main__":
    main()
