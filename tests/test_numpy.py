"""What only NumPy has: scalars, layouts, subclasses, masks, warnings, `out`; and its fast paths."""

import functools
import io
import itertools
import numbers
import re
import warnings
from fractions import Fraction

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._backends import numpy as backend
from relu_xp._functions import FUNCTIONS, NEGATIVE_SLOPE

compiled = pytest.mark.skipif(bool(backend.missing), reason="the loops are not compiled here")

CALLS = [(name, functools.partial(oracle.call, name)) for name in oracle.FUNCTIONS]
every_function = pytest.mark.parametrize(("name", "call"), CALLS, ids=oracle.FUNCTIONS)


def want(name, x, **scalars):
    native = x.astype(x.dtype.newbyteorder("="))
    with np.errstate(all="ignore"):
        return oracle.expected(
            name, oracle.arrays_of(name, native), **oracle.scalars_of(name, **scalars)
        )


def ramp(shape, dtype=np.float32):
    """Distinct values of both signs, and a zero."""
    size = int(np.prod(shape))
    return (np.arange(size) - size // 2).astype(dtype).reshape(shape)


LAYOUTS = {
    "0-d": lambda: np.array(-2.0),
    "empty": lambda: np.empty((0, 3)),
    "C": lambda: ramp((4, 5)),
    "Fortran": lambda: np.asfortranarray(ramp((4, 5))),
    "transposed": lambda: ramp((2, 3, 4)).transpose(1, 2, 0),
    "strided": lambda: ramp((8, 9))[::2, ::3],
    "negative strides": lambda: ramp((4, 5))[::-1, ::-1],
    "broadcast": lambda: np.broadcast_to(ramp((5,)), (4, 5)),
    "byte-swapped": lambda: ramp((4, 5)).astype(">f4"),
    "unaligned": lambda: np.frombuffer(b"." + ramp((20,)).tobytes(), np.float32, offset=1).reshape(
        4, 5
    ),
}


@every_function
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, call, layout):
    x = LAYOUTS[layout]()
    before = x.copy()
    x.flags.writeable = False
    result = call(x)
    oracle.assert_same(result, want(name, x))
    oracle.assert_same(np.asarray(x), np.asarray(before))
    assert type(result) is np.ndarray
    assert result.dtype.isnative
    assert result.flags.writeable
    assert not np.shares_memory(result, x)
    assert result.flags.c_contiguous >= x.flags.c_contiguous
    assert result.flags.f_contiguous >= x.flags.f_contiguous


@every_function
def test_memory_order_is_kept(name, call):
    x = ramp((2, 3, 4)).transpose(1, 2, 0)
    assert call(x).strides == np.positive(x).strides


@every_function
@hypothesis.settings(deadline=None)  # a machine may be slow
@hypothesis.given(data=st.data())
def test_any_shape_stride_and_dtype(name, call, data):
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    whole = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    )
    index = data.draw(hnp.basic_indices(whole.shape, allow_newaxis=True))
    x = np.asarray(whole[index])
    slope = data.draw(st.floats(-3, 3, width=16))
    grad_at_zero = data.draw(st.sampled_from([0.0, 0.5, 1.0, -2.0]))
    options = oracle.scalars_of(
        name, negative_slope=slope, grad_at_zero=grad_at_zero, grad_at_ceiling=grad_at_zero
    )
    with np.errstate(all="ignore"):
        result = call(x, **options)
    oracle.assert_same(np.asarray(result), want(name, x, **options))


@every_function
def test_longdouble(name, call):
    tenth = np.longdouble(1) / 10  # has bits that binary64 lacks, where longdouble is wider
    x = np.array([tenth, -tenth, 0, -0.0, np.nan, np.inf, -np.inf], np.longdouble)
    options, define = (
        oracle.scalars_of(name, negative_slope=tenth),
        getattr(relu_xp.reference, name),
    )
    expected = np.array([define(*oracle.arrays_of(name, v), **options) for v in x], np.longdouble)
    oracle.assert_same(call(x, **options), expected)
    if name in oracle.SLOPED:
        large, one = np.finfo(np.longdouble).max, np.longdouble(-1)
        result = call(np.array([one]), negative_slope=large)
        assert (result == define(*oracle.arrays_of(name, one), negative_slope=large)).all()


@pytest.mark.parametrize("name", [n for n in dir(ml_dtypes) if n.startswith("float")])
def test_small_floats(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    if name == "float8_e8m0fnu":
        with pytest.raises(TypeError, match=r"relu_xp\.relu: .* got float8_e8m0fnu; cast it first"):
            relu_xp.relu(np.ones(3, dtype))
        return
    x = oracle.patterns(dtype)[: 2 ** ml_dtypes.finfo(dtype).bits]
    for function in oracle.FUNCTIONS:
        arrays, sloped = (
            oracle.arrays_of(function, x, x[::-1]),
            NEGATIVE_SLOPE in FUNCTIONS[function].scalars,
        )
        for slope in (0.01, 0.5, 2.0, -0.3) if sloped else (0.01,):
            options = {"negative_slope": slope} if sloped else {}
            with np.errstate(all="ignore"):
                got = getattr(relu_xp, function)(*arrays, **options)
            oracle.assert_same(
                got, oracle.expected(function, arrays, slope, 1.0), f"{function} {slope}"
            )


@pytest.mark.parametrize(
    "name", [n for n in dir(ml_dtypes) if "complex" in n]
)  # ml_dtypes 0.6 and later
def test_small_complex_numbers(name):
    with pytest.raises(TypeError, match=rf"relu_xp\.relu: .* got {name}; take x\.real, or x\.imag"):
        relu_xp.relu(np.ones(3, getattr(ml_dtypes, name)))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.int32, np.int64, np.longlong, ml_dtypes.int4, ">i4"]
)
def test_relu_of_signed_integers(dtype):
    x = np.array([-8, -1, 0, 1, 7]).astype(dtype)
    oracle.assert_same(
        relu_xp.relu(x), np.array([0, 0, 0, 1, 7]).astype(np.dtype(dtype).newbyteorder("="))
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, ml_dtypes.uint4])
def test_relu_of_unsigned_integers_is_a_copy(dtype):
    x = np.array([0, 1, 15]).astype(dtype)
    result = relu_xp.relu(x)
    oracle.assert_same(result, x)
    assert not np.shares_memory(result, x)


@every_function
@pytest.mark.parametrize(
    "scalar", [np.float16(-2), np.float32(0), np.float64(3), ml_dtypes.bfloat16(-1.5)]
)
def test_numpy_scalars_stay_scalars(name, call, scalar):
    result = call(scalar)
    assert type(result) is type(scalar)
    oracle.assert_same(np.asarray(result), want(name, np.asarray(scalar)))


def test_relu_of_numpy_integer_scalars():
    assert type(relu_xp.relu(np.int16(-3))) is np.int16
    with pytest.raises(
        TypeError, match=r"relu_xp\.leaky_relu: takes real floating dtypes, got int16"
    ):
        relu_xp.leaky_relu(np.int16(-3))


@every_function
def test_memmap(name, call, tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(20,))
    x[:] = ramp((20,))
    result = call(x)
    assert type(result) is np.ndarray  # as NumPy's own functions, since the result is in no file
    oracle.assert_same(result, want(name, np.asarray(x)))
    assert call(x, out=x) is x
    oracle.assert_same(np.asarray(x), result)


class Tagged(np.ndarray):
    """An array with an attribute, written as NumPy's guide to subclassing shows."""

    def __array_finalize__(self, obj):
        self.tag = getattr(obj, "tag", None)


@every_function
def test_subclass(name, call):
    x = ramp((4, 5)).view(Tagged)
    x.tag = "kept"
    result = call(x)
    assert type(result) is Tagged
    assert result.tag == "kept"
    oracle.assert_same(np.asarray(result), want(name, np.asarray(x)))


@every_function
def test_masked_array_keeps_mask_and_fill(name, call):
    x = np.ma.MaskedArray([1.0, -2.0, 0.0], mask=[False, True, False], fill_value=7.0)
    result = call(x)
    assert isinstance(result, np.ma.MaskedArray)
    assert result.mask.tolist() == [False, True, False]
    assert result.fill_value == 7.0
    oracle.assert_same(result.data, want(name, x.data))
    result.mask[:] = True
    assert x.mask.tolist() == [False, True, False]
    out = np.ma.MaskedArray(np.empty(3))
    assert call(x, out=out) is out
    assert out.mask.tolist() == [False, True, False]
    assert np.ma.getmask(call(np.ma.MaskedArray([1.0]))) is np.ma.nomask


class Named(np.ma.MaskedArray):
    """A masked array with an attribute."""


def test_masked_arrays_stay_what_they_are():
    x = Named([1.0, -2.0], mask=[False, True], hard_mask=True)
    result = relu_xp.relu(x)
    assert type(result) is Named
    assert result.hardmask
    assert result.mask.tolist() == [False, True]
    assert relu_xp.relu(x[1]) is np.ma.masked


def test_masked_vjp_unites_the_masks():
    x = np.ma.MaskedArray([1.0, 2.0, 3.0], mask=[True, False, False])
    g = np.ma.MaskedArray([1.0, 2.0, 3.0], mask=[False, True, False])
    assert relu_xp.relu_vjp(x, g).mask.tolist() == [True, True, False]
    assert relu_xp.relu_vjp(x, np.asarray(g)).mask.tolist() == [True, False, False]


MASKED = {
    "its own": lambda m: np.ma.MaskedArray(np.empty(4), m),
    "the caller's": lambda m: np.ma.MaskedArray(np.empty(4), m, copy=False),
    "none": lambda m: np.ma.MaskedArray(np.empty(4)),
    "a hard one": lambda m: np.ma.MaskedArray(np.empty(4), m, hard_mask=True),
}


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("kind", MASKED)
def test_a_masked_out_has_a_mask_of_its_own(function, kind):
    """The mask that out had may be shared, with an input or the caller: it is not written to."""
    held = np.array([False, False, False, True])
    x, g = (np.ma.MaskedArray([1.0, -2.0, 0.0, 3.0], [i == n for i in range(4)]) for n in (0, 1))
    inputs = oracle.arrays_of(function, x, g)
    before = [a.mask.copy() for a in (x, g)]
    out = MASKED[kind](held)
    assert oracle.call(function, x, g, out=out) is out
    oracle.assert_same(out.data, oracle.expected(function, [a.data for a in inputs]))
    united = [True, len(inputs) == 2, False, kind == "a hard one"]
    assert out.mask.tolist() == united
    out[2] = np.ma.masked
    assert [a.mask.tolist() for a in (x, g)] == [m.tolist() for m in before]
    assert held.tolist() == [False, False, False, True]


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize(
    "view", [lambda a: a[:], lambda a: a.view(), np.ma.MaskedArray], ids=["[:]", "view", "array"]
)
def test_the_mask_of_an_input_is_not_written_to(function, view):
    """Even if out and the input share memory."""
    x, g = (np.ma.MaskedArray([1.0, -2.0, 0.0, 3.0], [i == n for i in range(4)]) for n in (0, 1))
    inputs = oracle.arrays_of(function, x, g)
    want = oracle.expected(function, [a.data.copy() for a in inputs])
    for given, out in ((x, view(x)), (view(x), x)):
        given[...], given.mask = (
            np.ma.MaskedArray([1.0, -2.0, 0.0, 3.0]),
            [True, False, False, False],
        )
        oracle.call(function, given, g, out=out)
        oracle.assert_same(out.data, want)
        assert out.mask.tolist() == [True, len(inputs) == 2, False, False]
        assert given.mask.tolist() == [True, False, False, False]
        assert g.mask.tolist() == [False, True, False, False]
    assert oracle.call(function, x, g, out=x) is x
    assert x.mask.tolist() == [True, len(inputs) == 2, False, False]


def test_an_out_that_held_masked_elements_shows_all():
    out = np.ma.MaskedArray(np.empty(3), [True, False, True])
    relu_xp.relu(np.ma.MaskedArray([1.0, -2.0, 0.0]), out=out)
    assert out.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match=r"relu_xp\.relu: out is read-only"):
        relu_xp.relu(np.ma.MaskedArray(1.0), out=np.ma.masked)


@pytest.mark.parametrize(
    "function", [each for each in oracle.RECORDS if len(each.arrays) == 2], ids=str
)
def test_a_cotangent_keeps_its_mask_beside_a_scalar(function):
    call = getattr(relu_xp, function.name)
    for x in (np.float64(-2), np.array(-2.0)):
        result = call(x, np.ma.MaskedArray(3.0, True))
        assert isinstance(result, np.ma.MaskedArray)
        assert result.mask
        result = call(x, np.ma.MaskedArray(3.0, False))
        assert not result.mask
        oracle.assert_same(result.data, oracle.expected(function, (np.array(-2.0), np.array(3.0))))
        assert call(x, np.ma.masked) is np.ma.masked
    empty = np.empty(0)
    assert call(empty, np.ma.MaskedArray(empty, np.empty(0, bool))).mask.shape == (0,)
    assert call(empty, np.ma.MaskedArray(empty)).mask is np.ma.nomask


@every_function
def test_a_fill_value_is_not_shared(name, call):
    x = np.ma.MaskedArray([1.0, -2.0], [False, True], fill_value=7.0)
    result = call(x)
    result.fill_value = 8.0
    assert (x.fill_value, result.fill_value) == (7.0, 8.0)


def test_masked_slopes_are_refused():
    slope = np.ma.MaskedArray([0.5, 0.25], [True, False])
    with pytest.raises(
        TypeError,
        match=r"relu: negative_slope must not be masked; .* negative_slope\.filled\(0\.01\)",
    ):
        relu_xp.leaky_relu(np.array([-1.0, -1.0]), slope)
    assert relu_xp.leaky_relu(np.array([-1.0, -1.0]), slope.filled(0.01)).tolist() == [-0.01, -0.25]


class Metres(np.ndarray):
    """A quantity like astropy's: its own `__array_ufunc__` decides what arithmetic means."""

    power = 1

    def __array_finalize__(self, obj):
        self.power = getattr(obj, "power", self.power)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        powers = [getattr(each, "power", 0) for each in inputs]
        if ufunc not in (np.multiply, np.divide) and any(powers):
            raise ValueError("of metres, these are products and quotients only")
        result = np.asarray(ufunc(*map(np.asarray, inputs), **kwargs)).view(type(self))
        result.power = powers[0] - powers[1] if ufunc is np.divide else sum(powers)
        return result


class NoQuotient(Metres):
    """A quantity whose class has no quotients."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return (
            NotImplemented
            if ufunc is np.divide
            else super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        )


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_quantity_keeps_its_unit(function):
    x = ramp((6,)).view(Metres)
    if not function.takes_units:
        with pytest.raises(TypeError, match=rf"{function}: x must have no unit, got \S*Metres"):
            oracle.call(function, x)
        x.power = 0
    result = oracle.call(function, x)
    power = sum(function.powers) * x.power
    assert getattr(result, "power", 0) == power
    assert type(result) is Metres
    oracle.assert_same(
        np.asarray(result), oracle.expected(function, oracle.arrays_of(function, np.asarray(x)))
    )
    with pytest.raises(TypeError, match=r"relu_xp\.\w+: out must be None"):
        oracle.call(function, x, out=x)


@pytest.mark.parametrize(
    "function",
    [each for each in oracle.RECORDS if each.takes_units and each.unit_power == 1],
    ids=str,
)
def test_a_class_without_quotients_is_kept_or_refused(function):
    """A derivative without a unit keeps the class; with one it is refused: it needs a quotient."""
    x = ramp((6,)).view(NoQuotient)
    if not any(function.powers):
        refused = rf"relu_xp\.{function}: \S*NoQuotient has no such product, .*; "
        refused += r"pass numpy\.asarray of it$"
        with pytest.raises(TypeError, match=refused):
            oracle.call(function, x)
        x.power = 0
    result = oracle.call(function, x)
    assert (type(result), result.power) == (NoQuotient, sum(function.powers) * x.power)
    oracle.assert_same(
        np.asarray(result), oracle.expected(function, oracle.arrays_of(function, np.asarray(x)))
    )


def test_a_slope_with_a_unit_is_refused():
    """Even if its class only hands the unit on, and does not compute it."""
    for cls in (Noted, OnlyFinalized):
        with pytest.raises(
            TypeError,
            match=r"leaky_relu: negative_slope must have no unit, got m; .*numpy\.asarray\(",
        ):
            relu_xp.leaky_relu(ramp((4,)), noted(cls, ramp((4,)), "m"))


class OnlyFinalized(np.ndarray):
    """An array with notes and a unit that every result has."""

    def __array_finalize__(self, obj):
        self.notes, self.unit = getattr(obj, "notes", None), getattr(obj, "unit", None)


class Labelled(np.ndarray):
    """An array that wraps results by the older of NumPy's two protocols."""

    def __array_wrap__(self, array, context=None, return_scalar=False):
        wrapped = array.view(Labelled)
        wrapped.label = context and context[0].__name__
        return wrapped


def test_a_class_that_wraps_results_is_told_of_what():
    for result in (
        relu_xp.relu(ramp((4,)).view(Labelled)),
        relu_xp.relu_vjp(ramp((4,)), ramp((4,)).view(Labelled)),
    ):
        assert type(result) is Labelled
        assert result.label == "multiply"
    assert type(relu_xp.relu_grad(ramp((4,)).view(Labelled))) is Labelled


class Noted(np.ndarray):
    """An array with notes, which results of its shape keep, and a unit that it does not compute."""

    unit = None

    def __array_finalize__(self, obj):
        self.notes, self.unit = getattr(obj, "notes", None), getattr(obj, "unit", None)

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return super().__array_wrap__(array, context) if array.shape == self.shape else array


class NotedUnlessScalar(Noted):
    """The same, but 0-d results lose the notes."""

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return np.ndarray.__array_wrap__(self, array, context) if array.shape else array.item()


class NotedByUfunc(Noted):
    """The same by the newer of NumPy's two protocols."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        result = getattr(ufunc, method)(*map(np.asarray, inputs), **options)
        like = next(a for a in inputs if isinstance(a, Noted))
        return result if result.shape != like.shape else Noted.__array_wrap__(like, result)


def noted(cls, array, unit=None):
    array = array.view(cls)
    array.notes, array.unit = ["kept"], unit
    return array


@pytest.mark.parametrize("cls", [Noted, NotedUnlessScalar, NotedByUfunc])
@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("shape", [(4,), (1,), (2, 3), (0,), (3, 0), (1, 1)], ids=str)
def test_notes_are_kept(cls, function, shape):
    """Whichever array has them, and also where the result is a derivative."""
    x, g = ramp(shape), ramp(shape)
    arrays = oracle.arrays_of(function, x, g)
    for at in range(len(arrays)):
        given = [noted(cls, a) if i == at else a for i, a in enumerate(arrays)]
        result = oracle.call(function, *given)
        assert type(result) is cls
        assert result.notes == ["kept"]
        oracle.assert_same(np.asarray(result), oracle.expected(function, arrays))


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_a_unit_that_its_class_only_hands_on(function):
    """The result keeps the unit if it has just that; otherwise the call is refused."""
    x, g = ramp((4,)), ramp((4,))
    for units in (("m", None), (None, "s"), ("m", "s")):
        arrays = [
            noted(Noted, a, unit) if unit else a for a, unit in zip((x, g), units, strict=True)
        ]
        given = oracle.arrays_of(function, *arrays)
        have = [(unit, power) for unit, power in zip(units, function.powers, strict=True) if unit]
        used = [unit for unit, power in have[: len(given)] for _ in range(power)]
        if not any(isinstance(a, Noted) for a in given):
            continue
        if len(used) == 1 and (function.takes_units or not units[0]):
            result = oracle.call(function, *given)
            assert (type(result), result.unit, result.notes) == (Noted, used[0], ["kept"])
        else:
            with pytest.raises(
                TypeError,
                match=r"must have no unit, got [ms]; convert it, or pass numpy\.asarray\(",
            ):
                oracle.call(function, *given)


class MaskedQuantity(Metres):
    """A masked array like those of astropy.utils.masked: a plain result would lose the mask."""

    mask = True


def test_classes_that_cannot_be_kept_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix([[1.0]])
    array = np.asarray(matrix)
    for bad in (matrix, array.view(MaskedQuantity)):
        refused = pytest.raises(
            TypeError,
            match=r"relu_xp\.\w+: \S*(matrix|Quantity) is not supported; convert it first",
        )
        for function, args, options in [
            (relu_xp.relu, (bad,), {}),
            (relu_xp.relu_vjp, (array, bad), {}),
            (relu_xp.relu_vjp, (bad, array), {}),
            (relu_xp.relu, (array,), {"out": bad}),
        ]:
            with refused:
                function(*args, **options)


@pytest.mark.parametrize("vjp", [relu_xp.relu_vjp, relu_xp.leaky_relu_vjp])
def test_vjp_is_like_x(vjp):
    x, g = ramp((4, 5)), np.asfortranarray(ramp((4, 5)))
    assert vjp(x, g).flags.c_contiguous
    assert vjp(g, x).flags.f_contiguous
    assert type(vjp(x.view(Tagged), g)) is Tagged
    assert type(vjp(x, g.view(Tagged))) is Tagged
    assert type(vjp(np.float64(1), np.array(1.0).view(Tagged))) is Tagged
    assert type(vjp(x, g.view(Metres))) is Metres  # the unit is that of the cotangent
    assert type(vjp(x.view(Metres), g)) is Metres
    assert vjp(x.view(Metres), g).power == 0  # the cotangent has no unit
    assert type(vjp(np.array(1.0), np.float64(1))) is np.ndarray
    assert type(vjp(np.float64(1), np.array(1.0))) is np.float64
    out = np.empty(())
    assert vjp(np.array(1.0), np.float64(1), out=out) is out
    oracle.assert_same(vjp(x, g.astype(">f4")), vjp(x, g))


@every_function
@pytest.mark.parametrize("dtype", [*oracle.FLOATS, np.dtype(np.longdouble)], ids=str)
@pytest.mark.parametrize("slope", [0.5, 0.0, -2.0, 1e-3])
def test_no_warning_is_invented(name, call, dtype, slope):
    largest = np.ldexp(dtype.type(1), np.finfo(dtype).maxexp - 1) if dtype.kind == "f" else 2.0**127
    x = np.array([np.nan, np.inf, largest, 1, 0, -0.0, -1], dtype)
    if oracle.overflows(name, 2.0**127, 1.0):
        x = x[x != largest]
    with np.errstate(all="raise"):
        for z in (1.0, 0.0, 0.5):
            call(
                x,
                np.ones_like(x),
                **oracle.scalars_of(name, negative_slope=slope, grad_at_zero=z, grad_at_ceiling=z),
            )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_warning_is_silenced(dtype):
    x = np.array([-np.finfo(dtype).max], dtype)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        relu_xp.leaky_relu(x, 2.0)
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match="invalid"):
        relu_xp.leaky_relu(np.array([-np.inf], dtype), 0.0)
    with np.errstate(under="raise"), pytest.raises(FloatingPointError, match="underflow"):
        relu_xp.leaky_relu(np.array([-np.finfo(dtype).tiny], dtype), 0.3)
    with pytest.warns(RuntimeWarning, match="overflow"):
        relu_xp.leaky_relu(x, 2.0)


def test_errstate_is_that_of_each_call():
    """The remembered state is never an old one, in whatever order states come and go."""
    x = np.full(3, 2.0**-1070)
    for _ in range(2):
        relu_xp.leaky_relu(-x, 0.3)  # NumPy ignores underflow unless told otherwise
        with np.errstate(under="raise"):
            with pytest.raises(FloatingPointError, match="underflow encountered in leaky_relu"):
                relu_xp.leaky_relu(-x, 0.3)
            with np.errstate(under="ignore", over="raise"):
                relu_xp.leaky_relu(-x, 0.3)
                with pytest.raises(FloatingPointError, match="overflow encountered in leaky_relu"):
                    relu_xp.leaky_relu(np.array([-1e300]), 1e300)
            with pytest.raises(FloatingPointError, match="underflow"):
                relu_xp.leaky_relu(-x, 0.3)


@every_function
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_out(name, call, dtype):
    x = ramp((4, 5), dtype)
    expected = want(name, x)
    out = np.full((5, 4), 9, dtype).T
    assert call(x, out=out) is out
    oracle.assert_same(out, expected)
    assert call(x, out=x) is x
    oracle.assert_same(x, expected)


@every_function
@pytest.mark.parametrize("shift", [-7, -1, 1, 7])
def test_out_overlapping(name, call, shift):
    memory = ramp((200,))
    x, out = memory[10:-10], memory[10 + shift : len(memory) - 10 + shift]
    expected = want(name, x)
    oracle.assert_same(call(x, out=out), expected)
    memory = ramp((200,))
    x, out = memory[:100], memory[:200:2]
    expected = want(name, x)
    oracle.assert_same(call(x, out=out), expected)


@pytest.mark.parametrize("function", ["relu_vjp", "leaky_relu_vjp"])
def test_out_overlapping_the_cotangent(function):
    x, memory = ramp((100,)), ramp((101,))
    expected = oracle.expected(function, (x, memory[:-1].copy()), 0.01, 1.0)
    oracle.assert_same(getattr(relu_xp, function)(x, memory[:-1], out=memory[1:]), expected)


def test_a_slope_that_rounds_to_zero_makes_no_nan():
    for size in (3, 1 << 17):
        x = np.resize(np.array([np.inf, 1, -1], np.float32), size)
        with np.errstate(all="raise"):
            oracle.assert_same(
                relu_xp.leaky_relu(x, 1e-46),
                np.resize(np.array([np.inf, 1, -0.0], np.float32), size),
            )


class Foreign:
    """A number like those of mpmath and SymPy: it equals a float, but has no as_integer_ratio."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value

    def __int__(self):
        return int(self.value)

    def __eq__(self, other):
        return self.value == other

    def __hash__(self):
        return hash(self.value)

    def __lt__(self, other):
        return self.value < other

    def __gt__(self, other):
        return self.value > other


def test_a_scalar_may_be_any_real_number():
    numbers.Real.register(Foreign)
    x = np.array([-1.0, 2.0])
    for slope in (Foreign(0.375), Fraction(3, 8), np.float16(0.375), np.longdouble(0.375), 0.375):
        assert relu_xp.leaky_relu(x, slope).tolist() == [-0.375, 2]
        assert relu_xp.leaky_relu(-1.0, slope) == -0.375
    for slope in (Foreign(2.0), 2, np.int8(2), Fraction(2), 2.0):
        assert relu_xp.leaky_relu_grad(x, slope).tolist() == [2, 1]
    with pytest.raises(ValueError, match="must be finite"):
        relu_xp.leaky_relu(x, Foreign(np.inf))


def test_a_scalar_is_rounded_once_to_longdouble():
    x = np.array([-1, 2], np.longdouble)
    for slope, want in (
        (Fraction(1, 3), np.longdouble(1) / 3),
        (Fraction(-1, 7), np.longdouble(-1) / 7),
        (2**64 + 1, np.longdouble(2**64) + np.longdouble(np.finfo(np.longdouble).nmant > 63)),
        (0.1, np.longdouble(0.1)),
        (np.finfo(np.longdouble).smallest_subnormal, np.finfo(np.longdouble).smallest_subnormal),
        (np.finfo(np.longdouble).max, np.finfo(np.longdouble).max),
        (-0.0, np.longdouble(-0.0)),
    ):
        oracle.assert_same(relu_xp.leaky_relu(x, slope)[:1], np.array([-1], np.longdouble) * want)
    largest = Fraction(*np.finfo(np.longdouble).max.as_integer_ratio())
    with pytest.raises(ValueError, match=r"negative_slope must be finite in .*, got about 2\*\*"):
        relu_xp.leaky_relu(x, largest * 2)


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_tiny_longdouble_scalars_do_not_underflow(function):
    """Rounding a scalar is no operation of the definition, so it raises nothing."""
    limits = np.finfo(np.longdouble)
    x = np.array([-1, 2, 0, -0.0], np.longdouble)
    for value in (
        limits.smallest_subnormal,
        3 * limits.smallest_subnormal,
        limits.smallest_normal,
        limits.max,
    ):
        for each in function.parameters:
            with np.errstate(all="raise"):
                oracle.call(function, x, np.ones_like(x), **{each.name: value})


@pytest.mark.parametrize("zero", [0, Fraction(0), -0.0, np.float32(0), Fraction(1, 2)], ids=repr)
def test_relu_of_integers_needs_no_derivative(zero):
    assert relu_xp.relu(np.array([1, -2]), grad_at_zero=zero).tolist() == [1, 0]


@pytest.mark.large
def test_more_than_2_to_the_31_elements():
    x = np.ones(2**31 + 3, np.int8)
    x[-1] = -1
    result = relu_xp.relu(x)
    assert result.shape == x.shape
    assert result[-2:].tolist() == [1, 0]


SLOPES = [
    (),
    (1,),
    (7,),
    (7, 1),
    (70, 1, 1),
    (70, 7, 1),
    (70, 1, 7),
    (30, 1, 1, 1),
    (30, 70, 7, 7),
    (1, 70, 1, 1),
]


@pytest.mark.parametrize("order", ["C", "F", "mixed"])
@pytest.mark.parametrize("shape", SLOPES, ids=str)
def test_slopes_of_large_arrays(shape, order):
    """Slopes of many elements are broadcast in rows, those of few elements by the ufunc."""
    rng = np.random.default_rng(0)
    x, g, slope = (
        rng.normal(size=size).astype(np.float32) for size in ((30, 70, 7, 7), (30, 70, 7, 7), shape)
    )
    if order == "F":
        x, g = np.asfortranarray(x), np.asfortranarray(g)
    elif order == "mixed":
        x, g = x.transpose(0, 1, 3, 2), np.ascontiguousarray(g)
    options = {"negative_slope": slope, "grad_at_zero": 0.5}
    for name in oracle.SLOPED:
        result = oracle.call(name, x, g, **options)
        whole = np.broadcast_to(slope, x.shape)
        for i in range(2):
            few = oracle.call(
                name, x[i, 0], g[i, 0], negative_slope=whole[i, 0].copy(), grad_at_zero=0.5
            )
            oracle.assert_same(result[i, 0], few, name)
        oracle.assert_same(
            result, oracle.call(name, x, g, negative_slope=whole.copy(), grad_at_zero=0.5), name
        )
        assert result.strides == np.positive(x).strides
        out = x.copy(order="K")
        assert oracle.call(name, out, g, **options, out=out) is out
        oracle.assert_same(out, result, name)


def slopes_of(shape):
    """The shapes that broadcast to it: each axis whole or 1, and leading ones may be left out."""
    for whole in itertools.product((True, False), repeat=len(shape)):
        sizes = tuple(n if is_whole else 1 for n, is_whole in zip(shape, whole, strict=True))
        for front in range(len(shape)):
            if not any(whole[:front]):
                yield sizes[front:]


SHAPES = [
    (0,),
    (3, 0),
    (0, 3, 2),
    (1, 1, 1),
    (2,),
    (3, 5),
    (1, 7, 7),
    (17, 3, 1, 2),
    (91, 91),
    (2, 3, 1, 41, 17),
]


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_slopes_of_every_shape(shape, dtype):
    """Slopes that differ along one block of axes take the fast path, and all others do not."""
    rng = np.random.default_rng(0)
    x, g = (rng.integers(-2, 3, shape).astype(dtype) for _ in range(2))
    for size in slopes_of(shape):
        slope = rng.normal(size=size).astype(dtype)
        for name in oracle.SLOPED:
            for z in (1.0, 0.5):
                given = oracle.arrays_of(name, x, g)
                options = oracle.scalars_of(name, negative_slope=slope, grad_at_zero=z)
                want = oracle.expected(name, given, np.broadcast_to(slope, shape), z)
                result = getattr(relu_xp, name)(*given, **options)
                oracle.assert_same(result, want, f"{name} {size}")
                assert result.flags.owndata


def test_old_exceptions_are_not_those_of_slopes():
    """Python's own floats leave the processor's flags set."""
    x, slope = np.array([[-1.0, 2.0]], np.float32), np.array([0.5, 1.0], np.float32)
    largest = 1.5e308
    with np.errstate(all="raise"):
        assert largest * 10 == np.inf
        assert relu_xp.leaky_relu(x, slope).tolist() == [[-0.5, 2.0]]


def test_exceptions_of_slopes_are_told():
    x, slope = np.array([[-1e38, 1.0], [-1.0, 2.0]], np.float32), np.array([1e38, 1.0], np.float32)
    with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu"):
        assert relu_xp.leaky_relu(x, slope).tolist() == [[-np.inf, 1.0], [np.float32(-1e38), 2.0]]
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        relu_xp.leaky_relu(x, slope)


@pytest.mark.parametrize("mode", ["print", "call", "log", "raise", "call without", "log without"])
@pytest.mark.parametrize(
    "function", [relu_xp.leaky_relu, relu_xp.leaky_relu_vjp, relu_xp.squared_relu]
)
def test_errors_are_told_as_numpy_tells_them(function, mode, capfd):
    """To the same place, in the same words but for the operation's name."""
    x = np.array([-3e38, 3e38, -1e-38, 1e-38], np.float32)
    slopes = np.array([10, 1, 1e-10, 1], np.float32)
    ours = {
        relu_xp.leaky_relu: lambda: relu_xp.leaky_relu(x, slopes),
        relu_xp.leaky_relu_vjp: lambda: relu_xp.leaky_relu_vjp(x, x, slopes),
        relu_xp.squared_relu: lambda: relu_xp.squared_relu(x),
    }[function]
    theirs = lambda: np.multiply(x, slopes if function is not relu_xp.squared_relu else x)  # noqa: E731

    def told(call):
        heard, errors = io.StringIO(), []
        if mode.startswith("call"):
            heard = lambda *what: errors.append(what)  # noqa: E731
        try:
            with np.errstate(all=mode.split()[0], call=None if "without" in mode else heard):
                call()
        except (NameError, FloatingPointError) as error:
            errors.append(type(error))
        out, err = capfd.readouterr()
        log = heard.getvalue() if isinstance(heard, io.StringIO) else ""
        words = [out, err, log] if "without" not in mode else []
        return errors, [
            re.sub(r"in (multiply|square|\w*relu\w*)$", "in ...", each, flags=re.M)
            for each in words
        ]

    want = told(theirs)
    assert told(ours) == want
    assert want != ([], ["", "", ""])


def checked_calls(function, arrays, scalars=None, out=None):
    """How many calls the fast path leaves to Python, of a `call` made like the backend's."""
    seen = []

    def checked(*given):
        seen.append(given)
        return backend._checked(*given)

    described = [backend._description(each) for each in FUNCTIONS.values()]
    call = backend._ufuncs.caller(described, checked, backend.report, backend.SHARE)
    call(function, arrays, function.defaults if scalars is None else scalars, out)
    return len(seen)


@compiled
@pytest.mark.parametrize("dtype", [*oracle.FLOATS, np.dtype(np.longdouble)], ids=str)
@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_plain_calls_take_the_fast_path(function, dtype):
    x = np.linspace(-2, 8, 60).astype(dtype).reshape(3, 4, 5)
    oracle.call(function, x)  # the first call with bfloat16 registers its loops
    for a in (x, x[:, ::2], x.T, x[0, 0, 0], x[:0], np.array(2, dtype)):
        arrays = oracle.arrays_of(function, a, a)
        assert checked_calls(function, arrays) == 0
        for number in (0.25, 1, np.float32(0.5), np.float64(2.0), np.float16(3)):
            assert checked_calls(function, arrays, (number,) * len(function.parameters)) == 0
        if isinstance(a, np.ndarray):
            assert checked_calls(function, arrays, out=np.empty_like(a)) == 0
            assert checked_calls(function, arrays, out=a.copy()[::-1] if a.ndim else a.copy()) == 0


@compiled
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (5,), (4, 1), (3, 1, 1), (1,), (3, 4, 1)])
@pytest.mark.parametrize("function", [FUNCTIONS[name] for name in oracle.SLOPED], ids=str)
def test_slopes_of_one_block_of_axes_take_the_fast_path(function, shape):
    x = np.linspace(-2, 8, 60).reshape(3, 4, 5)
    scalars = (np.full(shape, 0.5), *function.defaults[1:])
    assert checked_calls(function, oracle.arrays_of(function, x, x), scalars) == 0


@compiled
@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_other_calls_get_the_full_checks(function):
    x = np.linspace(-2, 8, 60).reshape(3, 4, 5)
    for a in (x.view(Tagged), x.astype(">f8"), np.ma.array(x), np.ones(backend.SHARE, np.float16)):
        assert checked_calls(function, oracle.arrays_of(function, a, a)) == 1
    if len(function.arrays) > 1:
        assert checked_calls(function, (x, np.asfortranarray(x))) == 1
    if function.parameters:
        scalars = (Fraction(1, 3), *function.defaults[1:])
        assert checked_calls(function, oracle.arrays_of(function, x, x), scalars) == 1


def counted(monkeypatch, module, name):
    """The calls of a ufunc from now on."""
    seen, right = [], getattr(module, name)

    def count(*operands, **options):
        seen.append(operands)
        return right(*operands, **options)

    monkeypatch.setattr(module, name, count)
    return seen


@compiled
@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_only_a_large_separate_out_is_stored_past_the_caches(function, monkeypatch):
    seen = counted(monkeypatch, backend._ufuncs.streaming, function.name)
    x = np.ones(backend.STREAMED // 4, np.float32)
    out = np.empty_like(x)
    for given, into, times in ((x, out, 1), (x, None, 0), (x, x, 0), (x[:-1], out[:-1], 0)):
        oracle.call(function, given, out=into)
        assert len(seen) == times
        seen.clear()


@compiled
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_slopes_of_many_elements_are_broadcast_in_rows(name, monkeypatch):
    seen = counted(monkeypatch, backend._ufuncs.rows, name)
    x = np.ones((backend.ROWS // 8, 8))
    slopes = np.full(8, 0.5)
    for given, slope, times in ((x, slopes, 1), (x[1:], slopes, 0), (x, 0.5, 0)):
        oracle.call(name, given, negative_slope=slope, out=np.empty_like(given))
        assert len(seen) == times
        seen.clear()
