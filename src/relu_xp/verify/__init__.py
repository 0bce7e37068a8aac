"""Holds every backend of this machine against the scalar definition, bit for bit."""

from relu_xp.verify._cases import DTYPES, FLOATS, dtypes
from relu_xp.verify._engine import Tally, assert_conforms, sweep, verify
from relu_xp.verify._expected import expected, same_bits

__all__ = [
    "DTYPES",
    "FLOATS",
    "Tally",
    "assert_conforms",
    "dtypes",
    "expected",
    "same_bits",
    "sweep",
    "verify",
]
