"""Expected values for tests, an assertion on them, and calls of functions by their records."""

import functools

import ml_dtypes
import numpy as np

import relu_xp
from relu_xp import _functions, verify
from relu_xp.verify import same_bits
from relu_xp.verify._cases import SCALARS
from relu_xp.verify._expected import patterns, rounded

__all__ = [
    "FLOATS", "FUNCTIONS", "GRADS_AT_ZERO", "RECORDS", "SLOPED", "SLOPES", "arrays_of",
    "assert_same", "call", "expected", "overflows", "patterns", "rectifiers", "rounded",
    "scalars_of",
]  # fmt: skip

RECORDS = tuple(_functions.FUNCTIONS.values())
FUNCTIONS = tuple(_functions.FUNCTIONS)
SLOPED = [each.name for each in RECORDS if any(scalar.may_be_array for scalar in each.parameters)]
SLOPES, GRADS_AT_ZERO = SCALARS["negative_slope"], SCALARS["grad_at_zero"]
FLOATS = tuple(np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))


def expected(function, arrays, negative_slope=0.01, grad_at_zero=1.0, **scalars):
    """What the definition gives; scalars that are not named have their defaults."""
    record = _functions.FUNCTIONS[str(function)]
    given = {"negative_slope": negative_slope, "grad_at_zero": grad_at_zero, **scalars}
    return verify.expected(record, tuple(arrays), {**record.named(record.defaults), **given})


def arrays_of(function, *arrays):
    """As many arrays as the function takes; if only x is given, it is the cotangent too."""
    return (*arrays, arrays[0])[: len(_functions.FUNCTIONS[str(function)].arrays)]


def call(function, *arrays, **options):
    """Call the public function on as many of these arrays as it takes."""
    return getattr(relu_xp, str(function))(*arrays_of(function, *arrays), **options)


def scalars_of(function, **given):
    """Choose the scalars that the function takes."""
    return {
        each.name: given[each.name]
        for each in _functions.FUNCTIONS[str(function)].parameters
        if each.name in given
    }


def overflows(function, x, cotangent, **scalars):
    """Whether the result of these float32 numbers is infinite."""
    arrays = arrays_of(function, np.float32([x]), np.float32([cotangent]))
    return bool(np.isinf(expected(function, arrays, **scalars)).all())


def rectifiers(**scalars):
    """Each value function with its VJP, both with the scalars that they take."""
    for record in RECORDS:
        if record.role == "value":
            given = scalars_of(record, **scalars)
            yield tuple(
                functools.partial(getattr(relu_xp, each.name), **given)
                for each in (record, record.vjp)
            )


def assert_same(got, want, context=""):
    """Same dtype, shape and bits; NaN equals NaN."""
    assert got.dtype == want.dtype, context
    assert got.shape == want.shape, context
    if got.dtype == np.longdouble:  # its padding bytes mean nothing
        alike = ((got == want) & (np.signbit(got) == np.signbit(want))) | (
            np.isnan(got) & np.isnan(want)
        )
    else:
        alike = same_bits(got, want)
    assert alike.all(), (
        f"{context}: {(~alike).sum()} wrong, first got {got[~alike][:3]}, want {want[~alike][:3]}"
    )
