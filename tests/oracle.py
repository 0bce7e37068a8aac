"""Expected values, from the scalar reference element by element, rounded once by search: no code of the backends."""

import functools
import math

import ml_dtypes
import numpy as np

from relu_xp import reference

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))
SLOPES = (0.01, 0.0, 1.0, 2.0, -0.5)
GRADS_AT_ZERO = (1.0, 0.0, 0.5)
FUNCTIONS = ("relu", "relu_grad", "relu_vjp", "leaky_relu", "leaky_relu_grad", "leaky_relu_vjp")

# XLA flushes subnormals on these platforms and dtypes: the one exception to bit-exactness.
FLUSHING = {
    ("jax", "cpu"): ("float32", "bfloat16", "float64"),
    ("jax", "tpu"): ("float32", "bfloat16", "float64"),
}


def same_bits(got, want):
    """Where elements are alike to the bit, zero signs included."""
    if got.dtype == np.longdouble:  # its padding bytes mean nothing
        return (got == want) & (np.signbit(got) == np.signbit(want))
    unsigned = f"u{got.dtype.itemsize}"
    return np.ascontiguousarray(got).view(unsigned) == np.ascontiguousarray(want).view(unsigned)


def isnan(array):
    """Like numpy.isnan, for ml_dtypes without a warning."""
    return array != array if array.dtype.kind == "f" else np.isnan(array.astype(np.float64))


def patterns(dtype):
    """Every bit pattern of an 8- or 16-bit type."""
    count = 2 ** (8 * dtype.itemsize)
    return np.arange(count, dtype=f"u{dtype.itemsize}").view(dtype)


@functools.cache
def _values(dtype):
    """All finite nonnegative values of an 8- or 16-bit type in order, and their bits."""
    with np.errstate(all="ignore"):
        wide = patterns(dtype).astype(np.float64)
    keep = np.flatnonzero(np.isfinite(wide) & ~np.signbit(wide))
    return wide[keep], keep


def rounded(values, dtype):
    """Binary64 values to the nearest of dtype, ties to the even pattern: a search among all of its values."""
    values = np.asarray(values, np.float64)
    if dtype.itemsize > 2:
        with np.errstate(all="ignore"):
            return values.astype(dtype)
    known, pattern = _values(dtype)
    size = np.abs(values)
    above = np.clip(np.searchsorted(known, size), 1, len(known) - 1)
    low, high = known[above - 1], known[above]
    with np.errstate(all="ignore"):
        up = (size - low > high - size) | ((size - low == high - size) & (pattern[above] % 2 == 0))
        chosen = np.where(up, high, low)
        limit = known[-1] + (known[-1] - known[-2]) / 2
        chosen = np.where(size >= limit, np.inf, np.where(np.isnan(size), np.nan, chosen))
        return np.copysign(chosen, values).astype(dtype)


def expected(function, dtype, arrays, slope, grad_at_zero):
    """What the definition gives, with the scalars rounded to dtype first and the result once."""
    options = {"grad_at_zero": float(rounded(grad_at_zero, dtype))}
    if function.startswith("leaky"):
        options["negative_slope"] = float(rounded(slope, dtype))
    define = functools.partial(getattr(reference, function), **options)
    with np.errstate(all="ignore"):
        lists = [np.asarray(a).astype(np.float64).ravel().tolist() for a in arrays]
    flat = [define(*values) for values in zip(*lists, strict=True)]
    return rounded(flat, dtype).reshape(np.shape(arrays[0]))


def assert_same(got, want, context=""):
    """Same dtype, shape and bits; NaN equals NaN."""
    assert got.dtype == want.dtype, context
    assert got.shape == want.shape, context
    wrong = ~(same_bits(got, want) | (isnan(got) & isnan(want)))
    assert not wrong.any(), f"{context}: {wrong.sum()} wrong, first got {got[wrong][:3]}, want {want[wrong][:3]}"


def assert_same_but_flushed(function, arrays, slope, grad_at_zero, got, want):
    """As assert_same, but where a subnormal or the smallest normal takes part: there what a flushing machine gives.

    Such a machine may read a subnormal input as zero and write a subnormal result as zero, and nothing else.
    """
    dtype = want.dtype
    info = ml_dtypes.finfo(dtype)
    smallest = float(info.smallest_normal)

    def tiny(array):
        size = np.abs(array.astype(np.float64))
        return (size > 0) & (size <= smallest)

    def flush(array):
        wide = array.astype(np.float64)
        return np.where(np.abs(wide) < smallest, np.copysign(0.0, wide), wide).astype(dtype)

    with np.errstate(all="ignore"):
        allowed = tiny(want) | np.logical_or.reduce([tiny(a) for a in arrays])
        for scalar in (slope, grad_at_zero):
            allowed |= tiny(rounded(scalar, dtype))
        x, *cotangent = arrays
        readings = (arrays, [flush(x), *cotangent], [flush(a) for a in arrays])
        candidates = [expected(function, dtype, read, slope, grad_at_zero) for read in readings]
        fits = np.zeros(want.shape, bool)
        for candidate in candidates:
            fits |= same_bits(flush(got), flush(candidate)) | (isnan(got) & isnan(candidate))
            fits |= (np.abs(candidate.astype(np.float64)) == smallest) & (got.astype(np.float64) == 0)
    assert_same(got[~allowed], want[~allowed], f"{function} {dtype} slope={slope} grad_at_zero={grad_at_zero}")
    assert fits.all(), f"{function} {dtype}: not even flushing explains x={arrays[0][~fits][:3]}, got {got[~fits][:3]}"


def samples(dtype, seed=0):
    """Specials, every power of two with its neighbours, and random bits, subnormals among all of them."""
    info = np.finfo(dtype)
    powers = np.exp2(np.arange(info.minexp - info.nmant, info.maxexp, dtype=np.float64)).astype(dtype)
    specials = [0.0, 1.0, info.tiny, info.smallest_subnormal, info.max, np.inf, np.nan, math.pi, 0.01, 3.0]
    positive = np.concatenate([np.array(specials, dtype), powers, np.nextafter(powers, dtype.type(np.inf))])
    noise = np.frombuffer(np.random.default_rng(seed).bytes(4096 * dtype.itemsize), f"u{dtype.itemsize}").view(dtype)
    with np.errstate(all="ignore"):  # random bits hold signalling NaNs
        return np.concatenate([positive, -positive, np.where(np.isnan(noise), dtype.type(np.nan), noise)])
