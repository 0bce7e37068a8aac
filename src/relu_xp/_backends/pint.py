"""pint's quantities keep their unit: a rectifier's is that of x, a VJP's the cotangent's; a derivative has none."""

from collections.abc import Callable
from typing import Any

import pint

from relu_xp import _checks
from relu_xp._functions import Function

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


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Quantity, ...], out: None) -> Any:
    """Compute on the magnitudes."""
    _checks.no_out(function, out, "a pint quantity")
    result = inside(*(a.magnitude for a in arrays))
    like = arrays[-1]
    return result if function.role == "grad" else like.__class__(result, like.units)
