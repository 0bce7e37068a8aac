"""The numbers among the arguments, on NumPy arrays and scalars and on Python floats."""

import itertools
import math
import random
import struct
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._backends import python
from relu_xp._functions import CEILING, GRAD_AT_CEILING, GRAD_AT_ZERO, NEGATIVE_SLOPE

NUMBERS = [each for each in oracle.RECORDS if each.parameters]
HOLDERS = {
    "float": float,
    "0-d": lambda v: np.array(v, np.float32),
    "float64 scalar": np.float64,
    "float16 scalar": np.float16,
    "bfloat16 scalar": ml_dtypes.bfloat16,
    "array": lambda v: np.full(3, v, np.float64),
    "longdouble": lambda v: np.full(3, v, np.longdouble),
    "float8": lambda v: np.full(3, v, ml_dtypes.float8_e4m3fn),
    "byte-swapped": lambda v: np.full(3, v, ">f4"),
}


def bits_of(result):
    """Bytes that tell zeros apart."""
    return np.asarray(result, np.float64).tobytes()


def where_it_shows(parameter):
    """An x at which the derivative is the number itself."""
    return {NEGATIVE_SLOPE: -1.0, GRAD_AT_ZERO: 0.0, GRAD_AT_CEILING: 6.0}[parameter]


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        (each, p)
        for each in NUMBERS
        if each.role == "grad"
        for p in each.scalars
        if p is not CEILING
    ],
    ids=str,
)
def test_numbers_that_are_equal_are_told_apart(function, parameter, holder):
    """In every order: no number is taken for an earlier one, and none is refused only once."""
    x = holder(where_it_shows(parameter))
    numbers = (
        0.0,
        -0.0,
        0,
        False,
        1.0,
        1,
        True,
        np.float32(1),
        np.float64(-0.0),
        math.nan,
        np.float32("nan"),
        math.inf,
    )
    for one, another in itertools.product(numbers, repeat=2):
        for value in (one, another):
            if isinstance(value, bool):
                with pytest.raises(
                    TypeError,
                    match=rf"{function}: {parameter.name} must be a real number, got bool",
                ):
                    oracle.call(function, x, **{parameter.name: value})
            elif not math.isfinite(value):
                with pytest.raises(
                    ValueError, match=rf"{function}: {parameter.name} must be finite"
                ):
                    oracle.call(function, x, **{parameter.name: value})
            else:
                got = oracle.call(function, x, **{parameter.name: value})
                assert bits_of(got) == bits_of(np.full(np.shape(x), float(value))), (one, another)


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize(
    "function", [each for each in NUMBERS if CEILING in each.parameters], ids=str
)
def test_a_ceiling_is_above_zero_each_time(function, holder):
    for x in (holder(2.0), holder(0.0)):
        for _ in range(2):
            for bad in (0.0, -0.0, 0, -1, -1.0, np.float32(-1)):
                with pytest.raises(ValueError, match=f"{function}: ceiling must be above 0"):
                    oracle.call(function, x, ceiling=bad)
            oracle.call(function, x, ceiling=1)


def test_a_ceiling_that_rounds_to_zero_is_not_above_it():
    for dtype, smallest in (
        (np.float16, 2.0**-24),
        (np.float32, 2.0**-149),
        (ml_dtypes.bfloat16, 2.0**-133),
    ):
        x = np.ones(3, dtype)
        assert float(relu_xp.clipped_relu(x, smallest)[0]) == smallest
        assert float(relu_xp.clipped_relu(x, math.nextafter(smallest / 2, 1))[0]) == smallest
        with pytest.raises(ValueError, match="ceiling must be above 0"):
            relu_xp.clipped_relu(x, smallest / 2)


def hard_to_round(dtype):
    """Numbers of all exponents, and some at, beside and between those of a dtype."""
    chosen = random.Random(0)
    values = [struct.unpack("d", struct.pack("Q", chosen.getrandbits(64)))[0] for _ in range(3000)]
    word = np.dtype(f"u{dtype.itemsize}")
    low = np.array([chosen.getrandbits(8 * dtype.itemsize) for _ in range(3000)], word)
    with np.errstate(invalid="ignore"):
        low, high = (each.view(dtype).astype(float) for each in (low, low + word.type(1)))
        middle = low / 2 + high / 2
    values += [*low, *middle, *np.nextafter(middle, np.inf), *np.nextafter(middle, -np.inf)]
    info = ml_dtypes.finfo(dtype)
    for limit in (info.max, info.smallest_normal, info.smallest_subnormal):
        for factor in (0.25, 0.5, 1.0, 1.0 + float(info.eps) / 4, 1 + float(info.eps) / 2):
            values += [float(limit) * factor, math.nextafter(float(limit) * factor, 0)]
    return [float(v) for v in (*values, 5e-324, 0.0, -0.0) if math.isfinite(v)]


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_a_new_number_is_rounded_once(dtype):
    """Half to even, whatever the exponent; a number that overflows is refused."""
    x = np.array([-1], dtype)
    values = hard_to_round(dtype)
    with np.errstate(over="ignore"):
        nearest = oracle.rounded(np.array(values), dtype)
    for value, want in zip(values, nearest, strict=True):
        if np.isfinite(float(want)):
            oracle.assert_same(relu_xp.leaky_relu_grad(x, value), want.reshape(1), str(value))
        else:
            with pytest.raises(ValueError, match=f"negative_slope must be finite in {dtype}"):
                relu_xp.leaky_relu_grad(x, value)


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_an_int_and_numpys_floats_are_rounded_once(dtype):
    x = np.array([-1], dtype)
    for value in (2, -3, 1001, 2**11 + 1, np.float16(0.3), np.float32(0.3), np.float64(0.3)):
        want = oracle.rounded(np.array([float(value)]), dtype)
        oracle.assert_same(relu_xp.leaky_relu_grad(x, value), want, str(value))
    if dtype.itemsize == 4:
        for value, want in (
            (2**54 + 2**30 + 1, 2.0**54 + 2**31),
            (-(2**53) - 2**29 - 1, -(2.0**53) - 2**30),
        ):
            assert (
                relu_xp.leaky_relu_grad(x, value) == want
            )  # rounded to binary64 first, these are ties
    if dtype.itemsize == 8:
        assert relu_xp.leaky_relu_grad(x, 2**53 + 1) == 2.0**53
        assert relu_xp.leaky_relu_grad(x, 2**53 + 3) == 2.0**53 + 4


OTHERS = [np.dtype(t) for t in (np.longdouble, np.int8, np.uint64)]


@pytest.mark.parametrize("index", [..., 0], ids=["0-d", "scalar"])
@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (f, t)
        for f in oracle.RECORDS
        for t in (*oracle.FLOATS, *OTHERS)
        if t.kind not in "iu" or f.takes_integers
    ],
    ids=str,
)
def test_what_comes_in_comes_out(function, dtype, index):
    """An array of no axes stays one, and a scalar a scalar."""
    x = np.array(3, dtype) if index is ... else np.array([3], dtype)[0]
    given = oracle.arrays_of(function, x)
    result = getattr(relu_xp, function.name)(*given)
    assert type(result) is type(x)
    assert result.dtype == dtype
    # Other tests say that this is right.
    want = oracle.call(function, np.array([3], dtype)).reshape(())
    oracle.assert_same(np.asarray(result), want)
    if isinstance(x, np.ndarray):
        assert not np.shares_memory(result, x)
        out = np.empty_like(x)
        assert getattr(relu_xp, function.name)(*given, out=out) is out
        oracle.assert_same(out, want)


@pytest.mark.parametrize(
    "x", [np.full(3, -1, np.float32), np.array(-1, np.float16), np.float64(-1), -1.0], ids=repr
)
def test_memory_stays_flat_however_many_numbers_come(x):
    def call(first):
        for i in range(first, first + 20_000):
            relu_xp.leaky_relu_vjp(x, x, i * 2.0**-16, grad_at_zero=-i % 999)

    call(1)
    tracemalloc.start()
    call(100_000)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 18, (kept, peak)


def test_a_call_within_a_call_has_numbers_of_its_own():
    x = np.array([-3e38, -1], np.float32)
    inner = []
    with np.errstate(
        over="call", call=lambda *_: inner.append(relu_xp.leaky_relu(x[1:], 0.5).tolist())
    ):
        for slope in (2.0, 4.0):
            assert relu_xp.leaky_relu(x, slope).tolist() == [-np.inf, -slope]
    assert inner == [[-0.5], [-0.5]]


STRESS = """
import itertools, sys, threading, numpy as np, ml_dtypes, relu_xp
sys.setswitchinterval(1e-6)
COUNT, SIZES = 4, (1, 5, 1 << 14)
class Sub(np.ndarray):
    pass
wrong, end = [], threading.Event()

def numbers(seed):
    types = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
    for i, (dtype, size) in zip(range(3000), itertools.cycle(itertools.product(types, SIZES))):
        slope, z = (seed + 2) * 2.0**-(i % 5), (0.0, -0.0, 1.0, 1)[(i + seed) % 4]
        x = np.full(size, -1, dtype)
        x[-1] = 0
        got = relu_xp.leaky_relu_grad(x, slope, grad_at_zero=z).astype(float)
        if not (got[:-1] == slope).all() or got[-1] != z or np.signbit(got[-1]) != np.signbit(z):
            wrong.append((dtype, size, slope, z, got))
        if relu_xp.leaky_relu_grad(-1.0, slope) != slope:
            wrong.append(slope)
        if relu_xp.leaky_relu(-1.0, slope) != -slope:
            wrong.append(slope)
        kind = type(f"Kind{i % 7}", (Sub,), {})
        if (relu_xp.relu(np.ones(2).view(kind)) != 1).any():
            wrong.append(kind)

def register():
    while not end.is_set():
        relu_xp.register_backend("nowhere", relu_xp_backend)
        relu_xp.unregister_backend("nowhere")

import relu_xp._backends.numpy as relu_xp_backend

def run(i):
    try:
        numbers(i)
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=run, args=(i,)) for i in range(COUNT)]
beside = threading.Thread(target=register)
for each in (beside, *threads):
    each.start()
for each in threads:
    each.join()
end.set()
beside.join()
print(wrong[:3] or "right")
"""


def test_threads_meet_new_numbers_and_types_at_once():
    """While another thread registers backends, which clears all caches."""
    run = subprocess.run(
        [sys.executable, "-c", STRESS], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.stdout == "right\n", run.stdout + run.stderr


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_floats_take_the_fast_path(function, monkeypatch):
    """A call with default or known numbers goes straight to the definition."""
    checked = []
    right = python._checked

    def check(*given):
        checked.append(given)
        return right(*given)

    monkeypatch.setattr(python, "_checked", check)
    oracle.call(function, -1.5)
    assert len(checked) == 0
    for numbers in (0.25, 0.75):
        options = {each.name: numbers for each in function.parameters}
        oracle.call(function, -1.5, **options)
        checked.clear()
        oracle.call(function, 2.5, **options)
        assert len(checked) == 0
    oracle.call(function, np.float64(1.5))  # another backend's
    assert len(checked) == 0
    if function.takes_integers:
        oracle.call(function, 3)
        assert len(checked) == 1
