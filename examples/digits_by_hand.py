"""Train a network of handwritten digits without autodiff: the backward pass by hand, with our VJPs.

    python3 -m pip install ".[demo]"    # once, in the project's folder
    python examples/digits_by_hand.py [--arrays cupy] [--activation leaky_relu] [--epochs 20]

The same lines run on NumPy arrays and on CuPy's: relu_xp finds the backend of the array. The
example writes no file.
"""

import argparse
import importlib
import sys
import time
from typing import Any

try:
    import numpy as np
    from _digits import digits, weights
    from rich.console import Console
    from rich.progress import track

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[demo]"'
    sys.exit(f"This example needs {error.name}: {how}")

BATCH, WIDTH, RATE = 64, 128, 0.1
Array = Any
Params = list[tuple[Array, Array]]


def forward(activation: Any, params: Params, x: Array) -> tuple[list[Array], list[Array], Array]:
    """Give the input of each layer, the input of each activation, and the logits."""
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
    try:
        xp = importlib.import_module(options.arrays)
    except ImportError:
        parser.error("CuPy is not installed; python3 -m pip install cupy-cuda13x")
    activation, vjp = (getattr(relu_xp, options.activation + end) for end in ("", "_vjp"))

    train_x, test_x, train_y, test_y = digits()
    x, onehot = (xp.asarray(a) for a in (train_x, np.eye(10, dtype=np.float32)[train_y]))
    rng = np.random.default_rng(0)
    params = [(xp.asarray(w), xp.zeros(w.shape[1], np.float32)) for w in weights(rng, WIDTH)]
    console, losses, begin = Console(), [], time.perf_counter()
    told = f"{options.activation} on {options.arrays}"
    for _ in track(range(options.epochs), description=told, console=console):
        order = xp.asarray(rng.permutation(len(x)))
        batches = [order[i : i + BATCH] for i in range(0, len(x), BATCH)]
        steps = [step(xp, activation, vjp, params, x[batch], onehot[batch]) for batch in batches]
        losses.append(float(np.mean(steps)))
    seconds = time.perf_counter() - begin
    answers = forward(activation, params, xp.asarray(test_x))[2].argmax(axis=1)
    accuracy = float((answers == xp.asarray(test_y)).mean())
    loss = f"{losses[0]:.4f} -> {losses[-1]:.4f}"
    console.print(f"loss {loss}, accuracy {accuracy:.3f}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
