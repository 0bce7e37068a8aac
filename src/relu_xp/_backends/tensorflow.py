"""TensorFlow's tensors and variables: the formulas in its own operations, which its tapes, graphs and XLA know.

A schedule of the formulas in one respect, tested bit-identical to them: a derivative is `function.vjp`, by a rule of
`tf.custom_gradient`, and written so that TensorFlow's derivative of it in the cotangent is the VJP again: that is how
forward accumulators, which differentiate what pulls back, get the same bits as tapes.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from relu_xp import _checks, _formulas
from relu_xp._functions import FUNCTIONS, Function

Array = Any  # a tf.Tensor; where it comes from the caller, a tf.Variable too

_KINDS = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "f"),
    **dict.fromkeys(("int8", "int16", "int32", "int64"), "i"),
    **dict.fromkeys(("uint8", "uint16", "uint32", "uint64"), "u"),
}


class _Unknown:
    """The size of a dimension that a graph does not know yet: whatever another array's is."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "None"


class _Namespace:
    """What the formulas call; constants are 0-d tensors, since full ones would cost memory and a pass over it."""

    where = staticmethod(tf.where)
    # By way of NumPy: TensorFlow may hand out a constant that it has made of an equal number, 0.0 for -0.0.
    full_like = staticmethod(lambda x, value: tf.constant(np.asarray(value, x.dtype.as_numpy_dtype)))
    ones_like = staticmethod(lambda x: tf.constant(1, x.dtype))
    zeros_like = staticmethod(lambda x: tf.constant(0, x.dtype))


def owns(x: object) -> bool:
    """Tensors, eager ones and those of a graph, and variables."""
    return isinstance(x, (tf.Tensor, tf.Variable))


_LIBRARY = _checks.Library(
    "a TensorFlow tensor",
    is_array=owns,
    dtype=lambda a: a.dtype.name,
    shape=lambda a: tuple([_Unknown() if n is None else n for n in a.shape]),
    # No device: TensorFlow itself moves what lies on another.
    kind=lambda name: _KINDS.get(name, ""),
    cast="cast it first, for example tensorflow.cast(x, 'float32')",
)
_CASTS = {
    **dict.fromkeys(("complex64", "complex128"), "take tensorflow.math.real(x), or tensorflow.math.imag(x)"),
    "string": "convert it first, for example tensorflow.strings.to_number(x)",
}
_UNRANKED = dataclasses.replace(_LIBRARY, shape=lambda _: ())


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None) -> Array:
    """Check every argument; compute, or add to the graph that is being traced."""
    if isinstance(out, tf.Variable):
        msg = f"relu_xp.{function}: a TensorFlow variable cannot be written to; leave out=None and use out.assign(...)"
        raise TypeError(msg)
    library = _UNRANKED if any(a.shape.rank is None for a in (*arrays, *scalars) if owns(a)) else _LIBRARY
    if cast := _CASTS.get(arrays[0].dtype.name):
        library = dataclasses.replace(library, cast=cast)
    scalars = _checks.call(library, function, arrays, scalars, out)
    x, *others = arrays = tuple(map(tf.convert_to_tensor, arrays))
    scalars = tuple([_slope(s, x) if owns(s) else s for s in scalars])
    if not all(a.shape.is_fully_defined() for a in arrays):
        others = [_shaped(function, a, x) for a in others]
    if _KINDS[x.dtype.name] != "f":
        return _formula(function, (x,), scalars)
    if function.role == "value":
        return _value(function, x, scalars)
    if function.role == "vjp":
        return _product(function, x, others[0], scalars)
    return _linked(x, _by_slope(function, x, *others) if others else _formula(function, (x,), scalars))


def devices() -> list[str]:
    """List the CPU and the accelerators, such as CPU:0."""
    return [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]


def put(array: np.ndarray[Any, Any], device: str) -> Array:
    """Copy a NumPy array to the device so named."""
    with tf.device(device):
        return tf.constant(array)


def get(x: Array) -> np.ndarray[Any, Any]:
    """Copy the tensor to the host."""
    return x.numpy()


def _slope(s: Array, x: Array) -> Array:
    """The slope in the dtype and the shape of x, by operations whose gradient casts back and sums to its own shape."""
    s = tf.cast(s, x.dtype)
    same = s.shape.is_fully_defined() and s.shape == x.shape
    return s if same else tf.broadcast_to(s, tf.shape(x))


def _shaped(function: Function, g: Array, x: Array) -> Array:
    """The cotangent, once a graph that runs has found it to be of the shape of x."""
    text = f"relu_xp.{function}: x and cotangent must have one shape"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.shape(g), text)]):
        return tf.identity(g)


def _formula(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Run the maths; there may be more scalars than it takes."""
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def _value(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    """Compute a value whose derivative, in x and in a slope that is a tensor, the first of the scalars, is its VJP."""

    def value(x: Array, *slopes: Array) -> Any:
        given = (*slopes, *scalars[len(slopes) :])

        def pull(g: Array) -> Any:
            by_x = _product(function.vjp, x, g, given)
            record = FUNCTIONS[f"{function.rectifier}_slope_vjp"] if slopes else None
            return (by_x, _by_slope(record, x, g)) if record else by_x

        return _unseen(function, (x,), given), pull

    return tf.custom_gradient(value)(x, *filter(owns, scalars))


def _product(vjp: Function, x: Array, g: Array, scalars: tuple[Any, ...]) -> Array:
    """Apply a VJP; eagerly its formula, with the derivatives of its linear form, which takes several times as long."""
    if not tf.executing_eagerly():  # where a rule within a rule would break forward accumulators
        return _linked(x, _linear(vjp, x, g, scalars))

    def product(x: Array, g: Array, *slopes: Array) -> Any:
        given = (*slopes, *scalars[len(slopes) :])

        def pull(h: Array) -> Any:
            with tf.GradientTape() as tape:  # which sees nothing where a forward accumulator is: g has its own rule
                tape.watch((x, *slopes))
                result = _linked(x, _linear(vjp, x, g, given))
            by_x, *by_slopes = tape.gradient(result, (x, *slopes), h)
            return by_x, _product(vjp, x, h, given), *by_slopes

        return _unseen(vjp, (x, g), given), pull

    return tf.custom_gradient(product)(x, g, *filter(owns, scalars))


def _unseen(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...]) -> Array:
    """Run the maths apart from a rule: a forward accumulator would go by the tangents of its operations instead."""
    if not tf.executing_eagerly():
        return _formula(function, arrays, scalars)  # within a graph it knows no rule, and has nothing but those
    scalars = tuple([tf.stop_gradient(s) if owns(s) else s for s in scalars])
    return _formula(function, tuple(map(tf.stop_gradient, arrays)), scalars)


def _by_slope(function: Function, x: Array, g: Array) -> Array:
    g = tf.where(x < 0, g, tf.constant(0, x.dtype))  # so that no NaN of x is left in what is linear in g
    return _formula(function, (x, g), ())


def _linear(vjp: Function, x: Array, g: Array, scalars: tuple[Any, ...]) -> Array:
    """Run a VJP's formula as operations of whose derivative in g, that of a forward accumulator, it is again the VJP.

    The formula says what becomes of ones: 0 where g is dropped, 1 where it passes whole, else the factor. TensorFlow
    adds what it gets for the two parts: where one takes no part it is a zero, which negated on either side is -0, and
    that leaves every number as it is, -0 too.
    """
    pairs = [*zip(vjp.scalars, scalars, strict=True)]
    if vjp.compares and all(p.above_zero or (not p.may_be_array and s in (0, 1)) for p, s in pairs):
        return _formula(vjp, (x, g), scalars)  # where g takes part once
    zero, one = tf.constant(0, x.dtype), tf.constant(1, x.dtype)
    factor = _formula(vjp, (x, one), scalars)
    if not vjp.compares:  # the factor is itself a function of x, with a derivative of its own
        return tf.where(factor != 0, factor * g, zero)
    # A slope is a factor whatever its value, be it 0 or 1; so it is told from both by another.
    probe = _formula(vjp, (x, one), tuple([2.0 if p.may_be_array else s for p, s in pairs]))
    whole = probe == 1
    passed, product = -tf.where(whole, -g, zero), -(factor * tf.where(whole, zero, -g))
    return tf.where(probe != 0, tf.where(whole, passed, product), zero)


def _linked(x: Array, result: Array) -> Array:
    """Let a derivative depend on x as far as TensorFlow knows, so that a second one is zeros, not None."""
    return tf.where(tf.constant(False), x, result)
