"""A fully connected network, for `relu-xp demo` and for the benchmarks of training steps.

Its parameters are a list of pairs, the weights and biases of each layer, in any array library.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from relu_xp._peers import Array

Params = Any
Activate = Callable[[Array], Array]


def initial(widths: Sequence[int], seed: int) -> Params:
    """Draw He's normal initialization, with biases of 0."""
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, np.sqrt(2 / m), (m, n)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in itertools.pairwise(widths)
    ]


def forward(activate: Activate, params: Params, x: Array) -> Array:
    """Compute the logits, in whatever library the arrays come from."""
    *hidden, (w, b) = params
    for v, c in hidden:
        x = activate(x @ v + c)
    return x @ w + b


def gradients(
    activate: Activate,
    pull: Callable[[Array, Array], Array],
    params: Params,
    x: Array,
    onehot: Array,
) -> Params:
    """Compute the gradients of the cross-entropy in NumPy, the backward pass written out.

    `pull` is the VJP of the activation, a function of its input and of the cotangent.
    """
    inputs, seen = [x], []
    for w, b in params:
        seen.append(inputs[-1] @ w + b)
        inputs.append(activate(seen[-1]) if len(seen) < len(params) else seen[-1])
    share = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
    cotangent = (share / share.sum(axis=1, keepdims=True) - onehot) / len(x)
    found = []
    for layer in reversed(range(len(params))):
        found.append((inputs[layer].T @ cotangent, cotangent.sum(axis=0)))
        if layer:
            cotangent = pull(seen[layer - 1], cotangent @ params[layer][0].T)
    return found[::-1]


def jax_gradients(activate: Activate) -> Callable[[Params, Array, Array], Params]:
    """Give the same as a function of the parameters, x and the labels, by JAX's autodiff."""
    import jax

    def loss(params: Params, x: Array, onehot: Array) -> Array:
        return -(jax.nn.log_softmax(forward(activate, params, x)) * onehot).sum(1).mean()

    return jax.grad(loss)
