"""pint's quantities keep their unit, to the power that the function's record says; a derivative of relu has none."""

import functools
import operator
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
    """Give a NumPy array the unit that every function takes: none."""
    return pint.application_registry.get().Quantity(array, "dimensionless")


def get(x: Any) -> Any:
    """Give the numbers alone."""
    return getattr(x, "magnitude", x)


def delegate(
    function: Function, inside: Callable[..., Any], arrays: tuple[Quantity, ...], out: None
) -> Any:
    """Compute on the magnitudes."""
    _checks.no_out(function, out, "a pint quantity")
    if function.degree is None and [*arrays[0].unit_items()]:  # percent too: 6 is not 6 %
        raise _checks.has_unit(function, "x", str(arrays[0].units), "x.magnitude")
    ones = [
        a.__class__(1, a.units)
        for a, power in zip(arrays, function.powers, strict=False)
        for _ in range(power)
    ]
    try:
        one = functools.reduce(operator.mul, ones) if ones else None
    except (pint.PintError, ValueError) as error:  # degrees Celsius have no square
        msg = f"relu_xp.{function}: {error}; convert the units first, or pass the magnitudes"
        raise TypeError(msg) from error
    result = inside(*(a.magnitude for a in arrays))
    return result if one is None else one.__class__(result, one.units)
