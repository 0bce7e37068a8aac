"""pint's quantities keep their unit: a rectifier's is that of x, a VJP's the cotangent's; a derivative has none."""

from typing import Any

import pint

from relu_xp import _checks
from relu_xp._backends.uniform import Call, wrapping

Quantity = Any  # a pint.Quantity


def owns(x: object) -> bool:
    """Quantities of any registry."""
    return isinstance(x, pint.Quantity)


def devices() -> list[str]:
    """The host; where the array inside is, is its own business."""
    return ["cpu"]


def put(array: Any, device: str) -> Quantity:
    """Measure a NumPy array in metres."""
    return pint.application_registry.get().Quantity(array, "metre")


def get(x: Any) -> Any:
    """Give the numbers alone."""
    return getattr(x, "magnitude", x)


def _run(function: str, call: Call, arrays: tuple[Quantity, ...], out: None) -> Any:
    _checks.no_out(function, out, "a pint quantity")
    result = call(*(a.magnitude for a in arrays))
    like = arrays[-1]
    return result if function.endswith("grad") else like.__class__(result, like.units)


relu, relu_grad, relu_vjp, leaky_relu, leaky_relu_grad, leaky_relu_vjp = wrapping(_run)
