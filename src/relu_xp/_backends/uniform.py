"""The six functions of a backend that runs all of them in one way.

Where arrays wrap others, that way is to hand what is inside to the public functions again: so this one file of the
backends knows these.
"""

import functools
from collections.abc import Callable
from typing import Any

from relu_xp import _api

Call = Callable[..., Any]
Six = tuple[Call, Call, Call, Call, Call, Call]
Run = Callable[[str, tuple[Any, ...], dict[str, Any], Any], Any]  # (function, arrays, scalars by name, out) -> result
Rewrap = Callable[[str, Call, tuple[Any, ...], Any], Any]  # (function, call, arrays, out) -> result


def six(run: Run) -> Six:
    """Give the six, each of which hands everything on to `run`."""

    def relu(x: Any, z: Any, out: Any) -> Any:
        return run("relu", (x,), {"grad_at_zero": z}, out)

    def relu_grad(x: Any, z: Any, out: Any) -> Any:
        return run("relu_grad", (x,), {"grad_at_zero": z}, out)

    def relu_vjp(x: Any, g: Any, z: Any, out: Any) -> Any:
        return run("relu_vjp", (x, g), {"grad_at_zero": z}, out)

    def leaky_relu(x: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu", (x,), {"negative_slope": s, "grad_at_zero": z}, out)

    def leaky_relu_grad(x: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu_grad", (x,), {"negative_slope": s, "grad_at_zero": z}, out)

    def leaky_relu_vjp(x: Any, g: Any, s: Any, z: Any, out: Any) -> Any:
        return run("leaky_relu_vjp", (x, g), {"negative_slope": s, "grad_at_zero": z}, out)

    return relu, relu_grad, relu_vjp, leaky_relu, leaky_relu_grad, leaky_relu_vjp


def wrapping(run: Rewrap) -> Six:
    """Give the six, each of which tells `run` what to call on the insides."""

    def enter(function: str, arrays: tuple[Any, ...], scalars: dict[str, Any], out: Any) -> Any:
        return run(function, functools.partial(getattr(_api, function), **scalars), arrays, out)

    return six(enter)
