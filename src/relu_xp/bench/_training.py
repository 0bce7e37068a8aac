"""Steps of training and inference: how much of a network's time the rectifier decides.

The pictures of the digits network are random, of the digits' size: times are those of the real
ones. Each library computes on the CPU, with as many threads as it likes, as a user would have it.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _threads
from relu_xp._functions import NEGATIVE_SLOPE, Function
from relu_xp._peers import TEXTBOOK, Array, Call
from relu_xp.bench._benchmarks import Benchmark, Candidates
from relu_xp.bench._measuring import Candidate

Params = Any  # pairs of weights and biases
Activate = Callable[[Array], Array]

# Widths from the input to the output, and the batch.
NETWORKS = {"digits": ((64, 128, 128, 10), 64), "wide MLP": ((64, 2048, 2048, 10), 128)}
RATE = 1e-3
WITHOUT = "no rectifier"


def steps(functions: Collection[Function], backends: Collection[str]) -> Iterator[Benchmark]:
    """Every network in every library, with ours and with what it has itself, where it has that rectifier."""
    libraries = {"numpy": _numpy, "jax": _jax, "torch": _torch}
    activations = [
        each for each in functions if each.role == "value" and each.rectifier in TEXTBOOK
    ]
    for (network, (_, batch)), library, activation, task in itertools.product(
        NETWORKS.items(), libraries, activations, ("training step", "inference")
    ):
        if library in backends:
            make = functools.partial(
                libraries[library], activation, network, task == "training step"
            )
            weight = 1.5 if network == "digits" else 4.0
            name = f"{network}, {task}"
            yield Benchmark(
                "training",
                "cpu",
                activation,
                "float32",
                batch,
                library,
                make,
                task=name,
                weight=weight,
            )


def _material(network: str) -> tuple[Params, Array, Array]:
    """He's initial weights, a batch, and its labels."""
    widths, batch = NETWORKS[network]
    rng = np.random.default_rng(0)
    shapes = itertools.pairwise(widths)
    params = [
        (rng.normal(0, np.sqrt(2 / m), (m, n)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in shapes
    ]
    return (
        params,
        rng.normal(size=(batch, widths[0])).astype(np.float32),
        rng.integers(0, widths[-1], batch),
    )


def _forward(activate: Activate, params: Params, x: Array) -> Array:
    *hidden, (w, b) = params
    for v, c in hidden:
        x = activate(x @ v + c)
    return x @ w + b


def _candidates(
    network_of: Callable[..., Call], ours: Any, name: str, kind: str, other: Any
) -> Candidates:
    """The same network without a rectifier, with ours, and with the library's own."""
    made = {WITHOUT: ("limit", _identity), "relu_xp": ("ours", ours), name: (kind, other)}
    return [
        Candidate(each, kind, network_of(activate)) for each, (kind, activate) in made.items()
    ], {}


def _identity(x: Array) -> Array:
    return x


def _numpy(activation: Function, network: str, trains: bool) -> Candidates:
    first, x, labels = _material(network)
    onehot = np.eye(NETWORKS[network][0][-1], dtype=np.float32)[labels]

    pulls = {
        _identity: lambda x, g: g,
        getattr(relu_xp, activation.name): getattr(relu_xp, activation.vjp.name),
    }

    def network_of(activate: Activate) -> Call:
        if not trains:
            return functools.partial(_forward, activate, first, x)
        params = [(w.copy(), b.copy()) for w, b in first]
        return functools.partial(_numpy_step, activate, pulls[activate], params, x, onehot)

    name, *textbook = TEXTBOOK[activation.rectifier]
    value, pull = (
        functools.partial(each, s=np.float32(NEGATIVE_SLOPE.default)) for each in textbook
    )
    pulls[value] = pull
    return _candidates(network_of, getattr(relu_xp, activation.name), name, "idiom", value)


def _numpy_step(
    activate: Activate,
    pull: Callable[[Array, Array], Array],
    params: Params,
    x: Array,
    onehot: Array,
) -> None:
    """Descend the cross-entropy's gradient in place, the backward pass written out."""
    inputs, seen = [x], []
    for w, b in params:
        seen.append(inputs[-1] @ w + b)
        inputs.append(activate(seen[-1]) if len(seen) < len(params) else seen[-1])
    share = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
    cotangent = (share / share.sum(axis=1, keepdims=True) - onehot) / len(x)
    for layer in reversed(range(len(params))):
        w, b = params[layer]
        dw, db = inputs[layer].T @ cotangent, cotangent.sum(axis=0)
        if layer:
            cotangent = pull(seen[layer - 1], cotangent @ w.T)
        w -= RATE * dw
        b -= RATE * db


def _jax(activation: Function, network: str, trains: bool) -> Candidates:
    import jax

    host = jax.devices("cpu")[0]
    first, x, labels = jax.tree.map(lambda a: jax.device_put(a, host), _material(network))

    def loss(activate: Activate, params: Params, x: Array, labels: Array) -> Array:
        logs = jax.nn.log_softmax(_forward(activate, params, x))
        return -jax.numpy.take_along_axis(logs, labels[:, None], axis=1).mean()

    def network_of(activate: Activate) -> Call:
        def descend(params: Params, x: Array, labels: Array) -> Params:
            gradient = jax.grad(functools.partial(loss, activate))(params, x, labels)
            return jax.tree.map(lambda p, d: p - RATE * d, params, gradient)

        return (
            finished(descend)
            if trains
            else finished(lambda params, x, _: _forward(activate, params, x))
        )

    def finished(function: Callable[[Params, Array, Array], Any]) -> Call:
        compiled = jax.jit(function)
        return lambda: jax.block_until_ready(compiled(first, x, labels))

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
            return torch.no_grad()(functools.partial(_forward, activate, first, x))
        params = [tuple(p.clone().requires_grad_() for p in pair) for pair in first]
        descent = torch.optim.SGD([p for pair in params for p in pair], RATE)

        def step() -> None:
            descent.zero_grad()
            functional.cross_entropy(_forward(activate, params, x), labels).backward()
            descent.step()

        return step

    ours, other = (getattr(library, activation.name) for library in (relu_xp, functional))
    return _candidates(network_of, ours, f"torch {activation}", "peer", other)
