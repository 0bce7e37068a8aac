"""Every row of the contract's table of bad input, with the words of each error."""

import array
import importlib.util
import re
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist

import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._registry import REGISTRY

ALL = oracle.FUNCTIONS
WRITEABLE = [row.name for row in REGISTRY if row.writeable]  # those whose arrays may be an `out`
HOLDERS = [row.name for row in REGISTRY if row.holds_arrays]
VJPS = [each.name for each in oracle.RECORDS if len(each.arrays) == 2]
EACH_SCALAR = [(each.name, scalar.name) for each in oracle.RECORDS for scalar in each.parameters]
call = oracle.call


def says(name, text):
    """Match a message that starts with the function."""
    return "^" + re.escape(f"relu_xp.{name}: ") + text


def advised(error, **names):
    """Do what an error says to do, with the names that it uses."""
    found = re.search(r"; .*?, for example ([^;]*?)(?:, or .*)?$|; take (.*), or .*$", str(error))
    return eval(found[1] or found[2], {"numpy": np, **names})


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("x", "type_name"),
    [
        ([1.0], "list"),
        ([1, 2], "list"),
        ([[Fraction(1, 3)]], "list"),
        ((1.0,), "tuple"),
        ("1.0", "str"),
        (True, "bool"),
        (1j, "complex"),
        (Fraction(1, 3), r"fractions\.Fraction"),
        (Decimal("0.1"), r"decimal\.Decimal"),
        (range(3), "range"),
        (array.array("f", [1.0]), r"array\.array"),
        (memoryview(b"1"), "memoryview"),
    ],
    ids=repr,
)
def test_not_an_array(name, x, type_name):
    with pytest.raises(
        TypeError, match=says(name, f"x must be an array or a real number, got {type_name}; ")
    ) as raised:
        call(name, x)
    call(name, advised(raised.value, x=x))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("x", "type_name"),
    [
        (None, "NoneType"),
        ("one", "str"),
        ({}, "dict"),
        ({1.0}, "set"),
        ([[1.0], []], "list"),
        (object(), "object"),
        (NormalDist(), r"statistics\.NormalDist"),
        (np.float32, "type"),
        (np.dtype("f4"), r"numpy\.dtypes\.Float32DType"),
    ],
    ids=repr,
)
def test_nothing_makes_an_array_of_it(name, x, type_name):
    advice = "pass an array or a number instead$"
    text = f"x must be an array or a real number, got {type_name}; {advice}"
    with pytest.raises(TypeError, match=says(name, text)):
        call(name, x)


HELD = {
    "pandas": ("pandas", lambda pandas, _: [pandas.MultiIndex.from_arrays([[-1.0], [2.0]])]),
    "flax.nnx": ("jax", lambda nnx, jax: [nnx.Param(jax.numpy.asarray([-1.0]))]),
}


@pytest.mark.parametrize("package", HELD)
def test_advice_for_what_other_packages_hold(wanted, package):
    """An object that holds an array: what the advice says can be computed."""
    name, made = HELD[package]
    library = wanted(name)
    for x in made(pytest.importorskip(package, reason=f"{package}: not installed"), library):
        for function in ALL:
            with pytest.raises(
                TypeError, match=says(function, "x must be an array or a real number, got .*; ")
            ) as raised:
                call(function, x)
            call(function, advised(raised.value, x=x, **{name: library}))


def stored(package, folder):
    """Arrays in a file, as this package opens them."""
    library = pytest.importorskip(package, reason=f"{package}: not installed")
    if package == "zarr":
        yield library.create_array(str(folder / "a"), data=np.array([[-1.0, 2.0]]), chunks=(1, 1))
        yield library.create_array(str(folder / "b"), data=np.array(-1.0))
    else:
        with library.File(folder / "a.h5", "w") as file:
            yield file.create_dataset("a", data=np.array([[-1.0, 2.0]]), chunks=(1, 1))
            yield file.create_dataset("b", data=np.array(-1.0))


@pytest.mark.parametrize("package", ["zarr", "h5py"])
def test_advice_for_arrays_in_files(package, tmp_path):
    """Both lines that it gives, each followed."""
    for x in stored(package, tmp_path):
        for function in oracle.RECORDS:
            with pytest.raises(
                TypeError,
                match=says(function, rf"x must be an array .*, got {package}\..*; read it"),
            ) as raised:
                call(function, x)
            lines = re.search(
                r"read it first, for example (.*), or .* Dask, for example (.*)$", str(raised.value)
            )
            read, lazily = lines.groups()
            want = oracle.expected(function, oracle.arrays_of(function, np.asarray(x[()])))
            oracle.assert_same(np.asarray(call(function, eval(read, {"x": x}))), want)
            if importlib.util.find_spec("dask"):
                import dask.array

                result = call(function, eval(lazily, {"x": x, "dask": dask}))
                assert isinstance(result, dask.array.Array)
                oracle.assert_same(np.asarray(result.compute(scheduler="synchronous")), want)


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
def test_advice_for_a_scalar(name, scalar):
    for value, want in ((np.timedelta64(2, "s"), 2.0), (Decimal("0.5"), 0.5), (True, 1.0)):
        for x in (1.0, np.ones(3, np.float32)):
            with pytest.raises(
                TypeError, match=says(name, f"{scalar} must be a real number, got .*float")
            ) as raised:
                call(name, x, **{scalar: value})
            assert advised(raised.value, **{scalar: value}) == want
    for value in (NormalDist(), np.datetime64(2, "s"), "0.1"):
        with pytest.raises(
            TypeError,
            match=says(name, f"{scalar} must be a real number, got .*; pass a Python float$"),
        ):
            call(name, 1.0, **{scalar: value})


@pytest.mark.parametrize("name", VJPS)
def test_cotangent_not_an_array(name):
    with pytest.raises(
        TypeError, match=says(name, "cotangent must be an array or a real number, got list; ")
    ):
        call(name, np.ones(1), [1.0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "dtype",
    ["bool", "object", "U3", "S3", "M8[s]", "m8[s]", "V4", "f4,f8", np.dtypes.StringDType()],
    ids=str,
)
def test_unsupported_dtype(name, dtype):
    dtype = np.dtype(dtype)
    x = np.zeros(3, dtype) if dtype.kind in "bMmV" else np.array(["1.5"] * 3).astype(dtype)
    with pytest.raises(
        TypeError, match=says(name, f"takes .*, got {re.escape(str(x.dtype))}; .*, for ex")
    ) as raised:
        call(name, x)
    call(name, advised(raised.value, x=x))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_dtype(name, dtype):
    with pytest.raises(
        TypeError, match=says(name, rf"takes .*, got {dtype}; take x\.real, or x\.imag")
    ):
        call(name, np.zeros(3, dtype))


@pytest.mark.parametrize("name", [each.name for each in oracle.RECORDS if not each.takes_integers])
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_integers_are_not_for_all(target, name, dtype):
    x = target.put(np.zeros(3, dtype))
    with pytest.raises(
        TypeError,
        match=says(name, f"takes real floating dtypes, got (?i:.*{dtype}).*; cast it first"),
    ):
        call(name, x)


def test_unsupported_dtype_elsewhere(target):
    x = target.put(np.zeros(3, bool))
    with pytest.raises(
        TypeError,
        match=says("relu", "takes real floating and integer dtypes, got .*[Bb]ool.*; cast"),
    ):
        relu_xp.relu(x)


ABOVE_ZERO = {
    scalar.name for each in oracle.RECORDS for scalar in each.parameters if scalar.above_zero
}


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
@pytest.mark.parametrize("value", [True, np.True_, "0.1", None, 1j, [0.1]], ids=repr)
def test_scalar_not_a_real_number(target, name, scalar, value):
    for x in (1.0, target.put(np.ones(3, np.float32))):
        with pytest.raises(
            TypeError,
            match=says(name, f"{scalar} must be a real number, got .*; pass a Python float"),
        ):
            call(name, x, **{scalar: value})


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
@pytest.mark.parametrize("value", [np.array(0.1), np.ones(3, np.float32)], ids=repr)
def test_an_array_in_the_place_of_a_scalar(target, name, scalar, value):
    """Where the record takes none; and where x is of another library, or no array."""
    takes = {
        each.name: each.may_be_array for record in oracle.RECORDS for each in record.parameters
    }
    for x in (1.0, target.put(np.ones(3, np.float32))):
        if takes[scalar] and isinstance(x, np.ndarray):
            call(name, x, **{scalar: value})
            continue
        if takes[scalar] and target.name in HOLDERS and not isinstance(x, float):
            continue  # which hold NumPy's
        with pytest.raises(
            TypeError,
            match=says(name, f"{scalar} must be a real number, got .*; pass a Python float"),
        ):
            call(name, x, **{scalar: value})


SLOPE_ERRORS = [
    (
        np.ones((2, 3), np.int32),
        TypeError,
        "negative_slope must have a real floating dtype, got .*int32",
    ),
    (
        np.ones((2, 2), np.float32),
        ValueError,
        r"negative_slope must broadcast to the shape of x, \(2, 3\), got \(2, 2\)",
    ),
    (
        np.ones((1, 2, 3), np.float32),
        ValueError,
        r"negative_slope must broadcast to the shape of x, .* got \(1, 2, 3\)",
    ),
]


@pytest.mark.parametrize("name", oracle.SLOPED)
@pytest.mark.parametrize(
    ("slope", "error", "text"), SLOPE_ERRORS, ids=["dtype", "shape", "dimensions"]
)
def test_bad_array_of_slopes(target, name, slope, error, text):
    if target.name not in ("numpy", "tensorflow", "array_api_strict", "sparse", "ndonnx", "mlx"):
        pytest.skip(f"{target.name}: its own tests tell")
    with pytest.raises(error, match=says(name, text)):
        call(name, target.put(np.ones((2, 3), np.float32)), negative_slope=target.put(slope))


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")], ids=str
)
def test_scalar_not_finite(target, name, scalar, value):
    for x in (1.0, target.put(np.ones(3, np.float32))):
        with pytest.raises(ValueError, match=says(name, f"{scalar} must be finite, got {value}")):
            call(name, x, **{scalar: value})


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
def test_scalar_is_huge(target, name, scalar):
    for x in (1.0, target.put(np.ones(3, np.float32))):
        for value, exponent in ((10**5000, 16609), (Fraction(10**5000, 3), 16608)):
            with pytest.raises(
                ValueError,
                match=says(name, rf"{scalar} must be finite in .*, got about 2\*\*{exponent}$"),
            ):
                call(name, x, **{scalar: value})


@pytest.mark.parametrize(("name", "scalar"), EACH_SCALAR)
@pytest.mark.parametrize(
    ("dtype", "largest", "too_large"), [("float32", 3.4028235e38, 3.4028236e38)]
)
def test_scalar_not_finite_once_rounded(target, name, scalar, dtype, largest, too_large):
    x = target.put(np.ones(3, dtype))
    call(name, x, **{scalar: largest})
    if scalar not in ABOVE_ZERO:
        call(name, x, **{scalar: -largest})
    with pytest.raises(
        ValueError, match=says(name, rf"{scalar} must be finite in .*{dtype}, got 3\.4028236e\+38")
    ):
        call(name, x, **{scalar: too_large})


@pytest.mark.parametrize(
    ("name", "scalar"), [pair for pair in EACH_SCALAR if pair[1] in ABOVE_ZERO]
)
@pytest.mark.parametrize("value", [0, 0.0, -0.0, -6.0, -1, Fraction(-1, 3), 1e-46], ids=str)
def test_scalar_not_above_zero(target, name, scalar, value):
    given = 0.0 if value == 1e-46 else value  # which is 0 in float32 alone
    with pytest.raises(
        ValueError, match=says(name, f"{scalar} must be above 0 in float64, got {given}")
    ):
        call(name, 1.0, **{scalar: given})
    x = target.put(np.ones(3, np.float32))
    with pytest.raises(
        ValueError, match=says(name, f"{scalar} must be above 0 in .*float32, got {value}")
    ):
        call(name, x, **{scalar: value})


@pytest.mark.parametrize(
    "name", [each.name for each in oracle.RECORDS if each.role == "grad" and each.scalars]
)
def test_scalar_not_finite_in_float16(name):
    call(name, np.ones(3, np.float16), grad_at_zero=65519.9)  # rounds down to 65504
    with pytest.raises(
        ValueError, match=says(name, r"grad_at_zero must be finite in float16, got 65520\.0")
    ):
        call(name, np.ones(3, np.float16), grad_at_zero=65520.0)


@pytest.mark.parametrize(
    "value",
    [1, np.float16(0.5), np.int8(-3), np.float64(0.1), Fraction(1, 2), ml_dtypes.bfloat16(0.5)],
    ids=repr,
)
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_real_numbers_of_any_type_are_slopes(target, name, value):
    x = target.put(np.array([-2.0, 3.0], np.float32))
    np.testing.assert_array_equal(
        target.get(call(name, x, negative_slope=value)),
        target.get(call(name, x, negative_slope=float(value))),
    )


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        (
            1 + Fraction(1, 2**24) + Fraction(1, 2**80),
            1 + 2**-23,
        ),  # by way of binary64, a tie, and 1
        (-1 - Fraction(1, 2**24) - Fraction(1, 2**80), -1 - 2**-23),
        (2**80 + 2**56 + 1, 2**80 + 2**57),
        (Fraction(1, 2**200), 0.0),
        (Fraction(5, 7), float(np.float32(5 / 7))),
    ],
    ids=str,
)
def test_scalars_are_rounded_once(target, value, nearest):
    x = target.put(np.array([-1], np.float32))
    assert target.get(relu_xp.leaky_relu_grad(x, value))[0] == np.float32(nearest)


def test_scalars_are_rounded_once_to_bfloat16():
    x = np.array([-1], ml_dtypes.bfloat16)
    value = 1 + 2**-8 + 2**-40  # by way of binary32, a tie, and 1
    assert float(relu_xp.leaky_relu_grad(x, value)[0]) == 1 + 2**-7


@pytest.mark.parametrize("name", VJPS)
def test_cotangent_of_another_device(name):
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict: not installed")
    x, g = (strict.ones(3, device=strict.Device(device)) for device in ("CPU_DEVICE", "device1"))
    with pytest.raises(
        ValueError,
        match=says(name, "x and cotangent must be on the same device, got .* and .*; move one"),
    ):
        call(name, x, g)


@pytest.mark.parametrize("name", VJPS)
def test_cotangent_of_another_library(target, name):
    x = target.put(np.ones(3, np.float32))
    for other in (1.0,) if target.name in ("numpy",) else (1.0, np.ones(3, np.float32)):
        with pytest.raises(
            TypeError,
            match=says(name, "x and cotangent must come from the same library, got .* and .*; "),
        ):
            call(name, x, other)


@pytest.mark.parametrize("name", VJPS)
def test_cotangent_of_another_dtype(target, name):
    x, g = target.put(np.ones(3, np.float32)), target.put(np.ones(3, np.int32))
    with pytest.raises(
        TypeError,
        match=says(
            name, "x and cotangent must have the same dtype, got .*[Ff]loat32.* and .*[Ii]nt32"
        ),
    ):
        call(name, x, g)


@pytest.mark.parametrize("name", VJPS)
@pytest.mark.parametrize("dtype", ["float64", "object", "U3", np.dtypes.StringDType()], ids=str)
def test_cotangent_of_any_other_dtype(name, dtype):
    x, g = np.ones(3, np.float32), np.zeros(3, dtype)
    with pytest.raises(
        TypeError,
        match=says(name, "x and cotangent must have the same dtype, got float32 and .*; cast one"),
    ):
        call(name, x, g)


@pytest.mark.parametrize("name", VJPS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (4,)])
def test_cotangent_of_another_shape(target, name, shape):
    x, g = target.put(np.ones(3, np.float32)), target.put(np.ones(shape, np.float32))
    with pytest.raises(
        ValueError,
        match=says(name, r"x and cotangent must have the same shape, got .*3.* and .*; broadcast"),
    ):
        call(name, x, g)


@pytest.mark.parametrize("name", ALL)
def test_out_where_nothing_can_be_written(target, name):
    x = target.put(np.ones(3, np.float32))
    if target.name in WRITEABLE:
        assert call(name, x, out=x) is x
        return
    with pytest.raises(
        TypeError,
        match=says(name, ".* cannot be written to; leave out=None and use the returned value"),
    ):
        call(name, x, out=x)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("x", [1.0, np.float32(1)], ids=repr)
def test_out_for_a_scalar(name, x):
    with pytest.raises(
        TypeError,
        match=says(name, "a (Python number|NumPy scalar) cannot be written to; leave out=None"),
    ):
        call(name, x, out=np.zeros(()))


def outs(target):
    """Each wrong `out` with its error."""
    ones = np.ones(3, np.float32)
    yield [9.0] * 3, TypeError, "out must be .*, got list"
    if target.name in ("numpy",):
        yield np.ma.ones(3, "f4"), TypeError, "out must be no masked array"
        yield np.ones(3, ">f4"), TypeError, "out must have the result's dtype float32, got >f4"
        readonly = ones.copy()
        readonly.flags.writeable = False
        yield readonly, ValueError, "out is read-only"
    else:
        yield ones, TypeError, r"out must be .*, got numpy\.ndarray"
    yield (
        target.put(np.ones(3, np.int32)),
        TypeError,
        "out must have the result's dtype .*float32, got .*int32",
    )
    yield (
        target.put(np.ones(4, np.float32)),
        ValueError,
        "out must have the result's shape .*3.*, got .*4",
    )
    yield target.put(np.ones((), np.float32)), ValueError, "out must have the result's shape"


@pytest.mark.parametrize("name", ALL)
def test_bad_out_is_untouched(target, name):
    if target.name not in WRITEABLE:
        pytest.skip(f"{target.name}: arrays can't be written")
    x = target.put(np.full(3, -1, np.float32))
    for out, error, text in outs(target):
        with pytest.raises(error, match=says(name, text)):
            call(name, x, out=out)
        held = out if isinstance(out, list | np.ndarray) else target.get(out)
        assert np.isin(held, [1, 9]).all()


@pytest.mark.parametrize("name", oracle.SLOPED)
def test_out_is_untouched_by_a_bad_scalar(name):
    out = np.ones(3)
    with pytest.raises(ValueError, match="negative_slope"):
        call(name, np.zeros(3), negative_slope=np.nan, out=out)
    assert (out == 1).all()


@pytest.mark.parametrize(
    "name",
    [
        each.name
        for each in oracle.RECORDS
        if not each.takes_integers and (len(each.arrays) > 1 or not each.only_compares_x)
    ],
)
def test_int_too_large_for_a_float(name):
    with pytest.raises(
        OverflowError, match=says(name, r".* is too large for a Python float; pass a number below")
    ):
        call(name, -(10**400))


def test_int_too_large_for_a_float_is_still_an_int():
    assert relu_xp.relu(10**400) == 10**400
    assert relu_xp.relu_grad(10**400) == 1.0
    assert relu_xp.leaky_relu_grad(-(10**400)) == 0.01


def test_masked_x_wants_a_masked_out():
    out = np.ones(3)
    with pytest.raises(
        TypeError, match=r"relu_xp\.relu: out must be a numpy\.ma\.MaskedArray, got numpy\.ndarray"
    ):
        relu_xp.relu(np.ma.MaskedArray([-1.0, 2.0, 3.0]), out=out)
    assert (out == 1).all()


class Raises:
    """An object whose attributes raise, whichever is asked for."""

    def __getattr__(self, name):
        raise KeyError(name)


class RaisesSome:
    """The same of the attributes that arrays have."""

    def __array__(self, *_, **__):
        raise OSError

    shape = dtype = value = aval = property(__array__)


class Nothing:
    """It says that NumPy's functions compute with it, and they do not."""

    def __array_namespace__(self, api_version=None):
        return np


class NoOperations(Nothing):
    """The same, like an array on the outside."""

    shape, dtype, ndim = (2,), np.dtype("f4"), 1

    def __array_ufunc__(self, *_, **__):
        return NotImplemented


class Hides(np.ndarray):
    """An array of objects that says it has another dtype."""

    dtype = property(lambda _: np.dtype("f4"))


def without_a_module():
    return eval("type('Bare', (), {})", {"__builtins__": {"type": type}})()


def with_another_module():
    return type("Odd", (), {"__module__": None})()


class Nameless(type):
    """A class of classes that raises for each name that a class has."""

    def __getattribute__(cls, name):
        if name in ("__module__", "__qualname__", "__name__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


def without_names():
    return Nameless("Nameless", (), {})()


ODD = {
    "Raises": Raises,
    "RaisesSome": RaisesSome,
    "Nothing": Nothing,
    "NoOperations": NoOperations,
    "Hides": lambda: np.array([1.0, None]).view(Hides),
    "Bare": without_a_module,
    "Odd": with_another_module,
    "Nameless": without_names,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ODD)
def test_an_error_is_ours_whatever_the_class_is_like(name, kind):
    """As x, the cotangent, a scalar, or out: nothing else goes wrong while the error is made."""
    odd, x = ODD[kind](), np.ones(2, np.float32)
    record = relu_xp._functions.FUNCTIONS[name]
    calls = [lambda: getattr(relu_xp, name)(*[odd, x][: len(record.arrays)])]
    if len(record.arrays) == 2:
        calls.append(lambda: getattr(relu_xp, name)(x, odd))
    if kind != "Hides":  # which is an array, and may stand there
        calls += [lambda s=s: call(name, x, **{s.name: odd}) for s in record.parameters]
        calls += [lambda s=s: call(name, 1.0, **{s.name: odd}) for s in record.parameters]
        calls.append(lambda: call(name, x, out=odd))
    for bad in calls:
        with pytest.raises(
            TypeError, match=rf"^relu_xp\.{name}: .*(Raises|Noth|NoOp|Bare|Odd|object)"
        ):
            bad()


@pytest.mark.parametrize(
    ("slope", "shown"),
    [
        (10**39, "1" + "0" * 39),
        (Fraction(10**40, 3), "1" + "0" * 40 + "/3"),
        (10**100, r"about 2\*\*332"),
    ],
)
def test_a_number_that_is_too_large_is_shown_as_it_was_given(slope, shown):
    """Only integers and fractions of many digits are shown as a power of two."""
    with pytest.raises(ValueError, match=rf"must be finite in float32, got {shown}$"):
        relu_xp.leaky_relu(np.ones(2, np.float32), slope)
