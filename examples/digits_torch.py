"""Train a network of handwritten digits in PyTorch, with our relu and with torch's own.

    python3 -m pip install ".[torch,demo]"    # once, in the project's folder
    python examples/digits_torch.py [--epochs 10]

With grad_at_zero=0.0, the convention of torch.relu, the losses must be equal to the bit. The
contestants take turns, step by step, and the median of the ratios of their times is shown. It
writes no file.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable

try:
    import numpy as np
    import torch
    from _digits import batches, digits, results
    from rich.console import Console
    from rich.progress import track

    import relu_xp
except ImportError as error:
    how = 'in the project\'s folder run python3 -m pip install ".[torch,demo]"'
    sys.exit(f"This example needs {error.name}: {how}")

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
    network: Network, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> float:
    """Descend the gradient of the cross-entropy; give the loss."""
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(x), y)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def main() -> None:
    """Train, and print losses, accuracy and the cost of a step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    train_x, test_x, train_y, test_y = map(torch.from_numpy, digits())
    networks = {name: Network(activation) for name, activation in ACTIVATIONS.items()}
    optimizers = {
        name: torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
        for name, network in networks.items()
    }
    losses: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    seconds: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    console, order = Console(), np.random.default_rng(1)
    for epoch in track(range(options.epochs), description="training", console=console):
        for batch in batches(order, len(train_x), BATCH):
            x, y = train_x[batch], train_y[batch]
            for name in ACTIVATIONS:
                begin = time.perf_counter()
                losses[name].append(step(networks[name], optimizers[name], x, y))
                if epoch or options.epochs == 1:  # the first epoch sets up
                    seconds[name].append(time.perf_counter() - begin)

    with torch.no_grad():
        accuracies = {
            name: float((network(test_x).argmax(1) == test_y).float().mean())
            for name, network in networks.items()
        }
    told = f"{options.epochs} epochs"
    console.print(results(told, "torch.relu", losses, accuracies, seconds)[0])
    same = losses["relu_xp.relu, 0 at 0"] == losses["torch.relu"]
    told = "equal to the bit" if same else "NOT equal"
    console.print("Losses of torch.relu and of relu with 0 at 0:", told)


if __name__ == "__main__":
    main()
