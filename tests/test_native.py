"""NumPy's loops in C++: the definition's bits and exceptions in every function, type and build."""

import importlib.util
import itertools
import os
import platform
import subprocess
import sys
import sysconfig
import threading

import ml_dtypes
import numpy as np
import oracle
import pytest

from relu_xp import reference
from relu_xp._functions import FUNCTIONS, NEGATIVE_SLOPE
from relu_xp.verify._cases import sample

if os.environ.get("RELU_XP_NATIVE") == "required":  # a session that must not pass without them
    from relu_xp._native import _ufuncs
else:
    _ufuncs = pytest.importorskip(
        "relu_xp._native._ufuncs", reason="the package was installed without a C++ compiler"
    )

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_ufuncs.register_bfloat16(BFLOAT16)

SLOPES = (0.01, 0.3, -2.0, 1.0, 0.0, -0.0, 65504.0, 2.0**-24, -(2.0**-140), 1e300)
GRADS_AT_ZERO = (1.0, 0.0, -0.0, 0.5)
OVERFLOW, UNDERFLOW, INVALID = 2, 4, 8

every_function = pytest.mark.parametrize("name", oracle.FUNCTIONS)
every_float = pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)


@pytest.fixture(autouse=True)
def _no_errors_left():
    _ufuncs.take_errors()


def call(name, x, g, s, z, *, of=_ufuncs, **options):
    """The operands of one function, in the order of the C++."""
    dtype = getattr(x, "dtype", None)
    scalars = {each: np.asarray(value).astype(dtype) for each, value in scalars_of(s, z).items()}
    operands = [
        *oracle.arrays_of(name, x, g),
        *(scalars[each.name] for each in FUNCTIONS[name].scalars),
    ]
    return getattr(of, name)(*operands, **options)


def scalars_of(s, z):
    """All scalars. Those that are not given differ from these two, and are exact in every dtype."""
    return {"negative_slope": s, "grad_at_zero": z, "ceiling": 6.0, "grad_at_ceiling": 1.0 - z}


def want(name, x, g, s, z):
    scalars = {each: float(value) for each, value in scalars_of(s, z).items()}
    return oracle.expected(name, oracle.arrays_of(name, x, g), **scalars)


def values(dtype, size):
    """Values that show an element out of place; zeros and NaNs are among them."""
    x = (np.arange(size) * 37 % 121 - 60).astype(dtype)
    x[::13] = 0
    x[5::29] = np.nan
    return x


@every_float
@every_function
def test_values(name, dtype):
    x = oracle.patterns(dtype) if dtype.itemsize == 2 else sample(dtype)
    special = np.array([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3], dtype)
    g = np.random.default_rng(0).permutation(x)
    record = FUNCTIONS[name]
    pairs = [(x, g), (np.resize(special, x.shape), x)] if len(record.arrays) > 1 else [(x, x)]
    for slope in SLOPES if NEGATIVE_SLOPE in record.scalars else (0.01,):
        if abs(slope) > float(ml_dtypes.finfo(dtype).max):
            continue
        s = oracle.rounded(slope, dtype)
        for grad_at_zero in (
            GRADS_AT_ZERO if record.role != "value" and slope in (0.01, -2.0) else (1.0,)
        ):
            z = oracle.rounded(grad_at_zero, dtype)
            for a, b in pairs:
                oracle.assert_same(
                    call(name, a, b, s, z), want(name, a, b, s, z), f"{slope} {grad_at_zero}"
                )


@every_function
def test_longdouble(name):
    info = np.finfo(np.longdouble)
    tenth = np.longdouble(1) / 10  # has bits that binary64 lacks, where longdouble is wider
    least = info.smallest_subnormal
    x = np.array(
        [tenth, info.max, info.tiny, least, 1, 0, np.inf, np.nan, 3 * tenth * info.tiny],
        np.longdouble,
    )
    x = np.concatenate([x, -x])
    x, g = (a.ravel() for a in np.meshgrid(x, x))
    define = getattr(reference, name)
    for s in (tenth, np.longdouble(-2), info.max, least):
        for z in map(np.longdouble, GRADS_AT_ZERO):
            scalars = {
                each.name: scalars_of(s, z)[each.name] for each in FUNCTIONS[name].parameters
            }
            rows = zip(*oracle.arrays_of(name, x, g), strict=True)
            with np.errstate(all="ignore"):
                expected = np.array([define(*row, **scalars) for row in rows], np.longdouble)
            oracle.assert_same(call(name, x, g, s, z), expected, f"{s} {z}")


@pytest.mark.parametrize("code", "bhilqBHILQ")
def test_integers(code):
    limits = np.iinfo(code)
    for size in range(150):
        x = np.resize(
            np.array([limits.min, limits.max, 0, 1, limits.max // 3, limits.min // 2], code), size
        )
        oracle.assert_same(_ufuncs.relu(x), np.maximum(x, x.dtype.type(0)))
        oracle.assert_same(_ufuncs.relu(x[::-2]), np.maximum(x[::-2], x.dtype.type(0)))


@every_float
@every_function
def test_lengths_and_strides(name, dtype):
    x, g = values(dtype, 3 * 1100), values(dtype, 3 * 1100)[::-1].copy()
    s, z = (np.array(v).astype(dtype) for v in (-0.5, 0.25))
    whole = want(name, x, g, s, z)
    for size in (*range(71), 127, 129, 511, 513, 1025, 1100):
        for step in (1, 2, -1, -3):
            part = slice(None, size * step, step) if step > 0 else slice(size * -step, None, step)
            part = slice(*part.indices(len(x)))
            place = np.zeros(len(x), dtype)
            call(name, x[part], g[part], s, z, out=place[part])
            oracle.assert_same(place[part], whole[part], f"{size} {step}")
            kept = np.ones(len(x), bool)
            kept[part] = False
            assert not place[kept].view(f"u{dtype.itemsize}").any(), f"{size} {step}"
            oracle.assert_same(call(name, x[part], g[part], s, z), whole[part])


@every_float
@every_function
def test_unaligned_and_overlapping(name, dtype):
    s, z = (np.array(v).astype(dtype) for v in (-0.5, 0.25))
    for size in (3, 70, 1000):
        x, g = values(dtype, size), values(dtype, size)[::-1].copy()
        expected = want(name, x, g, s, z)
        odd = np.frombuffer(b"." + x.tobytes(), dtype, offset=1)
        oracle.assert_same(call(name, odd, g, s, z), expected)
        # From every place within a cache line.
        for shift in range(size % 64 if size < 1000 else 64):
            oracle.assert_same(
                call(name, x[shift:], g[shift:], s, z, out=np.empty_like(x)[shift:]),
                expected[shift:],
            )
        for ahead in (0, 1, -1, 7, -7, 33, -33):
            memory = np.zeros(size + 80, dtype)
            inside, out = memory[40 : 40 + size], memory[40 + ahead : 40 + ahead + size]
            inside[:] = x
            oracle.assert_same(call(name, inside, g, s, z, out=out), expected, f"x {ahead}")
            inside[:] = g
            oracle.assert_same(call(name, x, inside, s, z, out=out), expected, f"g {ahead}")


@every_float
def test_slopes_that_are_arrays(dtype):
    x, g = (values(dtype, 24 * 70).reshape(24, 70) for _ in range(2))
    z = np.array(1).astype(dtype)
    rows = np.resize(np.array([0.5, -2, 0, np.nan, np.inf, -np.inf, 1]), (24, 1)).astype(dtype)
    columns = np.resize(rows, 70)
    each = np.resize(rows, (70, 24)).T
    for s in (rows, columns, each, np.ascontiguousarray(each), np.broadcast_to(columns, x.shape)):
        full = np.broadcast_to(s, x.shape)
        with np.errstate(all="ignore"):
            leak = np.where(x < 0, full * x, x)
            grad = np.where(x >= 0, z, full)
            pulled = np.where(x >= 0, g, full * g)
        oracle.assert_same(_ufuncs.leaky_relu(x, s), leak)
        oracle.assert_same(_ufuncs.leaky_relu_grad(x, s, z), grad)
        oracle.assert_same(_ufuncs.leaky_relu_vjp(x, g, s, z), pulled)
    flat = np.broadcast_to(g[:1, :1], x.shape)  # the cotangent of a sum is one value
    oracle.assert_same(_ufuncs.relu_vjp(x, flat, z), want("relu_vjp", x, flat, 0, 1))


ROWS = [
    (1, 1),
    (300, 1),
    (70, 3),
    (40, 16),
    (41, 100),
    (3, 5000),
    (0, 4),
    (4, 0),
    (9, 4, 5, 6),
    (30, 70, 7, 7),
]


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("dtype", [*oracle.FLOATS, np.dtype(np.longdouble)], ids=str)
def test_rows(dtype, shape):
    """Broadcast slopes, in arrays of every layout, give what whole slopes give."""
    size = int(np.prod(shape))
    x, g = (values(dtype, size).reshape(shape), values(dtype, size)[::-1].reshape(shape))
    z = np.array(0.5).astype(dtype)
    shapes = {
        (),
        (1,) * len(shape),
        shape[-1:],
        shape[:1] + (1,) * (len(shape) - 1),
        shape,
        (*shape[1:2], 1, 1),
    }
    lying = (
        np.copy,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: a[::-1].copy()[::-1],
    )
    for of_slope in shapes:
        try:
            slope = np.broadcast_to(np.resize(np.array([0.5, -2, 3, 0.25], dtype), of_slope), shape)
        except ValueError:
            continue  # this x has no slopes of such a shape
        for lie in lying:
            a, b, whole_z = lie(x), lie(g), np.broadcast_to(z, shape)
            for name, operands in {
                "leaky_relu": (a, slope),
                "leaky_relu_grad": (a, slope, whole_z),
                "leaky_relu_vjp": (a, b, slope, whole_z),
            }.items():
                expected = getattr(_ufuncs, name)(
                    *(np.ascontiguousarray(v) for v in operands[:-1]), operands[-1]
                )
                out = lie(np.zeros(shape, dtype))
                assert getattr(_ufuncs.rows, name)(*operands, out=out) is out
                oracle.assert_same(
                    np.ascontiguousarray(out), np.ascontiguousarray(expected), f"{name}, {of_slope}"
                )


@every_float
@every_function
def test_stores_past_the_caches(name, dtype):
    s, z = (np.array(v).astype(dtype) for v in (-0.5, 0.25))
    x, g = values(dtype, 5000), values(dtype, 5000)[::-1].copy()
    expected = want(name, x, g, s, z)
    for first in range(65):
        for size in (0, 17, 1024, 4900):
            part = slice(first, first + size)
            out = np.zeros_like(x)
            call(name, x[part], g[part], s, z, out=out[part], of=_ufuncs.streaming)
            oracle.assert_same(out[part], expected[part])
            assert not out[: part.start].astype(float).any()
            assert not out[part.stop :].astype(float).any()


def flags_of_products(a, b):
    """What each product raises.

    A result underflows if it is inexact and below the normal numbers: after rounding to the
    precision, or on ARM before.
    """
    if a.dtype.itemsize > 4:
        return np.array([_numpys_flags(*pair) for pair in zip(a, b, strict=True)])
    info = ml_dtypes.finfo(a.dtype)
    wide = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        exact = wide[0] * wide[1]
        fraction, exponent = np.frexp(exact)
        size = np.abs(
            np.ldexp(np.rint(np.ldexp(fraction, info.nmant + 1)), exponent - info.nmant - 1)
        )
        result = oracle.rounded(exact, a.dtype).astype(np.float64)
        if platform.machine() in ("arm64", "aarch64") and a.dtype != BFLOAT16:
            size = np.abs(exact)
        finite = np.isfinite(wide[0]) & np.isfinite(wide[1])
        overflow = finite & np.isinf(result)
        underflow = finite & (size < float(info.smallest_normal)) & (result != exact)
        invalid = np.isnan(exact) & ~np.isnan(wide[0]) & ~np.isnan(wide[1])
    return OVERFLOW * overflow + UNDERFLOW * underflow + INVALID * invalid


def _numpys_flags(a, b):
    heard = []
    with np.errstate(all="call", call=lambda _, flag: heard.append(flag)):
        np.multiply(a, b)
    return heard[0] & (OVERFLOW | UNDERFLOW | INVALID) if heard else 0


def probes(dtype):
    """Values without signaling NaNs, whose exceptions are not defined."""
    if dtype == np.longdouble:
        info = np.finfo(dtype)
        x = np.array(
            [0, 1, 3, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, info.tiny * 3],
            dtype,
        )
        return np.concatenate([x, -x])
    if dtype.itemsize > 2:
        return sample(dtype, size=1024)
    x = oracle.patterns(dtype)
    with np.errstate(invalid="ignore"):
        return x[
            ~np.isnan(x) | (np.arange(x.size) & (1 << (ml_dtypes.finfo(dtype).nmant - 1)) != 0)
        ]


@pytest.mark.parametrize("dtype", [*oracle.FLOATS, np.dtype(np.longdouble)], ids=str)
def test_flags(dtype):
    x = probes(dtype)
    info = np.finfo(dtype) if dtype == np.longdouble else ml_dtypes.finfo(dtype)
    zero, one, nan = (dtype.type(v) for v in (0, 1, np.nan))
    slopes = np.array([0.01, -2, 1, 0.5, 0.998, 1.002, 0, np.inf, 3], dtype)
    with np.errstate(invalid="ignore"):
        negative, positive = x < 0, x > 0
    for s in (*slopes, info.max, info.smallest_normal, info.smallest_subnormal):
        s = dtype.type(s)
        product = flags_of_products(x, np.full_like(x, s))
        part = s not in (zero, one)
        raised_as(lambda v, s=s: _ufuncs.leaky_relu(v, s), x, product * negative)
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_vjp(-one, g, s, one), x, product)
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_vjp(nan, g, s, one), x, product)
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_vjp(one, g, s, s), x, product * 0)
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_vjp(-zero, g, one, s), x, product * part)
        raised_as(lambda g, s=s: _ufuncs.relu_vjp(zero, g, s), x, product * part)
        raised_as(lambda g, s=s: _ufuncs.relu_vjp(-one, g, s), x, product * 0)
        raised_as(lambda v, s=s: _ufuncs.leaky_relu_grad(v, s, s), x, product * 0)
        for at in (-zero, one):
            raised_as(
                lambda g, s=s, at=at: _ufuncs.clipped_relu_vjp(at, g, one, s, s), x, product * part
            )
        raised_as(lambda g, s=s: _ufuncs.clipped_relu_vjp(one, g, one + one, s, s), x, product * 0)
        raised_as(lambda v, s=s: _ufuncs.clipped_relu_grad(v, one, s, s), x, product * 0)
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_slope_vjp(-abs(s), g), x, product * (s != 0))
        raised_as(lambda g, s=s: _ufuncs.leaky_relu_slope_vjp(abs(s), g), x, product * 0)
        with np.errstate(under="ignore"):
            half = abs(s / dtype.type(2))
        raised_as(lambda g, half=half: _ufuncs.squared_relu_vjp(half, g), x, product * (half != 0))
        raised_as(lambda g, s=s: _ufuncs.squared_relu_vjp(-abs(s), g), x, product * 0)
    raised_as(_ufuncs.squared_relu, x, flags_of_products(x, x) * positive)
    raised_as(_ufuncs.squared_relu_grad, x, flags_of_products(x, np.full_like(x, 2)) * positive)
    raised_as(lambda v: _ufuncs.clipped_relu(v, one), x, 0 * negative)
    raised_as(_ufuncs.relu, x, 0 * negative)
    raised_as(lambda v: _ufuncs.relu_grad(v, one), x, 0 * negative)


def raised_as(function, x, expected):
    """One call an element. NumPy itself must not see what they raise."""
    got = np.zeros(x.shape, int)
    with np.errstate(all="raise"):
        for i in range(0, len(x), 5 if len(x) > 10000 else 1):
            function(x[i])
            got[i] = _ufuncs.take_errors()
    wrong = np.flatnonzero(
        (got != expected) & (np.arange(len(x)) % 5 == 0 if len(x) > 10000 else True)
    )
    assert not wrong.size, (
        f"{len(wrong)}: {x[wrong][:3]} raised {got[wrong][:3]} for {expected[wrong][:3]}"
    )


@every_float
def test_flags_of_long_arrays(dtype):
    x = np.full(1000, 1, dtype)
    large = np.array(float(ml_dtypes.finfo(dtype).max)).astype(dtype)
    s = np.array(-2).astype(dtype)
    with np.errstate(all="raise"):
        for at in (0, 1, 500, 998, 999):
            for step in (1, 3):
                x[:] = large  # the product would overflow
                _ufuncs.leaky_relu(x[::step], s)
                assert _ufuncs.take_errors() == 0
                x[at // step * step] = -large
                _ufuncs.leaky_relu(x[::step], s)
                assert _ufuncs.take_errors() == OVERFLOW
                assert _ufuncs.take_errors() == 0


@every_float
@pytest.mark.parametrize("function", [each for each in oracle.RECORDS if each.scalars], ids=str)
def test_kinks_of_which_some_are_simpler(function, dtype):
    """If all factors are 0 or 1 a simpler loop runs: unselected elements must leave no trace."""
    special = np.array(
        [0.0, -0.0, 1.0, -1.0, 6.0, 5.0, 7.0, np.inf, -np.inf, np.nan, 2.0**-14], dtype
    )
    x, g = (np.resize(each.ravel(), 1000) for each in np.meshgrid(special, special))
    given = oracle.arrays_of(function, x, g)
    kinks = (0.0, -0.0, 1.0, -1.0, 0.5)
    for z, k, strided in itertools.product(kinks, kinks, (False, True)):
        options = oracle.scalars_of(
            function, negative_slope=0.5, grad_at_zero=z, ceiling=6.0, grad_at_ceiling=k
        )
        scalars = [
            np.full(x.shape if strided else (), options[each.name], dtype)
            for each in function.scalars
        ]
        with np.errstate(all="ignore"):
            expected = oracle.expected(function, given, **options)
        oracle.assert_same(getattr(_ufuncs, function.name)(*given, *scalars), expected, f"{z} {k}")
        rows = [np.broadcast_to(each, x.shape) for each in scalars]
        oracle.assert_same(
            getattr(_ufuncs.rows, function.name)(*given, *rows), expected, f"{z} {k}, by rows"
        )


def test_no_flags_of_what_fills_up_a_word():
    tiny = np.array(np.finfo(np.float32).smallest_subnormal)
    x = np.array([-1, 1, np.nan], np.float32)
    _ufuncs.relu_vjp(x, tiny, np.float32(0.5))
    assert _ufuncs.take_errors() == 0
    x[1] = 0
    _ufuncs.relu_vjp(x, tiny, np.float32(0.5))
    assert _ufuncs.take_errors() == UNDERFLOW


def test_flags_are_of_one_thread():
    x = np.full(10, -3e38, np.float32)
    heard = []

    def elsewhere():
        _ufuncs.leaky_relu(x, np.float32(9))
        heard.append(_ufuncs.take_errors())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert heard == [OVERFLOW]
    assert _ufuncs.take_errors() == 0


SHAPES = {
    ((2, 3, 4, 5), (3, 1, 1)): (2, 3, 20),
    ((2, 3), (3,)): (2, 3),
    ((2, 3), (2, 3)): (1, 6),
    ((2, 3), (1, 1)): (6,),
    ((2, 3), ()): (6,),
    ((), ()): (1,),
    ((1, 1), (1, 1)): (1,),
    ((5, 1, 4), (5, 1, 1)): (1, 5, 4),
    ((5, 1, 4), (4,)): (5, 4),
    ((2, 3, 4, 5), (2, 1, 4, 1)): (1, 2, 3, 4, 5),
    ((0, 3), (3,)): (0, 3),
    ((4, 0), (4, 1)): (1, 4, 0),
}


@pytest.mark.parametrize(("shape", "slopes"), SHAPES, ids=str)
def test_joined_axes(shape, slopes):
    assert _ufuncs.join_axes(shape, slopes) == SHAPES[shape, slopes]


@pytest.mark.parametrize(
    ("shape", "slopes"), [((2, 3), (2,)), ((3,), (1, 3)), ((1,), (3,)), ((), (1,))], ids=str
)
def test_axes_that_do_not_broadcast(shape, slopes):
    with pytest.raises(ValueError, match="does not broadcast to"):
        _ufuncs.join_axes(shape, slopes)


def test_the_module_may_be_loaded_again():
    """Its ufuncs are the same objects, since NumPy keeps addresses of their tables."""
    again = importlib.util.module_from_spec(_ufuncs.__spec__)
    again.__spec__.loader.exec_module(again)
    assert again is not _ufuncs
    for name in oracle.FUNCTIONS:
        assert getattr(again, name) is getattr(_ufuncs, name)
        assert getattr(again.rows, name) is getattr(_ufuncs.rows, name)
        assert getattr(again.streaming, name) is getattr(_ufuncs.streaming, name)
    assert again.cpu == _ufuncs.cpu


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_the_module_does_not_bring_the_gil_back():
    code = "import sys, numpy; before = sys._is_gil_enabled(); import relu_xp._native._ufuncs; "
    code += "print(before, sys._is_gil_enabled())"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    before, after = ran.stdout.split()
    assert before == after


@pytest.mark.parametrize("cpu", ["baseline", "avx2", "avx512", "avx512bf16", "avx512fp16"])
def test_other_builds(cpu):
    """The tests of this file pass for a build for lesser processors too."""
    if "RELU_XP_CPU" in os.environ:
        pytest.skip(f"{os.environ['RELU_XP_CPU']} alone was asked for")
    if cpu == _ufuncs.cpu:
        pytest.skip("it is the one that has been tested")
    environment = os.environ | {"RELU_XP_CPU": cpu}
    load = [sys.executable, "-c", "import relu_xp._native._ufuncs"]
    if subprocess.run(load, env=environment, capture_output=True).returncode:
        pytest.skip(f"this processor does not run {cpu}")
    again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(again, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
