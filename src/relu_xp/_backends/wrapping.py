"""The six functions of a backend whose arrays wrap others: what is inside goes in at the front door again.

So this one file of the backends knows the public functions.
"""

import functools
from collections.abc import Callable
from typing import Any

from relu_xp import _api

Call = Callable[..., Any]  # a public function with its scalars, of what is inside
Run = Callable[[str, Call, tuple[Any, ...], Any], Any]  # (function, call, arrays, out) -> result


def six(run: Run) -> tuple[Call, Call, Call, Call, Call, Call]:
    """Give the six, each of which hands its arrays to `run`, with what is to be called on their insides."""

    def bound(function: str, **scalars: Any) -> Call:
        return functools.partial(getattr(_api, function), **scalars)

    def relu(x: Any, z: Any, out: Any) -> Any:
        return run("relu", bound("relu", grad_at_zero=z), (x,), out)

    def relu_grad(x: Any, z: Any, out: Any) -> Any:
        return run("relu_grad", bound("relu_grad", grad_at_zero=z), (x,), out)

    def relu_vjp(x: Any, g: Any, z: Any, out: Any) -> Any:
        return run("relu_vjp", bound("relu_vjp", grad_at_zero=z), (x, g), out)

    def leaky_relu(x: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu", bound("leaky_relu", negative_slope=s, grad_at_zero=z), (x,), out)

    def leaky_relu_grad(x: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu_grad", bound("leaky_relu_grad", negative_slope=s, grad_at_zero=z), (x,), out)

    def leaky_relu_vjp(x: Any, g: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu_vjp", bound("leaky_relu_vjp", negative_slope=s, grad_at_zero=z), (x, g), out)

    return relu, relu_grad, relu_vjp, leaky_relu, leaky_relu_grad, leaky_relu_vjp
