"""TensorFlow's tensors and variables: the formulas in its own operations, eager, in a tf.function, and compiled by XLA.

A schedule of the formulas in one respect, tested bit-identical to them: a value function's gradient is its VJP, and
that of a VJP, which is linear in the cotangent, the same VJP once more. Left to itself TensorFlow would add the shares
of a cotangent, which loses -0, and would have no second derivative where it should be zeros. Its forward mode asks no
gradient, but differentiates what is computed here: what it takes at 0 and NaN is its own.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from relu_xp import _checks, _dtypes, _formulas
from relu_xp._functions import Function

Array = Any  # a tensorflow.Tensor or Variable


class _Namespace:
    """What the formulas ask of a library; `where` broadcasts, so that one number may stand for a full array."""

    where, zeros_like, ones_like = tf.where, tf.zeros_like, tf.ones_like

    @staticmethod
    def full_like(a: Array, value: float) -> Array:
        """Make a number a tensor; of numbers themselves TensorFlow keeps some, and takes -0 for 0."""
        return tf.constant(np.array(value, a.dtype.as_numpy_dtype))


def owns(x: object) -> bool:
    """Dense tensors, also those of a graph, and variables."""
    return isinstance(x, tf.Tensor | tf.Variable)


def devices() -> list[str]:
    """List the devices, such as CPU:0."""
    return [each.name.removeprefix("/device:") for each in tf.config.list_logical_devices()]


def put(array: Any, device: str) -> Array:
    """Copy a NumPy array to the device so named."""
    with tf.device(device):
        return tf.identity(tf.constant(np.array(array)))


def get(x: Array) -> Any:
    """Copy the tensor to the host."""
    return np.array(x.numpy())


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None) -> Array:
    """Check every argument; compute, or add to the graph that is being traced."""
    _checks.no_out(function, out, "a TensorFlow tensor")
    x, g = arrays[0], arrays[-1]
    dtype, kind = x.dtype.name, _dtypes.kind(x.dtype)
    _checks.dtype(function, dtype, kind, "cast it first, for example tensorflow.cast(x, 'float32')")
    x_shape, shape = _shapes(x, g)
    _checks.alike(function, dtype, x_shape, g.dtype.name, shape)
    numbers, slopes = list[float | None](), list[Array]()
    for each, value in zip(function.parameters, scalars, strict=True):
        if each.may_be_array and owns(value):
            slopes.append(_slope(function, each.name, value, x))
            numbers.append(None)
        else:
            numbers.append(_checks.number(function, each, value, dtype))
    tensors = [tf.convert_to_tensor(a) for a in arrays]
    if not all(a.shape.is_fully_defined() for a in arrays[1:]):  # the rest is seen when the graph runs
        words = f"relu_xp.{function}: x and cotangent must have one shape"
        tf.debugging.assert_equal(*map(tf.shape, tensors), message=words)
    if kind != "f":
        return tf.maximum(tensors[0], tf.zeros((), x.dtype))
    return _differentiable(function, tuple(numbers))(*tensors, *slopes)


def _slope(function: Function, name: str, slope: Array, x: Array) -> Array:
    """A slope for each element of x, by an operation whose gradient sums them again."""
    if _dtypes.kind(slope.dtype) != "f":
        msg = f"relu_xp.{function}: {name} must be real floating, got {slope.dtype.name}; cast it first"
        raise TypeError(msg)
    if slope.shape.is_fully_defined() and x.shape.is_fully_defined():  # else TensorFlow sees when the graph runs
        _checks.broadcasts(function, name, tuple(slope.shape), tuple(x.shape))
    return tf.broadcast_to(tf.cast(slope, x.dtype), tf.shape(x))


def _shapes(x: Array, g: Array) -> tuple[Any, Any]:
    """Both shapes; a size, or a number of dimensions, that one of them does not know yet is as the other has it."""
    if x.shape.rank is None or g.shape.rank is None:
        return None, None
    if x.shape.rank != g.shape.rank:
        return tuple(x.shape), tuple(g.shape)
    return tuple(x.shape), tuple(n if None in (m, n) else m for m, n in zip(g.shape, x.shape, strict=True))


def _differentiable(function: Function, numbers: tuple[float | None, ...]) -> Any:
    """The function of tensors that TensorFlow differentiates as often as it likes; a slope, the last, for a None."""

    @tf.custom_gradient
    def compute(x: Array, *others: Array) -> Any:
        slopes = iter(others[len(function.arrays) - 1 :])
        scalars = [next(slopes) if n is None else n for n in numbers]

        def pull(h: Array) -> Any:
            zero, slope = tf.zeros_like(h), others[len(function.arrays) - 1 :]
            if function.role == "value":
                pulled = _differentiable(function.vjp, numbers)(x, h, *slope)
                return pulled, *[tf.where(x < 0, x * h, zero) for _ in slope]
            if len(function.arrays) == 1:
                return _of_x(function, x, tf.ones_like(h), h), *[tf.where(x >= 0, zero, h) for _ in slope]
            g = others[0]
            if function.role == "slope_vjp":
                return tf.where(x < 0, g * h, zero), tf.where(x < 0, x * h, zero)
            by_g = _differentiable(function, numbers)(x, h, *slope)
            return _of_x(function, x, g, h), by_g, *[tf.where(x >= 0, zero, g * h) for _ in slope]

        arrays = x, *others[: len(function.arrays) - 1]
        return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)]), pull

    return compute


def _of_x(function: Function, x: Array, g: Array, h: Array) -> Array:
    """The second derivative, applied to g and h: zeros, but where a rectifier is no line."""
    return tf.where(x > 0, (g + g) * h, tf.zeros_like(h)) if function.degree == 2 else tf.zeros_like(h)
