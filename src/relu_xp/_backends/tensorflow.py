"""TensorFlow's tensors and variables: its own kernels where they are right, the formulas elsewhere.

A schedule of the formulas in two respects, tested bit-identical to them: see `_tensorflow_kernels`;
and a derivative is `function.vjp`. Eagerly the tape is told so, since a call of
`tf.custom_gradient` takes as long as eight kernels; in a graph the latter costs nothing that runs.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record  # private: no public name tells whether there is a tape

from relu_xp import _checks
from relu_xp._backends._tensorflow_kernels import by_slope, compute, formula
from relu_xp._functions import Function
from relu_xp._plans import Plans, bits

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


def owns(x: object) -> bool:
    """Tensors, eager ones and those of a graph, and variables."""
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


_LIBRARY = _checks.Library(
    "a TensorFlow tensor",
    is_array=owns,
    dtype=lambda a: a.dtype.name,
    shape=lambda a: tuple([_Unknown() if n is None else n for n in a.shape]),
    # No device: TensorFlow itself moves what lies on another.
    kind=lambda name: _KINDS.get(name, ""),
    cast="cast it first, for example tensorflow.cast(x, 'float32')",
    make="tensorflow.convert_to_tensor({}, x.dtype)",
)
_CASTS = {
    **dict.fromkeys(
        ("complex64", "complex128"), "take tensorflow.math.real(x), or tensorflow.math.imag(x)"
    ),
    "string": "convert it first, for example tensorflow.strings.to_number(x)",
}
_UNRANKED = dataclasses.replace(_LIBRARY, shape=lambda _: ())
_plans = Plans()  # by function, dtype and bits of the numbers: these, rounded, and what computes


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any
) -> Array:
    """Check every argument; compute, or add to the graph that is being traced."""
    key, eager = (function, arrays[0].dtype, bits(scalars)), tf.executing_eagerly()
    plan = _plans.get(key) if eager and out is None and _alike(*arrays) else None
    if plan is None:
        rounded = _check(function, arrays, scalars, out)
        plan = rounded, compute if _KINDS[arrays[0].dtype.name] == "f" else formula
        if key[-1] is not None:
            _plans.keep(key, plan)
    rounded, run = plan
    if run is formula or (eager and key[-1] is not None and not record.could_possibly_record()):
        return run(function, arrays, rounded)
    x, *others = map(tf.convert_to_tensor, arrays)
    rounded = tuple([_slope(s, x) if owns(s) else s for s in rounded])
    if not all(a.shape.is_fully_defined() for a in arrays):
        others = [_shaped(function, a, x) for a in others]
    if function.role == "value":
        return _recorded(function, x, rounded)
    return _linked(x, compute(function, (x, *others), rounded))


def _alike(x: Array, *others: Array) -> bool:
    return not others or (x.dtype == others[0].dtype and x.shape == others[0].shape)


def _check(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Any
) -> tuple[Any, ...]:
    if isinstance(out, tf.Variable):
        msg = f"relu_xp.{function}: a TensorFlow variable cannot be written to; leave out=None and use out.assign(...)"
        raise TypeError(msg)
    library = (
        _UNRANKED if any(a.shape.rank is None for a in (*arrays, *scalars) if owns(a)) else _LIBRARY
    )
    if cast := _CASTS.get(arrays[0].dtype.name):
        library = dataclasses.replace(library, cast=cast)
    return _checks.call(library, function, arrays, scalars, out)


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
    s = tf.cast(tf.convert_to_tensor(s), x.dtype)
    same = s.shape.is_fully_defined() and s.shape == x.shape
    return s if same else tf.broadcast_to(s, tf.shape(x))


def _shaped(function: Function, g: Array, x: Array) -> Array:
    """The cotangent, once a graph that runs has found it to be of the shape of x."""
    text = f"relu_xp.{function}: x and cotangent must have one shape"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x), tf.shape(g), text)]):
        return tf.identity(g)


def _recorded(function: Function, x: Array, scalars: tuple[Any, ...]) -> Array:
    """Compute a value whose derivative, in x and in a slope that is a tensor, is its VJP."""
    slopes = [s for s in scalars if owns(s)]

    def pull(g: Array) -> list[Array]:
        by_x = _linked(x, compute(function.vjp, (x, g), scalars))
        return [by_x, *(by_slope(x, g) for _ in slopes)]

    if not tf.executing_eagerly():
        return tf.custom_gradient(lambda x, *_: (compute(function, (x,), scalars), pull))(
            x, *slopes
        )
    if not record.could_possibly_record():
        return compute(function, (x,), scalars)
    with record.stop_recording():  # a forward accumulator would go by the kernels' tangents
        y = compute(function, (x,), scalars)
    record.record_operation(function.name, [y], [x, *slopes], pull)
    return y


def _linked(x: Array, result: Array) -> Array:
    """Let a derivative depend on x as far as TensorFlow knows: a second one is zeros, not None."""
    if tf.executing_eagerly() and not record.could_possibly_record():
        return result
    return tf.custom_gradient(lambda x, result: (result, lambda g: (tf.zeros_like(x), g)))(
        x, result
    )
