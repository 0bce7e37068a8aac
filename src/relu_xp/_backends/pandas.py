"""pandas Series and DataFrames keep their index, names and dtypes, and their missing values.

Columns that pandas holds as one block are computed as one. In a nullable or Arrow-backed column the
values are computed; a value that is missing in x or the cotangent is missing in the result.
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
from relu_xp._backends._host import devices as devices
from relu_xp._backends._host import get as get
from relu_xp._backends._pandas_advice import what_to_do
from relu_xp._functions import Function

Labeled = Any  # a pandas.Series or DataFrame
Column = Any  # the array of a column, as pandas holds it

_LABELED = pd.Series | pd.DataFrame
_UNLABELED = pd.Index | pd.api.extensions.ExtensionArray
_NULLABLE = (pd.arrays.FloatingArray, pd.arrays.IntegerArray, pd.arrays.ArrowExtensionArray)


def owns(x: object) -> bool:
    """Own columns, tables, indices of one level, and the arrays of all these."""
    return isinstance(x, _LABELED | _UNLABELED) and not isinstance(x, pd.MultiIndex)


def advice(function: Function, name: str, x: Any) -> str | None:
    """Say what to do about an index of several levels."""
    is_levels = isinstance(x, pd.MultiIndex)
    return f"convert it first, for example {name}.to_frame()" if is_levels else None


def put(array: Any, device: str) -> Labeled:
    """Make a column of a NumPy array, or a table of one with two dimensions."""
    return pd.DataFrame(array) if array.ndim == 2 else pd.Series(array)


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Labeled, ...],
    slope: Any,
    out: None,
) -> Labeled:
    """Compute the columns, by blocks if they can be."""
    _checks.no_out(function, out, "a pandas object")
    x, g = arrays[0], arrays[-1]
    if slope is not None:
        raise _checks.one_slope(function, x, slope, "x.to_numpy()")
    if isinstance(x, _LABELED) != isinstance(g, _LABELED):
        raise _checks.same_library(function, x, g)
    _checks.alike(function, None, x.shape, None, g.shape)
    if isinstance(x, _UNLABELED):
        return _unlabeled(function, inside, arrays)
    for axis, name in enumerate(("index", "columns")[: x.ndim]):
        _checks.same_labels(function, name, x.axes[axis], g.axes[axis])
    if x.ndim == 1:
        if _is_of_numpy(x.dtype) and _is_of_numpy(g.dtype):
            result = inside(*(a.to_numpy() for a in arrays))
        else:
            result = _nullable(function, inside, [a.array for a in arrays])
        return x._constructor(result, index=x.index, name=x.name, copy=False).__finalize__(x)
    with _numpy_errors.told_once(function):
        try:
            return _by_blocks(function, inside, arrays)
        except (AttributeError, TypeError, ValueError):
            # A pandas without these internals, frames in different blocks, or a call to refuse.
            result = _table(function, inside, arrays)
    result.columns = x.columns
    return x._constructor(result, copy=False).__finalize__(x)  # in the class of x, as pandas does


def _by_blocks(
    function: Function, inside: Callable[..., Any], arrays: Sequence[Labeled]
) -> Labeled:
    """Compute block by block, as pandas computes a ufunc of a frame."""
    x, *others = (a._mgr for a in arrays)
    for other in others:
        if not all(
            map(np.array_equal, *([b.mgr_locs.as_array for b in a.blocks] for a in (x, other)))
        ):
            raise TypeError
    beside = [iter(other.blocks) for other in others]

    def compute(values: Any) -> Any:
        block = [values, *(next(blocks).values for blocks in beside)]
        if all(isinstance(a, np.ndarray) and _is_of_numpy(a.dtype) for a in block):
            return inside(*block)
        return _nullable(function, inside, block)

    result = x.apply(compute)
    return arrays[0]._constructor_from_mgr(result, axes=result.axes).__finalize__(arrays[0])


def _unlabeled(function: Function, inside: Callable[..., Any], arrays: Sequence[Any]) -> Any:
    """Compute an index, or one of pandas' own arrays, which have no labels, as a column."""
    x = arrays[0]
    columns = tuple(
        [pd.Series(a.array if isinstance(a, pd.Index) else a, copy=False) for a in arrays]
    )
    try:
        result = delegate(function, inside, columns, None, None)
    except (TypeError, ValueError) as error:
        raise _checks.in_part(function, _checks.type_name(x), error, "pandas.Series(x)") from None
    return pd.Index(result, name=x.name, copy=False) if isinstance(x, pd.Index) else result.array


def _table(function: Function, inside: Callable[..., Any], arrays: Sequence[Labeled]) -> Labeled:
    """Compute one block a dtype; the result's columns are named by their positions."""
    x = arrays[0]
    positions: dict[tuple[Any, ...], list[int]] = {}
    for i, dtypes in enumerate(zip(*(a.dtypes for a in arrays), strict=True)):
        positions.setdefault(dtypes, []).append(i)
    blocks = []
    for dtypes, at in positions.items():
        parts = arrays if len(positions) == 1 else [a.iloc[:, at] for a in arrays]
        try:
            if all(map(_is_of_numpy, dtypes)):
                result = inside(*(a.to_numpy() for a in parts))
                blocks.append(pd.DataFrame(result, index=x.index, columns=at, copy=False))
            else:
                each = zip(*([column.array for _, column in a.items()] for a in parts), strict=True)
                columns = [_nullable(function, inside, column) for column in each]
                blocks.append(
                    pd.DataFrame(dict(zip(at, columns, strict=True)), index=x.index, copy=False)
                )
        except (TypeError, ValueError) as error:
            more = f" and {len(at) - 1:,} more" if len(at) > 1 else ""
            name = x.columns[at[0]]
            part = f"x[{name!r}]" if x.columns.is_unique else f"x.iloc[:, {at[0]}]"
            raise _checks.in_part(function, f"column {name!r}{more}", error, part) from None
    if not blocks:
        blocks = [x.copy()]
    return (
        blocks[0]
        if len(blocks) == 1
        else pd.concat(blocks, axis=1).reindex(columns=range(x.shape[1]))
    )


def _is_of_numpy(dtype: Any) -> bool:
    """Whether it is a dtype of NumPy's that pandas does not cast in a way of its own."""
    return isinstance(dtype, np.dtype) and dtype.kind not in "cO"


def _nullable(function: Function, inside: Callable[..., Any], columns: Sequence[Column]) -> Column:
    """Compute a column that may have missing values; numbers in their places are ignored."""
    x, g = columns[0], columns[-1]
    _checks.alike(function, x.dtype, None, g.dtype, None)
    numbers = getattr(x.dtype, "numpy_dtype", None) if isinstance(x, _NULLABLE) else None
    _checks.dtype(function, x.dtype, _dtypes.kind(numbers), what_to_do(x))
    if isinstance(x, pd.arrays.ArrowExtensionArray):
        mask = functools.reduce(operator.or_, [a.isna() for a in columns])
        result = _computed(inside, [_of_arrow(a, numbers) for a in columns], mask)
        return type(x)(sys.modules["pyarrow"].array(result, mask=mask if mask.any() else None))
    mask = x._mask | g._mask
    return type(x)(_computed(inside, [a._data for a in columns], mask), mask)


def _of_arrow(column: Column, numbers: Any) -> Any:
    """The numbers that Arrow holds, with any value in the places of nulls."""
    a = column.__arrow_array__()
    a = a.chunk(0) if a.num_chunks == 1 else a.combine_chunks()
    return np.frombuffer(a.buffers()[1] or b"", numbers)[a.offset : a.offset + len(a)]


def _computed(inside: Callable[..., Any], values: Sequence[Any], mask: Any) -> Any:
    """Compute all values; those in the places of missing ones report no floating-point error."""
    return _numpy_errors.without(
        inside, values, lambda: [np.where(mask, a.dtype.type(0), a) for a in values]
    )
