"""The definition: each rectifier for one Python float, in plain `if`s.

Every backend is tested against it. The names and arguments are those of `relu_xp`. Python floats
are IEEE binary64, and so are the products here. For a narrower dtype, round the result of each
operation once: a binary64 product of two float32, bfloat16 or float16 values is exact.

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
    """x where x >= 0 (-0.0 too), negative_slope * x where x < 0, NaN where x is NaN."""
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


def leaky_relu_grad(
    x: float, /, negative_slope: float = 0.01, *, grad_at_zero: float = 1.0
) -> float:
    """1 where x > 0, grad_at_zero where x == 0, else negative_slope (NaN included)."""
    if x > 0.0:
        return 1.0
    if x == 0.0:
        return grad_at_zero
    return negative_slope


def relu_vjp(x: float, cotangent: float, /, *, grad_at_zero: float = 1.0) -> float:
    """The cotangent where x > 0, grad_at_zero * cotangent where x == 0, else +0."""
    if x > 0.0:
        return cotangent
    if x == 0.0:
        return _share(cotangent, grad_at_zero)
    return 0.0


def leaky_relu_vjp(
    x: float, cotangent: float, /, negative_slope: float = 0.01, *, grad_at_zero: float = 1.0
) -> float:
    """The cotangent where x > 0; times grad_at_zero at 0; else times negative_slope (NaN too)."""
    if x > 0.0:
        return cotangent
    if x == 0.0:
        return _share(cotangent, grad_at_zero)
    return negative_slope * cotangent


def leaky_relu_slope_vjp(x: float, cotangent: float, /) -> float:
    """x * cotangent where x < 0, else +0. The sum of the results is the gradient of the slope."""
    if x < 0.0:
        return x * cotangent
    return 0.0


def clipped_relu(
    x: float, /, ceiling: float = 6.0, *, grad_at_zero: float = 1.0, grad_at_ceiling: float = 0.0
) -> float:
    """x between 0 and the ceiling, the ceiling above it, +0 where x <= 0, NaN where x is NaN."""
    if x >= ceiling:
        return ceiling
    return relu(x)


def clipped_relu_grad(
    x: float, /, ceiling: float = 6.0, *, grad_at_zero: float = 1.0, grad_at_ceiling: float = 0.0
) -> float:
    """1 between 0 and the ceiling; grad_at_zero and grad_at_ceiling there; else 0 (NaN too)."""
    if x == ceiling:
        return grad_at_ceiling
    if x > ceiling:
        return 0.0
    return relu_grad(x, grad_at_zero=grad_at_zero)


def clipped_relu_vjp(
    x: float,
    cotangent: float,
    /,
    ceiling: float = 6.0,
    *,
    grad_at_zero: float = 1.0,
    grad_at_ceiling: float = 0.0,
) -> float:
    """The cotangent between 0 and the ceiling; times the given number at both; else +0."""
    if x == ceiling:
        return _share(cotangent, grad_at_ceiling)
    if x > ceiling:
        return 0.0
    return relu_vjp(x, cotangent, grad_at_zero=grad_at_zero)


def squared_relu(x: float, /) -> float:
    """x * x where x > 0, +0 where x <= 0, NaN where x is NaN."""
    if x > 0.0:
        return x * x
    return relu(x)


def squared_relu_grad(x: float, /) -> float:
    """x + x where x > 0, else +0 (NaN included)."""
    if x > 0.0:
        return x + x
    return 0.0


def squared_relu_vjp(x: float, cotangent: float, /) -> float:
    """(x + x) * cotangent, in two operations, where x > 0; else +0."""
    if x > 0.0:
        return (x + x) * cotangent
    return 0.0


def _share(cotangent: float, grad_at_zero: float) -> float:
    """grad_at_zero * cotangent, but exactly +0 where grad_at_zero is 0: 0 * inf would be NaN."""
    if grad_at_zero == 1.0:
        return cotangent
    if grad_at_zero == 0.0:
        return 0.0
    return grad_at_zero * cotangent
