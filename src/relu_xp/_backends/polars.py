"""polars Series and DataFrames keep their names and dtypes, and their nulls; `map_batches` takes the functions too.

Each column is a piece of memory of its own, so each is computed for itself, without its nulls' meaning: what is null in
x or the cotangent is null in the result.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from relu_xp import _checks, _dtypes
from relu_xp._backends import _numpy_errors
from relu_xp._functions import Function

in_parts = True  # so that no array can stand in the place of a scalar

Frame = Any  # a polars.Series or DataFrame


def owns(x: object) -> bool:
    """Columns, single or in a table; an expression or a LazyFrame holds no values yet."""
    return isinstance(x, pl.Series | pl.DataFrame)


def devices() -> list[str]:
    """The host."""
    return ["cpu"]


def put(array: Any, device: str) -> Frame:
    """Make a column of a NumPy array, or a table of one with two dimensions."""
    return pl.DataFrame(array) if array.ndim == 2 else pl.Series(array)


def get(x: Frame) -> Any:
    """Give the elements as a NumPy array."""
    return x.to_numpy()


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Frame, ...], out: None) -> Frame:
    """Compute each column."""
    _checks.no_out(function, out, "a polars object")
    x, g = arrays[0], arrays[-1]
    _checks.alike(function, None, x.shape, None, g.shape)
    if isinstance(x, pl.Series):
        return _column(function, inside, arrays)
    _checks.same_labels(function, "columns", x.columns, g.columns)
    results = []
    with _numpy_errors.told_once(function):
        for columns in zip(*(a.get_columns() for a in arrays), strict=True):
            try:
                results.append(_column(function, inside, columns))
            except (TypeError, ValueError) as error:
                raise _checks.inside(function, f"column {columns[0].name!r}", error) from None
    return pl.DataFrame(results) if results else x.clone()


def _column(function: Function, inside: Callable[..., Any], columns: Sequence[Any]) -> Any:
    x, g = columns[0], columns[-1]
    _checks.alike(function, x.dtype, None, g.dtype, None)
    if (kind := _kind(x.dtype)) != "f":
        _checks.dtype(function, x.dtype, kind, _cast(x.dtype))
    if not any(a.null_count() for a in columns):
        return pl.Series(x.name, inside(*(a.to_numpy() for a in columns)))
    # Null where one is, and true elsewhere, NaN included: `is_null` takes the way of an expression, which is long.
    held = functools.reduce(operator.and_, map(operator.eq, columns, columns))
    zero, null = (pl.Series([value], dtype=x.dtype) for value in (0, None))
    values = [a.zip_with(held, zero).to_numpy() for a in columns]  # all of them: zeros alone raise no error
    return pl.Series(x.name, inside(*values)).zip_with(held, null)


def _kind(dtype: Any) -> str:
    """As of NumPy's dtype of that name; NumPy has no integers of 128 bits."""
    return "" if dtype in (pl.Int128, pl.UInt128) else _dtypes.kind(str(dtype).lower())


def _cast(dtype: Any) -> str:
    """What to do about a column that holds no numbers, or not as such."""
    if isinstance(dtype, pl.List | pl.Array):
        return "take its elements, for example x.explode()"
    if isinstance(dtype, pl.Struct):
        return "take its fields, for example x.struct.unnest()"
    if isinstance(dtype, pl.Duration):
        return "take its number, for example x.dt.total_seconds(fractional=True)"
    if isinstance(dtype, pl.Categorical | pl.Enum | pl.Binary):
        return "cast it first, for example x.cast(polars.String).cast(polars.Float64)"
    if isinstance(dtype, pl.Object):
        return "convert it first, for example polars.Series(x.to_list())"
    return "cast it first, for example x.cast(polars.Float64)"
