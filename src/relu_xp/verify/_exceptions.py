"""The known deviations from bit-exactness, as data: where each is, and exactly what it allows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relu_xp._functions import Function
from relu_xp._survey import Target
from relu_xp.verify._expected import Array, Scalars, expected, rounded, same_bits, widened

# (function, arrays, scalars, got, want) of elements that differ -> a mask of those it explains.
Explains = Callable[[Function, tuple[Array, ...], Scalars, Array, Array], Array]


@dataclass(frozen=True)
class KnownDeviation:
    """Something that a library does, and no backend of ours can undo."""

    name: str
    library: str
    platforms: tuple[str, ...]
    dtypes: tuple[str, ...]
    explains: Explains
    runtime: str = ""  # only of programs that another library runs


def deviations(target: Target, dtype: str, runtime: str = "") -> list[KnownDeviation]:
    """The known deviations at a target, in a dtype, of its own calls or of a runtime's programs."""
    return [
        each
        for each in DEVIATIONS
        if each.library == target.name
        and target.where.lower().startswith(each.platforms)
        and dtype in each.dtypes
        and each.runtime in ("", runtime)
    ]


def flushed(
    function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array, want: Array
) -> Array:
    """Where subnormals that are read or written as zeros explain the result.

    The smallest normal number counts among them: a product may have been rounded up to it.
    """
    import ml_dtypes

    dtype = want.dtype
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)

    def tiny(array: Array) -> Array:
        size = np.abs(widened(array))
        return (size > 0) & (size <= smallest)

    def flush(array: Array) -> Array:
        wide = widened(array)
        return np.where(np.abs(wide) < smallest, np.copysign(0.0, wide), wide).astype(dtype)

    held = {each.name: rounded(scalars[each.name], dtype) for each in function.scalars}
    flat = {name: flush(value) for name, value in held.items()}
    touched = tiny(want)
    for each in (*arrays, *held.values()):
        touched = touched | tiny(each)
    x, *cotangent = arrays
    fits = np.zeros(want.shape, bool)
    for read in (arrays, (flush(x), *cotangent), tuple(flush(a) for a in arrays)):
        for given in (held, flat):
            candidate = expected(function, read, given)
            fits |= same_bits(flush(got), flush(candidate))
            # XLA flushes a product before it would be rounded up to the smallest normal.
            fits |= (np.abs(widened(candidate)) == smallest) & (widened(got) == 0)
    return touched & fits


def _unsigned_zero(
    function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array, want: Array
) -> Array:
    """Where +0 stands for a -0 that was selected; not where a value function hands on x = -0.0."""
    lost = (want == 0) & np.signbit(want) & (got == 0) & ~np.signbit(got)
    return lost & ~((arrays[0] == 0) & (function.role == "value"))


def _kept_zero(
    function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array, want: Array
) -> Array:
    """Where x = -0.0 itself stands for +0."""
    return (arrays[0] == 0) & (want == 0) & ~np.signbit(want) & (got == 0) & np.signbit(got)


DEVIATIONS = (
    KnownDeviation(
        name="ONNX's Relu and Clip keep -0",
        library="torch",
        platforms=("",),
        dtypes=("float32",),
        explains=_kept_zero,
        runtime="onnxruntime",
    ),
    KnownDeviation(
        name="XLA flushes subnormals",
        library="jax",
        platforms=("cpu", "tpu"),
        dtypes=("float32", "bfloat16", "float64"),
        explains=flushed,
    ),
    KnownDeviation(
        name="TensorFlow flushes subnormals",
        library="tensorflow",
        platforms=("cpu",),
        dtypes=("float32", "bfloat16", "float64"),
        explains=flushed,
    ),
    KnownDeviation(
        name="onnxruntime's Where gives +0 for -0",
        library="ndonnx",
        platforms=("cpu",),
        dtypes=("float16", "float32", "float64"),
        explains=_unsigned_zero,
    ),
)
