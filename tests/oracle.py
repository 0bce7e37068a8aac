"""The verifier's expected values, and an assertion on them."""

import ml_dtypes
import numpy as np

from relu_xp.verify import FUNCTIONS, expected, same_bits
from relu_xp.verify._cases import GRADS_AT_ZERO, SLOPES
from relu_xp.verify._expected import patterns, rounded

__all__ = ["FLOATS", "FUNCTIONS", "GRADS_AT_ZERO", "SLOPES", "assert_same", "expected", "patterns", "rounded"]

FLOATS = tuple(np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))


def assert_same(got, want, context=""):
    """Same dtype, shape and bits; NaN equals NaN."""
    assert got.dtype == want.dtype, context
    assert got.shape == want.shape, context
    if got.dtype == np.longdouble:  # its padding bytes mean nothing
        alike = ((got == want) & (np.signbit(got) == np.signbit(want))) | (np.isnan(got) & np.isnan(want))
    else:
        alike = same_bits(got, want)
    assert alike.all(), f"{context}: {(~alike).sum()} wrong, first got {got[~alike][:3]}, want {want[~alike][:3]}"
