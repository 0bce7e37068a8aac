"""Holds every backend of this machine against the scalar definition, bit for bit."""

from relu_xp.verify._cases import DTYPES, FLOATS, FUNCTIONS, Case, cases, dtypes
from relu_xp.verify._engine import Mismatch, Tally, assert_conforms, check, sweep, verify
from relu_xp.verify._expected import expected, same_bits

__all__ = [
    "DTYPES",
    "FLOATS",
    "FUNCTIONS",
    "Case",
    "Mismatch",
    "Tally",
    "assert_conforms",
    "cases",
    "check",
    "dtypes",
    "expected",
    "same_bits",
    "sweep",
    "verify",
]
