"""pandas Series and DataFrames keep their index, names and dtypes, and their missing values.

Columns of one dtype are computed as one block. Of a nullable or Arrow-backed column the values are; what is missing in
x or the cotangent is missing in the result.
"""

import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from relu_xp import _checks, _dtypes
from relu_xp._backends import _numpy_errors
from relu_xp._functions import Function

in_parts = True  # so that no array can stand in the place of a scalar

Labelled = Any  # a pandas.Series or DataFrame
Column = Any  # the array of a column, as pandas holds it

_NULLABLE = (pd.arrays.FloatingArray, pd.arrays.IntegerArray, pd.arrays.ArrowExtensionArray)


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
    """Compute the columns of each dtype."""
    _checks.no_out(function, out, "a pandas object")
    x, g = arrays[0], arrays[-1]
    _checks.alike(function, None, x.shape, None, g.shape)
    for axis, name in enumerate(("index", "columns")[: x.ndim]):
        _checks.same_labels(function, name, x.axes[axis], g.axes[axis])
    if x.ndim == 1:
        if _is_plain(x.dtype) and _is_plain(g.dtype):
            result = inside(*(a.to_numpy() for a in arrays))
        else:
            (result,) = _nullable(function, inside, [[a.array] for a in arrays])
        return x._constructor(result, index=x.index, name=x.name, copy=False).__finalize__(x)
    with _numpy_errors.told_once(function):
        result = _table(function, inside, arrays)
    result.columns = x.columns
    return x._constructor(result, copy=False).__finalize__(x)  # of its class, as pandas' own methods have it


def _table(function: Function, inside: Callable[..., Any], arrays: Sequence[Labelled]) -> Labelled:
    """The result with numbers for columns: one block a dtype."""
    x = arrays[0]
    positions: dict[tuple[Any, ...], list[int]] = {}
    for i, dtypes in enumerate(zip(*(a.dtypes for a in arrays), strict=True)):
        positions.setdefault(dtypes, []).append(i)
    blocks = []
    for dtypes, at in positions.items():
        parts = arrays if len(positions) == 1 else [a.iloc[:, at] for a in arrays]
        try:
            if all(map(_is_plain, dtypes)):
                result = inside(*(a.to_numpy() for a in parts))
                blocks.append(pd.DataFrame(result, index=x.index, columns=at, copy=False))
            else:
                columns = _nullable(function, inside, [[column.array for _, column in a.items()] for a in parts])
                blocks.append(pd.DataFrame(dict(zip(at, columns, strict=True)), index=x.index, copy=False))
        except (TypeError, ValueError) as error:
            more = f" and {len(at) - 1:,} more" if len(at) > 1 else ""
            raise _checks.inside(function, f"column {x.columns[at[0]]!r}{more}", error) from None
    if not blocks:
        blocks = [x.copy()]
    return blocks[0] if len(blocks) == 1 else pd.concat(blocks, axis=1).reindex(columns=range(x.shape[1]))


def _is_plain(dtype: Any) -> bool:
    """Whether NumPy has it, but for those that pandas casts in ways of its own."""
    return isinstance(dtype, np.dtype) and dtype.kind not in "cO"


def _nullable(function: Function, inside: Callable[..., Any], columns: Sequence[Sequence[Column]]) -> Sequence[Column]:
    """The results of columns of one dtype, which are given by array, then by column."""
    x, g = columns[0][0], columns[-1][0]
    _checks.alike(function, x.dtype, None, g.dtype, None)
    numbers = getattr(x.dtype, "numpy_dtype", None) if isinstance(x, _NULLABLE) else None
    _checks.dtype(function, x.dtype, _dtypes.kind(numbers), _cast(x.dtype))
    values = [np.stack([a.to_numpy(dtype=numbers, na_value=0) for a in each], axis=1) for each in columns]
    missing = [[a.isna() for a in each] for each in columns]
    masks = [functools.reduce(operator.or_, each) for each in zip(*missing, strict=True)]
    for each in values if len(values) > 1 else ():  # zeros in all of them raise no floating-point error
        each[np.stack(masks, axis=1)] = 0
    results = inside(*values).T
    if isinstance(x, pd.arrays.ArrowExtensionArray):
        arrow = sys.modules["pyarrow"].array
        return [type(x)(arrow(result, mask=mask)) for result, mask in zip(results, masks, strict=True)]
    return [type(x)(result, mask) for result, mask in zip(results, masks, strict=True)]


def _cast(dtype: Any) -> str:
    """What to do about a column that holds no numbers, or not as such."""
    if type(dtype).__module__.startswith("pint_pandas"):
        return "call it on x.pint.quantity, which keeps the unit"
    if dtype.kind == "c":
        return "take numpy.real(x), or numpy.imag(x)"
    if isinstance(dtype, pd.PeriodDtype):
        return "convert it first, for example x.dt.to_timestamp()"
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind in "mM":
        return f"cast it first, for example x.astype('{dtype.numpy_dtype}')"
    return "cast it first, for example x.astype('Float64')"
