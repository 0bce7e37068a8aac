"""The maths, once, in array-API terms: what every backend runs, or is held bit-identical to.

`xp` is the array's namespace; the slope `s` and the derivative at zero `z` are already rounded to the array's dtype.
Three rules shape every line, see `relu_xp.reference` for the definition itself:

- Products meet only the elements that the definition multiplies: the others are multiplied by one, exactly. So no
  overflow or invalid operation is raised for a value that is then thrown away.
- Zeros of a derivative are selected, never multiplied in: 0 * inf would be NaN.
- Of `x`, the derivatives use comparisons with zero only, so they may be given its sign in its place.

All six take `z`, as the public functions do, though a value does not depend on it.
"""

from typing import Any

Array = Any
Namespace = Any
Scalar = Any  # a Python float, or a 0-d array where the backend allows a traced slope


def relu(xp: Namespace, x: Array, z: float) -> Array:
    """Select +0 where x <= 0, which is false for NaN, and x elsewhere."""
    return xp.where(x <= 0, xp.zeros_like(x), x)


def leaky_relu(xp: Namespace, x: Array, s: Scalar, z: float) -> Array:
    """Multiply by s where x < 0 and by one elsewhere, where zeros so keep their sign and NaN stays NaN."""
    return x * xp.where(x < 0, xp.full_like(x, s), xp.ones_like(x))


def relu_grad(xp: Namespace, x: Array, z: float) -> Array:
    """Give the derivative of relu."""
    return _derivative(xp, x, x, 0.0, z)


def leaky_relu_grad(xp: Namespace, x: Array, s: Scalar, z: float) -> Array:
    """Give the derivative of leaky_relu."""
    return _derivative(xp, x, x, s, z)


def relu_vjp(xp: Namespace, x: Array, g: Array, z: float) -> Array:
    """Select the cotangent g where x is active, +0 elsewhere; z scales it at zero."""
    active = xp.where(x > 0 if z == 0 else x >= 0, g, xp.zeros_like(g))
    if z in (0, 1):
        return active
    return active * xp.where(x == 0, xp.full_like(g, z), xp.ones_like(g))


def leaky_relu_vjp(xp: Namespace, x: Array, g: Array, s: Scalar, z: float) -> Array:
    """Multiply the cotangent g by the derivative, but for z = 0, which selects +0 at zero."""
    if z == 0:
        g = xp.where(x == 0, xp.zeros_like(g), g)
        z = 1.0  # leaves that +0 as it is
    return _derivative(xp, x, g, s, z) * g  # in this order, so that where libraries differ, x gives the layout


def _derivative(xp: Namespace, x: Array, like: Array, s: Scalar, z: float) -> Array:
    """1 where x > 0, z where x == 0, s elsewhere (NaN included), as an array like `like`."""
    one, slope = xp.ones_like(like), xp.full_like(like, s)
    if z == 1:
        return xp.where(x >= 0, one, slope)
    return xp.where(x > 0, one, xp.where(x == 0, xp.full_like(like, z), slope))
