"""The interface of `_ufuncs`, over the formulas, where no compiler built it; the same bits."""

import functools
import sys
import threading
from typing import Any

import numpy as np

from relu_xp import _formulas
from relu_xp._functions import FUNCTIONS
from relu_xp._native import missing

Array = Any  # a numpy.ndarray

streaming = sys.modules[__name__]  # here stores past the caches are ordinary ones
_caught = threading.local()


@functools.cache
def __getattr__(name: str) -> Any:
    return functools.partial(_run, getattr(_formulas, name), len(FUNCTIONS[name].arrays))


def _run(
    formula: Any,
    arrays: int,
    *operands: Array,
    out: Array | None = None,
    dtype: Any = None,
    casting: str = "",
) -> Array:
    """Compute as the ufunc does: in `dtype`, or else in that of x."""

    def catch(word: str, flag: int) -> None:
        _caught.errors = getattr(_caught, "errors", 0) | flag

    dtype = dtype or operands[0].dtype.newbyteorder("=")
    given = [a.astype(dtype, copy=False) for a in operands]
    # The formulas know shorter ways for a Python number. A number may come as a broadcast array.
    scalars = [
        float(a.flat[0]) if a.size and not any(a.strides) and dtype.itemsize <= 8 else a
        for a in given[arrays:]
    ]
    with np.errstate(all="call", call=catch):
        result = formula(np, *given[:arrays], *scalars)
    if out is None:
        out = np.empty_like(given[0])
    out[...] = result
    return out


def caller(functions: object, checked: Any, report: object, most: object) -> Any:
    """Make a `call` that leaves all to `checked`, and warns once that the formulas are slow."""

    def call(function: Any, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
        missing.warn(arrays[0])
        return checked(function, arrays, scalars, out)

    return call


def register_bfloat16(dtype: Any) -> bool:
    """Register nothing: bfloat16 is cast to float32 and back, like float8."""
    return False


def take_errors() -> int:
    """Return and forget the floating-point errors of this thread's calls."""
    errors = getattr(_caught, "errors", 0)
    _caught.errors = 0
    return errors
