"""xarray keeps coordinates and laziness, pandas its index and names, quantities their unit."""

import importlib
import math
import re

import numpy as np
import oracle
import pytest

import relu_xp

X = np.array([[1.5, -2.0, 0.0], [-0.0, np.nan, -np.inf]], np.float32)
G = np.array([[2.0, 3.0, -0.0], [5.0, np.inf, np.nan]], np.float32)


@pytest.fixture(scope="module")
def xarray(wanted):
    return wanted("xarray")


@pytest.fixture(scope="module")
def pandas(wanted):
    return wanted("pandas")


@pytest.fixture
def labelled(xarray):
    def make(values):
        coordinates = {
            "time": [10, 20],
            "place": ["a", "b", "c"],
            "height": ("place", [1.0, 2.0, 3.0]),
        }
        return xarray.DataArray(values, coordinates, ("time", "place"), "depth", {"units": "m"})

    return make


call = oracle.call


def want(name, x=X, g=G):
    return oracle.expected(name, oracle.arrays_of(name, x, g))


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_xarray_keeps_names_coordinates_and_attributes(xarray, labelled, name):
    x = labelled(X)
    result = call(name, x, labelled(G))
    oracle.assert_same(result.to_numpy(), want(name))
    assert result.name == "depth"
    assert result.attrs == {"units": "m"}
    xarray.testing.assert_identical(result.coords.to_dataset(), x.coords.to_dataset())


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_xarray_datasets_and_variables(xarray, labelled, name):
    x, g = (
        xarray.Dataset({"depth": labelled(a), "half": labelled(a.astype(np.float16))})
        for a in (X, G)
    )
    result = call(name, x, g)
    oracle.assert_same(result["depth"].to_numpy(), want(name))
    oracle.assert_same(
        result["half"].to_numpy(), want(name, *(a.astype(np.float16) for a in (X, G)))
    )
    variable = call(name, x["depth"].variable, g["depth"].variable)
    assert type(variable) is xarray.Variable
    oracle.assert_same(variable.to_numpy(), want(name))


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_xarray_stays_lazy_over_dask(xarray, labelled, name):
    dask = pytest.importorskip("dask", reason="dask: not installed")

    def refuse(*arguments, **options):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        result = call(name, labelled(X).chunk(time=1), labelled(G).chunk(time=1))
        assert result.chunks == ((1, 1), (3,))
        assert result.dtype == np.float32
    oracle.assert_same(result.compute(scheduler="synchronous").to_numpy(), want(name))


@pytest.fixture
def tree(xarray):
    def make(values):
        root = xarray.Dataset({"a": ("t", values[0])}, {"t": [1, 2, 3]}, {"of": "root"})
        leaf = xarray.Dataset(
            {"b": ("t", values[1]), "h": ("u", values[0].astype("f2"))}, {"u": [4, 5, 6]}
        )
        return xarray.DataTree.from_dict(
            {"/": root, "/c": xarray.Dataset(attrs={"of": "c"}), "/c/d": leaf}, name="sea"
        )

    return make


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_xarray_trees(xarray, tree, name):
    x, g = tree(X), tree(G)
    with np.errstate(invalid="ignore"):
        result = call(name, x, g)
        part = call(name, x["c"], g["c"])
        half = want(name, X[0].astype("f2"), G[0].astype("f2"))
    oracle.assert_same(result["a"].to_numpy(), want(name)[0])
    oracle.assert_same(result["c/d/b"].to_numpy(), want(name)[1])
    oracle.assert_same(result["c/d/h"].to_numpy(), half)
    assert (result.name, part.name) == ("sea", "c")
    blank, blank_x = (
        xarray.map_over_datasets(lambda part: part.map(xarray.zeros_like, keep_attrs=True), a)
        for a in (result, x)
    )
    xarray.testing.assert_identical(blank, blank_x)  # names, coordinates and attributes
    assert [*part["d"].coords] == [*x["c/d"].coords]  # also those that came from above
    xarray.testing.assert_equal(part["d"].to_dataset(), result["c/d"].to_dataset())
    assert x["a"].to_numpy().tolist() == X[0].tolist()


def test_xarray_trees_are_refused_as_sets_are(xarray, tree):
    x = tree(X)
    with pytest.raises(
        TypeError, match=r"^relu_xp\.relu_vjp: x and cotangent must come from the same library"
    ):
        relu_xp.relu_vjp(x, x.to_dataset())
    with pytest.raises(
        ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same groups; align"
    ):
        relu_xp.relu_vjp(x, xarray.DataTree(x.to_dataset()))
    with pytest.raises(
        ValueError,
        match=r"^relu_xp\.leaky_relu: group 'c/d': variable 'h': negative_slope must be fin",
    ):
        relu_xp.leaky_relu(x, 1e6)
    integers = xarray.DataTree.from_dict(
        {"/": x.to_dataset(), "/i": xarray.Dataset({"n": ("t", [1, 2, 3])})}
    )
    with pytest.raises(
        TypeError, match=r"^relu_xp\.leaky_relu: group 'i': variable 'n': takes real .*, got int64"
    ):
        relu_xp.leaky_relu(integers)
    other = tree(G)
    other["c/d"] = other["c/d"].to_dataset().assign_coords(u=[4, 5, 7])
    with pytest.raises(
        ValueError,
        match=r"^relu_xp\.relu_vjp: group 'c/d': x and cotangent must have the same coord",
    ):
        relu_xp.relu_vjp(x, other)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: an xarray object cannot be written to"):
        relu_xp.relu(x, out=x)


def test_xarray_holds_any_array(xarray, labelled):
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict: not installed")
    result = relu_xp.leaky_relu(labelled(strict.asarray(X)), 0.25)
    assert type(result.data) is type(strict.asarray(X))
    assert float(result[0, 1]) == -0.5


def test_xarray_aligns_nothing(labelled):
    x = labelled(X)
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same shape"
    ):
        relu_xp.relu_vjp(x, x[0])
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same coordinates"
    ):
        relu_xp.relu_vjp(x, x.assign_coords(time=[10, 30]))
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same variables"
    ):
        relu_xp.relu_vjp(x.to_dataset(), x.to_dataset(name="other"))
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from the same library"
    ):
        relu_xp.relu_vjp(x, x.to_dataset())
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from the same library"
    ):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(TypeError, match=r"relu_xp\.relu: an xarray object cannot be written to"):
        relu_xp.relu(x, out=x)
    with pytest.raises(
        TypeError, match=r"relu_xp\.leaky_relu: takes real floating dtypes, got int64"
    ):
        relu_xp.leaky_relu(labelled(X.astype("f8")).fillna(0).clip(-1, 1).astype(int))
    with pytest.raises(ValueError, match=r"relu_xp\.leaky_relu: negative_slope must be finite"):
        relu_xp.leaky_relu(x, np.inf)


def test_xarray_keeps_all_coordinates_or_refuses(xarray, labelled):
    """Its arithmetic drops those that differ, unless they are indexes."""
    x, g = labelled(X).assign_coords(step=1), labelled(G)
    for a, b in ((x, g), (g, x), (x, g.assign_coords(step=1)), (x.to_dataset(), g.to_dataset())):
        result = relu_xp.relu_vjp(a, b)
        assert {*result.coords} == {"time", "place", "height", "step"}
        assert int(result.step) == 1
    for other in ({"step": 2}, {"height": ("place", [1.0, 2.0, 4.0])}):
        for a, b in (
            (x, g.assign_coords(other)),
            (x.to_dataset(), g.assign_coords(other).to_dataset()),
        ):
            with pytest.raises(
                ValueError,
                match=r"relu_vjp: x and cotangent must have the same coordinates; .*drop_vars",
            ):
                relu_xp.relu_vjp(a, b)
            dropped = relu_xp.relu_vjp(a, b.drop_vars([*other]))  # the advice
            xarray.testing.assert_identical(dropped.coords.to_dataset(), a.coords.to_dataset())
    assert relu_xp.relu_vjp(x, g.rename("other")).name == "depth"


def test_coordinates_that_agree_are_not_merged(xarray, labelled, monkeypatch):
    """Which takes twice as long as xarray's own sum."""
    x, g = labelled(X), labelled(G)
    monkeypatch.setattr(xarray, "merge", None)
    xarray.testing.assert_identical(
        relu_xp.relu_vjp(x, g).coords.to_dataset(), x.coords.to_dataset()
    )
    relu_xp.relu_vjp(x.to_dataset(), g.to_dataset())
    with pytest.raises(TypeError, match="not callable"):
        relu_xp.relu_vjp(x, g.assign_coords(step=1))


def test_xarray_results_can_be_written_to(xarray):
    x = xarray.DataArray([1.0, 2.0], dims="t", coords={"t": [-1.0, 2.0]})
    for a in (x.t, x.t.variable):
        result = relu_xp.relu(a)
        assert result.to_numpy().tolist() == [0, 2]
        result[0] = 5
    assert x.t.to_numpy().tolist() == [-1, 2]
    assert relu_xp.relu(xarray.Dataset(attrs={"a": 1})).attrs == {"a": 1}


def test_a_transposed_cotangent_finds_its_dimensions(labelled):
    result = relu_xp.relu_vjp(labelled(X), labelled(G).transpose())
    assert result.dims == ("time", "place")
    oracle.assert_same(result.to_numpy(), want("relu_vjp"))


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_pandas_keeps_index_names_and_dtypes(pandas, name):
    index = pandas.Index(["p", "q"], name="key")
    x, g = (pandas.DataFrame(a, index, ["a", "b", "a"]).astype({"b": "float64"}) for a in (X, G))
    x.attrs["units"] = "m"
    result = call(name, x, g)
    assert result.index.equals(index)
    assert result.index.name == "key"
    assert list(result.columns) == ["a", "b", "a"]
    assert result.attrs == {"units": "m"}
    for i, dtype in enumerate(("float32", "float64", "float32")):
        oracle.assert_same(
            result.iloc[:, i].to_numpy(), want(name, X[:, i].astype(dtype), G[:, i].astype(dtype))
        )
    column = call(name, x["b"], g["b"])
    assert column.name == "b"
    pandas.testing.assert_series_equal(column, result["b"])
    for empty in (x[:0], x.iloc[:, :0]):
        pandas.testing.assert_frame_equal(call(name, empty, empty), empty)


def test_pandas_aligns_nothing(pandas):
    x = pandas.Series([1.0, -2.0], ["p", "q"])
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same index"
    ):
        relu_xp.relu_vjp(x, x[::-1])
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same columns"
    ):
        relu_xp.relu_vjp(x.to_frame("a"), x.to_frame("b"))
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same shape"
    ):
        relu_xp.relu_vjp(x, x[:1])
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same shape"
    ):
        relu_xp.relu_vjp(x, x.to_frame())
    with pytest.raises(TypeError, match=r"relu_xp\.relu: a pandas object cannot be written to"):
        relu_xp.relu(x, out=x)


NULLABLE = ["Float64", "Float32", "double[pyarrow]", "float[pyarrow]"]


def of_dtype(pandas, values, dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow", reason="pyarrow: not installed")
    return pandas.Series(values, index=[*"pqrstu"][: len(values)], name="depth").astype(dtype)


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("dtype", NULLABLE)
def test_pandas_nullable_columns_keep_dtype_and_missing_values(pandas, function, dtype):
    x, g = (of_dtype(pandas, a.ravel(), dtype) for a in (np.nan_to_num(X), np.nan_to_num(G)))
    x.iloc[1], g.iloc[2] = None, None
    result = call(function, x, g)
    assert result.dtype == x.dtype
    assert result.name == "depth"
    assert result.index.equals(x.index)
    missing = [False, True, len(function.arrays) == 2, False, False, False]
    assert result.isna().tolist() == missing
    plain = x.dtype.numpy_dtype
    whole = want(function, *(np.nan_to_num(a).ravel().astype(plain) for a in (X, G)))
    oracle.assert_same(result[~result.isna()].to_numpy(plain), whole[~np.array(missing)])
    assert x.isna().sum() == 1
    empty = call(function, x[:0], g[:0])
    pandas.testing.assert_series_equal(empty, x[:0])


@pytest.mark.parametrize("dtype", NULLABLE)
def test_what_is_missing_raises_no_floating_point_error(pandas, dtype):
    """Whatever stands beside it: these warn where the other is a number."""
    for function in oracle.RECORDS:
        held, missing = (of_dtype(pandas, [value], dtype) for value in (-np.inf, None))
        for given in [(missing, held), (held, missing)][: len(function.arrays)]:
            with np.errstate(all="raise"):
                assert call(function, *given).isna().all()


@pytest.mark.parametrize("dtype", NULLABLE)
def test_nan_is_no_missing_value(pandas, dtype):
    """Where a column has both."""
    numbers, missing = np.array([np.nan, 1, -1], X.dtype), np.array([False, False, True])
    if "pyarrow" in dtype:
        arrow = pytest.importorskip("pyarrow", reason="pyarrow: not installed")
        x = pandas.Series(pandas.arrays.ArrowExtensionArray(arrow.array(numbers, mask=missing)))
    else:
        x = pandas.Series(pandas.arrays.FloatingArray(numbers, missing))
    result = relu_xp.relu(x)
    assert result.isna().tolist() == x.isna().tolist()
    oracle.assert_same(result.array.to_numpy("f4", na_value=7.0), np.array([np.nan, 1, 7], "f4"))


@pytest.mark.parametrize("dtype", ["Int64", "UInt8", "int32[pyarrow]"])
def test_pandas_nullable_integers(pandas, dtype):
    x = of_dtype(pandas, [3, 0, 2], dtype)
    x.iloc[1] = None
    pandas.testing.assert_series_equal(relu_xp.relu(x), x)
    with pytest.raises(
        TypeError,
        match=r"leaky_relu: takes real floating dtypes, got .*; .* x\.astype\('Float64'\)",
    ):
        relu_xp.leaky_relu(x)
    assert relu_xp.leaky_relu(x.astype("Float64")).isna().tolist() == [False, True, False]


def test_pandas_tables_of_many_dtypes(pandas):
    """Each column is what it is as a Series, in its place; also where labels repeat."""
    pytest.importorskip("pyarrow", reason="pyarrow: not installed")
    dtypes = ["float64", "Float64", "float32", "double[pyarrow]", "float64", "Float64"]
    columns = [of_dtype(pandas, np.roll(X.ravel(), i), dtype) for i, dtype in enumerate(dtypes)]
    x = pandas.concat(columns, axis=1).set_axis([*"abcaba"], axis=1)
    x.iloc[0, 1] = None
    for function in oracle.RECORDS:
        result = call(function, x, x)
        assert [*result.columns] == [*"abcaba"]
        assert [*result.dtypes] == [*x.dtypes]
        for i in range(x.shape[1]):
            column = call(function, x.iloc[:, i], x.iloc[:, i])
            pandas.testing.assert_series_equal(result.iloc[:, i], column, check_exact=True)


@pytest.mark.parametrize("dtype", NULLABLE)
@pytest.mark.parametrize("other", ["float32", "Float32", "Float64", "double[pyarrow]", "Int64"])
def test_a_nullable_column_takes_a_cotangent_of_its_own_dtype(pandas, dtype, other):
    pytest.importorskip("pyarrow", reason="pyarrow: not installed")
    x, g = of_dtype(pandas, X[0], dtype), of_dtype(pandas, [1, 2, 3], other)
    if x.dtype == g.dtype:
        relu_xp.relu_vjp(x, g)
        return
    for given in ((x, g), (g, x)):
        if other == "Int64" and given[0] is g:
            continue  # it is refused as x
        got = f"{given[0].dtype} and {given[1].dtype}"
        text = f"x and cotangent must have the same dtype, got {got}; "
        with pytest.raises(TypeError, match=re.escape(f"relu_xp.relu_vjp: {text}")):
            relu_xp.relu_vjp(*given)
        tables = [pandas.DataFrame({"a": a}) for a in given]
        with pytest.raises(TypeError, match=re.escape(f"relu_xp.relu_vjp: column 'a': {text}")):
            relu_xp.relu_vjp(*tables)


def test_errors_name_the_column_or_the_variable(pandas, xarray):
    x = pandas.DataFrame({"a": X[0], "b": [1, 2, 3], 7: [4, 5, 6]})
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.leaky_relu: column 'b' and 1 more: takes real .*, got int64; cast",
    ):
        relu_xp.leaky_relu(x)
    with pytest.raises(
        TypeError,
        match=r"relu_vjp: column 7: x and cotangent must have the same dtype, got float64 and",
    ):
        relu_xp.relu_vjp(x.astype({"b": "f8", 7: "f8"}), x.astype({"b": "f8"}))
    with pytest.raises(
        ValueError,
        match=r"^relu_xp\.leaky_relu: column 'h': negative_slope must be finite in float16",
    ):
        relu_xp.leaky_relu(pandas.DataFrame({"a": X[0], "h": X[0].astype("f2")}), 1e6)
    x = xarray.Dataset({"a": ("t", X[0]), "b": ("t", [1, 2, 3])})
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.leaky_relu: variable 'b': takes real floating dtypes, got int64; ",
    ):
        relu_xp.leaky_relu(x)
    with pytest.raises(
        ValueError,
        match=r"^relu_xp\.relu_vjp: variable 'a': x and cotangent must have the same shape, got ",
    ):
        relu_xp.relu_vjp(
            x[["a"]].assign(c=("u", [1.0])), xarray.Dataset({"a": ("u", [1.0]), "c": ("t", X[0])})
        )


def test_an_array_of_slopes_is_for_what_is_computed_whole(pandas):
    x = pandas.DataFrame({"a": X[0], "b": X[0].astype("f8")})
    with pytest.raises(
        TypeError,
        match=r"negative_slope must be a real number, got numpy\.ndarray; .* x\.to_numpy\(\),",
    ):
        relu_xp.leaky_relu(x, np.full((3, 1), 0.5, np.float32))
    relu_xp.leaky_relu(x, np.array(0.5, np.float32))


def delegated(function, *arrays):
    """The result of pandas' backend, and the shapes of what it has computed, a call at a time."""
    shapes = []

    def inside(*held):
        shapes.append(held[0].shape)
        return call(function, *held)

    return importlib.import_module("relu_xp._backends.pandas").delegate(
        function, inside, arrays, None, None
    ), shapes


VJP = next(each for each in oracle.RECORDS if each.name == "leaky_relu_vjp")


@pytest.mark.parametrize("dtypes", [["f8"], ["f8", "f4"]], ids=["one dtype", "two"])
def test_a_wide_table_is_computed_by_blocks(pandas, monkeypatch, dtypes):
    """Column by column it takes ten times as long; nor is any part of it copied together again."""
    whole = np.random.default_rng(0).normal(size=(10, 20_000))
    x = pandas.concat(
        [pandas.DataFrame(whole.astype(each)) for each in dtypes], axis=1, ignore_index=True
    )
    if len(dtypes) == 2:
        x = x.iloc[:, np.arange(40_000).reshape(2, -1).T.ravel()].copy()  # the dtypes in turn
    with monkeypatch.context() as patched:
        patched.setattr(pandas, "concat", None)
        result, shapes = delegated(VJP, x, x.copy())
    assert shapes == [(20_000, 10)] * len(dtypes)
    for i in (0, 1, 12_345):
        oracle.assert_same(
            result.iloc[:, i].to_numpy(), relu_xp.leaky_relu_vjp(*[x.iloc[:, i].to_numpy()] * 2)
        )


def test_frames_whose_blocks_differ(pandas):
    """One made column by column, of labels that repeat, beside one that is a single block."""
    names = ["a", "b", "a"]
    g = pandas.DataFrame(np.arange(6.0).reshape(2, 3) - 2, columns=names)
    x = pandas.DataFrame({0: [1.0, -1.0]})
    for i in (1, 2):
        x[i] = [-2.0, 3.0]
    x.columns = names
    for one, other in ((x, g), (g, x)):
        result = relu_xp.leaky_relu_vjp(one, other, 0.5)
        want = relu_xp.leaky_relu_vjp(one.to_numpy(), other.to_numpy(), 0.5)
        pandas.testing.assert_frame_equal(
            result, pandas.DataFrame(want, columns=names), check_exact=True
        )


@pytest.mark.parametrize("dtype", NULLABLE)
def test_a_nullable_column_is_computed_where_it_lies(pandas, monkeypatch, dtype):
    """Once and without a copy, unless a floating-point error may be that of a missing value."""
    x = of_dtype(pandas, [1.0, -2.0, 3.0, None], dtype)
    with monkeypatch.context() as patched:
        patched.setattr(type(x.array), "to_numpy", None)
        assert delegated(VJP, x, x)[1] == [(4,)]
        assert delegated(VJP, *[pandas.DataFrame({"a": x, "b": x})] * 2)[1] == [(4,), (4,)]
    part = x[2:]  # Arrow: an offset into the same memory
    oracle.assert_same(relu_xp.relu(part).array.to_numpy("f4", na_value=7), np.array([3, 7], "f4"))
    parts = pandas.concat([x, x])  # Arrow: two chunks
    assert relu_xp.relu(parts).isna().tolist() == [False, False, False, True] * 2


@pytest.mark.parametrize("dtype", NULLABLE)
def test_errors_of_a_nullable_column_are_told_of_once(pandas, dtype):
    x = of_dtype(pandas, [-np.inf, None, -2.0], dtype)
    for given in (x, pandas.DataFrame({"a": x, "b": x})):
        with pytest.warns(RuntimeWarning, match="invalid value encountered in leaky_relu") as told:
            relu_xp.leaky_relu(given, 0.0)
        assert len(told) == 1
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            relu_xp.leaky_relu(given, 0.0)


def test_whatever_a_mask_hides_is_told_of_by_nobody(pandas):
    numbers, mask = np.array([-np.inf, 2.0, -1e308]), np.array([True, False, True])
    x = pandas.Series(pandas.arrays.FloatingArray(numbers, mask))
    arrow = pytest.importorskip("pyarrow", reason="pyarrow: not installed")
    held = arrow.array(numbers, mask=mask)
    y = pandas.Series(pandas.arrays.ArrowExtensionArray(held))
    for given in (x, y, pandas.DataFrame({"a": x, "b": y})):
        for function, options in (
            (relu_xp.leaky_relu, {"negative_slope": 1e3}),
            (relu_xp.squared_relu, {}),
        ):
            with np.errstate(all="raise"):
                result = function(given, **options)
            assert result.isna().to_numpy().tolist() == given.isna().to_numpy().tolist()
    assert numbers.tolist() == [-np.inf, 2.0, -1e308]


@pytest.mark.parametrize(
    "dtype", ["Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"]
)
def test_every_nullable_integer(pandas, dtype):
    for each in (dtype, f"{dtype.lower()}[pyarrow]"):
        least, most = np.iinfo(dtype.lower()).min, np.iinfo(dtype.lower()).max
        x = pandas.Series([least, None, most, 0], dtype="object").astype(
            of_dtype(pandas, [], each).dtype
        )
        want = pandas.Series([0, None, most, 0], dtype="object").astype(x.dtype)
        pandas.testing.assert_series_equal(relu_xp.relu(x), want)
        pandas.testing.assert_frame_equal(relu_xp.relu(x.to_frame("a")), want.to_frame("a"))


@pytest.mark.parametrize(
    "dtype", ["boolean", "category", "string", "str", "object", "bool", "Sparse[float64]"]
)
def test_pandas_columns_that_hold_no_numbers(pandas, dtype):
    x = pandas.Series(["1", "0"] if dtype in ("string", "str") else [1, 0]).astype(dtype)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: takes real floating and integer dtypes, got "
    ) as raised:
        relu_xp.relu(x)
    advice = re.fullmatch(r".*; .*, for example (.*)", str(raised.value))[1]
    assert relu_xp.relu(eval(advice, {"x": x, "pandas": pandas})).tolist() == [1, 0]


@pytest.mark.parametrize(
    "dtype",
    [
        "datetime64[ns]",
        "datetime64[s, UTC]",
        "timedelta64[s]",
        "timestamp[ns][pyarrow]",
        "duration[s][pyarrow]",
        "period",
    ],
)
def test_pandas_times(pandas, dtype):
    """The advice of each error, one after the other until there is none, makes seconds of them."""
    if dtype == "period":
        x = pandas.Series(pandas.period_range("2020-01-01", periods=2, freq="D"))
    else:
        x = of_dtype(pandas, [0, 1_000_000_000 if "ns" in dtype else 1], dtype)
    for _ in range(3):
        try:
            result = relu_xp.leaky_relu(x)
            break
        except TypeError as error:
            advice = re.fullmatch(
                r"relu_xp\.leaky_relu: takes real floating .*?, got .*?; .*, for example (.*)",
                str(error),
            )
            x = eval(advice[1], {"x": x, "numpy": np})
    assert result.tolist() == [0, 86400 if dtype == "period" else 1]


def test_pandas_complex_numbers(pandas):
    x = pandas.Series([1 + 2j])
    with pytest.raises(
        TypeError, match=r"got complex128; take numpy\.real\(x\), or numpy\.imag\(x\)"
    ):
        relu_xp.relu(x)
    assert relu_xp.relu(np.imag(x)).tolist() == [2]  # pandas' own have neither .real nor .imag


def test_pint_pandas(pandas, wanted):
    pytest.importorskip("pint_pandas", reason="pint_pandas: not installed")
    x = pandas.Series([1.0, -2.0], dtype="pint[metre]")
    with pytest.raises(
        TypeError, match=r"got pint\[.*; call it on x\.pint\.quantity, which keeps the unit"
    ) as raised:
        relu_xp.relu(x)
    result = relu_xp.relu(eval(re.search(r"call it on (\S+),", str(raised.value))[1], {"x": x}))
    assert (result.magnitude.tolist(), str(result.units)) == ([1, 0], "meter")


def test_pandas_subclasses_stay_what_they_are(pandas):
    class Column(pandas.Series):
        @property
        def _constructor(self):
            return Column

        @property
        def _constructor_expanddim(self):
            return Table

    class Table(pandas.DataFrame):
        @property
        def _constructor(self):
            return Table

        @property
        def _constructor_sliced(self):
            return Column

    assert type(relu_xp.relu(Column([1.0, -1.0], name="a"))) is Column
    for columns in ({"a": [1.0, -1.0], "b": [0.0, 2.0]}, {}):
        result = relu_xp.relu(Table(columns))
        assert type(result) is Table
        assert result.equals(
            Table({name: np.maximum(values, 0) for name, values in columns.items()})
        )


def test_results_share_no_memory(pandas):
    x = pandas.Series([1, 2], dtype="uint8")
    assert not np.shares_memory(relu_xp.relu(x).to_numpy(), x.to_numpy())


def unit_of(function, x_unit, g_unit):
    """The unit of a result, as the record has it."""
    return math.prod(
        [
            each
            for each, power in zip((x_unit, g_unit), function.powers, strict=True)
            for _ in range(power)
        ]
    )


# The others compare x with a number that has no unit.
ONE_UNIT = [each for each in oracle.RECORDS if each.takes_units]
A_NUMBER = [each for each in oracle.RECORDS if not each.takes_units]


@pytest.mark.parametrize("function", ONE_UNIT, ids=str)
def test_pint_keeps_the_unit(wanted, function):
    units = wanted("pint").UnitRegistry()
    result = call(function, units.Quantity(X, "metre"), units.Quantity(G, "second"))
    if function.powers == (0, 0):
        assert type(result) is np.ndarray
        oracle.assert_same(result, want(function))
        return
    assert result.units == unit_of(function, units.metre, units.second)
    assert type(result) is units.Quantity
    oracle.assert_same(result.magnitude, want(function))
    single = relu_xp.leaky_relu(units.Quantity(-2.0, "kelvin"), 0.5)
    assert (single.magnitude, single.units) == (-1.0, units.kelvin)


@pytest.mark.parametrize("function", A_NUMBER, ids=str)
def test_pint_has_no_unit_where_x_is_compared_with_a_number(wanted, function):
    units = wanted("pint").UnitRegistry()
    for unit in ("metre", "percent", "radian"):
        x = units.Quantity(X, unit)
        with pytest.raises(
            TypeError, match=rf"{function}: x must have no unit, got {unit.replace('re', 'er')}; "
        ):
            call(function, x, x)
    x, g = units.Quantity(X, ""), units.Quantity(G, "second")
    result = call(function, x, g)
    assert getattr(result, "units", 1) == unit_of(function, units.dimensionless, units.second)
    # A derivative has no unit at all, while a value of a dimensionless quantity is one.
    assert isinstance(result, units.Quantity) == (function.powers != (0, 0))
    oracle.assert_same(getattr(result, "magnitude", result), want(function))
    # As the advice says:
    oracle.assert_same(call(function, units.Quantity(X, "metre").magnitude, G), want(function))


@pytest.mark.parametrize("name", oracle.SLOPED)
def test_pint_hands_on_the_slopes_of_what_it_holds(wanted, name):
    units = wanted("pint").UnitRegistry()
    slopes = np.array([0.5, 2.0, -1.0], np.float32)
    result = call(
        name, units.Quantity(X, "metre"), units.Quantity(G, "second"), negative_slope=slopes
    )
    oracle.assert_same(
        getattr(result, "magnitude", result), call(name, X, G, negative_slope=slopes)
    )
    with pytest.raises(TypeError, match=rf"^relu_xp\.{name}: negative_slope must .*Quantity"):
        call(name, units.Quantity(X), units.Quantity(G), negative_slope=units.Quantity(slopes))


def test_units_inside_labels(xarray, wanted):
    units = wanted("pint").UnitRegistry()
    x = xarray.Dataset({"depth": ("t", units.Quantity(X[0], "metre"))}, {"t": [1, 2, 3]})
    result = relu_xp.squared_relu(x)
    assert result.depth.data.units == units.metre**2
    oracle.assert_same(result.depth.data.magnitude, want("squared_relu")[0])
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.clipped_relu: variable 'depth': x must have no unit, got meter; ",
    ):
        relu_xp.clipped_relu(x)


def test_pint_refuses_what_has_no_product(wanted):
    pint = wanted("pint")
    units = pint.UnitRegistry()
    celsius = units.Quantity(X, "degC")
    assert relu_xp.relu(celsius).units == units.degC
    with pytest.raises(TypeError, match=r"relu_xp\.squared_relu: .*offset unit"):
        relu_xp.squared_relu(celsius)
    with pytest.raises(TypeError, match=r"relu_xp\.leaky_relu_slope_vjp: .*different registries"):
        relu_xp.leaky_relu_slope_vjp(units.Quantity(X, "m"), pint.UnitRegistry().Quantity(G, "s"))


def test_pint_refuses_as_the_others_do(wanted):
    pint = wanted("pint")
    x = pint.UnitRegistry().Quantity(X, "metre")
    with pytest.raises(TypeError, match=r"relu_xp\.relu: a pint quantity cannot be written to"):
        relu_xp.relu(x, out=x)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from the same library"
    ):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(
        TypeError, match=r"relu_xp\.leaky_relu: takes real floating dtypes, got int64"
    ):
        relu_xp.leaky_relu(pint.UnitRegistry().Quantity(np.array([1, 2]), "metre"))


# Some of these packages make float64 of every array.
DOUBLE, DOUBLE_G = X.astype("f8"), G.astype("f8")
ASTROPY, QUANTITIES, UNYT = "astropy.units", "quantities", "unyt"


class Units:
    """A package whose quantities are NumPy arrays: by their own ufuncs, or by wrapping results."""

    def __init__(self, package):
        self.package = pytest.importorskip(package, reason=f"{package}: not installed")

    def __call__(self, array, name):  # noqa: D102
        unit = getattr(self.package, name)
        return np.asarray(array) * unit if isinstance(array, np.ndarray) else array * unit

    def of(self, result):
        """Its unit, as an exponent for each base."""
        return next(
            getattr(result, each)
            for each in ("unit", "dimensionality", "units")
            if hasattr(result, each)
        )


@pytest.fixture(params=[ASTROPY, QUANTITIES, UNYT])
def units(request):
    return Units(request.param)


@pytest.mark.parametrize("function", ONE_UNIT, ids=str)
@pytest.mark.parametrize(
    "part", [..., slice(0), (0, 0), np.array(5)], ids=["all", "empty", "scalar", "0-d"]
)
def test_quantities_keep_their_unit(units, function, part):
    x, g = (
        np.float64(a.take(5)).reshape(()) if isinstance(part, np.ndarray) else a[part]
        for a in (DOUBLE, DOUBLE_G)
    )
    metres, seconds = units(x, "m"), units(g, "s")
    for given in ((metres, seconds), (x, seconds), (metres, g)):
        result = call(function, *given)
        oracle.assert_same(np.asarray(result), want(function, np.asarray(x), np.asarray(g)))
        pairs = [*zip(given, function.powers, strict=True)]
        carriers = [a for a, power in pairs for _ in range(power) if a is metres or a is seconds]
        if carriers:
            assert units.of(result) == units.of(math.prod(carriers))
        else:
            assert type(result) in (np.ndarray, np.float64)


@pytest.mark.parametrize("function", A_NUMBER, ids=str)
def test_quantities_have_no_unit_where_x_is_compared_with_a_number(units, function):
    x = units(DOUBLE, "m")
    with pytest.raises(
        TypeError,
        match=rf"{function}: x must have no unit, got .*; convert it, or pass numpy.asarray\(x\)",
    ):
        call(function, x, x)
    with pytest.raises(TypeError, match=rf"{function}: x must have no unit, got .*; convert it"):
        call(function, units(DOUBLE, "percent"), DOUBLE_G)
    oracle.assert_same(call(function, np.asarray(x), DOUBLE_G), want(function, DOUBLE, DOUBLE_G))
    bare = units(DOUBLE, "m") / units(1.0, "m")
    result = call(function, bare, units(DOUBLE_G, "s"))
    oracle.assert_same(np.asarray(result), want(function, DOUBLE, DOUBLE_G))
    assert len(function.arrays) == 1 or units.of(result) == units.of(units(DOUBLE_G, "s"))


def test_quantities_are_refused_where_they_cannot_be_kept(units):
    x, masked = units(DOUBLE, "m"), np.ma.MaskedArray(DOUBLE, DOUBLE > 1)
    for given in ((x, masked), (masked, x)):
        with pytest.raises(
            TypeError,
            match=r"relu_xp\.relu_vjp: no array has both a mask and a unit, got .*asarray",
        ):
            relu_xp.relu_vjp(*given)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: \S*MaskedArray is not supported; .* numpy\.ma\.array"
    ):
        relu_xp.relu(np.ma.MaskedArray(x, DOUBLE > 1))
    for options in ({"out": x.copy()}, {"out": np.empty_like(DOUBLE)}):
        with pytest.raises(
            TypeError, match=r"relu_xp\.relu: out must be None, since .* may carry more"
        ):
            relu_xp.relu(x, **options)
    out = x.copy()
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: out must be None, since .* may carry more"
    ):
        relu_xp.relu(DOUBLE, out=out)
    oracle.assert_same(np.asarray(out), DOUBLE)
    for slope in (units(np.float64(0.5), "m"), units(DOUBLE, "m")):
        with pytest.raises(
            TypeError, match=r"(negative_slope must have no unit, got .*m|must be a real number)"
        ):
            relu_xp.leaky_relu(DOUBLE, slope)


def test_a_quantity_without_a_unit_may_be_a_slope(units):
    slope = units(np.full((2, 1), 0.5), "m") / units(1.0, "m")
    oracle.assert_same(
        relu_xp.leaky_relu(DOUBLE, slope), oracle.expected("leaky_relu", (DOUBLE,), 0.5)
    )


def test_angles_that_leave_their_range_are_bare_angles():
    """As astropy's own arithmetic has it: a Latitude beyond 90 degrees would be none."""
    coordinates = pytest.importorskip("astropy.coordinates", reason="astropy: not installed")
    degree = importlib.import_module("astropy.units").deg
    for angle in (
        coordinates.Latitude(X[0] * degree),
        coordinates.Longitude(-X[0] * degree, wrap_angle=180 * degree),
    ):
        numbers = np.asarray(angle)
        for result in (
            relu_xp.leaky_relu(angle, -1e3),
            relu_xp.leaky_relu_vjp(-numbers, angle, 1e3),
        ):
            assert type(result) is coordinates.Angle
            assert result.unit == degree
            assert abs(result.value).max() > 1000
    assert relu_xp.squared_relu(coordinates.Latitude(X[0] * degree)).unit == degree**2
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: .*Magnitude has no such product, .*; pass numpy\.asarray"
    ):
        relu_xp.relu(importlib.import_module("astropy.units").Magnitude(X))


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,)], ids=str)
def test_columns_of_a_table_keep_what_they_hold(function, shape):
    """As numpy.negative gives them; a unit that they ignore, only if the result has it too."""
    table = pytest.importorskip("astropy.table", reason="astropy: not installed")
    x, g = (np.resize(a, shape) for a in (X, G))
    named = {"name": "depth", "meta": {"a": 1}, "format": "%.2f", "description": "below"}
    columns = [table.Column(a, **named) for a in (x, g)]
    result = call(function, *columns)
    like = np.negative(columns[-1])
    assert type(result) is table.Column
    for each in ("name", "meta", "format", "description", "unit"):
        assert getattr(result, each) == getattr(like, each)
    oracle.assert_same(np.asarray(result), want(function, x, g))
    columns = [table.Column(a, unit="m", **named) for a in (x, g)]
    if function in (f for f in ONE_UNIT if sum(f.powers) == 1):
        assert call(function, *columns).unit == "m"
    else:
        with pytest.raises(
            TypeError, match=rf"{function}: x must have no unit, got m; .* numpy\.asarray\(x\)"
        ):
            call(function, *columns)


def test_what_is_told_for_each_element_is_not_dropped():
    """astropy's masks and the uncertainties of `quantities`: refused, with advice that works."""
    masks = pytest.importorskip("astropy.utils.masked", reason="astropy: not installed")
    x = masks.Masked(X[0], mask=[False, True, False])
    with pytest.raises(
        TypeError,
        match=r"relu: \S*MaskedNDArray is not supported; .* x\.unmasked, and mask the result",
    ):
        relu_xp.relu(x)
    result = masks.Masked(relu_xp.relu(x.unmasked), mask=x.mask)
    oracle.assert_same(result.unmasked, want("relu")[0])
    quantities = pytest.importorskip("quantities", reason="quantities: not installed")
    x = quantities.UncertainQuantity(X[0], quantities.m, 0.1 * np.ones(3))
    for given in ((x, x), (X[0], x)):
        with pytest.raises(
            TypeError, match=r"\S*UncertainQuantity is not supported; .* numpy\.asarray\("
        ):
            relu_xp.relu_vjp(*given)
    oracle.assert_same(relu_xp.relu(np.asarray(x)), relu_xp.relu(np.asarray(x)))


def test_a_slope_is_broadcast_by_the_names_of_dimensions(xarray):
    rng = np.random.default_rng(0)
    values, slopes = (
        rng.normal(size=(4, 6, 5)).astype(np.float32),
        rng.normal(size=6).astype(np.float32),
    )
    labels = {"c": list("abcdef")}
    x = xarray.DataArray(values, dims=("n", "c", "t"), coords=labels)
    s = xarray.DataArray(slopes, dims="c", coords=labels)
    for name in oracle.SLOPED:
        want = oracle.call(name, values, negative_slope=slopes[:, None])
        oracle.assert_same(oracle.call(name, x, negative_slope=s).to_numpy(), want, name)
        oracle.assert_same(
            oracle.call(name, x.variable, negative_slope=s.variable).to_numpy(), want, name
        )
        table = oracle.call(name, xarray.Dataset({"v": x, "w": x.transpose()}), negative_slope=s)
        oracle.assert_same(table.w.transpose("n", "c", "t").to_numpy(), want, name)
    each = xarray.DataArray(rng.normal(size=(5, 4)).astype(np.float32), dims=("t", "n"))
    want = relu_xp.leaky_relu(values, each.to_numpy().T[:, None, :])
    oracle.assert_same(relu_xp.leaky_relu(x, each).to_numpy(), want)
    for bad, error, words in (
        (s.rename(c="z"), ValueError, "negative_slope must have dimensions of x"),
        (
            s.assign_coords(c=list("abcdeg")),
            ValueError,
            "x and negative_slope must have the same coordinates",
        ),
        (
            s.variable,
            TypeError,
            "x and negative_slope must come from the same library|must be a real number",
        ),
        (
            slopes,
            TypeError,
            r"negative_slope must be a real number, got numpy\.ndarray; .* or an xarray\.DataArray",
        ),
    ):
        with pytest.raises(error, match=words):
            relu_xp.leaky_relu(x, bad)
