"""Steps of training and inference: how much of a network's time the rectifier decides.

The images are random and of the digits' size, since times do not depend on what they show. Each
library computes on the CPU, on as many threads as it likes, as it does for its users.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _peers, _threads
from relu_xp._functions import NEGATIVE_SLOPE, Function
from relu_xp._peers import Array, Call
from relu_xp.bench import _network
from relu_xp.bench._benchmarks import Benchmark, Candidates
from relu_xp.bench._measuring import Candidate
from relu_xp.bench._network import Activate, Params

# Widths from the input to the output, and the batch.
NETWORKS = {"digits": ((64, 128, 128, 10), 64), "wide MLP": ((64, 2048, 2048, 10), 128)}
RATE = 1e-3
WITHOUT = "no rectifier"
# The idioms of a network written in NumPy: those of the value and of the VJP.
IDIOMS = {"relu": ("np.maximum(x, 0)", "g * (x > 0)"), "leaky_relu": ("np.where", "np.where")}


def steps(functions: Collection[Function], backends: Collection[str]) -> Iterator[Benchmark]:
    """Give every network in every library, with our rectifier and with the library's own."""
    libraries = {"numpy": _numpy, "jax": _jax, "torch": _torch}
    activations = [each for each in functions if each.role == "value" and each.rectifier in IDIOMS]
    for network, library, activation, task in itertools.product(
        NETWORKS, libraries, activations, ("training step", "inference")
    ):
        if library in backends:
            is_step, batch = task == "training step", NETWORKS[network][1]
            make = functools.partial(libraries[library], activation, network, is_step)
            where = "training", "cpu", activation, "float32", batch, library
            weight = 1.5 if network == "digits" else 4.0
            yield Benchmark(*where, make, task=f"{network}, {task}", weight=weight)


def _material(network: str) -> tuple[Params, Array, Array]:
    """Give initial parameters, a batch, and its labels."""
    widths, batch = NETWORKS[network]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, widths[0])).astype(np.float32)
    return _network.initial(widths, seed=1), x, rng.integers(0, widths[-1], batch)


def _onehot(network: str, labels: Array) -> Array:
    return np.eye(NETWORKS[network][0][-1], dtype=np.float32)[labels]


def _candidates(
    network_of: Callable[..., Call], ours: Any, name: str, kind: str, other: Any
) -> Candidates:
    """Give the same network without a rectifier, with ours, and with the library's own."""
    made = {WITHOUT: ("limit", _identity), "relu_xp": ("ours", ours), name: (kind, other)}
    return [Candidate(name, kind, network_of(f)) for name, (kind, f) in made.items()], {}


def _identity(x: Array) -> Array:
    return x


def _numpy(activation: Function, network: str, trains: bool) -> Candidates:
    first, x, labels = _material(network)
    onehot, ours = _onehot(network, labels), getattr(relu_xp, activation.name)
    scalars = {NEGATIVE_SLOPE.name: NEGATIVE_SLOPE.default}
    both = zip((activation, activation.vjp), IDIOMS[activation.rectifier], strict=True)
    value, pull = (_peers.ways(f, x.dtype, scalars)[name] for f, name in both)
    pulls: dict[Activate, Callable[[Array, Array], Array]] = {
        _identity: lambda x, g: g,
        ours: getattr(relu_xp, activation.vjp.name),
        value: pull,
    }

    def network_of(activate: Activate) -> Call:
        if not trains:
            return functools.partial(_network.forward, activate, first, x)
        params = [(w.copy(), b.copy()) for w, b in first]

        def step() -> None:
            slopes = _network.gradients(activate, pulls[activate], params, x, onehot)
            for (w, b), (dw, db) in zip(params, slopes, strict=True):
                np.subtract(w, RATE * dw, out=w)
                np.subtract(b, RATE * db, out=b)

        return step

    return _candidates(network_of, ours, ", ".join(IDIOMS[activation.rectifier]), "idiom", value)


def _jax(activation: Function, network: str, trains: bool) -> Candidates:
    import jax

    host = jax.devices("cpu")[0]
    params, x, labels = _material(network)
    given = (params, x, _onehot(network, labels))
    first, x, onehot = jax.tree.map(lambda a: jax.device_put(a, host), given)

    def network_of(activate: Activate) -> Call:
        gradients = _network.jax_gradients(activate)

        def descend(params: Params, x: Array, onehot: Array) -> Params:
            return jax.tree.map(lambda p, d: p - RATE * d, params, gradients(params, x, onehot))

        def infer(params: Params, x: Array, onehot: Array) -> Array:
            return _network.forward(activate, params, x)

        compiled = jax.jit(descend if trains else infer)
        return lambda: jax.block_until_ready(compiled(first, x, onehot))

    ours, other = (getattr(library, activation.name) for library in (relu_xp, jax.nn))
    return _candidates(network_of, ours, f"jax.nn.{activation}", "peer", other)


def _torch(activation: Function, network: str, trains: bool) -> Candidates:
    import torch

    torch.set_num_threads(_threads.processors())
    functional = torch.nn.functional
    arrays, *rest = _material(network)
    first = [tuple(map(torch.from_numpy, pair)) for pair in arrays]
    x, labels = map(torch.from_numpy, rest)

    def network_of(activate: Activate) -> Call:
        if not trains:
            return torch.no_grad()(functools.partial(_network.forward, activate, first, x))
        params = [tuple(p.clone().requires_grad_() for p in pair) for pair in first]
        descent = torch.optim.SGD([p for pair in params for p in pair], RATE)

        def step() -> None:
            descent.zero_grad()
            loss = functional.cross_entropy(_network.forward(activate, params, x), labels)
            loss.backward()
            descent.step()

        return step

    ours, other = (getattr(library, activation.name) for library in (relu_xp, functional))
    return _candidates(network_of, ours, f"torch {activation}", "peer", other)
