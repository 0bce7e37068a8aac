"""pandas Series and DataFrames keep their index, names and dtypes, column by column.

A nullable or Arrow column is no NumPy array, and what its missing values should become is the caller's to say: it is
refused with the cast to make.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from relu_xp import _checks
from relu_xp._functions import Function

Labelled = Any  # a pandas.Series or DataFrame


def owns(x: object) -> bool:
    """Columns, single or in a table."""
    return isinstance(x, pd.Series | pd.DataFrame)


def devices() -> list[str]:
    """The host."""
    return ["cpu"]


def put(array: Any, device: str) -> Labelled:
    """Make a column of a NumPy array, or a table of one with two dimensions."""
    return pd.DataFrame(array) if array.ndim == 2 else pd.Series(array)


def get(x: Labelled) -> Any:
    """Give the elements as a NumPy array."""
    return x.to_numpy()


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Labelled, ...], out: None) -> Labelled:
    """Compute column by column."""
    _checks.no_out(function, out, "a pandas object")
    x, g = arrays[0], arrays[-1]
    _checks.alike(function, None, x.shape, None, g.shape)
    for axis, name in enumerate(("index", "columns")[: x.ndim]):
        _checks.same_labels(function, name, x.axes[axis], g.axes[axis])
    if x.ndim == 1:
        return _column(function, inside, arrays)
    columns = [_column(function, inside, [a.iloc[:, i] for a in arrays]) for i in range(x.shape[1])]
    result = pd.concat(columns, axis=1).set_axis(x.columns, axis=1) if columns else x.copy()
    return x._constructor(result).__finalize__(x)  # of its class, as pandas' own methods have it


def _column(function: Function, inside: Callable[..., Any], arrays: Any) -> Labelled:
    for a in arrays:
        if not isinstance(a.dtype, np.dtype):
            _checks.dtype(function, a.dtype, "", "cast it first, for example x.astype('float64')")
    x = arrays[0]
    result = inside(*(a.to_numpy() for a in arrays))
    return x._constructor(result, index=x.index, name=x.name, copy=False).__finalize__(x)
