"""Compares every backend of this machine, or a kernel, with the scalar definition, bit for bit."""

from relu_xp.verify._cases import DTYPES, FLOATS, dtypes
from relu_xp.verify._engine import Tally, assert_conforms, sweep, verify
from relu_xp.verify._expected import expected, same_bits
from relu_xp.verify._kernels import Fault, Report, assert_computes, check

__all__ = [
    "DTYPES",
    "FLOATS",
    "Fault",
    "Report",
    "Tally",
    "assert_computes",
    "assert_conforms",
    "check",
    "dtypes",
    "expected",
    "same_bits",
    "sweep",
    "verify",
]
