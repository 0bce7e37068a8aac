"""The result has the type of x, for types that hold other arrays: type-checked, never run."""

from typing import Any, assert_type

import dask.array as da
import numpy as np
import polars as pl
import xarray as xr

import relu_xp

masked: "np.ma.MaskedArray[Any, np.dtype[np.float32]]" = np.ma.ones(3, np.float32)
assert_type(relu_xp.relu(masked), "np.ma.MaskedArray[Any, np.dtype[np.float32]]")
assert_type(relu_xp.relu_vjp(masked, masked), "np.ma.MaskedArray[Any, np.dtype[np.float32]]")

column = pl.Series([1.0])
assert_type(relu_xp.relu(column), pl.Series)
assert_type(relu_xp.leaky_relu(column, 0.1), pl.Series)
assert_type(relu_xp.squared_relu_vjp(column, column), pl.Series)

table = pl.DataFrame({"x": [1.0]})
assert_type(relu_xp.relu(table), pl.DataFrame)
assert_type(relu_xp.relu_grad(table), pl.DataFrame)
assert_type(relu_xp.relu_vjp(table, table), pl.DataFrame)
assert_type(relu_xp.leaky_relu(table, 0.1), pl.DataFrame)
assert_type(relu_xp.leaky_relu_slope_vjp(table, table), pl.DataFrame)
assert_type(relu_xp.clipped_relu(table, 4), pl.DataFrame)
assert_type(relu_xp.squared_relu(table), pl.DataFrame)

array = xr.DataArray(np.ones(3))
assert_type(relu_xp.relu(array), xr.DataArray)
assert_type(relu_xp.leaky_relu(array, array), xr.DataArray)
assert_type(relu_xp.relu_vjp(array, array), xr.DataArray)
assert_type(relu_xp.relu(array.variable), xr.Variable)


def labelled(variables: xr.Dataset, tree: xr.DataTree) -> None:
    """Take a set of arrays, or a tree of them."""
    assert_type(relu_xp.relu(variables), xr.Dataset)
    assert_type(relu_xp.leaky_relu_grad(variables), xr.Dataset)
    assert_type(relu_xp.relu(tree), xr.DataTree)


def lazy(x: da.Array) -> None:
    """Take an array that is not computed yet."""
    assert_type(relu_xp.relu(x), da.Array)
    assert_type(relu_xp.leaky_relu(x, x), da.Array)
