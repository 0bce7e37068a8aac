"""Calls with bad input, as data: every backend must refuse them."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._survey import Target, first_line

X = np.ones((2, 3), np.float32)
# What is wrong with it, its arrays, and its keyword arguments.
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def bad_calls(function: Function) -> Iterator[Call]:
    """The calls that a function must refuse."""
    arrays = (X,) * len(function.arrays)
    yield "an x of bool", (X > 0,) * len(arrays), {}
    if not function.takes_integers:
        yield "an x of int32", (X.astype(np.int32),) * len(arrays), {}
    for name in function.arrays[1:]:
        yield f"a {name} of another shape", (X, X[0]), {}
        yield f"a {name} of another dtype", (X, X.astype(np.float16)), {}
    for each in function.parameters:
        for value in (math.inf, math.nan, "1", True):
            yield f"{each.name}={value!r}", arrays, {each.name: value}
    yield "an out that is a list", arrays, {"out": [0.0] * X.size}
    yield "an out of another shape", arrays, {"out": X[0]}


def accepted(target: Target, dtypes: Collection[str]) -> Iterator[str]:
    """Say which bad calls raise no TypeError or ValueError, of the dtypes that a target holds."""
    for function in FUNCTIONS.values():
        for what, arrays, options in bad_calls(function):
            if not {a.dtype.name for a in arrays} <= {"bool", *dtypes}:
                continue
            try:
                if isinstance(options.get("out"), np.ndarray):
                    options = {"out": target.put(options["out"].copy())}
                getattr(relu_xp, function.name)(*(target.put(a.copy()) for a in arrays), **options)
            except (TypeError, ValueError):
                continue
            except Exception as error:  # any other error does not tell the caller what is wrong
                yield f"{what}, in {function} ({first_line(error)})"
            else:
                yield f"{what}, in {function}"
