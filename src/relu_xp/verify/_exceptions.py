"""The named exceptions to bit-exactness, as data: whose each is, where, and exactly what it allows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from relu_xp._machine import Target
from relu_xp.verify._cases import FUNCTIONS
from relu_xp.verify._expected import Array, expected, isnan, rounded, same_bits, widened

# (function, inputs, slope, grad_at_zero, got, want) of the elements that differ -> which of them it explains.
Explains = Callable[[str, tuple[Array, ...], float, float, Array, Array], Array]


@dataclass(frozen=True)
class KnownDeviation:
    """Something a library does that no backend of ours can undo."""

    name: str
    library: str
    platforms: tuple[str, ...]
    dtypes: tuple[str, ...]
    functions: tuple[str, ...]
    explains: Explains


def exceptions(target: Target, dtype: str, function: str) -> list[KnownDeviation]:
    """Those that hold for a function and dtype at a target: none on a platform that is not named."""
    return [
        each
        for each in EXCEPTIONS
        if each.library == target.name
        and target.where.lower().startswith(each.platforms)
        and dtype in each.dtypes
        and function in each.functions
    ]


def flushed(
    function: str, arrays: tuple[Array, ...], slope: float, grad_at_zero: float, got: Array, want: Array
) -> Array:
    """Whether a subnormal, or the smallest normal, takes part, and reading or writing it as zero gives what was got."""
    import ml_dtypes

    dtype = want.dtype
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)

    def tiny(array: Array) -> Array:
        size = np.abs(widened(array))
        return (size > 0) & (size <= smallest)

    def flush(array: Array) -> Array:
        wide = widened(array)
        return np.where(np.abs(wide) < smallest, np.copysign(0.0, wide), wide).astype(dtype)

    touched = tiny(want) | np.logical_or.reduce([tiny(a) for a in arrays])
    scalars = (slope, grad_at_zero)
    touched |= any(bool(tiny(rounded(scalar, dtype))) for scalar in scalars)
    flat = [float(widened(flush(rounded(scalar, dtype)))) for scalar in scalars]
    x, *cotangent = arrays
    fits = np.zeros(want.shape, bool)
    for read in (arrays, (flush(x), *cotangent), tuple(flush(a) for a in arrays)):
        for s, z in (scalars, flat):
            candidate = expected(function, read, s, z)
            fits |= same_bits(flush(got), flush(candidate))
            # rounding up to the smallest normal comes too late: what it rounds was flushed
            fits |= (np.abs(widened(candidate)) == smallest) & (widened(got) == 0)
    return touched & fits


def _unsigned_zero(
    function: str, arrays: tuple[Array, ...], slope: float, grad_at_zero: float, got: Array, want: Array
) -> Array:
    """Whether both are zeros, of different sign, where a -0 was selected: of the cotangents, or a scalar."""
    if function != "relu_vjp" and not any(scalar == 0 and np.signbit(scalar) for scalar in (slope, grad_at_zero)):
        return np.zeros(want.shape, bool)
    return (widened(got) == 0) & (widened(want) == 0) & ~isnan(got)


EXCEPTIONS = (
    KnownDeviation(
        name="XLA flushes subnormals",
        library="jax",
        platforms=("cpu", "tpu"),
        dtypes=("float32", "bfloat16", "float64"),
        functions=FUNCTIONS,
        explains=flushed,
    ),
    KnownDeviation(
        name="onnxruntime's Where gives +0 for -0",
        library="ndonnx",
        platforms=("cpu",),
        dtypes=("float16", "float32", "float64"),
        functions=("leaky_relu", "relu_grad", "leaky_relu_grad", "relu_vjp"),
        explains=_unsigned_zero,
    ),
)
