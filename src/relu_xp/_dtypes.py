"""Tells the kind of a dtype, whichever library names it, and rounds a number once to it."""

import functools
import math
import numbers
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, as far as rounding goes."""

    digits: int  # of the significand, the leading one too
    lowest: int  # the smallest number above 0 is 2 to this
    max: Any
    number: Any = float  # a type that holds all its values
    # Scales a number by a power of two, exactly. A product might raise the underflow flag.
    ldexp: Any = math.ldexp


def _ieee(digits: int, smallest_normal: int) -> Format:
    """Make a format of IEEE 754: its largest exponent follows from that of the smallest normal."""
    largest = math.ldexp(2**digits - 1, 2 - smallest_normal - digits)
    return Format(digits, smallest_normal - digits + 1, largest)


_IEEE = {
    "float16": _ieee(11, -14),
    "bfloat16": _ieee(8, -126),
    "float32": _ieee(24, -126),
    "float64": _ieee(53, -1022),
}
# The kinds of the dtypes that all libraries with kernels of their own compute with, by name.
COMMON = {
    **dict.fromkeys(_IEEE, "f"),
    **{f"int{bits}": "i" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": "u" for bits in (8, 16, 32, 64)},
}


def name(dtype: Any) -> str:
    """Return the name that libraries share: `float32` for `torch.float32`, and for `>f4`."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def kind(dtype: Any) -> str:
    """Real floating is "f", signed integer "i", unsigned integer "u", and all others are ""."""
    return _kind(dtype)  # a plain function, which torch.compile can be told not to trace


# typed=True, here and below: dtypes of two libraries may have equal hashes, and array_api_strict
# warns if its own are compared with others.
@functools.lru_cache(maxsize=None, typed=True)
def _kind(dtype: Any) -> str:
    # float8_e8m0fnu holds only powers of two: it has no zero, which a rectifier must give. JAX's
    # float0 has no values at all.
    if found := re.fullmatch(r"(?!float8_e8m0fnu|float0)b?(f|i|u)(loat|nt|int)\d+\w*", name(dtype)):
        return found[1]
    return ""


def rounded(value: Any, dtype: Any) -> Any:
    """Round a finite real number once, half to even; None if it is infinite in the dtype."""
    form = _format(dtype)
    if value == 0:
        return form.number(value)  # a zero keeps its sign
    if form.number is float and (same := _as_float(value)) is not None:
        return same if form.digits == sys.float_info.mant_dig else _nearest_to_float(same, form)
    return _nearest(exact(value), form)


def _as_float(value: Any) -> float | None:
    """Return the same number as a float; None if no float equals it."""
    if type(value) is float:
        return value
    try:
        same = float(value)
    except OverflowError:
        return None
    return same if same == value else None


def _nearest_to_float(value: float, form: Format) -> float | None:
    """Round to a multiple of the format's quantum there.

    A cast will not do: some libraries' casts round twice, first to binary32.
    """
    quantum = max(math.frexp(value)[1] - form.digits, form.lowest)  # its exponent
    size = math.ldexp(round(math.ldexp(abs(value), -quantum)), quantum)
    return math.copysign(size, value) if size <= form.max else None


def _nearest(value: Fraction, form: Format) -> Any:
    """Round a number that no float equals, as `_nearest_to_float` does, but in fractions."""
    quantum = max(exponent(value) + 1 - form.digits, form.lowest)
    multiple = round(abs(value) / Fraction(2) ** quantum)
    if multiple * Fraction(2) ** quantum > exact(form.max):
        return None
    size = form.ldexp(form.number(multiple), quantum)
    return -size if value < 0 else size


@functools.lru_cache(maxsize=None, typed=True)
def _format(dtype: Any) -> Format:
    if found := _IEEE.get(name(dtype)):
        return found
    if re.match(r"float\d_", name(dtype)):  # one of ml_dtypes, which is imported if it exists
        number: Any = float
        ldexp: Any = math.ldexp
        info = sys.modules["ml_dtypes"].finfo(dtype)
    else:
        import numpy as np  # it is imported already: this dtype is its longdouble

        info, number, ldexp = np.finfo(np.longdouble), np.longdouble, np.ldexp
    eps, smallest_normal = (
        exponent(exact(number(each))) for each in (info.eps, info.smallest_normal)
    )
    return Format(1 - eps, smallest_normal + eps, number(info.max), number, ldexp)


def exact(value: Any) -> Fraction:
    """Return the number as a fraction."""
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    return Fraction(*value.as_integer_ratio())


def exponent(value: Fraction) -> int:
    """Return the n for which 2**n <= abs(value) < 2**(n + 1)."""
    found = abs(value.numerator).bit_length() - value.denominator.bit_length()
    return found if abs(value) >= Fraction(2) ** found else found - 1
