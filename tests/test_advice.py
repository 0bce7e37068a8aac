"""The advice of each error, followed until no error is left, computes."""

import datetime
import importlib.util
import re
import warnings
from decimal import Decimal

import numpy as np
import oracle
import pytest

import relu_xp

DAY, MIDNIGHT = datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1)
UTC = MIDNIGHT.replace(tzinfo=datetime.UTC)


def advised(error):
    """The line of code that an error gives."""
    found = re.search(r", for example ([^;]*)$", str(error)) or re.search(
        r"; take (.*), or .*$", str(error)
    )
    assert found, error
    return found[1]


def followed(function, x, **names):
    """What the function gives once all advice is followed, and how often there was some."""
    for steps in range(6):
        try:
            return function(x), steps
        except TypeError as error:
            said = str(error)
        assert said.startswith(f"relu_xp.{function.__name__}: ")
        x = eval(advised(said), {"x": x, "numpy": np, **names})
    return pytest.fail(f"no end of advice: {said}")


ARROW = {  # pyarrow's type, and values of it
    "list_(float64())": [[1.0, -1.0], [2.0]],
    "list_(string())": [["1", "word"]],
    "large_list(float64())": [[1.0, -1.0]],
    "list_(float64(), 2)": [[1.0, -1.0]],
    "list_(list_(float64()))": [[[1.0]]],
    "struct([('a', float64())])": [{"a": 1.0}],
    "struct([('a b', string()), ('c', float64())])": [{"a b": "word", "c": 1.0}],
    "map_(string(), float64())": [[("a", 1.0)]],
    "time32('s')": [datetime.time(1), None],
    "time32('ms')": [datetime.time(1)],
    "time64('us')": [datetime.time(1)],
    "time64('ns')": [datetime.time(1)],
    "date32()": [DAY],
    "date64()": [DAY, None],
    "timestamp('us')": [MIDNIGHT, None],
    "timestamp('us', 'UTC')": [UTC],
    "duration('s')": [datetime.timedelta(1), None],
    "decimal128(5, 2)": [Decimal("1.5"), None],
    "bool_()": [True, None],
    "string()": ["1.5", "word", None],
    "large_string()": ["1.5"],
    "binary()": [b"1.5", b"word"],
    "dictionary(int32(), string())": ["1.5", "word"],
    "dictionary(int32(), float64())": [1.5, 2.0],
    "null()": [None],
}
OBJECTS = {
    "floats": [1.5, None],
    "words": ["1.5", "word", None],
    "bytes": [b"1.5"],
    "lists": [[1.0], [2.0, 3.0]],
    "arrays": [np.ones(2), np.ones(3)],
    "dicts": [{"a": 1.0}, None],
    "decimals": [Decimal("1.5")],
    "dates": [DAY],
    "times": [datetime.time(1)],
    "spans": [datetime.timedelta(1)],
    "complex": [1j],
    "numbers and words": [1, -2.0, "a"],
    "numbers and lists": [1.0, [2.0]],
    "numbers and dicts": [1.0, {"a": 1.0}],
    "dates and numbers": [DAY, 1.0],
    "empty": [],
}
MADE = {  # columns that pandas makes by functions of its own
    "intervals": lambda pd: pd.interval_range(0, 2),
    "intervals of times": lambda pd: pd.interval_range(pd.Timestamp("2020"), periods=2),
    "periods": lambda pd: pd.period_range("2020", periods=2, freq="M"),
    "categories of text": lambda pd: pd.Categorical(["1.5", "word"]),
    "categories of numbers": lambda pd: pd.Categorical([1.5, 2.0]),
    "categories of both": lambda pd: pd.Categorical([1.5, "word"]),
    "categories of truths": lambda pd: pd.Categorical([True, None]),
    "categories of periods": lambda pd: pd.Categorical(
        pd.period_range("2020", periods=2, freq="M")
    ),
    "times": lambda pd: pd.date_range("2020", periods=2),
    "times of a zone": lambda pd: pd.date_range("2020", periods=2, tz="UTC"),
    "spans": lambda pd: pd.to_timedelta([1, None], "s"),
    "sparse": lambda pd: pd.arrays.SparseArray([1.0, 0.0]),
    "sparse truths": lambda pd: pd.arrays.SparseArray([True, False]),
    "truths": lambda pd: pd.array([True, None], dtype="boolean"),
    "text": lambda pd: pd.array(["1.5", "word", None], dtype="string"),
    "str": lambda pd: pd.array(["1.5", "word"], dtype="str"),
}


def pandas_columns():
    for name, values in ARROW.items():
        yield pytest.param(
            lambda pd, pa, n=name, v=values: pd.Series(
                v, dtype=pd.ArrowDtype(eval(n, vars(pa).copy()))
            ),
            id=name,
        )
    for name, values in OBJECTS.items():
        yield pytest.param(
            lambda pd, pa, v=values: pd.Series(v, dtype=object), id=f"objects: {name}"
        )
    for name, made in MADE.items():
        yield pytest.param(lambda pd, pa, m=made: pd.Series(m(pd)), id=name)


@pytest.mark.parametrize("made", [*pandas_columns()])
@pytest.mark.parametrize("function", [relu_xp.relu, relu_xp.leaky_relu])
def test_columns_of_pandas(wanted, made, function):
    """Alone, in a table under a name that is no word, as an array of its own, and as an index."""
    pd, pa = wanted("pandas"), pytest.importorskip("pyarrow", reason="pyarrow: not installed")
    x = made(pd, pa)
    _, steps = followed(function, x, pandas=pd)
    assert steps
    followed(function, pd.DataFrame({"b": [1.0] * len(x), ("a", 1): x}), pandas=pd)
    followed(function, x.array, pandas=pd)


CATEGORIES = {  # categorical columns, and the numbers that their advice leads to
    "intervals": (lambda pd: pd.cut(pd.Series([1.0, 2.0, 4.0]), [0, 2, 4]), [1, 1, 3]),
    "times": (
        lambda pd: pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])).astype("category"),
        [0, 86400],
    ),
    "spans": (
        lambda pd: pd.Series(pd.to_timedelta([1, -2, None], "s")).astype("category"),
        [1, 0, np.nan],
    ),
    "text": (lambda pd: pd.Series(["1.5", "word"]).astype("category"), [1.5, np.nan]),
}


@pytest.mark.parametrize(("made", "want"), [*CATEGORIES.values()], ids=[*CATEGORIES])
def test_the_numbers_of_categories(wanted, made, want):
    """Those that are there: nothing becomes NaN that has a number."""
    pd = wanted("pandas")
    result, _ = followed(relu_xp.relu, made(pd), pandas=pd)
    oracle.assert_same(np.asarray(result, float), np.asarray(want, float))


def test_columns_of_one_name(wanted):
    pd = wanted("pandas")
    x = pd.DataFrame([[1.0, "-1.5"]], columns=["a", "a"])
    result, _ = followed(relu_xp.leaky_relu, x, pandas=pd)
    assert result.tolist() == [-0.015]


@pytest.mark.parametrize("made", [*MADE.values()], ids=[*MADE])
def test_indices_of_pandas(wanted, made):
    pd = wanted("pandas")
    index = pd.Index(made(pd))
    followed(relu_xp.leaky_relu, index, pandas=pd)
    followed(relu_xp.leaky_relu, pd.MultiIndex.from_arrays([[1.0, 2.0], [-1.0, 2.0]]), pandas=pd)


@pytest.mark.parametrize(
    "dtype",
    [
        "Float64",
        "Float32",
        "Int64",
        "UInt8",
        "double[pyarrow]",
        "int8[pyarrow]",
        "float32",
        "int16",
    ],
)
def test_arrays_and_indices_of_pandas_compute(wanted, dtype):
    """As in a column; and inside of xarray's arrays and sets."""
    pd, xarray = wanted("pandas"), pytest.importorskip("xarray", reason="xarray: not installed")
    column = pd.Series([1, 0, 3]).astype(dtype)
    missing = "float32" not in dtype and dtype != "int16"
    if missing:
        column[1] = None
    for record in oracle.RECORDS:
        if not (record.takes_integers or "loat" in dtype or "double" in dtype):
            continue
        want = oracle.call(record, column, column)
        got = oracle.call(record, column.array, column.array)
        assert type(got) is type(column.array)
        pd.testing.assert_series_equal(pd.Series(got), want)
        index = pd.Index(column, name="i")
        got = oracle.call(record, index, index)
        assert isinstance(got, pd.Index)
        assert (got.name, got.dtype) == ("i", want.dtype)
        pd.testing.assert_series_equal(pd.Series(got.array), want)
        labelled = xarray.DataArray(column.array, dims="t", coords={"t": [1, 2, 3]}, name="v")
        for given, take in (
            (labelled, lambda r: r),
            (labelled.to_dataset(), lambda r: r["v"]),
            (labelled.variable, lambda r: r),
        ):
            got = oracle.call(record, given, given)
            assert type(got) is type(given)
            pd.testing.assert_series_equal(pd.Series(take(got).data), want)
    with pytest.raises(TypeError, match="x and cotangent must come from the same library"):
        relu_xp.relu_vjp(column.astype("float64").array, column.astype("float64"))


POLARS = {  # polars' dtype, and values of it
    "List(Float64)": [[1.0, -1.0]],
    "List(List(String))": [[["1", "word"]]],
    "List(Struct({'a': Float64}))": [[{"a": 1.0}]],
    "Array(Float64, 2)": [[1.0, -1.0]],
    "Array(Float64, (1, 2))": [[[1.0, -1.0]]],
    "Struct({'a': Float64, 'b': String})": [{"a": 1.0, "b": "word"}],
    "String": ["1.5", "word", None],
    "Categorical": ["1.5", "word"],
    "Enum(['1', 'word'])": ["1", "word"],
    "Binary": [b"1.5", b"word"],
    "Object": [1.5],
    "Time": [datetime.time(1)],
    "Date": [DAY],
    "Datetime": [MIDNIGHT],
    "Datetime(time_zone='UTC')": [UTC],
    "Duration": [datetime.timedelta(1)],
    "Decimal(5, 2)": [Decimal("1.5")],
    "Boolean": [True],
    "Int128": [1],
    "Null": [None],
}


@pytest.mark.parametrize("dtype", POLARS)
@pytest.mark.parametrize("function", [relu_xp.relu, relu_xp.leaky_relu])
def test_columns_of_polars(wanted, dtype, function):
    pl = wanted("polars")
    x = pl.Series("a b", POLARS[dtype], dtype=eval(dtype, vars(pl).copy()))
    _, steps = followed(function, x, polars=pl)
    assert steps
    followed(function, pl.DataFrame([pl.Series("b", [1.0] * len(x)), x]), polars=pl)


def test_objects_that_nothing_makes_numbers_of(wanted):
    pl = wanted("polars")
    with pytest.raises(
        TypeError, match=r"got Object; polars knows nothing that makes numbers of its objects$"
    ):
        relu_xp.relu(pl.Series([object()], dtype=pl.Object))


LIBRARIES = {
    "numpy": ("numpy", "numpy.asarray(array)"),
    "torch": ("torch", "torch.asarray(array)"),
    "jax": ("jax", "jax.numpy.asarray(array)"),
    "tensorflow": ("tensorflow", "tensorflow.constant(array)"),
    "array_api_strict": ("array_api_strict", "array_api_strict.asarray(array)"),
}


@pytest.mark.parametrize(
    "slope", [[0.5, 2.0], (1, 2), [[0.5], [2.0]], np.array([0.5, 2.0])], ids=repr
)
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_a_list_of_slopes_for_what_takes_its_own(wanted, slope, name):
    """An xarray of each kind and a Dask array say what makes one of a list."""
    xarray = wanted("xarray")
    array = np.array([[-1.0, 2.0], [-3.0, -0.5]], np.float32)
    want = oracle.call(name, array, negative_slope=np.asarray(slope, np.float32))
    names = {"numpy": np, "xarray": xarray, "negative_slope": slope}
    labelled = xarray.DataArray(array, dims=["a", "b"], name="v")
    given = [
        (labelled, np.asarray),
        (labelled.variable, np.asarray),
        (labelled.to_dataset(), lambda r: np.asarray(r["v"])),
    ]
    if importlib.util.find_spec("dask"):
        names["dask"] = importlib.import_module("dask.array") and importlib.import_module("dask")
        given.append((names["dask"].array.from_array(array, chunks=1), np.asarray))
    for x, take in given:
        with pytest.raises(
            TypeError, match=rf"^relu_xp\.{name}: negative_slope must be a real number, got "
        ) as raised:
            oracle.call(name, x, negative_slope=slope)
        made = eval(advised(raised.value), {**names, "x": x})
        oracle.assert_same(take(oracle.call(name, x, negative_slope=made)), want)


TABLES = {  # how each library makes a table of one of pandas
    "pandas": lambda table, pd: table,
    "polars": lambda table, pl: pl.DataFrame(dict(table)),
    "dask.dataframe": lambda table, dd: dd.from_pandas(table, npartitions=1),
}


@pytest.mark.parametrize("library", TABLES)
@pytest.mark.parametrize("slope", [[0.5, 2.0], (1, 2), np.array([0.5, 2.0])], ids=repr)
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_an_array_of_slopes_for_what_takes_one(wanted, library, slope, name):
    """A column and a table say so at once; their advice, followed, computes one slope a column."""
    wanted(library.partition(".")[0])
    pd = pytest.importorskip("pandas", reason="pandas: not installed")
    array = np.array([[-1.0, 2.0], [-3.0, -0.5]])
    module = importlib.import_module(library)
    table = TABLES[library](pd.DataFrame(array, columns=["a", "b"]), module)
    for x, of_numpy in ((table, array), (table["a"], array[:, 0])):
        with pytest.raises(TypeError, match=TAKES_ONE.format(name, library.partition(".")[0])) as e:
            oracle.call(name, x, negative_slope=slope)
        dense = eval(re.search(r"call it on (\S*), which takes", str(e.value))[1], {"x": x})
        slopes = np.asarray(slope, np.float64)
        if "dask" in library:
            slopes = importlib.import_module("dask.array").asarray(slopes)
        result = oracle.call(name, dense, negative_slope=slopes)
        want = oracle.call(name, of_numpy, negative_slope=np.asarray(slopes))
        oracle.assert_same(np.asarray(result), want)


TAKES_ONE = (
    r"^relu_xp\.{}: negative_slope must be a real number, got \S+; "
    r"pass a Python float, or call it on x\.to_\S*\(\S*\), which takes an array of slopes$"
)


def test_an_array_of_slopes_for_a_sparse_array(wanted):
    wanted("scipy")
    sparse = importlib.import_module("scipy.sparse")
    x = sparse.csr_array(np.array([[-1.0, 0.0, 2.0]]))
    slopes = np.array([0.5, 2.0, 3.0])
    with pytest.raises(TypeError, match=TAKES_ONE.format("leaky_relu").replace("to_", "to")) as e:
        relu_xp.leaky_relu(x, slopes)
    dense = eval(re.search(r"call it on (\S*), which takes", str(e.value))[1], {"x": x})
    assert relu_xp.leaky_relu(dense, slopes).tolist() == [[-0.5, 0.0, 2.0]]


# Scalars of other libraries, and the numbers that the advice for each leads to.
SCALARS = {
    "numpy.complex64": (np.complex64(0.5 + 1j), 0.5),
    "complex": (0.5 + 1j, 0.5),
    "an array without axes": (np.array(0.5), 0.5),
    "a decimal": (Decimal("0.5"), 0.5),
    "a span": (np.timedelta64(2, "s"), 2.0),
    "a truth": (True, 1.0),
}


@pytest.mark.parametrize(("value", "want"), [*SCALARS.values()], ids=[*SCALARS])
def test_a_scalar_that_holds_a_number(value, want):
    for record in oracle.RECORDS:
        for each in record.parameters:
            text = rf"^relu_xp\.{record}: {each.name} must be a real number, got \S+; pass a Python"
            with pytest.raises(TypeError, match=text) as raised:
                oracle.call(record, 1.0, **{each.name: value})
            number = eval(advised(raised.value), {"numpy": np, each.name: value})
            assert number == want
            oracle.call(record, 1.0, **{each.name: number})


@pytest.mark.parametrize(
    "value", ["0.5", "a", None, b"1", [0.5], {}, np.datetime64("2020")], ids=repr
)
def test_a_scalar_that_holds_none(value):
    for name, scalar in (("leaky_relu", "negative_slope"), ("clipped_relu", "ceiling")):
        text = rf"^relu_xp\.{name}: {scalar} must be a real number, got \S+; pass a Python float$"
        with pytest.raises(TypeError, match=text):
            oracle.call(name, 1.0, **{scalar: value})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_slope_of_another_library(wanted, library):
    """One with axes is to become an array of the library of x; one without a number."""
    module = wanted(library)
    if library == "numpy":
        pytest.skip("numpy: here x is NumPy's")
    if library == "jax":
        importlib.import_module("jax.numpy")
    x = np.array([[-1.0, 2.0], [-3.0, -0.5]], np.float32)
    made = LIBRARIES[library][1]
    slopes = eval(made, {library: module, "array": np.array([0.5, 2.0], np.float32)})
    own = r"or a numpy\.ndarray, for example "
    with pytest.raises(TypeError, match=rf"got (?!numpy)\S+; pass a Python float, {own}") as raised:
        relu_xp.leaky_relu(x, slopes)
    slope = eval(advised(raised.value), {"numpy": np, "x": x, "negative_slope": slopes})
    oracle.assert_same(
        relu_xp.leaky_relu(x, slope), relu_xp.leaky_relu(x, np.array([0.5, 2], "f4"))
    )
    slope = eval(made, {library: module, "array": np.array(0.5, np.float32)})
    with pytest.raises(TypeError, match=r"got (?!numpy)\S+; pass a Python float, for ex") as raised:
        relu_xp.leaky_relu(x, slope)
    assert eval(advised(raised.value), {"negative_slope": slope}) == 0.5


def test_a_variable_that_holds_the_slope():
    """As Keras and Flax have them: what it holds is named, whatever the library."""

    class Variable:
        value = np.array([0.5, 2.0])

    with pytest.raises(
        TypeError, match=r"got \S+Variable; pass a Python float, or the arr"
    ) as raised:
        relu_xp.leaky_relu(np.array([-1.0, -1.0]), Variable())
    held = eval(advised(raised.value), {"negative_slope": Variable()})
    assert relu_xp.leaky_relu(np.array([-1.0, -1.0]), held).tolist() == [-0.5, -2.0]


INTEGERS = {"a list": [1, -2], "a tuple": (1, -2), "nested": [[1], [-2]], "a range": range(-2, 0)}


@pytest.mark.parametrize("x", [*INTEGERS.values()], ids=[*INTEGERS])
@pytest.mark.parametrize("record", oracle.RECORDS, ids=str)
def test_a_list_of_integers(x, record):
    """It stays one of integers where the function takes them, and becomes float64 elsewhere."""
    text = r"^relu_xp\.\w+: x must be an array or a real number, got \w+; convert it first"
    with pytest.raises(TypeError, match=text) as raised:
        oracle.call(record, x)
    made = eval(advised(raised.value), {"numpy": np, "x": x})
    kind = "i" if record.takes_integers else "f"
    assert (made.dtype.kind, made.dtype.itemsize) == (kind, 8)
    assert made.tolist() == np.asarray(x).tolist()
    oracle.call(record, made)


@pytest.mark.parametrize("name", [each.name for each in oracle.RECORDS if len(each.arrays) == 2])
def test_a_number_as_the_cotangent_of_an_array(name):
    x = np.array([-1.0, 2.0])
    text = rf"^relu_xp\.{name}: x and cotangent must come from the same library, got "
    advice = r"make cotangent an array of the shape of x$"
    with pytest.raises(TypeError, match=rf"{text}numpy\.ndarray and float; {advice}"):
        oracle.call(name, x, 1.0)
    advice = r"make x an array of the shape of cotangent$"
    with pytest.raises(TypeError, match=rf"{text}int and numpy\.ndarray; {advice}"):
        oracle.call(name, 1, x)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("slope", [[0.5, 2.0], (0.5, 2.0), [1, 2], [[0.5], [2.0]]], ids=repr)
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_a_list_of_slopes(request, library, slope, name):
    chosen = request.config.getoption("--backend")
    if chosen and library not in chosen:
        pytest.skip(f"{library}: not among the chosen backends")
    module = pytest.importorskip(library, reason=f"{library}: not installed")
    names = {library: module, "array": np.array([[-1.0, 2.0], [-3.0, -0.5]], np.float32)}
    if library == "jax":
        importlib.import_module("jax.numpy")
    x = eval(LIBRARIES[library][1], names)
    with pytest.raises(
        TypeError,
        match=rf"relu_xp\.{name}: negative_slope must be a real number, got (list|tuple); ",
    ) as raised:
        oracle.call(name, x, negative_slope=slope)
    made = eval(advised(raised.value), {**names, "x": x, "negative_slope": slope})
    want = oracle.call(name, names["array"], negative_slope=np.asarray(slope, np.float32))
    oracle.assert_same(np.asarray(oracle.call(name, x, negative_slope=made)), want)


NUMPY = {  # arrays of no numbers, and the numbers that their advice leads to
    "a year": (lambda: np.datetime64("2020"), 0),
    "months": (lambda: np.array(["2020-01", "2020-02"], "M8[M]"), [0, 31 * 86400]),
    "spans": (lambda: np.array([1, -2], "m8[s]"), [1, -0.02]),
    "text": (lambda: np.array(["-1.5", "2"]), [-0.015, 2]),
    "bytes": (lambda: np.array([b"-1.5"]), [-0.015]),
    "objects": (lambda: np.array([-1.5, 2], object), [-0.015, 2]),
    "a chararray": (lambda: np.char.array(["-1.5"]), [-0.015]),
}


@pytest.mark.parametrize(("made", "want"), [*NUMPY.values()], ids=[*NUMPY])
def test_arrays_that_hold_numbers_as_something_else(made, want):
    result, steps = followed(relu_xp.leaky_relu, made())
    assert steps
    oracle.assert_same(np.asarray(result), np.asarray(want, result.dtype))


@pytest.mark.parametrize("unit", ["Y", "M", "2Y"])
def test_spans_of_no_fixed_length(unit):
    spans = np.array([4, -4], f"m8[{unit}]")
    result, _ = followed(relu_xp.relu, spans)
    oracle.assert_same(result, np.array([spans[0].astype("m8[s]").astype(float), 0]))


NO_NUMBERS = {
    "words": np.array(["1.5", "word"]),
    "a word": np.str_("word"),
    "words in a chararray": np.char.array(["word"]),
    "ragged lists": np.array([[1.0], [1.0, 2.0]], object),
    "bytes": np.array([b"word"]),
}
if hasattr(np.dtypes, "StringDType"):  # since NumPy 2.0
    NO_NUMBERS["words of any length"] = np.array(["word"], np.dtypes.StringDType())


@pytest.mark.parametrize("x", [*NO_NUMBERS.values()], ids=[*NO_NUMBERS])
def test_what_holds_no_numbers_is_told_no_cast(x):
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.relu: takes .*; some elements are not numbers; pass numbers instead$",
    ):
        relu_xp.relu(x)


def test_text_in_xarray(wanted):
    """A variable without numbers can be dropped, also from a group; one with numbers is cast."""
    xarray = wanted("xarray")
    with pytest.raises(TypeError, match=r"some elements are not numbers; pass numbers instead$"):
        relu_xp.relu(xarray.DataArray(["word"]))
    words = xarray.Dataset({"x y": ("a", ["word"]), "x": ("a", ["word"]), "b": ("a", [-1.0])})
    groups = {"/": words, "/below": words}
    for x in (
        words,
        xarray.DataTree.from_dict(groups),
        xarray.DataTree.from_dict({"/below": words}),
    ):
        result, steps = followed(relu_xp.leaky_relu, x)
        assert steps == 2
        assert result["b"].values.tolist() == [-0.01]
        assert set(result.data_vars) == {"b"}
    result, _ = followed(
        relu_xp.leaky_relu, xarray.Dataset({"a": ("a", [1.0]), "x": ("a", ["-1.5"])})
    )
    assert (result.name, result.values.tolist()) == ("x", [np.float32(-0.015)])


def test_quantized_tensors_of_torch(wanted):
    torch = wanted("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.quantize_per_tensor(torch.tensor([-1.0, 2.0]), 0.5, 0, torch.qint8)
    result, steps = followed(relu_xp.leaky_relu, x, torch=torch)
    assert steps
    oracle.assert_same(result.numpy(), np.array([-0.01, 2], np.float32))


def test_a_key_of_jax_holds_no_numbers(wanted):
    jax = wanted("jax")
    with pytest.raises(
        TypeError, match=r"got key<\w+>; it is a key, with which jax\.random\.normal draws numbers$"
    ):
        relu_xp.relu(jax.random.key(0))
