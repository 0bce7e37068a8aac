"""The rectifiers in TensorFlow's own kernels, where those give the definition's bits.

Three faults of the kernels are avoided here. relu keeps -0 among elements that do not fill a vector
register. leaky_relu takes its slope as a float32. `ReluGrad` multiplies the cotangent by 0 or 1, so
an infinite one gives NaN. Where a kernel is used, TensorFlow's derivative of a VJP in its cotangent
is that VJP: forward accumulators, which differentiate the backward pass, need this.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import raw_ops as raw

from relu_xp import _dtypes, _formulas
from relu_xp._functions import (
    CLIPPED_RELU,
    CLIPPED_RELU_VJP,
    LEAKY_RELU,
    LEAKY_RELU_SLOPE_VJP,
    LEAKY_RELU_VJP,
    RELU,
    RELU_VJP,
    SQUARED_RELU,
    SQUARED_RELU_VJP,
    Function,
)

Array = Any  # a tf.Tensor

_REGISTER = 16  # elements: a multiple of those that any vector register holds


class _Namespace:
    """The namespace that the formulas use; constants are 0-d, so they take no memory."""

    where = staticmethod(tf.where)
    ones_like = staticmethod(lambda x: tf.constant(1, x.dtype))
    zeros_like = staticmethod(lambda x: tf.constant(0, x.dtype))

    @staticmethod
    def full_like(x: Array, value: float) -> Array:
        """Convert by NumPy: TensorFlow caches constants, and would give 0.0 for an equal -0.0."""
        return tf.constant(np.asarray(value, x.dtype.as_numpy_dtype))


def compute(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Compute in kernels, or by the formula where no kernels give its bits."""
    kernel = _KERNELS.get(function)
    result = kernel(*arrays, *scalars[: len(function.scalars)]) if kernel else None
    return formula(function, arrays, scalars) if result is None else result


def formula(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Compute by the formula; scalars that only autodiff needs may follow those it takes."""
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def by_slope(x: Array, g: Array) -> Array:
    """Give leaky_relu's gradient in the slope: x * g where x < 0, else 0 for any g."""
    return raw.MulNoNan(x=g, y=_selected(raw.Less(x=x, y=0), x))


# Each kernel below returns None where it cannot give the definition's bits.


def _relu(x: Array) -> Array:
    return _without_negative_zero(x, tf.nn.relu(x))


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    return _selected(_above(x, 0, z), g) if z in (0, 1) else None


def _leaky(x: Array, s: Any) -> Array:
    # The kernel multiplies zeros too: x = 0.0 gives -0.0 if the slope has a sign.
    if _fits_attribute(s, x) and math.copysign(1, s) > 0:
        return raw.LeakyRelu(features=x, alpha=s)
    product = raw.Mul(x=x, y=s if hasattr(s, "shape") else _Namespace.full_like(x, s))
    return raw.Select(condition=raw.Less(x=x, y=0), x=product, y=x)


def _leaky_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if not _fits_attribute(s, x) or z == 0 or z not in (1, s):
        return None
    # The kernel multiplies by s where x is 0. That is right if z = s. If z = 1, give it 1 or 0 in
    # place of x: 1 where x >= 0.
    features = x if z == s else raw.Cast(x=_above(x, 0, z), DstT=x.dtype)
    return raw.LeakyReluGrad(gradients=g, features=features, alpha=s)


def _clipped(x: Array, c: float) -> Array:
    if c == 6:
        return _without_negative_zero(x, raw.Relu6(features=x))
    return raw.Minimum(x=_relu(x), y=c)


def _clipped_vjp(x: Array, g: Array, c: float, z: float, k: float) -> Array | None:
    if z not in (0, 1) or k not in (0, 1):
        return None
    below = (raw.LessEqual if k else raw.Less)(x=x, y=c)
    return _selected(raw.LogicalAnd(x=_above(x, 0, z), y=below), g)


def _squared(x: Array) -> Array:
    y = raw.Square(x=tf.nn.relu(x))
    # In a graph XLA may fuse the product with a sum that follows (FMA), which rounds once. So a sum
    # with zero follows at once: to fuse that changes no bits.
    return y if tf.executing_eagerly() else y + _hidden_zero(x.dtype)


def _squared_vjp(x: Array, g: Array) -> Array:
    return raw.MulNoNan(x=g, y=_selected(raw.Greater(x=x, y=0), raw.AddV2(x=x, y=x)))


_KERNELS: dict[Function, Callable[..., Array | None]] = {
    RELU: _relu,
    RELU_VJP: _relu_vjp,
    LEAKY_RELU: _leaky,
    LEAKY_RELU_VJP: _leaky_vjp,
    LEAKY_RELU_SLOPE_VJP: by_slope,
    CLIPPED_RELU: _clipped,
    CLIPPED_RELU_VJP: _clipped_vjp,
    SQUARED_RELU: _squared,
    SQUARED_RELU_VJP: _squared_vjp,
}


def _fits_attribute(s: Any, x: Array) -> bool:
    """Whether a kernel takes the slope exactly, as its attribute alpha.

    For 64-bit x too that is a float32. A subnormal one may be flushed to 0.
    """
    if type(s) is not float or x.dtype != tf.float64:
        return type(s) is float
    return s == 0 or (abs(s) >= 2**-126 and _dtypes.rounded(s, tf.float32) == s)


def _above(x: Array, bound: float, or_equal: float) -> Array:
    """Give x >= bound if `or_equal` is not 0, else x > bound."""
    return (raw.GreaterEqual if or_equal else raw.Greater)(x=x, y=bound)


def _selected(condition: Array, a: Array) -> Array:
    """Select a where the condition holds, else +0.

    Eagerly SelectV2 is one kernel fewer. In a graph MulNoNan can write to the memory of a.
    """
    if tf.executing_eagerly():
        return raw.SelectV2(condition=condition, t=a, e=0)
    return raw.MulNoNan(x=a, y=raw.Cast(x=condition, DstT=a.dtype))


def _without_negative_zero(x: Array, y: Array) -> Array:
    """Make +0 of each -0 that a kernel may have kept in y."""
    if not tf.executing_eagerly():
        return y + _hidden_zero(y.dtype)
    if x.shape.num_elements() % _REGISTER == 0 and _keeps_no_negative_zero(x.dtype):
        return y
    return raw.AddV2(x=y, y=0)


@functools.cache
def _keeps_no_negative_zero(dtype: Any) -> bool:
    """Whether relu is right for elements that fill registers; tried on the CPU, if that is all."""
    zeros = tf.nn.relu(tf.constant(-0.0, dtype, [_REGISTER])).numpy()
    devices = tf.config.list_logical_devices()
    return not np.signbit(zeros).any() and all(d.device_type == "CPU" for d in devices)


def _hidden_zero(dtype: Any) -> Array:
    """Give a zero that a graph's optimizers do not see as a constant, so that they keep the sum.

    LiteRT's converter sees it, and drops the sum.
    """
    if tf.compat.v1.executing_eagerly_outside_functions():
        return _captured_zeros(dtype)[0]
    return raw.PlaceholderWithDefault(input=tf.constant(0, dtype), shape=[])


@functools.cache
def _captured_zeros(dtype: Any) -> Array:
    """Make an eager tensor that graphs capture; one of fewer elements they copy as a constant."""
    with tf.init_scope():
        return tf.zeros([129], dtype)
