"""Train a network of handwritten digits with three derivatives of relu at zero, to compare them.

    python3 -m pip install ".[demo]"    # once, in the project's folder
    python examples/subgradient_study.py [--epochs 10] [--seeds 3]

For float32 and float16, and for grad_at_zero 0, 0.5 and 1: how often a unit stands exactly at zero,
at which step the weights first differ from those of grad_at_zero=0, by how much in the end, and the
accuracy. Everything is stored in the dtype named, and matrix products add up in it, a few terms at
a time. It writes no file.
"""

import argparse
import sys
import zlib
from typing import Any, NamedTuple

try:
    import numpy as np
    from _digits import batches, digits, weights
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[demo]"'
    sys.exit(f"This example needs {error.name}: {how}")

BATCH, WIDTH, RATE = 64, 64, 0.1
TERMS = 16  # of a matrix product are added in float32, before the sum is rounded to the dtype
DTYPES = (np.float32, np.float16)
CHOICES = (0.0, 0.5, 1.0)
Array = Any


class Run(NamedTuple):
    """One training."""

    steps: list[int]  # a digest of the weights after each step
    weights: Array  # in the end
    zeros: int  # inputs of relu that were exactly zero
    seen: int  # all inputs of relu
    accuracy: float


def product(a: Array, b: Array) -> Array:
    """Multiply matrices; round partial sums to their dtype, so that some cancel to exact zeros."""
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    total = np.zeros((len(a), b.shape[1]), a.dtype)
    for start in range(0, len(b), TERMS):
        some = slice(start, start + TERMS)
        total += (a32[:, some] @ b32[some]).astype(a.dtype)
    return total


def train(data: tuple[Array, ...], dtype: Any, z: float, seed: int, epochs: int) -> Run:
    """Descend the cross-entropy of a network with two hidden layers, the backward pass by hand."""
    train_x, test_x, train_y, test_y = data
    x, onehot = train_x.astype(dtype), np.eye(10, dtype=dtype)[train_y]
    rng = np.random.default_rng(seed)
    ws = weights(rng, WIDTH, dtype)
    steps, zeros, seen = [], 0, 0
    for _ in range(epochs):
        for batch in batches(rng, len(x), BATCH):
            inputs, before = [x[batch]], []
            for w in ws:
                before.append(product(inputs[-1], w))
                inputs.append(relu_xp.relu(before[-1]))
            logits = before[-1].astype(np.float32)
            share = np.exp(logits - logits.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
            cotangent = ((share - onehot[batch]) / BATCH).astype(dtype)
            for layer in reversed(range(len(ws))):
                slope = product(inputs[layer].T, cotangent)
                if layer:
                    at, back = before[layer - 1], product(cotangent, ws[layer].T)
                    cotangent = relu_xp.relu_vjp(at, back, grad_at_zero=z)
                    zeros, seen = zeros + int((at == 0).sum()), seen + at.size
                ws[layer] -= dtype(RATE) * slope
            steps.append(zlib.crc32(b"".join(w.tobytes() for w in ws)))
    hidden = test_x.astype(dtype)
    for w in ws[:-1]:
        hidden = relu_xp.relu(product(hidden, w))
    accuracy = float((product(hidden, ws[-1]).argmax(1) == test_y).mean())
    last = np.concatenate([w.ravel() for w in ws]).astype(np.float64)
    return Run(steps, last, zeros, seen, accuracy)


def parts_at(own: Run, base: Run) -> int:
    """Give the first step after which the weights of two trainings differ, or 0."""
    pairs = enumerate(zip(own.steps, base.steps, strict=True), 1)
    return next((i for i, (a, b) in pairs if a != b), 0)


def row(z: float, pairs: list[tuple[Run, Run]], first: list[int]) -> list[str]:
    """Tell how often a unit stands at zero, and how the trainings differ from those with z = 0."""
    zeros = 1e6 * sum(own.zeros for own, _ in pairs) / sum(own.seen for own, _ in pairs)
    steps = ", ".join(f"{step}" if step else "never" for step in first)
    most = max(float(np.abs(own.weights - base.weights).max()) for own, base in pairs)
    told = [steps, f"{most:.1g}"] if z else ["", ""]
    return [f"{z:g}", f"{zeros:.0f}", *told, " ".join(f"{own.accuracy:.3f}" for own, _ in pairs)]


def main() -> None:
    """Train with each dtype, choice and seed, and print a table and what it shows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data, seeds = digits(), range(options.seeds)
    table = Table(title=f"{options.epochs} epochs, {options.seeds} seeds")
    for heading in ("dtype", "z", "zeros / 1e6", "parts at step", "by at most", "accuracy"):
        table.add_column(heading, justify="left" if heading == "dtype" else "right")
    console = Console()
    everything = [(dtype, z, seed) for dtype in DTYPES for z in CHOICES for seed in seeds]
    runs: dict[Any, Run] = {}
    for dtype, z, seed in track(everything, description="training", console=console):
        runs[dtype, z, seed] = train(data, dtype, z, seed, options.epochs)
    conclusions = []
    for dtype in DTYPES:
        parted = 0
        for z in CHOICES:
            pairs = [(runs[dtype, z, seed], runs[dtype, 0.0, seed]) for seed in seeds]
            first = [parts_at(*pair) for pair in pairs]
            parted += sum(map(bool, first))
            table.add_row(dtype.__name__, *row(z, pairs, first))
        of = f"{parted} of {2 * options.seeds} trainings part from those with z = 0."
        conclusions.append(f"{dtype.__name__}: {of}")
    console.print(table, *conclusions, sep="\n")


if __name__ == "__main__":
    main()
