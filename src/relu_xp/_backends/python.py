"""Python's own numbers: the scalar definition itself, with the public functions' checks."""

from typing import Any, TypeAlias

from relu_xp import _checks, reference
from relu_xp._functions import Function

Number: TypeAlias = int | float


def owns(x: object) -> bool:
    """Python floats and ints, not bool."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def call(function: Function, arrays: tuple[Number, ...], scalars: tuple[Any, ...], out: None) -> Number:
    """Run the definition; where a function takes integers, an int stays one."""
    _checks.no_out(function, out, "a Python number")
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = function.named(tuple([_checks.number(function, each, value, "float64") for each, value in pairs]))
    x = arrays[0]
    if function.takes_integers and isinstance(x, int):
        return max(int(x), 0)
    if not function.compares:  # for which an int may be of any size
        x = _float(function, "x", x)
    others = [_float(function, name, a) for name, a in zip(function.arrays[1:], arrays[1:], strict=True)]
    return getattr(reference, function.name)(x, *others, **rounded)


def devices() -> list[str]:
    """Python's numbers run on the CPU."""
    return ["cpu"]


def put(array: Any, device: str) -> Number:
    """Give the one element of a NumPy array."""
    return array.item()


def get(x: Number) -> Any:
    """Make a NumPy array of a number."""
    import numpy as np  # late: this backend serves those who hold no array

    return np.asarray(x)


def _float(function: Function, name: str, value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        msg = f"relu_xp.{function}: {name} is too large for a Python float; pass a number below 2**1024"
        raise OverflowError(msg) from None
