"""Calls that the contract calls bad input, as data: what computes all the rest right must refuse these too."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp._machine import Target, first_line

X = np.ones((2, 3), np.float32)
BAD: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "an x of bool": ("relu", (X > 0,), {}),
    "an x of int32, which has no derivative": ("relu_grad", (X.astype(np.int32),), {}),
    "a cotangent of another shape": ("relu_vjp", (X, X[0]), {}),
    "a cotangent of another dtype": ("leaky_relu_vjp", (X, X.astype(np.float16)), {}),
    "an infinite negative_slope": ("leaky_relu", (X,), {"negative_slope": math.inf}),
    "a negative_slope that is no number": ("leaky_relu_vjp", (X, X), {"negative_slope": "1"}),
    "a grad_at_zero that is NaN": ("relu_vjp", (X, X), {"grad_at_zero": math.nan}),
    "a grad_at_zero of True": ("leaky_relu_grad", (X,), {"grad_at_zero": True}),
    "an out that is a list": ("relu", (X,), {"out": [0.0] * X.size}),
    "an out of another shape": ("relu", (X,), {"out": X[0]}),
}


def accepted(target: Target, dtypes: Collection[str]) -> Iterator[str]:
    """Tell what the backend of a target does not refuse by a TypeError or a ValueError, of the dtypes that it holds."""
    for name, (function, arrays, options) in BAD.items():
        if not {a.dtype.name for a in arrays} <= {"bool", *dtypes}:
            continue
        try:
            if isinstance(options.get("out"), np.ndarray):
                options = {"out": target.put(options["out"].copy())}
            getattr(relu_xp, function)(*(target.put(a.copy()) for a in arrays), **options)
        except (TypeError, ValueError):
            continue
        except Exception as error:  # that breaks, but does not say to the caller what was wrong
            yield f"{name} ({first_line(error)})"
        else:
            yield name
