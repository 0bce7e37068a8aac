"""Steps of training and inference: how much of a network's time the rectifier decides.

The pictures of the digits network are random, of the digits' size: times are those of the real ones. Each library
computes on the CPU, with as many threads as it likes, as a user would have it.
"""

import functools
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _options
from relu_xp.bench._contests import Contest, Field
from relu_xp.bench._measuring import Call, Entrant
from relu_xp.bench._rivals import SLOPE

Array = Any
Params = list[tuple[Array, Array]]

# Widths from the input to the output, and the batch.
NETWORKS = {"digits": ((64, 128, 128, 10), 64), "wide MLP": ((64, 2048, 2048, 10), 128)}
ACTIVATIONS = ("relu", "leaky_relu")
TASKS = ("training step", "inference")
RATE = 1e-3
LIMIT = "matrix products alone"


def steps(functions: tuple[str, ...], networks: tuple[str, ...] = tuple(NETWORKS)) -> Iterator[Contest]:
    """Every network in every library that is installed, with ours and with what it has itself."""
    libraries = {"numpy": _numpy, "jax": _jax, "torch": _torch}
    for network in networks:
        for library, enter in libraries.items():
            if importlib.util.find_spec(library) is None:
                continue
            for activation in (name for name in ACTIVATIONS if name in functions):
                for task in TASKS:
                    yield Contest(
                        "training",
                        "cpu",
                        activation,
                        "float32",
                        NETWORKS[network][1],
                        library,
                        functools.partial(enter, activation, network, task == TASKS[0]),
                        task=f"{network}, {task}",
                        weight=1.5 if network == "digits" else 4.0,
                    )


def _material(network: str) -> tuple[Params, Array, Array]:
    """He's initial weights, a batch, and its labels."""
    widths, batch = NETWORKS[network]
    rng = np.random.default_rng(0)
    shapes = itertools.pairwise(widths)
    params = [(rng.normal(0, np.sqrt(2 / m), (m, n)).astype(np.float32), np.zeros(n, np.float32)) for m, n in shapes]
    return params, rng.normal(size=(batch, widths[0])).astype(np.float32), rng.integers(0, widths[-1], batch)


def _textbook(activation: str) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
    if activation == "relu":
        return lambda x: np.maximum(x, 0), lambda x, g: g * (x > 0)
    s = np.float32(SLOPE)
    return lambda x: np.where(x > 0, x, s * x), lambda x, g: np.where(x > 0, g, s * g)


def _numpy(activation: str, network: str, trains: bool) -> Field:
    first, x, labels = _material(network)
    onehot = np.eye(NETWORKS[network][0][-1], dtype=np.float32)[labels]

    def contestant(activate: Callable[..., Array], pull: Callable[..., Array]) -> Call:
        params = [(w.copy(), b.copy()) for w, b in first]
        return functools.partial(_numpy_step if trains else _numpy_forward, activate, pull, params, x, onehot)

    ours = getattr(relu_xp, activation), getattr(relu_xp, f"{activation}_vjp")
    name = "np.maximum, g * (x > 0)" if activation == "relu" else "np.where"
    return [
        Entrant(LIMIT, "limit", functools.partial(_products, first, x, trains)),
        Entrant("relu_xp", "ours", contestant(*ours)),
        Entrant(name, "idiom", contestant(*_textbook(activation))),
    ], {}


def _numpy_forward(activate: Any, pull: Any, params: Params, x: Array, onehot: Array) -> Array:
    *hidden, (w, b) = params
    for v, c in hidden:
        x = activate(x @ v + c)
    return x @ w + b


def _numpy_step(activate: Any, pull: Any, params: Params, x: Array, onehot: Array) -> None:
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


def _products(params: Params, x: Array, trains: bool) -> list[Array]:
    """What no rectifier can save, in any library whose arrays know `@`: the layers' products, and a step's others."""
    results = []
    for index, (w, _) in enumerate(params):
        y = x @ w
        if trains:
            results.append(x.T @ y)
            if index:
                results.append(y @ w.T)
        x = y
    return [*results, x]


def _jax(activation: str, network: str, trains: bool) -> Field:
    import jax

    host = jax.devices("cpu")[0]
    first, x, labels = jax.tree.map(lambda a: jax.device_put(a, host), _material(network))

    def forward(activate: Callable[[Array], Array], params: Params, x: Array) -> Array:
        *hidden, (w, b) = params
        for v, c in hidden:
            x = activate(x @ v + c)
        return x @ w + b

    def loss(activate: Callable[[Array], Array], params: Params, x: Array, labels: Array) -> Array:
        logs = jax.nn.log_softmax(forward(activate, params, x))
        return -jax.numpy.take_along_axis(logs, labels[:, None], axis=1).mean()

    def contestant(activate: Callable[[Array], Array]) -> Call:
        if not trains:
            infer = jax.jit(functools.partial(forward, activate))
            return lambda: infer(first, x).block_until_ready()

        def descend(params: Params, x: Array, labels: Array) -> Params:
            gradient = jax.grad(functools.partial(loss, activate))(params, x, labels)
            return jax.tree.map(lambda p, d: p - RATE * d, params, gradient)

        step = jax.jit(descend)
        return lambda: jax.block_until_ready(step(first, x, labels))

    products = jax.jit(functools.partial(_products, trains=trains))
    return [
        Entrant(LIMIT, "limit", lambda: jax.block_until_ready(products(first, x))),
        Entrant("relu_xp", "ours", contestant(getattr(relu_xp, activation))),
        Entrant(f"jax.nn.{activation}", "peer", contestant(getattr(jax.nn, activation))),
    ], {}


def _torch(activation: str, network: str, trains: bool) -> Field:
    import torch

    torch.set_num_threads(_options.processors())
    functional = torch.nn.functional
    arrays, *rest = _material(network)
    first = [tuple(map(torch.from_numpy, pair)) for pair in arrays]
    x, labels = map(torch.from_numpy, rest)

    def forward(activate: Callable[[Array], Array], params: Params) -> Array:
        y = x
        for index, (w, b) in enumerate(params):
            y = torch.addmm(b, y, w)
            y = activate(y) if index < len(params) - 1 else y
        return y

    def contestant(activate: Callable[[Array], Array]) -> Call:
        params = [tuple(p.clone().requires_grad_(trains) for p in pair) for pair in first]
        leaves = [p for pair in params for p in pair]
        if not trains:
            return torch.no_grad()(functools.partial(forward, activate, params))
        descent = torch.optim.SGD(leaves, RATE)

        def step() -> None:
            descent.zero_grad()
            functional.cross_entropy(forward(activate, params), labels).backward()
            descent.step()

        return step

    return [
        Entrant(LIMIT, "limit", functools.partial(_products, first, x, trains)),
        Entrant("relu_xp", "ours", contestant(getattr(relu_xp, activation))),
        Entrant(f"torch {activation}", "peer", contestant(getattr(functional, activation))),
    ], {}
