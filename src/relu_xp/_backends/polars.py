"""polars Series and DataFrames keep their names, dtypes and nulls; `map_batches` works too.

Each column has memory of its own, so each is computed alone. Where x or the cotangent is null, the
result is null.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from relu_xp import _checks, _dtypes
from relu_xp._backends import _numpy_errors
from relu_xp._backends._host import devices as devices
from relu_xp._backends._host import get as get
from relu_xp._functions import Function

Frame = Any  # a polars.Series or DataFrame


def owns(x: object) -> bool:
    """Own columns and tables; an expression or a LazyFrame holds no values yet."""
    return isinstance(x, pl.Series | pl.DataFrame)


def advice(function: Function, name: str, x: Any) -> str | None:
    """Say what to do about a LazyFrame or an expression, which hold no values yet."""
    if hasattr(x, "collect"):
        return f"collect it first, for example {name}.collect()"
    if hasattr(x, "map_batches"):
        arrays = ", ".join(function.arrays)
        call = f"lambda held: relu_xp.{function}(*held)"
        return f"pass it on, for example polars.map_batches([{arrays}], {call})"
    return None


def put(array: Any, device: str) -> Frame:
    """Make a column of a NumPy array, or a table of one with two dimensions."""
    return pl.DataFrame(array) if array.ndim == 2 else pl.Series(array)


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Frame, ...],
    slope: Any,
    out: None,
) -> Frame:
    """Compute each column."""
    _checks.no_out(function, out, "a polars object")
    x, g = arrays[0], arrays[-1]
    if slope is not None:
        raise _checks.one_slope(function, x, slope, "x.to_numpy()")
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
                name = columns[0].name
                raise _checks.in_part(function, f"column {name!r}", error, f"x[{name!r}]") from None
    return pl.DataFrame(results) if results else x.clone()


def _column(function: Function, inside: Callable[..., Any], columns: Sequence[Any]) -> Any:
    x, g = columns[0], columns[-1]
    _checks.alike(function, x.dtype, None, g.dtype, None)
    if (kind := _kind(x.dtype)) != "f":
        _checks.dtype(function, x.dtype, kind, _cast(x))
    if not any(a.null_count() for a in columns):
        return pl.Series(x.name, inside(*(a.to_numpy() for a in columns)))
    # x == x is null where x is null, else true, also for NaN. `is_null` would be slower: it builds
    # and runs an expression.
    held = functools.reduce(operator.and_, map(operator.eq, columns, columns))
    zero, null = (pl.Series([value], dtype=x.dtype) for value in (0, None))
    # Zero in the places of nulls, in all columns: it raises no floating-point error.
    values = [a.zip_with(held, zero).to_numpy() for a in columns]
    return pl.Series(x.name, inside(*values)).zip_with(held, null)


def _kind(dtype: Any) -> str:
    """The kind of NumPy's dtype of that name; NumPy has no integers of 128 bits."""
    return "" if dtype in (pl.Int128, pl.UInt128) else _dtypes.kind(str(dtype).lower())


def _cast(x: Any) -> str:
    """Say what to do about a column that holds no numbers, or holds them as something else."""
    dtype = x.dtype
    if isinstance(dtype, pl.Object) and isinstance(pl.Series(x.to_list()).dtype, pl.Object):
        return "polars knows nothing that makes numbers of its objects"
    found = next(
        (text for classes, text in _CASTS if isinstance(dtype, classes)), "x.cast(polars.Float64)"
    )
    return found if ", for example " in found else f"cast it first, for example {found}"


_CASTS = (
    ((pl.List, pl.Array), "take its elements, for example x.explode()"),
    ((pl.Struct,), "take its fields, for example x.struct.unnest()"),
    ((pl.Duration,), "take its number, for example x.dt.total_seconds(fractional=True)"),
    ((pl.String,), "read its numbers, for example x.cast(polars.Float64, strict=False)"),
    (
        (pl.Categorical, pl.Enum, pl.Binary),
        "x.cast(polars.String, strict=False).cast(polars.Float64, strict=False)",
    ),
    ((pl.Object,), "convert it first, for example polars.Series(x.to_list())"),
)
