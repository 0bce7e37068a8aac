"""Train a network of handwritten digits in PyTorch, with our relu and with torch's own side by side.

    python3 -m pip install ".[torch,demo]"    # once, in the project's folder
    python examples/digits_torch.py [--epochs 10]

With grad_at_zero=0.0, the convention of torch.relu, the losses must be equal to the bit. The
contestants take turns, step by step, and the median of the ratios of their times is shown. It
writes no file.
"""

import argparse
import functools
import operator
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import relu_xp

BATCH, WIDTH, RATE, MOMENTUM = 256, 512, 0.05, 0.9
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch.relu": torch.relu,
    "relu_xp.relu, 0 at 0": functools.partial(relu_xp.relu, grad_at_zero=0.0),
    "relu_xp.relu": relu_xp.relu,
    "relu_xp.leaky_relu": relu_xp.leaky_relu,
}


class Network(torch.nn.Module):
    """Two hidden layers."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.activation = activation
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(m, n) for m, n in ((64, WIDTH), (WIDTH, WIDTH), (WIDTH, 10))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def step(
    network: Network, optimiser: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> float:
    """Descend the gradient of the cross-entropy; give the loss."""
    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(x), y)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def main() -> None:
    """Train, and print losses, accuracy and the cost of a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    images, labels = load_digits(return_X_y=True)
    split = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=360, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = map(torch.from_numpy, split)
    networks = {name: Network(activation) for name, activation in ACTIVATIONS.items()}
    optimisers = {
        name: torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
        for name, network in networks.items()
    }
    losses: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    seconds: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    console, order = Console(), np.random.default_rng(1)
    for _ in track(range(options.epochs), description="training", console=console):
        shuffled = torch.from_numpy(order.permutation(len(train_x)))
        for batch in shuffled.split(BATCH)[:-1]:
            for name in ACTIVATIONS:
                begin = time.perf_counter()
                losses[name].append(
                    step(networks[name], optimisers[name], train_x[batch], train_y[batch])
                )
                seconds[name].append(time.perf_counter() - begin)

    table = Table(title=f"{options.epochs} epochs")
    for heading in ("activation", "first loss", "last loss", "accuracy", "a step", "/ torch's"):
        table.add_column(heading, justify="left" if heading == "activation" else "right")
    per_epoch = len(train_x) // BATCH
    base = seconds["torch.relu"][per_epoch:]  # the first epoch sets up
    for name, network in networks.items():
        with torch.no_grad():
            accuracy = float((network(test_x).argmax(1) == test_y).float().mean())
        costs = seconds[name][per_epoch:]
        ratio = statistics.median(map(operator.truediv, costs, base))
        row = [f"{losses[name][0]:.4f}", f"{losses[name][-1]:.4f}", f"{accuracy:.3f}"]
        table.add_row(name, *row, f"{statistics.median(costs) * 1e3:.2f} ms", f"{ratio:.3f}")
    console.print(table)
    same = losses["relu_xp.relu, 0 at 0"] == losses["torch.relu"]
    console.print(
        "Losses of torch.relu and of relu with 0 at 0:", "equal to the bit" if same else "NOT equal"
    )


if __name__ == "__main__":
    main()
