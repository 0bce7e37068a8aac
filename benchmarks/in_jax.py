"""What a call costs in JAX, eagerly and in a training step, against jax.nn: `python benchmarks/in_jax.py`.

Contestants take turns in one process and medians are compared. The training step is that of `examples/digits_jax.py`.
"""

import statistics
import subprocess
import sys
import timeit
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import relu_xp

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_jax.py"
SIZE, CALLS, ROUNDS = 16, 1000, 30


def main() -> None:
    """Time eager calls, then the example's steps."""
    x = jnp.linspace(-1, 1, SIZE, dtype=jnp.float32)
    calls = {
        "relu(x)": (lambda: relu_xp.relu(x), lambda: jax.nn.relu(x)),
        "leaky_relu(x)": (lambda: relu_xp.leaky_relu(x), lambda: jax.nn.leaky_relu(x)),
        "leaky_relu(x, 0.2)": (lambda: relu_xp.leaky_relu(x, 0.2), lambda: jax.nn.leaky_relu(x, 0.2)),
    }
    table = Table(title=f"an eager call, {SIZE} float32 on {x.device}, JAX {jax.__version__}")
    for heading in ("call", "relu_xp", "jax.nn", "ratio"):
        table.add_column(heading, justify="left" if heading == "call" else "right")
    for name, pair in calls.items():
        for call in pair:
            call().block_until_ready()
        rounds = [[timeit.timeit(call, number=CALLS) / CALLS for call in pair] for _ in range(ROUNDS)]
        ours, theirs = map(statistics.median, zip(*rounds, strict=True))
        table.add_row(name, f"{ours * 1e6:.2f} µs", f"{theirs * 1e6:.2f} µs", f"{ours / theirs:.3f}")
    Console().print(table)
    subprocess.run([sys.executable, EXAMPLE, "--epochs", "40"], check=True)


if __name__ == "__main__":
    main()
