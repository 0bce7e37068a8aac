"""Arrays with a meaning: xarray's keep coordinates and stay lazy, pandas' index and names, quantities their unit."""

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
        coordinates = {"time": [10, 20], "place": ["a", "b", "c"], "height": ("place", [1.0, 2.0, 3.0])}
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
    x, g = (xarray.Dataset({"depth": labelled(a), "half": labelled(a.astype(np.float16))}) for a in (X, G))
    result = call(name, x, g)
    oracle.assert_same(result["depth"].to_numpy(), want(name))
    oracle.assert_same(result["half"].to_numpy(), want(name, *(a.astype(np.float16) for a in (X, G))))
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


def test_xarray_holds_any_array(xarray, labelled):
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict: not installed")
    result = relu_xp.leaky_relu(labelled(strict.asarray(X)), 0.25)
    assert type(result.data) is type(strict.asarray(X))
    assert float(result[0, 1]) == -0.5


def test_xarray_aligns_nothing(labelled):
    x = labelled(X)
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have one shape"):
        relu_xp.relu_vjp(x, x[0])
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same coordinates"):
        relu_xp.relu_vjp(x, x.assign_coords(time=[10, 30]))
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same variables"):
        relu_xp.relu_vjp(x.to_dataset(), x.to_dataset(name="other"))
    with pytest.raises(TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from one library"):
        relu_xp.relu_vjp(x, x.to_dataset())
    with pytest.raises(TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from one library"):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(TypeError, match=r"relu_xp\.relu: an xarray object cannot be written to"):
        relu_xp.relu(x, out=x)
    with pytest.raises(TypeError, match=r"relu_xp\.leaky_relu: takes real floating dtypes, got int64"):
        relu_xp.leaky_relu(labelled(X.astype("f8")).fillna(0).clip(-1, 1).astype(int))
    with pytest.raises(ValueError, match=r"relu_xp\.leaky_relu: negative_slope must be finite"):
        relu_xp.leaky_relu(x, np.inf)


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
        oracle.assert_same(result.iloc[:, i].to_numpy(), want(name, X[:, i].astype(dtype), G[:, i].astype(dtype)))
    column = call(name, x["b"], g["b"])
    assert column.name == "b"
    pandas.testing.assert_series_equal(column, result["b"])
    for empty in (x[:0], x.iloc[:, :0]):
        pandas.testing.assert_frame_equal(call(name, empty, empty), empty)


def test_pandas_aligns_nothing(pandas):
    x = pandas.Series([1.0, -2.0], ["p", "q"])
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same index"):
        relu_xp.relu_vjp(x, x[::-1])
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same columns"):
        relu_xp.relu_vjp(x.to_frame("a"), x.to_frame("b"))
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have one shape"):
        relu_xp.relu_vjp(x, x[:1])
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have one shape"):
        relu_xp.relu_vjp(x, x.to_frame())
    with pytest.raises(TypeError, match=r"relu_xp\.relu: a pandas object cannot be written to"):
        relu_xp.relu(x, out=x)


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "boolean", "category", "string", "object", "bool"])
def test_pandas_columns_that_are_no_numpy_array(pandas, dtype):
    x = pandas.Series([1, 0]).astype(dtype)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: takes real floating and integer dtypes, got .*; cast it first"
    ):
        relu_xp.relu(x)


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
        assert result.equals(Table({name: np.maximum(values, 0) for name, values in columns.items()}))


def test_results_share_no_memory(pandas):
    x = pandas.Series([1, 2], dtype="uint8")
    assert not np.shares_memory(relu_xp.relu(x).to_numpy(), x.to_numpy())


@pytest.mark.parametrize("name", oracle.RECORDS, ids=str)
def test_pint_keeps_the_unit(wanted, name):
    pint = wanted("pint")
    units = pint.UnitRegistry()
    result = call(name, units.Quantity(X, "metre"), units.Quantity(G, "second"))
    if name.role == "grad":
        assert type(result) is np.ndarray
        oracle.assert_same(result, want(name))
        return
    assert result.units == (units.second if name.role == "vjp" else units.meter)
    assert type(result) is units.Quantity
    oracle.assert_same(result.magnitude, want(name))
    single = relu_xp.leaky_relu(units.Quantity(-2.0, "kelvin"), 0.5)
    assert (single.magnitude, single.units) == (-1.0, units.kelvin)


def test_pint_refuses_as_the_others_do(wanted):
    pint = wanted("pint")
    x = pint.UnitRegistry().Quantity(X, "metre")
    with pytest.raises(TypeError, match=r"relu_xp\.relu: a pint quantity cannot be written to"):
        relu_xp.relu(x, out=x)
    with pytest.raises(TypeError, match=r"relu_xp\.relu_vjp: x and cotangent must come from one library"):
        relu_xp.relu_vjp(x, X)
    with pytest.raises(TypeError, match=r"relu_xp\.leaky_relu: takes real floating dtypes, got int64"):
        relu_xp.leaky_relu(pint.UnitRegistry().Quantity(np.array([1, 2]), "metre"))


@pytest.mark.parametrize("name", oracle.RECORDS, ids=str)
def test_astropy_keeps_the_unit(name):
    units = pytest.importorskip("astropy.units", reason="astropy: not installed")
    x, g = X * units.meter, G * units.second
    result = call(name, x, g)
    if name.role == "grad":
        assert type(result) is np.ndarray
    else:
        assert result.unit == (units.second if name.role == "vjp" else units.meter)
    oracle.assert_same(np.asarray(result), want(name))
    assert relu_xp.relu(-2.0 * units.meter) == 0 * units.meter
