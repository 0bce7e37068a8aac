"""TensorFlow's tensors and variables: its own kernels where they are right, else the formulas.

The formulas on another schedule, tested bit-identical to them. It differs in two respects:

- `_tensorflow_kernels` uses kernels of TensorFlow's.
- The derivative of a value is `function.vjp`. Eagerly this backend records that on the tape itself,
  since a call of `tf.custom_gradient` takes as long as eight kernels. In a graph it uses
  `tf.custom_gradient`, which costs nothing when the graph runs.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record  # private: no public name tells whether there is a tape

from relu_xp import _checks, _dtypes
from relu_xp._backends._tensorflow_kernels import by_slope, compute, formula
from relu_xp._functions import Function
from relu_xp._plans import Plans, bits

Array = Any  # a tf.Tensor; where it comes from the caller, a tf.Variable too


class _Unknown:
    """The size of a dimension that a graph does not know yet; it equals any other size."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "None"


def owns(x: object) -> bool:
    """Whether x is a tensor, eager or of a graph, or a variable."""
    return isinstance(x, (tf.Tensor, tf.Variable))


def advice(function: Function, name: str, x: Any) -> str | None:
    """Say what to do about a ragged tensor, a sparse one, or the slices of a gradient."""
    if hasattr(x, "flat_values"):
        given = f"relu_xp.{function}, {', '.join(function.arrays)}"
        return f"pass it on, for example tensorflow.ragged.map_flat_values({given})"
    if hasattr(x, "dense_shape"):
        dense = "sparse.to_dense" if hasattr(x, "with_values") else "convert_to_tensor"
        return f"convert it first, for example tensorflow.{dense}({name})"
    return None


_PARTS = "take tensorflow.math.real(x), or tensorflow.math.imag(x)"
_LIBRARY = _checks.Library(
    "a TensorFlow tensor",
    is_array=owns,
    dtype=lambda a: a.dtype.name,
    shape=lambda a: tuple([_Unknown() if n is None else n for n in a.shape]),
    # No device is compared: TensorFlow itself copies tensors from other devices.
    kind=lambda name: _dtypes.COMMON.get(name, ""),
    cast="cast it first, for example tensorflow.cast(x, 'float32')",
    casts={
        "complex64": _PARTS,
        "complex128": _PARTS,
        "string": "convert it first, for example tensorflow.strings.to_number(x)",
    },
    make="tensorflow.convert_to_tensor({}, x.dtype)",
)
_UNRANKED = dataclasses.replace(_LIBRARY, shape=lambda _: ())  # compares no shapes
# Plans of earlier calls: the rounded scalars, and what computes. Key: (function, dtype, bits).
_plans = Plans()


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any
) -> Array:
    """Check every argument; compute, or add to the graph that is being traced."""
    key, is_eager = (function, arrays[0].dtype, bits(scalars)), tf.executing_eagerly()
    plan = _plans.get(key) if is_eager and out is None and _are_alike(*arrays) else None
    if plan is None:
        rounded = _check(function, arrays, scalars, out)
        plan = rounded, compute if _dtypes.COMMON[arrays[0].dtype.name] == "f" else formula
        if key[-1] is not None:
            _plans.keep(key, plan)
    rounded, computing = plan
    is_recorded = not is_eager or record.could_possibly_record()
    # Integers, which the formula computes, have no derivative. Where the scalars have no bits, the
    # slope may be a tensor, which is cast below.
    if computing is formula or (key[-1] is not None and not is_recorded):
        return computing(function, arrays, rounded)
    x, *others = map(tf.convert_to_tensor, arrays)
    rounded = tuple([_broadcast_slope(s, x) if owns(s) else s for s in rounded])
    if not all(a.shape.is_fully_defined() for a in arrays):
        others = [_with_shape_check(function, a, x) for a in others]
    if function.role == "value":
        return _value(function, x, rounded)
    return _depending_on(x, compute(function, (x, *others), rounded))


def _are_alike(x: Array, *others: Array) -> bool:
    return not others or (x.dtype == others[0].dtype and x.shape == others[0].shape)


def _check(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any
) -> tuple[Any, ...]:
    if isinstance(out, tf.Variable):
        msg = (
            f"relu_xp.{function}: a TensorFlow variable cannot be written to; "
            "leave out=None and use out.assign(...)"
        )
        raise TypeError(msg)
    is_unranked = any(a.shape.rank is None for a in (*arrays, *scalars) if owns(a))
    return _checks.call(_UNRANKED if is_unranked else _LIBRARY, function, arrays, scalars, out)


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


def _broadcast_slope(s: Array, x: Array) -> Array:
    """Cast a slope to the dtype of x, and broadcast it to the shape of x.

    TensorFlow's gradient of these operations sums to the slope's own shape, and casts back.
    """
    s = tf.cast(tf.convert_to_tensor(s), x.dtype)
    has_shape = s.shape.is_fully_defined() and s.shape == x.shape
    return s if has_shape else tf.broadcast_to(s, tf.shape(x))


def _with_shape_check(function: Function, g: Array, x: Array) -> Array:
    """Let the graph compare the shapes of the cotangent and x when it runs."""
    text = f"relu_xp.{function}: x and cotangent must have the same shape"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.shape(g), text)]):
        return tf.identity(g)


def _value(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    """Compute a value whose gradient is the VJP, in x, and in a slope that is a tensor."""
    slopes = [s for s in scalars if owns(s)]

    def gradients(g: Array) -> list[Array]:
        by_x = _depending_on(x, compute(function.vjp, (x, g), scalars))
        return [by_x, *(by_slope(x, g) for _ in slopes)]

    if not tf.executing_eagerly():
        return tf.custom_gradient(lambda x, *_: (compute(function, (x,), scalars), gradients))(
            x, *slopes
        )
    if not record.could_possibly_record():
        return compute(function, (x,), scalars)
    # If a forward accumulator saw the kernels, it would take their own tangents.
    with record.stop_recording():
        y = compute(function, (x,), scalars)
    record.record_operation(function.name, [y], [x, *slopes], gradients)
    return y


def _depending_on(x: Array, result: Array) -> Array:
    """Return the result with a gradient of zeros in x, not None: the second derivative is 0."""
    if tf.executing_eagerly() and not record.could_possibly_record():
        return result
    return tf.custom_gradient(lambda x, result: (result, lambda g: (tf.zeros_like(x), g)))(
        x, result
    )
