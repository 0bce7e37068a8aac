"""Train a network of handwritten digits in JAX, data-parallel, with our relu and with jax.nn's.

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
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from _digits import batches, digits, results, weights
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from rich.console import Console
    from rich.progress import track

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[demo]"'
    sys.exit(f"This example needs {error.name}: {how}")

BATCH, WIDTH, RATE = 256, 512, 0.1
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "jax.nn.relu": jax.nn.relu,
    "relu_xp.relu, 0 at 0": functools.partial(relu_xp.relu, grad_at_zero=0.0),
    "relu_xp.relu": relu_xp.relu,
    "relu_xp.leaky_relu": relu_xp.leaky_relu,
}
Params = list[tuple[jax.Array, jax.Array]]


def initial() -> Params:
    """Draw the weights of two hidden layers; the biases are zeros."""
    drawn = weights(np.random.default_rng(0), WIDTH)
    return [(jnp.asarray(w), jnp.zeros(w.shape[1], jnp.float32)) for w in drawn]


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
    spread = {"split": PartitionSpec("batch"), "everywhere": PartitionSpec()}
    placed = {name: NamedSharding(mesh, spec) for name, spec in spread.items()}

    train_x, test_x, train_y, test_y = digits()
    order = np.random.default_rng(1)
    steps = {name: step_with(activation) for name, activation in ACTIVATIONS.items()}
    params = {name: jax.device_put(initial(), placed["everywhere"]) for name in ACTIVATIONS}
    losses: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    seconds: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    console = Console()
    told = f"training on {len(mesh.devices)} devices"
    for epoch in track(range(options.epochs), description=told, console=console):
        for batch in batches(order, len(train_x), BATCH):
            given = train_x[batch], train_y[batch].astype(np.int32)
            x, y = jax.device_put(given, placed["split"])
            for name, step in steps.items():
                begin = time.perf_counter()
                params[name], loss = jax.block_until_ready(step(params[name], x, y))
                if epoch or options.epochs == 1:  # the first epoch compiles
                    seconds[name].append(time.perf_counter() - begin)
                losses[name].append(float(loss))

    accuracies = {
        name: float((logits(activation, params[name], test_x).argmax(1) == test_y).mean())
        for name, activation in ACTIVATIONS.items()
    }
    told = f"{options.epochs} epochs on {len(mesh.devices)} devices of {jax.devices()[0].platform}"
    table, records = results(told, "jax.nn.relu", losses, accuracies, seconds)
    console.print(table)
    same = losses["relu_xp.relu, 0 at 0"] == losses["jax.nn.relu"]
    told = "equal to the bit" if same else "NOT equal"
    console.print("Losses of jax.nn.relu and of relu with 0 at 0:", told)
    if options.json:
        with Path(options.json).open("x", encoding="utf-8") as file:
            file.write(json.dumps(records) + "\n")


if __name__ == "__main__":
    main()
