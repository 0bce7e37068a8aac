"""Train a network of handwritten digits with three derivatives of relu at zero, to see where the choice matters.

    python3 -m pip install ".[demo]"    # once, in the project's folder
    python examples/subgradient_study.py [--epochs 10] [--seeds 3]

For float32 and float16, and for grad_at_zero 0, 0.5 and 1: how often a unit stands exactly at zero,
at which step the weights first differ from those of grad_at_zero=0, by how much in the end, and the
accuracy. Everything is stored in the dtype named, and matrix products add up in it, a few terms at
a time. It writes no file.
"""

import argparse
import zlib
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import relu_xp

BATCH, WIDTH, RATE = 64, 64, 0.1
TERMS = 16  # of a matrix product that are added up in float32 before they are rounded to the dtype
DTYPES = (np.float32, np.float16)
CHOICES = (0.0, 0.5, 1.0)
Array = Any


class Run(NamedTuple):
    """One training: a digest of the weights after each step, the last weights, zeros met, and the accuracy."""

    steps: list[int]
    weights: Array
    zeros: int
    seen: int
    accuracy: float


def product(a: Array, b: Array) -> Array:
    """Multiply two matrices; partial sums are rounded to their dtype, where sums that cancel leave exact zeros."""
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    total = np.zeros((len(a), b.shape[1]), a.dtype)
    for start in range(0, len(b), TERMS):
        some = slice(start, start + TERMS)
        total += (a32[:, some] @ b32[some]).astype(a.dtype)
    return total


def train(digits: tuple[Array, ...], dtype: Any, z: float, seed: int, epochs: int) -> Run:
    """Descend the cross-entropy of a network with two hidden layers, the backward pass by hand."""
    train_x, test_x, train_y, test_y = digits
    x, onehot = train_x.astype(dtype), np.eye(10, dtype=dtype)[train_y]
    rng = np.random.default_rng(seed)
    shapes = [(64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)]
    weights = [rng.normal(0, np.sqrt(2 / m), (m, n)).astype(dtype) for m, n in shapes]
    steps, zeros, seen = [], 0, 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for batch in np.split(order[: len(x) // BATCH * BATCH], len(x) // BATCH):
            inputs, before = [x[batch]], []
            for w in weights:
                before.append(product(inputs[-1], w))
                inputs.append(relu_xp.relu(before[-1]))
            logits = before[-1].astype(np.float32)
            share = np.exp(logits - logits.max(1, keepdims=True))
            cotangent = ((share / share.sum(1, keepdims=True) - onehot[batch]) / BATCH).astype(
                dtype
            )
            for layer in reversed(range(len(weights))):
                slope = product(inputs[layer].T, cotangent)
                if layer:
                    at = before[layer - 1]
                    cotangent = relu_xp.relu_vjp(
                        at, product(cotangent, weights[layer].T), grad_at_zero=z
                    )
                    zeros, seen = zeros + int((at == 0).sum()), seen + at.size
                weights[layer] -= dtype(RATE) * slope
            steps.append(zlib.crc32(b"".join(w.tobytes() for w in weights)))
    hidden = test_x.astype(dtype)
    for w in weights[:-1]:
        hidden = relu_xp.relu(product(hidden, w))
    accuracy = float((product(hidden, weights[-1]).argmax(1) == test_y).mean())
    return Run(
        steps,
        np.concatenate([w.ravel() for w in weights]).astype(np.float64),
        zeros,
        seen,
        accuracy,
    )


def main() -> None:
    """Train with each dtype, choice and seed, and print a table and what it shows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    images, labels = load_digits(return_X_y=True)
    digits = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=360, random_state=0, stratify=labels
    )
    table = Table(title=f"{options.epochs} epochs, {options.seeds} seeds")
    for heading in ("dtype", "z", "zeros / 1e6", "parts at step", "by at most", "accuracy"):
        table.add_column(heading, justify="left" if heading == "dtype" else "right")
    console = Console()
    everything = [
        (dtype, z, seed) for dtype in DTYPES for z in CHOICES for seed in range(options.seeds)
    ]
    runs: dict[Any, Run] = {}
    conclusions = []
    for dtype, z, seed in track(everything, description="training", console=console):
        runs[dtype, z, seed] = train(digits, dtype, z, seed, options.epochs)
    for dtype in DTYPES:
        parted = 0
        for z in CHOICES:
            pairs = [
                (runs[dtype, z, seed], runs[dtype, 0.0, seed]) for seed in range(options.seeds)
            ]
            first = [
                next(
                    (
                        i
                        for i, (a, b) in enumerate(zip(own.steps, base.steps, strict=True), 1)
                        if a != b
                    ),
                    0,
                )
                for own, base in pairs
            ]
            parted += sum(map(bool, first))
            table.add_row(
                dtype.__name__,
                f"{z:g}",
                f"{1e6 * sum(own.zeros for own, _ in pairs) / sum(own.seen for own, _ in pairs):.0f}",
                "" if z == 0 else ", ".join(f"{step}" if step else "never" for step in first),
                ""
                if z == 0
                else f"{max(float(np.abs(own.weights - base.weights).max()) for own, base in pairs):.1g}",
                " ".join(f"{own.accuracy:.3f}" for own, _ in pairs),
            )
        conclusions.append(
            f"{dtype.__name__}: {parted} of {2 * options.seeds} trainings part from those with z = 0."
        )
    console.print(table, *conclusions, sep="\n")


if __name__ == "__main__":
    main()
