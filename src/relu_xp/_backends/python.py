"""Python's own numbers: the scalar definition itself, with the public functions' checks."""

import sys
from types import SimpleNamespace
from typing import Any, TypeAlias

from relu_xp import _checks, reference

Number: TypeAlias = int | float

_BINARY64 = SimpleNamespace(eps=sys.float_info.epsilon, smallest_normal=sys.float_info.min, max=sys.float_info.max)


def owns(x: object) -> bool:
    """Python floats and ints, not bool."""
    return isinstance(x, int | float) and not isinstance(x, bool)


def relu(x: Number, z: Any, out: None) -> Number:
    """Rectify; an int stays an int."""
    _checks.no_out("relu", out, "a Python number")
    _scalar("relu", "grad_at_zero", z)
    return max(int(x), 0) if isinstance(x, int) else reference.relu(float(x))


def relu_grad(x: Number, z: Any, out: None) -> float:
    """Differentiate relu."""
    _checks.no_out("relu_grad", out, "a Python number")
    return reference.relu_grad(x, grad_at_zero=_scalar("relu_grad", "grad_at_zero", z))


def relu_vjp(x: Number, g: Number, z: Any, out: None) -> float:
    """Pull g back through relu."""
    _checks.no_out("relu_vjp", out, "a Python number")
    z = _scalar("relu_vjp", "grad_at_zero", z)
    return reference.relu_vjp(x, _float("relu_vjp", "cotangent", g), grad_at_zero=z)


def leaky_relu(x: Number, s: Any, z: Any, out: None) -> float:
    """Rectify with a leak."""
    _checks.no_out("leaky_relu", out, "a Python number")
    s = _scalar("leaky_relu", "negative_slope", s)
    _scalar("leaky_relu", "grad_at_zero", z)
    return reference.leaky_relu(_float("leaky_relu", "x", x), s)


def leaky_relu_grad(x: Number, s: Any, z: Any, out: None) -> float:
    """Differentiate leaky_relu."""
    _checks.no_out("leaky_relu_grad", out, "a Python number")
    s = _scalar("leaky_relu_grad", "negative_slope", s)
    return reference.leaky_relu_grad(x, s, grad_at_zero=_scalar("leaky_relu_grad", "grad_at_zero", z))


def leaky_relu_vjp(x: Number, g: Number, s: Any, z: Any, out: None) -> float:
    """Pull g back through leaky_relu."""
    _checks.no_out("leaky_relu_vjp", out, "a Python number")
    s = _scalar("leaky_relu_vjp", "negative_slope", s)
    z = _scalar("leaky_relu_vjp", "grad_at_zero", z)
    return reference.leaky_relu_vjp(x, _float("leaky_relu_vjp", "cotangent", g), s, grad_at_zero=z)


def _scalar(function: str, name: str, value: Any) -> float:
    """Round a slope or a derivative at zero to binary64."""
    return _checks.rounded(function, name, value, "float64", _BINARY64)


def _float(function: str, name: str, value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        msg = f"relu_xp.{function}: {name} is too large for a Python float; pass a number below 2**1024"
        raise OverflowError(msg) from None
