"""Times calls in TensorFlow against TensorFlow's own: `python benchmarks/in_tensorflow.py`.

All take turns in one process, and a cell shows our time over theirs, of medians: eager; under a
gradient tape, forward and backward; and both within a `tf.function`, without XLA. Their VJP is the
operation of TensorFlow's own gradient. Where TensorFlow has no such function, theirs is what its
users write. 1000 elements do not fill the last vector register.
"""

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

import relu_xp
from relu_xp.bench._measuring import ratio

SIZES = {"2^4": 1 << 4, "1000": 1000, "2^20": 1 << 20}
Call = Callable[..., Any]
raw, of = tf.raw_ops, functools.partial


def first(f: Call, *others: Any, **scalars: Any) -> Call:
    """Give a function of x and another array that needs only x."""
    return lambda x, other: f(x, *others, **scalars)


# Ours and theirs, as functions of x and of another array, which is a cotangent or a slope.
PAIRS: dict[str, tuple[Call, Call]] = {
    "relu": (first(relu_xp.relu), first(tf.nn.relu)),
    "relu, 0 at 0": (first(relu_xp.relu, grad_at_zero=0.0), first(tf.nn.relu)),
    "leaky_relu": (first(relu_xp.leaky_relu), first(tf.nn.leaky_relu, 0.01)),
    "leaky_relu, 0.2": (first(relu_xp.leaky_relu, 0.2), first(tf.nn.leaky_relu, 0.2)),
    "leaky_relu, slope at 0": (
        first(relu_xp.leaky_relu, 0.2, grad_at_zero=0.2),
        first(tf.nn.leaky_relu, 0.2),
    ),
    "clipped_relu": (first(relu_xp.clipped_relu), first(tf.nn.relu6)),
    "squared_relu": (first(relu_xp.squared_relu), first(lambda x: tf.square(tf.nn.relu(x)))),
    # Keras' own.
    "PReLU": (relu_xp.leaky_relu, lambda x, slopes: tf.nn.relu(x) - slopes * tf.nn.relu(-x)),
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


WAYS: dict[str, Callable[[Call], Call]] = {
    "eager": lambda f: f,
    "tape": lambda f: of(taped, f),
    "function": lambda f: tf.function(f, autograph=False),
    "tape in a function": lambda f: tf.function(of(taped, f), autograph=False),
}


def main() -> None:
    """Time every pair in every way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=101)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    console = Console(width=190)
    title = f"TensorFlow {tf.__version__}, float32, one thread; time over TensorFlow's own"
    table = Table("call", *(f"{way}, {size}" for way in WAYS for size in SIZES), title=title)
    for name, pair in track(PAIRS.items(), description="measuring", console=Console(stderr=True)):
        cells = []
        for way in WAYS.values():
            made = [way(f) for f in pair]
            for n in SIZES.values():
                arrays = [tf.random.normal([n], seed=seed) for seed in (1, 2)]
                calls = (of(f, *arrays) for f in made)
                cells.append(f"{ratio(*calls, options.rounds):.2f}")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
