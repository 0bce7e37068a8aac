"""Train a small network in JAX and in PyTorch, with a learned slope for each hidden unit.

    python3 -m pip install ".[jax,torch]"    # once, in the project's folder
    python examples/learned_slopes.py [--steps 300]

The network has 2-16-1 units, with leaky_relu between them and one slope for each hidden unit. It
learns which points of a square lie inside a circle, from the same numbers in both libraries. Before
the first step the example compares the gradients of both:

- Numbers of few bits, such as 0.75: no product or sum rounds, so all gradients must be equal to the
  bit.
- Ordinary numbers: matrix products and sums round, and each library adds in its own order, so the
  last places may differ. What relu_xp computes in between is equal to the bit.

Then it trains in both, and prints the losses and the slopes. It writes no file.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[jax,torch]"'
    sys.exit(f"This example needs {error.name}: {how}")

UNITS, BATCH, RATE = 16, 64, 0.1
NAMES = ("weights 1", "biases 1", "slopes", "weights 2", "bias 2")
Array = Any
Params = tuple[Array, ...]  # one for each of NAMES


def loss(params: Params, x: Array, y: Array) -> Array:
    """Give the mean squared error: one text for both libraries."""
    w1, b1, slopes, w2, b2 = params
    hidden = relu_xp.leaky_relu(x @ w1 + b1, slopes)
    return ((hidden @ w2 + b2 - y) ** 2).mean()


with_gradients = jax.jit(jax.value_and_grad(loss))


def jax_gradients(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Give the loss and its gradient in every parameter, by jax.grad."""
    value, gradients = with_gradients(
        tuple(map(jnp.asarray, params)), jnp.asarray(x), jnp.asarray(y)
    )
    return float(value), tuple(map(np.asarray, gradients))


def torch_gradients(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Give the same by torch.autograd."""
    tensors = tuple(torch.tensor(each, requires_grad=True) for each in params)
    value = loss(tensors, torch.from_numpy(x), torch.from_numpy(y))
    return value.item(), tuple(each.numpy() for each in torch.autograd.grad(value, tensors))


def train(
    gradients: Callable[..., tuple[float, Params]], params: Params, x: Array, y: Array, steps: int
) -> Any:
    """Descend the gradient; give the loss of each step, and the slopes in the end."""
    losses = []
    for _ in range(steps):
        value, by = gradients(params, x, y)
        losses.append(value)
        params = tuple(p - np.float32(RATE) * d for p, d in zip(params, by, strict=True))
    return losses, params[2]


def numbers(rng: Any, denominator: int | None) -> tuple[Params, Array, Array]:
    """Draw parameters, points and answers: ordinary float32, or multiples of a fraction."""

    def draw(*shape: int, most: float = 1.0) -> Array:
        if not denominator:
            return (most * rng.uniform(-1, 1, shape)).astype(np.float32)
        whole = rng.integers(-most * denominator, most * denominator + 1, shape)
        return (whole / denominator).astype(np.float32)

    params = draw(2, UNITS), draw(UNITS), np.full(UNITS, 0.25, np.float32), draw(UNITS, 1), draw(1)
    x = draw(BATCH, 2)
    return params, x, ((x**2).sum(1, keepdims=True) < 0.6).astype(np.float32)


def compare(title: str, ours: Params, theirs: Params) -> bool:
    """Print how near each gradient is in both libraries; say whether all are equal to the bit."""
    print(title)
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        apart = abs(a - b).max() / (np.finfo(np.float32).eps * abs(a).max())
        told = (
            "equal to the bit"
            if a.tobytes() == b.tobytes()
            else f"apart by {apart:.1f} units in the last place of the largest"
        )
        print(f"  gradient of {name + ':':11} {told}")
    return all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Compare gradients, train, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    # For GPUs and TPUs: CPUs always compute with the highest precision.
    jax.config.update("jax_default_matmul_precision", "highest")

    exact, ordinary = (numbers(np.random.default_rng(0), bits) for bits in (4, None))
    equal = compare("Numbers of few bits:", jax_gradients(*exact)[1], torch_gradients(*exact)[1])
    print("  all gradients are", "equal to the bit" if equal else "NOT equal to the bit")
    compare("Ordinary numbers:", jax_gradients(*ordinary)[1], torch_gradients(*ordinary)[1])

    print(f"Trained for {options.steps} steps:")
    for library, gradients in (("JAX", jax_gradients), ("PyTorch", torch_gradients)):
        losses, slopes = train(gradients, *ordinary, options.steps)
        loss = f"{losses[0]:.4f} -> {losses[-1]:.4f}"
        print(f"  {library}: loss {loss}, slopes {slopes.min():.3f} to {slopes.max():.3f}")


if __name__ == "__main__":
    main()
