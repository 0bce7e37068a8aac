"""The rectifiers in TensorFlow's own kernels, where those give the definition's bits.

The kernels' faults: they keep -0 among elements that do not fill a register; their slope is a
binary32; `ReluGrad` multiplies by a mask, inf too. TensorFlow's derivative of a VJP here in its
cotangent is the VJP: forward accumulators, which differentiate what pulls back, rely on that.
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

_REGISTER = 16  # elements: as many as the widest register holds, or a multiple


class _Namespace:
    """What the formulas call; constants are 0-d tensors, since full ones would cost memory."""

    where = staticmethod(tf.where)
    ones_like = staticmethod(lambda x: tf.constant(1, x.dtype))
    zeros_like = staticmethod(lambda x: tf.constant(0, x.dtype))

    @staticmethod
    def full_like(x: Array, value: float) -> Array:
        """By way of NumPy: TensorFlow may take a constant that it made of an equal number, 0.0."""
        return tf.constant(np.asarray(value, x.dtype.as_numpy_dtype))


def compute(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Run a kernel, or the maths where it is wrong or there is none; there may be more scalars."""
    kernel = _KERNELS.get(function)
    result = kernel(*arrays, *scalars[: len(function.scalars)]) if kernel else None
    return formula(function, arrays, scalars) if result is None else result


def formula(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Run the maths."""
    given = scalars[: len(function.scalars)]
    return getattr(_formulas, function.name)(_Namespace, *arrays, *given)


def by_slope(x: Array, g: Array) -> Array:
    """Multiply the cotangent by a factor; where that is 0, so is the result."""
    return raw.MulNoNan(x=g, y=_selected(raw.Less(x=x, y=0), x))


def _relu(x: Array) -> Array:
    return _without_sign(x, tf.nn.relu(x))


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    return _selected(_above(x, 0, z), g) if z in (0, 1) else None


def _leaky(x: Array, s: Any) -> Array:
    # The kernel multiplies zeros too, which keep their sign unless the slope has one.
    if _is_attribute(s, x) and math.copysign(1, s) > 0:
        return raw.LeakyRelu(features=x, alpha=s)
    product = raw.Mul(x=x, y=s if hasattr(s, "shape") else _Namespace.full_like(x, s))
    return raw.Select(condition=raw.Less(x=x, y=0), x=product, y=x)


def _leaky_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if not _is_attribute(s, x) or z == 0 or z not in (1, s):
        return None
    # The kernel multiplies unless x > 0; where z is 1, a zero must count as positive.
    features = x if z == s else raw.Cast(x=_above(x, 0, z), DstT=x.dtype)
    return raw.LeakyReluGrad(gradients=g, features=features, alpha=s)


def _clipped(x: Array, c: float) -> Array:
    if c == 6:
        return _without_sign(x, raw.Relu6(features=x))
    return raw.Minimum(x=_relu(x), y=c)


def _clipped_vjp(x: Array, g: Array, c: float, z: float, k: float) -> Array | None:
    if z not in (0, 1) or k not in (0, 1):
        return None
    below = (raw.LessEqual if k else raw.Less)(x=x, y=c)
    return _selected(raw.LogicalAnd(x=_above(x, 0, z), y=below), g)


def _squared(x: Array) -> Array:
    y = raw.Square(x=tf.nn.relu(x))
    # In a graph XLA might fuse the product with a sum that follows: with a zero it may.
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


def _is_attribute(s: Any, x: Array) -> bool:
    """Whether the slope is a number that a kernel's attribute holds: a normal binary32, or 0."""
    if type(s) is not float or x.dtype != tf.float64:
        return type(s) is float
    return s == 0 or (abs(s) >= 2**-126 and _dtypes.rounded(s, tf.float32) == s)


def _above(x: Array, bound: float, or_equal: float) -> Array:
    return (raw.GreaterEqual if or_equal else raw.Greater)(x=x, y=bound)


def _selected(condition: Array, a: Array) -> Array:
    """Select +0 elsewhere: eagerly by a kernel less, in a graph by one that can write in place."""
    if tf.executing_eagerly():
        return raw.SelectV2(condition=condition, t=a, e=0)
    return raw.MulNoNan(x=a, y=raw.Cast(x=condition, DstT=a.dtype))


def _without_sign(x: Array, y: Array) -> Array:
    """Make +0 of a -0 that a kernel may have kept."""
    if not tf.executing_eagerly():
        return y + _hidden_zero(y.dtype)
    if x.shape.num_elements() % _REGISTER == 0 and _is_right_in_registers(x.dtype):
        return y
    return raw.AddV2(x=y, y=0)


@functools.cache
def _is_right_in_registers(dtype: Any) -> bool:
    """Whether no -0 is left among as many elements as fill one, and a CPU is the only device."""
    kept = np.signbit(tf.nn.relu(tf.constant(-0.0, dtype, [_REGISTER])).numpy())
    return not kept.any() and all(d.device_type == "CPU" for d in tf.config.list_logical_devices())


def _hidden_zero(dtype: Any) -> Array:
    """Give a graph a zero that its optimizers do not see, and so drop; a converter does."""
    if tf.compat.v1.executing_eagerly_outside_functions():
        return _zeros(dtype)[0]
    return raw.PlaceholderWithDefault(input=tf.constant(0, dtype), shape=[])


@functools.cache
def _zeros(dtype: Any) -> Array:
    with tf.init_scope():
        return tf.zeros([129], dtype)  # of fewer elements a graph would make a constant of its own
