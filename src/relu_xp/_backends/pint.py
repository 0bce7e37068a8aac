"""pint's quantities: the function's record says to which power a result has the unit of x."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import pint

from relu_xp import _checks
from relu_xp._backends._host import devices as devices
from relu_xp._functions import Function

Quantity = Any  # a pint.Quantity


def owns(x: object) -> bool:
    """Own quantities of any registry."""
    return isinstance(x, pint.Quantity)


def put(array: Any, device: str) -> Quantity:
    """Make a dimensionless quantity, which every function takes."""
    return pint.application_registry.get().Quantity(array, "dimensionless")


def get(x: Any) -> Any:
    """Give the magnitude; a result without a unit is no quantity."""
    return getattr(x, "magnitude", x)


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Quantity, ...],
    slope: Any,
    out: None,
) -> Any:
    """Compute on the magnitudes."""
    _checks.no_out(function, out, "a pint quantity")
    if not function.takes_units and [*arrays[0].unit_items()]:  # also percent: 6 is not 6 %
        raise _checks.has_unit(function, "x", str(arrays[0].units), "x.magnitude")
    ones = [
        a.__class__(1, a.units)
        for a, power in zip(arrays, function.powers, strict=False)
        for _ in range(power)
    ]
    try:
        one = functools.reduce(operator.mul, ones) if ones else None
    except (pint.PintError, ValueError) as error:  # for example, degrees Celsius have no square
        msg = f"relu_xp.{function}: {error}; convert the units first, or pass the magnitudes"
        raise TypeError(msg) from error
    result = inside(*(a.magnitude for a in arrays), slope=slope)
    return result if one is None else one.__class__(result, one.units)
