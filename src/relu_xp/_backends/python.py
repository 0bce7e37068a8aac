"""Python's own numbers: the scalar definition itself, after the checks of every backend."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from relu_xp import _checks, reference
from relu_xp._backends._host import devices as devices
from relu_xp._backends._host import get as get
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._plans import Plans, bits

Number: TypeAlias = int | float
Plan: TypeAlias = Callable[..., Any]  # the definition, bound to scalars that were checked

_DEFINED: dict[Function, Plan] = {
    each: getattr(reference, each.name) for each in FUNCTIONS.values()
}
_plans = Plans()


def owns(x: object) -> bool:
    """Own floats and ints, but not bool."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def call(
    function: Function, arrays: tuple[Number, ...], scalars: tuple[Any, ...], out: None
) -> Number:
    """Run the definition, without a check where all are floats and the scalars are known."""
    plan = (
        _DEFINED[function]
        if scalars is function.defaults
        else _plans.get((function, bits(scalars)))
    )
    if plan and out is None:
        if len(arrays) == 1:
            if type(arrays[0]) is float:
                return plan(arrays[0])
        elif type(arrays[0]) is float and type(arrays[1]) is float:
            return plan(arrays[0], arrays[1])
    return _checked(function, plan, arrays, scalars, out)


def _checked(
    function: Function,
    plan: Plan | None,
    arrays: tuple[Number, ...],
    scalars: tuple[Any, ...],
    out: None,
) -> Number:
    """Check every argument; a function that takes integers returns an int for an int."""
    _checks.no_out(function, out, "a Python number")
    plan = plan or _plan(function, scalars)
    x = arrays[0]
    if function.takes_integers and isinstance(x, int):
        return max(int(x), 0)
    if not function.only_compares_x:  # a comparison takes an int of any size
        x = _float(function, "x", x)
    others = zip(function.arrays[1:], arrays[1:], strict=True)
    return plan(x, *[_float(function, name, a) for name, a in others])


def _plan(function: Function, scalars: tuple[Any, ...]) -> Plan:
    """Check the scalars, and bind the definition to them; remember it if they are floats."""
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = tuple([_checks.number(function, each, value, "float64") for each, value in pairs])
    plan = functools.partial(_DEFINED[function], **function.named(rounded))
    key = bits(scalars)
    return plan if key is None else _plans.keep((function, key), plan)


def put(array: Any, device: str) -> Number:
    """Give the one element of a NumPy array."""
    return array.item()


def _float(function: Function, name: str, value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        msg = (
            f"relu_xp.{function}: {name} is too large for a Python float; "
            "pass a number below 2**1024"
        )
        raise OverflowError(msg) from None
