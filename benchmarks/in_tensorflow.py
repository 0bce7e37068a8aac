"""What a call costs in TensorFlow against TensorFlow's own: `python benchmarks/in_tensorflow.py`.

Contestants take turns in one process, and what is shown is ours over theirs, of medians: eagerly;
under a gradient tape, forward and backward; and both within a `tf.function`, without XLA. Their VJP
is the operation that TensorFlow's own gradient consists of; where TensorFlow has no such function,
theirs is what its users write. 1000 elements do not fill the processor's registers.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp

SIZES = {"2^4": 1 << 4, "1000": 1000, "2^20": 1 << 20}
WAYS = ("eager", "tape", "function", "tape in a function")
Call = Callable[..., Any]
raw = tf.raw_ops


def prelu(x: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
    """Compute what Keras' PReLU does."""
    return tf.nn.relu(x) - slopes * tf.nn.relu(-x)


# Ours and theirs, as functions of x and of another array, which is a cotangent or a slope.
PAIRS: dict[str, tuple[Call, Call]] = {
    "relu": (lambda x, _: relu_xp.relu(x), lambda x, _: tf.nn.relu(x)),
    "relu, 0 at 0": (lambda x, _: relu_xp.relu(x, grad_at_zero=0.0), lambda x, _: tf.nn.relu(x)),
    "leaky_relu": (lambda x, _: relu_xp.leaky_relu(x), lambda x, _: tf.nn.leaky_relu(x, 0.01)),
    "leaky_relu, 0.2": (
        lambda x, _: relu_xp.leaky_relu(x, 0.2),
        lambda x, _: tf.nn.leaky_relu(x, 0.2),
    ),
    "leaky_relu, slope at 0": (
        lambda x, _: relu_xp.leaky_relu(x, 0.2, grad_at_zero=0.2),
        lambda x, _: tf.nn.leaky_relu(x, 0.2),
    ),
    "clipped_relu": (lambda x, _: relu_xp.clipped_relu(x), lambda x, _: tf.nn.relu6(x)),
    "squared_relu": (lambda x, _: relu_xp.squared_relu(x), lambda x, _: tf.square(tf.nn.relu(x))),
    "PReLU": (relu_xp.leaky_relu, prelu),
    "relu_vjp": (relu_xp.relu_vjp, lambda x, g: raw.ReluGrad(gradients=g, features=x)),
    "leaky_relu_vjp": (
        relu_xp.leaky_relu_vjp,
        lambda x, g: raw.LeakyReluGrad(gradients=g, features=x, alpha=0.01),
    ),
}


def taped(f: Call, x: tf.Tensor, other: tf.Tensor) -> Any:
    """Run forward and backward."""
    with tf.GradientTape() as tape:
        tape.watch((x, other))
        y = f(x, other)
    return tape.gradient(y, (x, other))


def ways(f: Call) -> dict[str, Call]:
    """Give what is timed of a function, in the order of WAYS."""
    tape = functools.partial(taped, f)
    graphs = [tf.function(each, autograph=False) for each in (f, tape)]
    return dict(zip(WAYS, (f, tape, *graphs), strict=True))


def ratio(ours: Call, theirs: Call, arrays: tuple[tf.Tensor, ...], rounds: int) -> float:
    """Time the two in turns."""
    repeats = 1 if arrays[0].shape[0] > 1 << 16 else 10  # short, so that few are interrupted
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, samples in zip((ours, theirs), seconds, strict=True):
            call(*arrays)
            begin = time.perf_counter()
            for _ in range(repeats):
                call(*arrays)
            samples.append(time.perf_counter() - begin)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def main() -> None:
    """Time every pair in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=101)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    console = Console()
    title = f"TensorFlow {tf.__version__}, float32, one thread; time over TensorFlow's own"
    table = Table("call", *(f"{way}, {size}" for way in WAYS for size in SIZES), title=title)
    for name, (ours, theirs) in track(PAIRS.items(), description="measuring", console=console):
        cells = []
        pairs = [*zip(ways(ours).values(), ways(theirs).values(), strict=True)]
        for pair in pairs:
            for n in SIZES.values():
                arrays = tuple(tf.random.normal([n], seed=seed) for seed in (1, 2))
                cells.append(f"{ratio(*pair, arrays, options.rounds):.2f}")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
