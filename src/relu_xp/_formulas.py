"""The maths, once, in array-API terms. Backends run it, or are tested bit-identical to it.

`xp` is the array's namespace. The scalars are already rounded to the dtype of x: the slope `s`, a
number or an array that broadcasts to x; and the numbers `z`, the derivative at zero, `c`, the
ceiling, and `k`, the derivative there. `relu_xp.reference` is the definition; three rules shape
every line here:

- The definition multiplies some elements; the others are multiplied by one, which is exact. So no
  overflow or invalid operation is raised for a product that is then discarded.
- A select follows each product, so no compiler can fuse the product with a later sum. Zeros of a
  derivative are selected, never multiplied in: 0 * inf would be NaN.
- The derivatives only compare x, except those of the squared rectifier. So other numbers that
  compare alike can stand for x.
"""

from typing import Any

Array = Any
Namespace = Any
Scalar = Any  # a Python float, or an array


def relu(xp: Namespace, x: Array) -> Array:
    """Select +0 where x <= 0, and x elsewhere: for NaN, x <= 0 is false."""
    return xp.where(x <= 0, xp.zeros_like(x), x)


def relu_grad(xp: Namespace, x: Array, z: float) -> Array:
    """Give the derivative of relu."""
    return leaky_relu_grad(xp, x, 0.0, z)


def relu_vjp(xp: Namespace, x: Array, g: Array, z: float) -> Array:
    """Select the cotangent g where x is active, +0 elsewhere; z scales it at zero."""
    zero = xp.zeros_like(g)
    if z in (0, 1):
        return xp.where(x > 0 if z == 0 else x >= 0, g, zero)
    return xp.where(x > 0, g, xp.where(x == 0, _product(xp, x != 0, z, g), zero))


def leaky_relu(xp: Namespace, x: Array, s: Scalar) -> Array:
    """Multiply by s where x < 0; so zeros keep their sign, and NaN stays NaN."""
    return xp.where(x < 0, _product(xp, x >= 0, s, x), x)


def leaky_relu_grad(xp: Namespace, x: Array, s: Scalar, z: float) -> Array:
    """Give the derivative of leaky_relu."""
    one, slope = xp.ones_like(x), _filled(xp, x, s)
    if z == 1:
        return xp.where(x >= 0, one, slope)
    return xp.where(x > 0, one, xp.where(x == 0, xp.full_like(x, z), slope))


def leaky_relu_vjp(xp: Namespace, x: Array, g: Array, s: Scalar, z: float) -> Array:
    """Multiply the cotangent g by s where x < 0 or NaN, by z where x == 0; z = 0 selects +0."""
    if z == 1:
        return xp.where(x >= 0, g, _product(xp, x >= 0, s, g))
    if z == 0:
        return xp.where(x > 0, g, xp.where(x == 0, xp.zeros_like(g), _product(xp, x >= 0, s, g)))
    factor = xp.where(x == 0, xp.full_like(g, z), _filled(xp, g, s))
    return xp.where(x > 0, g, _product(xp, x > 0, factor, g))


def leaky_relu_slope_vjp(xp: Namespace, x: Array, g: Array) -> Array:
    """Multiply the cotangent g by x where x < 0; select +0 elsewhere."""
    return xp.where(x < 0, _product(xp, x >= 0, x, g), xp.zeros_like(g))


def clipped_relu(xp: Namespace, x: Array, c: float) -> Array:
    """Select the ceiling c where x >= c, and relu elsewhere: for NaN, x >= c is false."""
    return xp.where(x >= c, xp.full_like(x, c), relu(xp, x))


def clipped_relu_grad(xp: Namespace, x: Array, c: float, z: float, k: float) -> Array:
    """Give the derivative of clipped_relu."""
    return _clipped_derivative(xp, x, x, c, z, k)


def clipped_relu_vjp(xp: Namespace, x: Array, g: Array, c: float, z: float, k: float) -> Array:
    """Select the cotangent g where the derivative is 1, +0 where it is 0; multiply elsewhere."""
    derivative, zero = _clipped_derivative(xp, x, g, c, z, k), xp.zeros_like(g)
    if z in (0, 1) and k in (0, 1):
        return xp.where(derivative == 1, g, zero)
    product = _product(xp, derivative == 0, derivative, g)
    return xp.where(derivative == 1, g, xp.where(derivative == 0, zero, product))


def _clipped_derivative(
    xp: Namespace, x: Array, like: Array, c: float, z: float, k: float
) -> Array:
    zero, one = xp.zeros_like(like), xp.ones_like(like)
    positive = xp.where(x < c, one, xp.where(x == c, xp.full_like(like, k), zero))
    return xp.where(x > 0, positive, xp.where(x == 0, xp.full_like(like, z), zero))


def squared_relu(xp: Namespace, x: Array) -> Array:
    """Multiply x by itself where x > 0; elsewhere give relu."""
    return xp.where(x > 0, _product(xp, x <= 0, x, x), relu(xp, x))


def squared_relu_grad(xp: Namespace, x: Array) -> Array:
    """Double x where x > 0; select +0 elsewhere."""
    active = relu(xp, x)
    return xp.where(x > 0, active + active, xp.zeros_like(x))


def squared_relu_vjp(xp: Namespace, x: Array, g: Array) -> Array:
    """Multiply the cotangent g by the doubled x where x > 0; select +0 elsewhere."""
    active = relu(xp, x)
    return xp.where(x > 0, _product(xp, x <= 0, active + active, g), xp.zeros_like(g))


def _product(xp: Namespace, unless: Array, factor: Scalar, a: Array) -> Array:
    """Multiply a by the factor; by one where the product is discarded."""
    return a * xp.where(unless, xp.ones_like(a), _filled(xp, a, factor))


def _filled(xp: Namespace, like: Array, s: Scalar) -> Array:
    return s if hasattr(s, "shape") else xp.full_like(like, s)
