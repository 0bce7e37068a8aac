"""Images of digits, first weights and a table of results, for the examples that train on digits."""

import operator
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = Any


def digits() -> tuple[Array, Array, Array, Array]:
    """Give images of 8 x 8 pixels in [0, 1] to train and test on, and the digits they show."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(
        (images / 16).astype(np.float32), labels, test_size=360, random_state=0, stratify=labels
    )


def weights(rng: Any, width: int, dtype: Any = np.float32) -> list[Array]:
    """Draw He's normal initialization for two hidden layers."""
    shapes = [(64, width), (width, width), (width, 10)]
    return [rng.normal(0, np.sqrt(2 / m), (m, n)).astype(dtype) for m, n in shapes]


def batches(rng: Any, count: int, size: int) -> Iterator[Array]:
    """Give the shuffled indices of an epoch, in batches of one size."""
    order = rng.permutation(count)
    yield from np.split(order[: count // size * size], count // size)


def results(
    title: str,
    base: str,
    losses: dict[str, list[float]],
    accuracies: dict[str, float],
    seconds: dict[str, list[float]],
) -> tuple[Table, dict[str, Any]]:
    """Compare activations: their losses, accuracies, and the cost of a step beside the base's."""
    table = Table(title=f"{title}; ratio: time of a step over that with {base}")
    for heading in ("activation", "first loss", "last loss", "accuracy", "a step", "ratio"):
        table.add_column(heading, justify="left" if heading == "activation" else "right")
    records = {}
    for name, accuracy in accuracies.items():
        cost = statistics.median(seconds[name])
        ratio = statistics.median(map(operator.truediv, seconds[name], seconds[base]))
        told = {"losses": losses[name], "accuracy": accuracy, "seconds": cost, "ratio": ratio}
        records[name] = told
        ends = (f"{loss:.4f}" for loss in (losses[name][0], losses[name][-1]))
        table.add_row(name, *ends, f"{accuracy:.3f}", f"{cost * 1e3:.2f} ms", f"{ratio:.3f}")
    return table, records
