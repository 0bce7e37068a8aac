"""polars: names and dtypes stay, null stays null, and expressions take the functions."""

import datetime
import re
from decimal import Decimal

import numpy as np
import oracle
import pytest

import relu_xp

X = np.array([1.5, -2.0, 0.0, -0.0, np.nan, -np.inf], np.float32)
G = np.array([2.0, 3.0, -0.0, 5.0, np.inf, np.nan], np.float32)
call = oracle.call


@pytest.fixture(scope="module")
def pl(wanted):
    return wanted("polars")


@pytest.fixture(scope="module")
def testing(pl):
    return pytest.importorskip("polars.testing")


def expected(function, x, g):
    return oracle.expected(function, oracle.arrays_of(function, x, g))


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_series_keeps_name_dtype_and_nulls(pl, testing, function, dtype):
    numbers, cotangents = X.astype(dtype), G.astype(dtype)
    x, g = pl.Series("depth", numbers), pl.Series("other", cotangents)
    want = expected(function, numbers, cotangents)
    result = call(function, x, g)
    assert (result.name, result.dtype, result.null_count()) == ("depth", x.dtype, 0)
    oracle.assert_same(result.to_numpy(), want)
    missing = np.array([False, True, len(function.arrays) == 2, False, False, False])
    x, g = x.scatter(1, None), g.scatter(2, None)
    result = call(function, x, g)
    assert result.dtype == x.dtype
    assert result.is_null().to_list() == missing.tolist()
    oracle.assert_same(result.drop_nulls().to_numpy(), want[~missing])
    assert x.null_count() == 1
    testing.assert_series_equal(call(function, x[:0], g[:0]), x[:0])


def test_integers_stay_what_they_are(pl, testing):
    for dtype in (pl.Int8, pl.Int64, pl.UInt16):
        x = pl.Series("a", [3, None, 0], dtype=dtype)
        testing.assert_series_equal(relu_xp.relu(x), x)
    large = pl.Series([2**62 + 1, None, -1])
    assert relu_xp.relu(large).to_list() == [2**62 + 1, None, 0]


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_a_frame_is_its_columns(pl, testing, function):
    x = pl.DataFrame({"a": X, "b": X.astype("f8"), "c": pl.Series(X).scatter(0, None)})
    g = pl.DataFrame({"a": G, "b": G.astype("f8"), "c": G})
    result = call(function, x, g)
    testing.assert_frame_equal(
        result, pl.DataFrame([call(function, x[name], g[name]) for name in "abc"]), check_exact=True
    )
    assert result.schema == x.schema
    for part in (x[:0], x.select([])):
        testing.assert_frame_equal(call(function, part, part), part)


def test_what_is_null_raises_no_floating_point_error(pl):
    """Whatever stands beside it: these warn where the other is a number."""
    for function in oracle.RECORDS:
        for value in (-np.inf, 3e38):
            held, null = pl.Series([value], dtype=pl.Float32), pl.Series([None], dtype=pl.Float32)
            for given in [(null, held), (held, null)][: len(function.arrays)]:
                with np.errstate(all="raise"):
                    assert call(function, *given).null_count() == 1


def test_nulls_take_no_expression(pl, monkeypatch):
    """Which takes longer than all the rest of a call on few values; a NaN is no null."""
    monkeypatch.setattr(pl.Series, "is_null", None)
    monkeypatch.setattr(pl.Series, "fill_null", None)
    x, g = pl.Series([1.0, np.nan, None, -1.0]), pl.Series([2.0, 3.0, 4.0, None])
    assert relu_xp.relu(x).null_count() == 1
    assert np.isnan(relu_xp.relu(x)[1])
    assert relu_xp.relu_vjp(x, g).to_list() == [2, 0, None, None]


def test_values_in_several_chunks(pl):
    x = pl.concat([pl.Series([1.0, -1.0]), pl.Series([-2.0, None])], rechunk=False)
    assert x.n_chunks() == 2
    assert relu_xp.leaky_relu(x, 0.5).to_list() == [1, -0.5, -1, None]


def test_expressions(pl):
    table = pl.DataFrame({"k": ["p", "q", "p"], "x": [1.0, -2.0, None], "g": [3.0, 4.0, 5.0]})
    column = pl.col("x").map_batches(relu_xp.relu, return_dtype=pl.Float64)
    for held in (table, table.lazy()):
        assert held.select(column).lazy().collect()["x"].to_list() == [1, 0, None]
    product = pl.map_batches(
        ["x", "g"], lambda held: relu_xp.relu_vjp(*held), return_dtype=pl.Float64
    )
    assert table.select(product)["x"].to_list() == [3, 0, None]
    grouped = table.group_by("k", maintain_order=True).agg(column)
    assert grouped["x"].to_list() == [[1, None], [0]]
    assert table.select("x").lazy().map_batches(relu_xp.relu).collect()["x"].to_list() == [
        1,
        0,
        None,
    ]


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_what_holds_no_values_yet(pl, function):
    """The advice, followed, computes."""
    table = pl.DataFrame({"x": X, "g": G})
    want = expected(function, X, G)
    with pytest.raises(
        TypeError, match=r"x must be an array .*LazyFrame; collect it first, .* x\.collect\(\)$"
    ):
        call(function, table.lazy(), table.lazy())
    x, g = pl.col("x"), pl.col("g")
    with pytest.raises(
        TypeError, match=r"x must be an array .*Expr; pass it on, for example polars\.map_"
    ) as raised:
        call(function, x, g)
    advice = re.search(r"for example (.*)$", str(raised.value))[1]
    result = table.select(eval(advice, {"polars": pl, "relu_xp": relu_xp, "x": x, "cotangent": g}))
    oracle.assert_same(result["x"].to_numpy(), want)


def test_bad_input(pl):
    x = pl.DataFrame({"a": X, "b": [*range(6)]})
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.leaky_relu: column 'b': takes real floating .*, got Int64; cast",
    ):
        relu_xp.leaky_relu(x)
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.relu_vjp: column 'b': x and cotangent .* Float64 and Int64; cast",
    ):
        relu_xp.relu_vjp(x.cast({"b": pl.Float64}), x)
    with pytest.raises(
        ValueError,
        match=r"^relu_xp\.leaky_relu: column 'h': negative_slope must be finite in float16",
    ):
        relu_xp.leaky_relu(pl.DataFrame({"a": X, "h": X.astype("f2")}), 1e6)
    with pytest.raises(
        ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same columns; align"
    ):
        relu_xp.relu_vjp(x, x.select("b", "a"))
    for g in (x[:1], x["a"]):
        with pytest.raises(
            ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same shape, got "
        ):
            relu_xp.relu_vjp(x, g)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: a polars object cannot be written to"):
        relu_xp.relu(x, out=x)
    with pytest.raises(
        TypeError, match=r"^relu_xp\.relu_vjp: x and cotangent must come from the same library"
    ):
        relu_xp.relu_vjp(x["a"], X)


HELD = {
    "Boolean": [True],
    "String": ["1"],
    "Date": [datetime.date(1970, 1, 2)],
    "Datetime": [datetime.datetime(1970, 1, 1, 0, 0, 0, 1)],
    "Duration": [datetime.timedelta(seconds=1)],
    "Time": [datetime.time(0, 0, 0)],
    "Decimal": [Decimal("1.0")],
    "List(Float64)": [[1.0]],
    "Array(Float64, 1)": [[1.0]],
    "Struct": [{"a": 1.0}],
    "Object": [1.0],
    "Categorical": ["1"],
    "Enum(['1'])": ["1"],
    "Binary": [b"1"],
    "Int128": [1],
    "Null": [None],
}


@pytest.mark.parametrize("dtype", HELD)
def test_columns_that_hold_no_numbers(pl, dtype):
    """The advice of each error, followed, computes."""
    values = HELD[dtype]
    given = eval(f"{dtype}", vars(pl).copy())
    x = (
        pl.Series("a", values)
        if dtype in ("Struct", "Decimal")
        else pl.Series("a", values, dtype=given)
    )
    for function in (relu_xp.relu, relu_xp.leaky_relu):
        with pytest.raises(
            TypeError, match=r"takes real floating .*, got .*; .*, for example "
        ) as raised:
            function(x)
        advice = re.search(r", for example ([^;]*)$", str(raised.value))[1]
        result = function(eval(advice, {"x": x, "polars": pl}))
        assert result.to_numpy().ravel().tolist() in ([1.0], [0.0], [None]) or dtype == "Null"
