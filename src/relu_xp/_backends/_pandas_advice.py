"""Advice for pandas columns that hold no numbers, or hold them as something else.

The code in each message either computes or leads to the next error. The tests follow all advice,
for every dtype, until a call computes.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

Column = Any  # the array of a column, as pandas holds it

_NUMBERS = "cast it first, for example x.astype('Float64')"
_TEXT = "read its numbers, for example pandas.to_numeric(x.astype(str), errors='coerce')"
_BYTES = "decode it first, for example x.astype(object).str.decode('utf-8')"
_TIMES = "take its number, for example pandas.to_timedelta(x.astype(str)).dt.total_seconds()"
_ARROW = {  # by the beginning of an Arrow type's name
    "list": "take its elements, for example x.list.flatten()",
    "large_list": "take its elements, for example x.list.flatten()",
    "fixed_size_list": "take its elements, for example x.list.flatten()",
    "struct": "take its fields, for example x.struct.explode()",
    "map": "take its values, for example pandas.DataFrame([dict(each) for each in x.dropna()])",
    "time32": _TIMES,
    "time64": _TIMES,
    "string": _TEXT,
    "large_string": _TEXT,
    "dictionary": _TEXT,
    "binary": _BYTES,
    "large_binary": _BYTES,
    "fixed_size_binary": _BYTES,
}
_LISTS = (list, tuple, set, np.ndarray)
_OBJECTS = (  # by the classes of all elements
    ((Mapping,), "take its values, for example pandas.DataFrame(x.dropna().to_list())"),
    ((bytes,), _BYTES),
    ((str,), _TEXT),
    ((datetime.time,), _TIMES),
    ((datetime.date,), "convert it first, for example pandas.to_datetime(x)"),
    (
        (datetime.timedelta, pd.Period, pd.Interval),
        "infer its dtype, for example x.infer_objects()",
    ),
    ((complex,), "cast it first, for example x.astype('complex128')"),
)


def what_to_do(x: Column) -> str:
    """Say what to do about the column."""
    dtype = x.dtype
    if type(dtype).__module__.startswith("pint_pandas"):
        return "call it on x.pint.quantity, which keeps the unit"
    if isinstance(dtype, pd.PeriodDtype):
        return "convert it first, for example x.dt.to_timestamp()"
    if isinstance(dtype, pd.IntervalDtype):
        return "take a number of each, for example pandas.Series(x.array.mid, x.index)"
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(dtype.categories.dtype)
    if isinstance(dtype, pd.StringDtype):
        return _TEXT
    if isinstance(dtype, pd.ArrowDtype):
        return _arrow(dtype)
    if dtype.kind == "c":
        return "take numpy.real(x), or numpy.imag(x)"
    return _object(x) if dtype.kind == "O" else _NUMBERS


def _arrow(dtype: Any) -> str:
    name = str(dtype.pyarrow_dtype).partition("<")[0].partition("[")[0]
    if name == "timestamp" and dtype.pyarrow_dtype.tz is not None:
        return "drop its time zone, for example x.dt.tz_localize(None)"
    if dtype.kind in "mM":
        return f"cast it first, for example x.astype('{dtype.numpy_dtype}')"
    return _ARROW.get(name, _NUMBERS)


def _categories(dtype: Any) -> str:
    if isinstance(dtype, pd.StringDtype):
        return _TEXT
    return (
        _NUMBERS
        if dtype.kind in "fiub"
        else "convert it first, for example x.astype(x.cat.categories.dtype)"
    )


def _object(x: Column) -> str:
    held = [each for each in x if not pd.api.types.is_scalar(each) or not pd.isna(each)]
    if any(isinstance(each, _LISTS) for each in held):
        return "take its elements, for example x.explode()"
    for classes, text in _OBJECTS:
        if held and all(isinstance(each, classes) for each in held):
            return text
    try:
        pd.Series(held, dtype=object).astype("Float64")
    except (TypeError, ValueError):
        return _TEXT  # `to_numeric` makes NaN of what is no number
    return _NUMBERS
