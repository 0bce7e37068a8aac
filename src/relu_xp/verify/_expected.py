"""Expected values: the scalar definition rounded once, by a route that shares no code with any backend.

For types of 8 and 16 bits the definition itself, value by value, its results rounded by a search among all the values
of the type. For wider ones a form in the elements' bits, whose products are binary64 products, which for binary32 are
exact before they are rounded; the tests hold it against the definition.
"""

import functools
from typing import Any

import numpy as np

from relu_xp import reference

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]


def expected(function: str, arrays: tuple[Array, ...], slope: float, grad_at_zero: float) -> Array:
    """What the definition gives for x, or for x and a cotangent, in their dtype."""
    with np.errstate(all="ignore"):
        if arrays[0].dtype.kind in "iu":
            return np.maximum(arrays[0], 0)  # relu of integers, on which all agree
        s, z = (rounded(scalar, arrays[0].dtype) for scalar in (slope, grad_at_zero))
        by = _by_definition if arrays[0].dtype.itemsize <= 2 else _by_bits
        return by(function, arrays, s, z)


def same_bits(got: Array, want: Array) -> Array:
    """Where elements are alike to the bit, zero signs included; NaN equals NaN."""
    return (_bits(got) == _bits(want)) | (isnan(got) & isnan(want))


def isnan(array: Array) -> Array:
    """Like numpy.isnan, for ml_dtypes and integers too, without a warning."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 1:
        return np.isnan(array)
    if array.dtype.kind in "iu":
        return np.zeros(array.shape, bool)
    return np.isnan(widened(array))


def widened(array: Array) -> Array:
    """In binary64, exactly; signalling NaNs without a warning."""
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64)


def patterns(dtype: DType) -> Array:
    """Every bit pattern of a type of 8 or 16 bits."""
    return np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)


def rounded(values: Any, dtype: DType) -> Array:
    """Binary64 values to the nearest of dtype, ties to the even pattern."""
    values = np.asarray(values, np.float64)
    if dtype.itemsize > 2:
        return values.astype(dtype)  # to binary32 or binary64, by the processor
    known, pattern = _nonnegative(dtype)
    size = np.abs(values)
    above = np.clip(np.searchsorted(known, size), 1, len(known) - 1)
    low, high = known[above - 1], known[above]
    up = (size - low > high - size) | ((size - low == high - size) & (pattern[above] % 2 == 0))
    nearest = np.where(up, high, low)
    beyond = known[-1] + (known[-1] - known[-2]) / 2  # from here on, past the largest by half a step
    nearest = np.where(size >= beyond, np.inf, np.where(np.isnan(size), np.nan, nearest))
    return np.copysign(nearest, values).astype(dtype)


@functools.cache
def _nonnegative(dtype: DType) -> tuple[Array, Array]:
    """All finite values of a small type that are not negative, in order, and their patterns."""
    wide = widened(patterns(dtype))
    keep = np.flatnonzero(np.isfinite(wide) & ~np.signbit(wide))
    return wide[keep], keep


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def _by_definition(function: str, arrays: tuple[Array, ...], s: Array, z: Array) -> Array:
    scalars = {"grad_at_zero": float(z)}
    if function.startswith("leaky"):
        scalars["negative_slope"] = float(s)
    define = functools.partial(getattr(reference, function), **scalars)
    columns = (widened(a).ravel().tolist() for a in arrays)
    results = [define(*row) for row in zip(*columns, strict=True)]
    return rounded(results, arrays[0].dtype).reshape(arrays[0].shape)


def _by_bits(function: str, arrays: tuple[Array, ...], s: Array, z: Array) -> Array:
    """The definition's branches, taken by the bits of x: an integer above that of infinity is a NaN."""
    x, dtype = arrays[0], arrays[0].dtype
    g = arrays[-1]
    word = np.dtype(f"u{dtype.itemsize}").type
    sign = word(1) << word(8 * dtype.itemsize - 1)
    pattern = _bits(x)
    magnitude = pattern & ~sign
    zero, nan = magnitude == 0, magnitude > _bits(np.array(np.inf, dtype))
    negative = (pattern >= sign) & ~zero & ~nan
    positive = (pattern < sign) & ~zero & ~nan

    if function == "relu":
        result = np.where(negative | zero, word(0), pattern)
    elif function == "leaky_relu":
        result = np.where(negative, _bits(_product(s, x)), pattern)
    elif function.endswith("grad"):
        rest = s if function.startswith("leaky") else np.array(0, dtype)
        result = np.where(positive, _bits(np.array(1, dtype)), np.where(zero, _bits(z), _bits(rest)))
    else:
        rest = _bits(_product(s, g)) if function.startswith("leaky") else word(0)
        share = _bits(g) if z == 1 else word(0) if z == 0 else _bits(_product(z, g))
        result = np.where(positive, _bits(g), np.where(zero, share, rest))
    return result.astype(word, copy=False).view(dtype)


def _product(factor: Array, array: Array) -> Array:
    return (widened(factor) * widened(array)).astype(array.dtype)
