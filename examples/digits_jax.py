"""Train a network of handwritten digits in JAX, data-parallel, with our relu and with jax.nn's side by side.

    python3 -m pip install ".[demo]"    # once, in the project's folder
    python examples/digits_jax.py [--devices 8] [--epochs 10] [--json FILE]

Each batch is split over the devices of the machine (on a CPU over virtual ones) and the gradients
are summed by XLA. With grad_at_zero=0.0, the convention of jax.nn.relu, the losses must be equal to
the bit, and a step must cost as much: they take turns, step by step, and the median of the ratios
is shown. FILE must not be there yet.
"""

import argparse
import functools
import json
import operator
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import relu_xp

BATCH, WIDTH, RATE = 256, 512, 0.1
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "jax.nn.relu": jax.nn.relu,
    "relu_xp.relu, 0 at 0": functools.partial(relu_xp.relu, grad_at_zero=0.0),
    "relu_xp.relu": relu_xp.relu,
    "relu_xp.leaky_relu": relu_xp.leaky_relu,
}
Params = list[tuple[jax.Array, jax.Array]]


def initial() -> Params:
    """Weights of He's normal initialisation for two hidden layers, and zeros for the biases."""
    rng = np.random.default_rng(0)
    shapes = [(64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10)]
    return [
        (jnp.asarray(rng.normal(0, np.sqrt(2 / m), (m, n)), jnp.float32), jnp.zeros(n, jnp.float32))
        for m, n in shapes
    ]


def logits(activation: Callable[..., Any], params: Params, x: jax.Array) -> jax.Array:
    """Run the network."""
    *hidden, (w, b) = params
    for v, c in hidden:
        x = activation(x @ v + c)
    return x @ w + b


def step_with(activation: Callable[..., Any]) -> Callable[..., Any]:
    """Compile one step of gradient descent."""

    def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        chosen = jnp.take_along_axis(
            jax.nn.log_softmax(logits(activation, params, x)), y[:, None], axis=1
        )
        return -chosen.mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(params: Params, x: jax.Array, y: jax.Array) -> tuple[Params, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        return jax.tree.map(lambda p, d: p - RATE * d, params, gradient), value

    return step


def main() -> None:
    """Train, print losses, accuracy and the cost of a step, and write them down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--devices", type=int, default=8, help="virtual devices, where JAX runs on the CPU"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.json and Path(options.json).exists():
        parser.error(f"{options.json} is there: it would be overwritten")
    jax.config.update("jax_num_cpu_devices", options.devices)
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    split, everywhere = (
        NamedSharding(mesh, PartitionSpec("batch")),
        NamedSharding(mesh, PartitionSpec()),
    )

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        (images / 16).astype(np.float32),
        labels.astype(np.int32),
        test_size=360,
        random_state=0,
        stratify=labels,
    )
    order = np.random.default_rng(1)
    steps = {name: step_with(activation) for name, activation in ACTIVATIONS.items()}
    params = {name: jax.device_put(initial(), everywhere) for name in ACTIVATIONS}
    losses: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    seconds: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    console = Console()
    for _ in track(
        range(options.epochs),
        description=f"training on {len(mesh.devices)} devices",
        console=console,
    ):
        shuffled = order.permutation(len(train_x))
        for start in range(0, len(train_x) - BATCH + 1, BATCH):
            batch = shuffled[start : start + BATCH]
            x, y = jax.device_put((train_x[batch], train_y[batch]), split)
            for name, step in steps.items():
                begin = time.perf_counter()
                params[name], loss = jax.block_until_ready(step(params[name], x, y))
                seconds[name].append(time.perf_counter() - begin)
                losses[name].append(float(loss))

    table = Table(
        title=f"{options.epochs} epochs on {len(mesh.devices)} devices of {jax.devices()[0].platform}"
    )
    for heading in ("activation", "first loss", "last loss", "accuracy", "a step", "/ jax.nn"):
        table.add_column(heading, justify="left" if heading == "activation" else "right")
    records = {}
    per_epoch = len(train_x) // BATCH
    base = seconds["jax.nn.relu"][per_epoch:]  # the first epoch compiles
    for name, activation in ACTIVATIONS.items():
        accuracy = float((logits(activation, params[name], test_x).argmax(1) == test_y).mean())
        costs = seconds[name][per_epoch:]
        cost, ratio = (
            statistics.median(costs),
            statistics.median(map(operator.truediv, costs, base)),
        )
        records[name] = {
            "losses": losses[name],
            "accuracy": accuracy,
            "seconds": cost,
            "ratio": ratio,
        }
        table.add_row(
            name,
            f"{losses[name][0]:.4f}",
            f"{losses[name][-1]:.4f}",
            f"{accuracy:.3f}",
            f"{cost * 1e3:.2f} ms",
            f"{ratio:.3f}",
        )
    console.print(table)
    same = losses["relu_xp.relu, 0 at 0"] == losses["jax.nn.relu"]
    console.print(
        "Losses of jax.nn.relu and of relu with 0 at 0:",
        "equal to the bit" if same else "NOT equal",
    )
    if options.json:
        with Path(options.json).open("x", encoding="utf-8") as file:
            file.write(json.dumps(records) + "\n")


if __name__ == "__main__":
    main()
