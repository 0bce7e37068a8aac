"""The definition: each rectifier for one Python float, in plain `if`s, for every backend to be held against.

The names and arguments are those of `relu_xp`. Python floats are IEEE binary64, so the products here are binary64
products; for a narrower dtype, round the result once: a binary64 product of two float32, bfloat16 or float16 values
is exact.

>>> [relu(x) for x in (1.0, -10.0, 0.0, 15.0, -20.0)]
[1.0, 0.0, 0.0, 15.0, 0.0]
>>> [leaky_relu(x) for x in (1.0, -10.0, 0.0, 15.0, -20.0)]
[1.0, -0.1, 0.0, 15.0, -0.2]
"""


def relu(x: float, /, *, grad_at_zero: float = 1.0) -> float:
    """x where x > 0, +0 where x <= 0, NaN where x is NaN."""
    if x <= 0.0:
        return 0.0
    return x


def leaky_relu(x: float, /, negative_slope: float = 0.01, *, grad_at_zero: float = 1.0) -> float:
    """x where x >= 0 (a zero keeps its sign), negative_slope * x where x < 0, NaN where x is NaN."""
    if x < 0.0:
        return negative_slope * x
    return x


def relu_grad(x: float, /, *, grad_at_zero: float = 1.0) -> float:
    """1 where x > 0, grad_at_zero where x == 0, else 0 (NaN included)."""
    if x > 0.0:
        return 1.0
    if x == 0.0:
        return grad_at_zero
    return 0.0


def leaky_relu_grad(x: float, /, negative_slope: float = 0.01, *, grad_at_zero: float = 1.0) -> float:
    """1 where x > 0, grad_at_zero where x == 0, else negative_slope (NaN included)."""
    if x > 0.0:
        return 1.0
    if x == 0.0:
        return grad_at_zero
    return negative_slope


def relu_vjp(x: float, cotangent: float, /, *, grad_at_zero: float = 1.0) -> float:
    """The cotangent where x > 0; at 0 its share grad_at_zero, selected if 0 or 1; else +0, whatever it is."""
    if x > 0.0:
        return cotangent
    if x == 0.0:
        return _share(cotangent, grad_at_zero)
    return 0.0


def leaky_relu_vjp(x: float, cotangent: float, /, negative_slope: float = 0.01, *, grad_at_zero: float = 1.0) -> float:
    """The cotangent where x > 0; at 0 its share grad_at_zero; else negative_slope * cotangent."""
    if x > 0.0:
        return cotangent
    if x == 0.0:
        return _share(cotangent, grad_at_zero)
    return negative_slope * cotangent


def _share(cotangent: float, grad_at_zero: float) -> float:
    """grad_at_zero * cotangent, but +0 where grad_at_zero is 0, so that an infinite cotangent leaves no NaN."""
    if grad_at_zero == 1.0:
        return cotangent
    if grad_at_zero == 0.0:
        return 0.0
    return grad_at_zero * cotangent
