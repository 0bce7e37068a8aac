"""Train a network of handwritten digits without autodiff: the backward pass by hand, with our VJPs.

    python3 -m pip install ".[demo]"    # once, in the project's folder
    python examples/digits_by_hand.py [--arrays cupy] [--activation leaky_relu] [--epochs 20]

The same lines run on NumPy arrays and on CuPy's: the array's own library does the rest, ours finds
the backend. It writes no file.
"""

import argparse
import importlib
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import relu_xp

BATCH, WIDTH, RATE = 64, 128, 0.1
Array = Any
Params = list[tuple[Array, Array]]


def forward(activation: Any, params: Params, x: Array) -> tuple[list[Array], list[Array], Array]:
    """Give the input of each layer, what each activation saw, and the logits."""
    inputs, seen = [x], []
    *hidden, (w, b) = params
    for v, c in hidden:
        seen.append(inputs[-1] @ v + c)
        inputs.append(activation(seen[-1]))
    return inputs, seen, inputs[-1] @ w + b


def step(xp: Any, activation: Any, vjp: Any, params: Params, x: Array, onehot: Array) -> float:
    """Descend the gradient of the cross-entropy, in place; give the loss."""
    inputs, seen, logits = forward(activation, params, x)
    logits -= logits.max(axis=1, keepdims=True)
    share = xp.exp(logits)
    share /= share.sum(axis=1, keepdims=True)
    loss = -xp.log((share * onehot).sum(axis=1)).mean()
    cotangent = (share - onehot) / len(x)
    for layer in reversed(range(len(params))):
        w, b = params[layer]
        dw, db = inputs[layer].T @ cotangent, cotangent.sum(axis=0)
        if layer:
            cotangent = vjp(seen[layer - 1], cotangent @ w.T)
        w -= RATE * dw
        b -= RATE * db
    return float(loss)


def main() -> None:
    """Train and print the loss, the accuracy and the time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arrays", choices=["numpy", "cupy"], default="numpy")
    parser.add_argument("--activation", choices=["relu", "leaky_relu"], default="leaky_relu")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    xp = importlib.import_module(options.arrays)
    activation, vjp = (
        getattr(relu_xp, options.activation),
        getattr(relu_xp, f"{options.activation}_vjp"),
    )

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=360, random_state=0, stratify=labels
    )
    x, onehot, held_out = (
        xp.asarray(a) for a in (train_x, np.eye(10, dtype=np.float32)[train_y], test_x)
    )
    rng = np.random.default_rng(0)
    shapes = [(64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)]
    params: Params = [
        (
            xp.asarray(rng.normal(0, np.sqrt(2 / m), (m, n)).astype(np.float32)),
            xp.zeros(n, np.float32),
        )
        for m, n in shapes
    ]
    console, losses, begin = Console(), [], time.perf_counter()
    for _ in track(
        range(options.epochs),
        description=f"{options.activation} on {options.arrays}",
        console=console,
    ):
        order = xp.asarray(rng.permutation(len(x)))
        batches = [order[i : i + BATCH] for i in range(0, len(x), BATCH)]
        losses.append(
            float(
                np.mean(
                    [
                        step(xp, activation, vjp, params, x[batch], onehot[batch])
                        for batch in batches
                    ]
                )
            )
        )
    seconds = time.perf_counter() - begin
    answers = forward(activation, params, held_out)[2].argmax(axis=1)
    accuracy = float((answers == xp.asarray(test_y)).mean())
    console.print(
        f"loss {losses[0]:.4f} -> {losses[-1]:.4f}, accuracy {accuracy:.3f}, {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
