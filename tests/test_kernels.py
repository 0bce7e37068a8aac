"""Anybody's kernel, held to the definition: planted faults are named, and right kernels pass."""

import ctypes
import functools
import json
import math
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import relu_xp
from relu_xp import __main__
from relu_xp._functions import FUNCTIONS
from relu_xp.verify import _calls, _faults, _kernels, assert_computes, check
from relu_xp.verify._expected import rounded

F2, F4, F8 = "float16", "float32", "float64"


def zeros(x):
    return np.zeros_like(x)


def ones(x):
    return np.ones_like(x)


def of(x, s):
    """A number in the dtype of x."""
    return x.dtype.type(s)


def isnan(x):
    return x != x


def leaky(x, s=0.2):
    return np.where(x < 0, of(x, s) * x, x)


def flush(x):
    return np.where(abs(x) < np.finfo(x.dtype).smallest_normal, np.copysign(zeros(x), x), x)


def cut_off(x, s):
    """A product of bfloat16 whose last bits are dropped."""
    import ml_dtypes

    words = (x.astype(np.float32) * np.float32(of(x, s))).view(np.uint32) >> 16
    return np.where(x < 0, words.astype(np.uint16).view(ml_dtypes.bfloat16), x)


def in_blocks(x, size, f):
    """Whole blocks are computed; the rest holds what it held."""
    flat, result = x.ravel(), np.empty_like(x).ravel()
    n = x.size // size * size
    result[:n] = f(flat[:n])
    return result.reshape(x.shape)


def first_1024(f, *arrays):
    """As a grid that is too small computes them."""
    result = np.empty_like(arrays[0])
    result[:1024] = f(*(a[:1024] for a in arrays))
    return result


def in_place(x):
    np.copyto(x, 0, where=x <= 0)
    return x


def raises_for_halves(x):
    if x.dtype == np.float16:
        raise RuntimeError("no such kernel\nand a long story")
    return relu_xp.relu(x)


def at_addresses(aligned, f):
    """Loses NaN where x begins at a vector's address, or where it does not."""

    def held(x):
        return np.where(x > 0, x, zeros(x)) if (x.ctypes.data % 16 == 0) == aligned else f(x)

    return held


def tensors_at_addresses(torch, aligned):
    def held(x):
        y = torch.where(x <= 0, torch.zeros_like(x), x)
        return (
            torch.where(y == y, y, torch.zeros_like(y))
            if (x.data_ptr() % 16 == 0) == aligned
            else y
        )

    return held


def not_the_first(f):
    """As a loop that starts at 1 computes it."""

    def held(*arrays):
        result = f(*arrays)
        result[:1] = 0
        return result

    return held


def kept_by_shape(f):
    """Computes once for each shape and dtype."""
    known = {}

    def held(*arrays):
        key = arrays[0].shape, arrays[0].dtype
        if key not in known:
            known[key] = f(*arrays)
        return known[key].copy()

    return held


def one_buffer(f):
    """Writes all that it computes to one piece of memory."""
    room = np.empty(1 << 23, np.uint8)

    def held(*arrays):
        result = room[: arrays[0].nbytes].view(arrays[0].dtype)
        result[:] = f(*arrays)
        return result

    return held


def wrong_beyond(x, n):
    result = relu_xp.relu(x)
    result[n:] = 0
    return result


S2 = {"negative_slope": 0.2}
# The kinds that are found, the function, a kernel, and how it is held.
PLANTED = {
    "relu, x > 0 loses NaN": ("nan_lost", "relu", lambda x: np.where(x > 0, x, zeros(x)), {}),
    "relu, fmax": ("nan_lost", "relu", lambda x: np.fmax(x, zeros(x)) + zeros(x), {}),
    "clipped_relu, NaN is the ceiling": (
        "nan_lost", "clipped_relu",
        lambda x: np.where(x <= 0, zeros(x), np.where(x < 6, x, of(x, 6))), {},
    ),
    "leaky_relu, NaN is 0": (
        "nan_lost", "leaky_relu",
        lambda x: np.where(isnan(x), zeros(x), leaky(x)), S2,
    ),
    "relu_vjp, the cotangent at NaN": (
        "nan_cotangent", "relu_vjp",
        lambda x, g: np.where(x < 0, zeros(g), g), {},
    ),
    "relu_grad, 1 at NaN": (
        "nan_cotangent", "relu_grad",
        lambda x: np.where(x < 0, zeros(x), ones(x)), {},
    ),
    "clipped_relu_grad, 6 at NaN": (
        "nan_cotangent", "clipped_relu_grad",
        lambda x: np.where(isnan(x), of(x, 6), relu_xp.clipped_relu_grad(x)), {},
    ),
    "leaky_relu_vjp, NaN at NaN": (
        "nan_cotangent", "leaky_relu_vjp",
        lambda x, g: np.where(isnan(x), x, relu_xp.leaky_relu_vjp(x, g)), {},
    ),
    "relu, -0 made": (
        "zero_sign", "relu",
        lambda x: np.where(x < 0, -zeros(x), relu_xp.relu(x)), {},
    ),
    "relu, -0 kept": ("zero_sign", "relu", lambda x: np.where(x < 0, zeros(x), x), {}),
    "leaky_relu, -0 lost": ("zero_sign", "leaky_relu", lambda x: leaky(x) + zeros(x), S2),
    "relu_grad, 0 at 0": ("kink", "relu_grad", lambda x: np.where(x > 0, ones(x), zeros(x)), {}),
    "relu_grad, 0.5 at 0": (
        "kink", "relu_grad", lambda x: np.where(x == 0, of(x, 0.5), relu_xp.relu_grad(x)), {},
    ),
    "relu_grad, 0.7 at 0": (
        "kink", "relu_grad", lambda x: np.where(x == 0, of(x, 0.7), relu_xp.relu_grad(x)), {},
    ),
    "leaky_relu_vjp, the slope at 0": (
        "kink", "leaky_relu_vjp",
        lambda x, g: np.where(x > 0, g, of(x, 0.2) * g), S2,
    ),
    "clipped_relu_vjp, >= at 0 was asked as 0": (
        "kink", "clipped_relu_vjp", relu_xp.clipped_relu_vjp, {"grad_at_zero": 0.0},
    ),
    "clipped_relu_grad, x <= c": (
        "ceiling_kink", "clipped_relu_grad",
        lambda x: np.where((x >= 0) & (x <= 6), ones(x), zeros(x)), {},
    ),
    "clipped_relu_vjp, x <= c": (
        "ceiling_kink", "clipped_relu_vjp",
        lambda x, g: np.where((x >= 0) & (x <= 6), g, zeros(x)), {},
    ),
    "leaky_relu, a float32 slope": (
        "slope_rounding", "leaky_relu",
        lambda x: np.where(x < 0, (x.astype(np.float32) * np.float32(0.2)).astype(x.dtype), x), S2,
    ),
    "leaky_relu, a float64 slope": (
        "slope_rounding", "leaky_relu",
        lambda x: np.where(x < 0, (x.astype(np.float64) * 0.2).astype(x.dtype), x), S2,
    ),
    "leaky_relu_grad, a half's slope": (
        "slope_rounding", "leaky_relu_grad",
        lambda x: np.where(x >= 0, ones(x), of(x, np.float16(0.2))),
        {**S2, "dtypes": F4},
    ),
    "leaky_relu, cut off": (
        "double_rounding", "leaky_relu",
        lambda x: cut_off(x, 0.2), {**S2, "dtypes": "bfloat16"},
    ),
    "leaky_relu, by way of a half": (
        "double_rounding", "leaky_relu",
        lambda x: np.where(x < 0, (x * of(x, 0.2)).astype(np.float16).astype(x.dtype), x),
        {**S2, "dtypes": F4},
    ),
    "squared_relu of float64 in float32": (
        "double_rounding", "squared_relu",
        lambda x: relu_xp.squared_relu(x.astype(np.float32)).astype(x.dtype), {"dtypes": F8},
    ),
    "squared_relu_vjp, 2 * (x * g)": (
        "double_rounding", "squared_relu_vjp",
        lambda x, g: np.where(x > 0, of(x, 2) * (x * g), zeros(x)), {"dtypes": F4},
    ),
    "squared_relu_vjp, rounded once": (
        "double_rounding", "squared_relu_vjp",
        lambda x, g: relu_xp.squared_relu_vjp(*(a.astype(F4) for a in (x, g))).astype(x.dtype),
        {"dtypes": F2},
    ),
    "leaky_relu, subnormals read as 0": (
        "subnormal_flush", "leaky_relu",
        lambda x: leaky(flush(x)), S2,
    ),
    "relu_vjp, subnormals written as 0": (
        "subnormal_flush", "relu_vjp", lambda x, g: flush(relu_xp.relu_vjp(x, g)), {},
    ),
    "squared_relu_vjp, flushed at both ends": (
        "subnormal_flush", "squared_relu_vjp",
        lambda x, g: flush(relu_xp.squared_relu_vjp(flush(x), flush(g))), {"dtypes": F4},
    ),
    "relu_vjp, subnormals of x compared as 0": (
        "subnormal_flush", "relu_vjp", lambda x, g: np.where(flush(x) >= 0, g, zeros(g)), {},
    ),
    "relu_vjp, 0 at -0 alone": (
        "kink", "relu_vjp",
        lambda x, g: np.where(np.signbit(x), zeros(g), relu_xp.relu_vjp(x, g)), {},
    ),
    "leaky_relu_grad, the slope at -0 alone": (
        "kink", "leaky_relu_grad",
        lambda x: np.where(np.signbit(x), of(x, 0.2), relu_xp.leaky_relu_grad(x, 0.2)), S2,
    ),
    "relu_vjp, 0.25 at 0": (
        "kink", "relu_vjp",
        lambda x, g: np.where(x == 0, of(x, 0.25) * g, relu_xp.relu_vjp(x, g)), {},
    ),
    "relu_vjp, 0.7 at 0": (
        "kink", "relu_vjp",
        lambda x, g: np.where(x == 0, of(x, 0.7) * g, relu_xp.relu_vjp(x, g)), {},
    ),
    "clipped_relu_vjp, 0.3 at the ceiling": (
        "ceiling_kink", "clipped_relu_vjp",
        lambda x, g: np.where(x == 6, of(x, 0.3) * g, relu_xp.clipped_relu_vjp(x, g)), {},
    ),
    "relu_vjp, g * mask": ("masked_product zero_sign", "relu_vjp", lambda x, g: g * (x >= 0), {}),
    "relu_vjp, g * mask, 0 at 0": (
        "masked_product kink zero_sign", "relu_vjp",
        lambda x, g: g * (x > 0), {},
    ),
    "leaky_relu_vjp, masks of both signs": (
        "masked_product", "leaky_relu_vjp",
        lambda x, g: g * (x >= 0) + of(x, 0.2) * g * ~(x >= 0), S2,
    ),
    "clipped_relu_vjp, g * mask": (
        "masked_product zero_sign", "clipped_relu_vjp", lambda x, g: g * ((x >= 0) & (x < 6)), {},
    ),
    "leaky_relu_slope_vjp, x * g * mask": (
        "masked_product zero_sign", "leaky_relu_slope_vjp", lambda x, g: x * g * (x < 0), {},
    ),
    "squared_relu_vjp, 2x * g * mask": (
        "masked_product zero_sign", "squared_relu_vjp", lambda x, g: (x + x) * g * (x > 0), {},
    ),
    "relu, x * mask": ("masked_product zero_sign", "relu", lambda x: x * (x > 0), {}),
    "relu, (x + |x|) / 2": ("infinity", "relu", lambda x: of(x, 0.5) * (x + abs(x)), {}),
    "squared_relu, saturated": (
        "infinity", "squared_relu",
        lambda x: np.minimum(relu_xp.squared_relu(x), np.finfo(x.dtype).max), {},
    ),
    "leaky_relu, a slope of 0": (
        "infinity", "leaky_relu", lambda x: np.where(x < 0, -zeros(x), x), {"negative_slope": 0.0},
    ),
    "relu, a tail of 15": ("unwritten", "relu", lambda x: in_blocks(x, 16, relu_xp.relu), {}),
    "leaky_relu_vjp, a small grid": (
        "unwritten", "leaky_relu_vjp", lambda x, g: first_1024(relu_xp.leaky_relu_vjp, x, g), {},
    ),
    "relu, NaN lost by vectors that are aligned": (
        "nan_lost", "relu",
        at_addresses(True, relu_xp.relu), {},
    ),
    "relu, NaN lost by vectors that are not": (
        "nan_lost", "relu",
        at_addresses(False, relu_xp.relu), {},
    ),
    "relu, from 1 on": ("unwritten", "relu", not_the_first(relu_xp.relu), {}),
    "squared_relu, from 1 on": (
        "unwritten", "squared_relu",
        not_the_first(relu_xp.squared_relu), {},
    ),
    "clipped_relu_vjp, from 1 on": (
        "unwritten", "clipped_relu_vjp",
        not_the_first(relu_xp.clipped_relu_vjp), {},
    ),
    "relu, short ones are 0": (
        "unwritten", "relu", lambda x: zeros(x) if x.size < 4 else relu_xp.relu(x), {},
    ),
    "relu_vjp, short ones are 0": (
        "unwritten", "relu_vjp",
        lambda x, g: zeros(x) if x.size < 4 else relu_xp.relu_vjp(x, g), {},
    ),
    "relu, the first of its shape": ("unwritten", "relu", kept_by_shape(relu_xp.relu), {}),
    "relu_vjp, the first of its shape": (
        "unwritten", "relu_vjp",
        kept_by_shape(relu_xp.relu_vjp), {},
    ),
    "relu, beyond 200,000 elements": ("unwritten", "relu", lambda x: wrong_beyond(x, 200_000), {}),
    "relu, one buffer": ("input_written", "relu", one_buffer(relu_xp.relu), {}),
    "relu, what memory held": ("unwritten", "relu", lambda x: np.full_like(x, _calls.POISON), {}),
    "relu_vjp, what memory held": (
        "unwritten", "relu_vjp",
        lambda x, g: np.full_like(x, _calls.POISON), {},
    ),
    "relu, zeros": ("unwritten", "relu", zeros, {}),
    "relu, in place": ("input_written", "relu", in_place, {}),
    "leaky_relu_vjp, into the cotangent": (
        "input_written", "leaky_relu_vjp", lambda x, g: relu_xp.leaky_relu_vjp(x, g, out=g), {},
    ),
    "leaky_relu, a view of x": (
        "input_written", "leaky_relu",
        lambda x: x[:], {"negative_slope": 1.0},
    ),
    "relu, another dtype": (
        "wrong_dtype", "relu",
        lambda x: relu_xp.relu(x).astype(np.longdouble), {},
    ),
    "relu, nothing": ("wrong_dtype", "relu", lambda x: None, {}),
    "relu, a list": ("wrong_dtype", "relu", lambda x: relu_xp.relu(x).tolist(), {}),
    "relu, another shape": ("wrong_shape", "relu", lambda x: relu_xp.relu(x)[None], {}),
    "relu, a sum": ("wrong_shape", "relu", lambda x: relu_xp.relu(x).sum(), {}),
    "relu, division by 0": ("raised", "relu", lambda x: 1 / 0, {}),
    "relu, one dtype raises": ("raised", "relu", raises_for_halves, {}),
    "relu, exit": ("raised", "relu", lambda x: sys.exit(3), {}),
    "leaky_relu, another slope": ("other", "leaky_relu", lambda x: leaky(x, 0.01), S2),
    "leaky_relu, maximum": (
        "other", "leaky_relu",
        lambda x: np.maximum(x, of(x, 2) * x), {"negative_slope": 2.0},
    ),
    "clipped_relu, no ceiling": ("other", "clipped_relu", relu_xp.relu, {}),
    "clipped_relu_vjp, no ceiling": ("other", "clipped_relu_vjp", relu_xp.relu_vjp, {}),
    "relu, NaN": ("other", "relu", lambda x: np.full_like(x, np.nan), {}),
    "relu_vjp, NaN": ("other", "relu_vjp", lambda x, g: np.full_like(x, np.nan), {}),
    "relu_vjp, x for the cotangent": ("other", "relu_vjp", lambda x, g: relu_xp.relu_vjp(g, x), {}),
    "relu_vjp, the derivative alone": ("other", "relu_vjp", lambda x, g: relu_xp.relu_grad(x), {}),
    "leaky_relu_slope_vjp, no cotangent": (
        "other", "leaky_relu_slope_vjp", lambda x, g: np.where(x < 0, x, zeros(x)), {},
    ),
    "relu, a cosine": ("other", "relu", np.cos, {}),
}  # fmt: skip


@functools.cache
def held(name):
    _, function, f, options = PLANTED[name]
    return check(f, function, **{"dtypes": (F2, F4), **options})


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(wanted, name):
    wanted("numpy")
    kinds, report = PLANTED[name][0], held(name)
    assert [fault.kind for fault in report.faults] == kinds.split(), str(report)
    assert not report.passed
    assert all(fault.count > 0 and fault.example and fault.advice for fault in report.faults)
    json.dumps(report.to_dict())


@pytest.mark.parametrize("name", ["relu", "relu_vjp"])
def test_memory_that_nobody_wrote(wanted, name):
    """What an allocator hands out is its own affair, and may be other than what was freed last."""
    wanted("numpy")
    report = check(lambda x, *_: np.empty_like(x), name)
    assert not report.passed
    assert {fault.kind for fault in report.faults} & {"unwritten", "other"}, str(report)


def test_every_kind_was_planted():
    planted = {kind for kinds, *_ in PLANTED.values() for kind in kinds.split()}
    assert planted == {*_faults.KINDS}
    assert {each.kind for each in _faults.RIVALS} <= {*_faults.KINDS}


@pytest.mark.parametrize(
    ("name", "told", "advises"),
    [
        ("clipped_relu, no ceiling", "its ceiling is not applied", "min(x, ceiling)"),
        ("clipped_relu_vjp, no ceiling", "its ceiling is not applied", "0 beyond it"),
        ("relu, NaN", "all it gives is NaN", "reference"),
        ("relu_vjp, x for the cotangent", "x and the cotangent are swapped", "f(x, g)"),
        ("relu_vjp, the derivative alone", "the cotangent is not multiplied", "times g"),
        ("leaky_relu_slope_vjp, no cotangent", "the cotangent is not multiplied", "times g"),
        ("relu_vjp, subnormals of x compared as 0", "subnormals of x are read as zeros", "flush"),
        (
            "relu_vjp, 0 at -0 alone",
            "its derivative at -0 is 0.0, at 0 another",
            "-0 and 0 are equal",
        ),
        ("relu_vjp, 0.25 at 0", "its derivative at 0 is 0.25", "pass grad_at_zero=0.25 to"),
        ("relu_vjp, 0.7 at 0", "its derivative at 0 is 0.7", "pass grad_at_zero=0.7 to"),
        (
            "clipped_relu_vjp, 0.3 at the ceiling",
            "its derivative at the ceiling is 0.3",
            "pass grad_at_ceiling=0.3 to",
        ),
    ],
)
def test_a_fault_is_told_in_words(wanted, name, told, advises):
    wanted("numpy")
    (fault,) = held(name).faults
    assert fault.name == told
    assert advises in fault.advice


@pytest.mark.parametrize(
    ("name", "says", "advises"),
    [
        ("relu, x > 0 loses NaN", "f(nan (0x7e00)) gives 0.0 (0x0000), expected nan", "isnan"),
        (
            "relu_grad, 0 at 0",
            "f(0.0 (0x0000)) gives 0.0 (0x0000), expected 1.0 (0x3c00)",
            "pass grad_at_zero=0.0 to check",
        ),
        (
            "leaky_relu_vjp, the slope at 0",
            "f(0.0 (0x0000), 1.0 (0x3c00)) gives 0.2",
            "pass grad_at_zero=0.2 to check",
        ),
        (
            "clipped_relu_grad, x <= c",
            "f(6.0 (0x4600)) gives 1.0 (0x3c00), expected 0.0",
            "pass grad_at_ceiling=1.0 to check",
        ),
        ("relu_vjp, g * mask", "f(-1.0 (0xbc00), inf (0x7c00)) gives nan", "select"),
        ("leaky_relu, a float32 slope", "f(-1.5 (0xbe00)) gives -0.3", "round the slope"),
        ("relu, a tail of 15", "float16, 1 element, element 0: f(", "tail"),
        ("leaky_relu_vjp, a small grid", "float16, 1,025 elements, element 1024: f(", "grid"),
        (
            "relu, in place",
            "float16, 1 element: element 0 of x was -90.0 (0xd5a0), is 0.0 (0x0000)",
            "new array",
        ),
        ("relu, nothing", "it gives None", "give a numpy.ndarray"),
        ("relu, one dtype raises", "float16, 1 element: RuntimeError: no such kernel", "dtypes"),
    ],
)
def test_the_smallest_input_is_shown(wanted, name, says, advises):
    wanted("numpy")
    fault = held(name).faults[0]
    assert says in fault.example
    assert advises in fault.advice


def test_a_fault_in_some_dtypes_alone(wanted):
    wanted("numpy")
    report = check(raises_for_halves, "relu", dtypes=[F2, F4])
    assert (
        report.faults[0].count == report.values - check(relu_xp.relu, "relu", dtypes=F4).values + 1
    )  # the empty one


def test_halves_computed_in_float32_and_back_are_right(wanted):
    wanted("numpy")

    def by_float32(x):
        wide = x.astype(np.float32)
        return np.where(wide < 0, wide * np.float32(of(x, 0.2)), wide).astype(x.dtype)

    assert check(by_float32, "leaky_relu", dtypes=[F2, "bfloat16", F4], **S2).passed


def test_the_users_interrupt_is_no_fault(wanted):
    wanted("numpy")

    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(interrupted, "relu", dtypes=F4, timeout=None)
    assert [fault.kind for fault in check(interrupted, "relu", dtypes=F4).faults] == ["raised"]


def test_a_result_that_breaks_when_it_is_looked_at(wanted):
    wanted("numpy")

    class Broken:
        @property
        def dtype(self):
            raise RuntimeError("freed")

    report = check(lambda x: Broken(), "relu", dtypes=F4)
    assert [fault.kind for fault in report.faults] == ["raised"]


class MuteError(Exception):
    """An error whose text is an error too."""

    def __str__(self):
        raise RuntimeError("no text")


class MuteExitError(MuteError):
    """One whose text ends the process."""

    def __str__(self):
        raise SystemExit(4)


@pytest.mark.parametrize("error", [MuteError, MuteExitError])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_an_error_without_a_text(wanted, capfd, error, timeout):
    wanted("numpy")

    def raises(x):
        raise error

    report = check(raises, "relu", dtypes=F4, timeout=timeout)
    assert [(fault.kind, fault.name) for fault in report.faults] == [("raised", error.__name__)]
    assert capfd.readouterr().err == ""


def test_a_result_that_exits_when_it_is_looked_at(wanted, capfd):
    wanted("numpy")

    class Exits:
        @property
        def dtype(self):
            raise SystemExit(4)

    report = check(lambda x: Exits(), "relu", dtypes=F4)
    assert [(fault.kind, fault.name) for fault in report.faults] == [
        ("raised", "its result cannot be read: SystemExit"),
    ]
    assert report.values > 100_000
    assert "Traceback" not in capfd.readouterr().err


def test_whatever_a_job_raises_comes_back():
    worker = _calls.Worker()
    with pytest.raises(SystemExit):
        worker.run(sys.exit, timeout=60.0)
    assert worker.run(lambda: 3, timeout=math.inf) == 3
    worker.close()


def test_two_faults_that_have_nothing_to_do_with_each_other(wanted):
    wanted("numpy")
    report = check(lambda x, g: flush(np.where(x > 0, g, zeros(g))), "relu_vjp", dtypes=F4)
    assert [fault.kind for fault in report.faults] == ["kink", "subnormal_flush"]
    report = check(
        lambda x: in_blocks(x, 8, lambda x: np.where(x > 0, x, zeros(x))), "relu", dtypes=F4
    )
    assert [fault.kind for fault in report.faults] == ["unwritten", "nan_lost"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_noise_is_named_too(wanted, function):
    """Whatever a kernel gives, no rival breaks on it."""
    wanted("numpy")

    def noise(x, *g):
        return np.frombuffer(np.random.default_rng(0).bytes(x.nbytes), x.dtype).reshape(x.shape)

    report = check(noise, function, dtypes=["bfloat16", F4])
    assert {"unwritten", "other"} & {fault.kind for fault in report.faults}
    assert sum(fault.count for fault in report.faults) > 0.8 * report.values


def test_a_rival_is_one_record(wanted, monkeypatch):
    wanted("numpy")

    def gives_seven(x):
        return np.where(x == 3, of(x, 7), relu_xp.relu(x))

    assert check(gives_seven, "relu", dtypes=F4).faults[0].name == ""
    rival = _faults.Rival(
        "other", "3 gives 7", "ask why", lambda w: np.where(w.x == 3, of(w.x, 7), w.due)
    )
    monkeypatch.setattr(_faults, "RIVALS", (*_faults.RIVALS, rival))
    fault = check(gives_seven, "relu", dtypes=F4).faults[0]
    assert (fault.kind, fault.name, fault.advice) == ("other", "3 gives 7", "ask why")


# Right kernels, of selections and products alone, in whatever has these three operations.
def right(xp, s):
    def vjp(x, g):
        return xp.where(x > 0, g, xp.where(x == 0, g, xp.full_like(x, s) * g))

    def clipped_vjp(x, g):
        return xp.where(
            x >= 0, xp.where(x < xp.full_like(x, 6), g, xp.zeros_like(x)), xp.zeros_like(x)
        )

    return {
        "relu": lambda x: xp.where(x <= 0, xp.zeros_like(x), x),
        "leaky_relu": lambda x: xp.where(x < 0, xp.full_like(x, s) * x, x),
        "leaky_relu_grad": lambda x: xp.where(x >= 0, xp.full_like(x, 1), xp.full_like(x, s)),
        "leaky_relu_vjp": vjp,
        "leaky_relu_slope_vjp": lambda x, g: xp.where(x < 0, x * g, xp.zeros_like(x)),
        "clipped_relu_vjp": clipped_vjp,
        "squared_relu_vjp": lambda x, g: xp.where(x > 0, (x + x) * g, xp.zeros_like(x)),
    }


def namespace(name, module):
    if name != "tensorflow":
        return {"jax": lambda: module.numpy}.get(name, lambda: module)()
    return SimpleNamespace(
        where=module.where,
        zeros_like=module.zeros_like,
        full_like=lambda x, s: module.fill(module.shape(x), module.constant(s, x.dtype)),
    )


@pytest.mark.parametrize("function", right(np, 0.2))
@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "array_api_strict", "tensorflow"])
def test_a_right_kernel_passes(wanted, request, library, function):
    module = request.getfixturevalue("jax") if library == "jax" else wanted(library)
    f = right(namespace(library, module), 0.2)[function]
    scalars = {
        each.name: 0.2 for each in FUNCTIONS[function].parameters if each.name == "negative_slope"
    }
    report = assert_computes(f, function, library=library, layouts=library == "numpy", **scalars)
    assert report.values > 100_000
    assert F4 in report.dtypes
    assert set(report.excepted) <= {"XLA flushes subnormals", "TensorFlow flushes subnormals"}
    assert "values equal the definition" in " ".join(str(report).split())


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_faults_in_other_libraries(wanted, request, library):
    module = request.getfixturevalue("jax") if library == "jax" else wanted(library)
    xp = namespace(library, module)
    lost = check(
        lambda x: xp.where(x > 0, x, xp.zeros_like(x)), "relu", library=library, dtypes=[F2, F4]
    )
    assert [fault.kind for fault in lost.faults] == ["nan_lost"]
    masked = check(
        lambda x, g: g * xp.where(x >= 0, xp.full_like(x, 1), 0),
        "relu_vjp",
        library=library,
        dtypes=F4,
    )
    assert [fault.kind for fault in masked.faults] == ["masked_product", "zero_sign"]
    alien = check(lambda x: np.maximum(np.asarray(x), 0), "relu", library=library, dtypes=F4)
    assert [(fault.kind, fault.name) for fault in alien.faults] == [
        ("wrong_dtype", "it gives a numpy.ndarray")
    ]


def test_a_view_of_a_tensor(wanted):
    torch = wanted("torch")
    report = check(
        lambda x: x.view(x.shape), "leaky_relu", library="torch", negative_slope=1.0, dtypes=F4
    )
    assert [fault.kind for fault in report.faults] == ["input_written"]
    report = check(torch.relu_, "relu", library="torch", dtypes=F4, zero_signs=False)
    assert [fault.kind for fault in report.faults] == ["input_written"]


@pytest.mark.parametrize("aligned", [True, False])
def test_tensors_begin_at_both_kinds_of_addresses(wanted, aligned):
    f = tensors_at_addresses(wanted("torch"), aligned)
    report = check(f, "relu", library="torch", dtypes=["bfloat16", F4])
    assert [fault.kind for fault in report.faults] == ["nan_lost"]


def test_short_arrays_of_a_library_that_compiles_each_shape(jax):
    report = check(
        lambda x: jax.numpy.zeros_like(x) if x.size in (2, 3) else relu_xp.relu(x),
        "relu",
        library="jax",
        dtypes=F4,
    )
    assert [fault.kind for fault in report.faults] == ["unwritten"]


def test_a_library_whose_slices_take_no_booleans(wanted):
    wanted("pandas")
    assert check(relu_xp.relu, "relu", library="pandas", dtypes=F4).passed


def test_a_peer_that_rounds_its_slope_late(wanted):
    torch = wanted("torch")
    report = check(
        lambda x: torch.nn.functional.leaky_relu(x, 0.2), "leaky_relu", library="torch", **S2
    )
    assert [fault.kind for fault in report.faults] == ["slope_rounding"]


def test_a_pair_of_functions_makes_the_arrays(wanted):
    wanted("numpy")

    class Held:
        def __init__(self, array):
            self.array = array

    pair = (Held, lambda held: held.array)
    assert check(lambda x: Held(relu_xp.relu(x.array)), "relu", library=pair, dtypes=F4).passed
    report = check(lambda x: relu_xp.relu(x.array), "relu", library=pair, dtypes=F4)
    assert [fault.kind for fault in report.faults] == ["raised"]
    assert "its result cannot be read: AttributeError" in report.faults[0].name

    def none_empty(array):
        return Held(array if array.size else 1 / 0)

    report = check(
        lambda x: Held(relu_xp.relu(x.array)), "relu", library=(none_empty, pair[1]), dtypes=F4
    )
    assert [(fault.kind, fault.count) for fault in report.faults] == [("raised", 1)]
    lost = check(
        lambda x: Held(np.fmax(x.array, zeros(x.array))),
        "relu",
        library=pair,
        dtypes=F4,
        zero_signs=False,
    )
    assert [fault.kind for fault in lost.faults] == ["nan_lost"]


@pytest.mark.parametrize(
    ("promise", "function", "f"),
    [
        ("zero_signs", "relu", lambda x: np.where(x < 0, -zeros(x), x)),
        ("nan", "relu", lambda x: np.where(x > 0, x, zeros(x))),
        ("subnormals", "leaky_relu", lambda x: flush(leaky(flush(x), 0.01))),
        (
            "subnormals",
            "squared_relu_vjp",
            lambda x, g: flush(relu_xp.squared_relu_vjp(flush(x), flush(g))),
        ),
    ],
)
def test_what_is_not_promised_is_left_out_and_said(wanted, promise, function, f):
    wanted("numpy")
    strict = check(f, function, dtypes=F4)
    assert len(strict.faults) == 1
    loose = check(f, function, dtypes=F4, **{promise: False})
    assert loose.passed, str(loose)
    assert f"{promise}=False: " in str(loose)
    assert int(loose.left_out[f"{promise}=False"].split()[0].replace(",", "")) > 0
    assert (loose.values == strict.values) == (promise == "zero_signs")
    assert not check(lambda x, *g: x + of(x, 1), function, dtypes=F4, **{promise: False}).passed


def test_a_kernel_that_hangs_is_left_behind(wanted):
    wanted("numpy")
    begin, stop = time.monotonic(), threading.Event()
    report = check(lambda x: stop.wait(60), "relu", timeout=0.2)
    stop.set()
    assert time.monotonic() - begin < 30
    assert [(fault.kind, fault.name) for fault in report.faults] == [
        ("raised", "no result in 0.2 seconds")
    ]
    assert report.left_out["the rest"] == "it did not return"
    assert report.values == 0
    seen = []

    def where(x):
        seen.append(threading.current_thread() is threading.main_thread())
        return relu_xp.relu(x)

    assert check(where, "relu", dtypes=F4, timeout=None).passed
    assert all(seen)
    seen.clear()
    assert check(where, "relu", dtypes=F4).passed
    assert not any(seen)


def ignores_strides(x):
    packed = x if x.flags.c_contiguous or x.base is None else np.resize(x.base, x.shape)
    return relu_xp.relu(packed)


def test_layouts_on_request(wanted):
    wanted("numpy")
    assert check(ignores_strides, "relu", dtypes=F4).passed
    report = check(ignores_strides, "relu", dtypes=F4, layouts=True)
    assert [fault.kind for fault in report.faults] == ["other"]
    assert "its strides" in report.faults[0].advice


def test_all_float32_on_request(wanted, monkeypatch):
    wanted("numpy")
    monkeypatch.setattr(_kernels, "ALL", 1 << 11)
    monkeypatch.setattr(_kernels, "CHUNK", 1 << 10)
    one = np.array([0x555], np.uint32).view(np.float32)  # no special one

    def wrong_once(x, *g):
        return np.where(x == one, x + x, relu_xp.relu(x)) if not g else relu_xp.relu_vjp(x, *g)

    few = check(wrong_once, "relu", dtypes=F4)
    every = check(wrong_once, "relu", dtypes=F4, exhaustive=True)
    assert few.passed
    assert every.values == few.values + (1 << 11)
    assert [(fault.kind, fault.count) for fault in every.faults] == [("subnormal_flush", 1)]
    assert check(wrong_once, "relu_vjp", dtypes=F4, exhaustive=True).passed
    with pytest.raises(ValueError, match="exhaustive is about float32"):
        check(relu_xp.relu, "relu", dtypes=F2, exhaustive=True)


def test_integers(wanted):
    wanted("numpy")
    assert check(
        lambda x: np.maximum(x, of(x, 0)), "relu", dtypes=["int8", "uint16", "int64"]
    ).passed
    wrong = check(lambda x: abs(x), "relu", dtypes="int8")
    assert [(fault.kind, fault.count) for fault in wrong.faults] == [("other", 128)]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        (
            (relu_xp.relu, "gelu"),
            {},
            ValueError,
            "there is no function 'gelu'; there are relu, relu_grad",
        ),
        ((relu_xp.relu, relu_xp.relu), {}, ValueError, "there are relu, relu_grad"),
        (("relu", "relu"), {}, TypeError, "f must be a function of arrays, got str"),
        (
            (relu_xp.relu, "relu"),
            {"library": "abacus"},
            ValueError,
            "no such library; there are numpy, jax",
        ),
        (
            (relu_xp.relu, "relu"),
            {"library": np},
            TypeError,
            "library must be a name, or two functions",
        ),
        (
            (relu_xp.relu, "relu"),
            {"device": "cuda:7"},
            ValueError,
            "numpy is on cpu here, not on 'cuda:7'",
        ),
        (
            (relu_xp.relu, "relu"),
            {"dtypes": "float31"},
            ValueError,
            "there is no dtype 'float31'; there are float16",
        ),
        (
            (relu_xp.relu, "relu"),
            {"negative_slope": 0.1},
            TypeError,
            "relu takes grad_at_zero, got negative_slope",
        ),
        (
            (leaky, "leaky_relu"),
            {"negative_slope": math.inf},
            ValueError,
            "negative_slope must be finite",
        ),
        (
            (leaky, "leaky_relu"),
            {"negative_slope": "1"},
            TypeError,
            "negative_slope must be a real number",
        ),
        (
            (leaky, "leaky_relu"),
            {"negative_slope": 1e6, "dtypes": F2},
            ValueError,
            "must be finite in float16",
        ),
        (
            (leaky, "leaky_relu"),
            {"dtypes": "int8"},
            TypeError,
            "takes real floating dtypes, got int8",
        ),
        (
            (leaky, "leaky_relu"),
            {"timeout": 0},
            ValueError,
            "timeout must be above 0, or None, got 0",
        ),
        (
            (leaky, "leaky_relu"),
            {"timeout": "a"},
            TypeError,
            "timeout must be a number of seconds, or None, got str",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, options, error, says):
    with pytest.raises(error) as caught:
        check(*arguments, **options)
    assert str(caught.value).startswith("relu_xp.")
    assert says in str(caught.value)


def test_a_library_that_is_not_installed(monkeypatch):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "torch" else find(name)
    )
    with pytest.raises(ValueError, match="library 'torch': not installed"):
        check(relu_xp.relu, "relu", library="torch")


def test_a_dtype_in_which_a_scalar_is_infinite_is_left_out(wanted):
    wanted("numpy")
    report = check(lambda x: leaky(x, 1e6), "leaky_relu", negative_slope=1e6)
    assert report.passed, str(report)
    assert F2 not in report.dtypes
    assert "must be finite in float16" in report.left_out[F2]


def test_without_ml_dtypes(wanted, monkeypatch):
    wanted("numpy")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert check(relu_xp.relu, "relu").left_out == {"bfloat16": "ml_dtypes is not installed"}
    report = check(lambda x, g: g * (x > 0), "relu_vjp", dtypes=F2)
    assert [fault.kind for fault in report.faults] == ["masked_product", "kink", "zero_sign"]
    with pytest.raises(ValueError, match="numpy has no bfloat16: ml_dtypes is not installed"):
        check(relu_xp.relu, "relu", dtypes="bfloat16")


def test_dtypes_by_whatever_names_them(wanted):
    wanted("numpy")
    report = check(relu_xp.relu, "relu", dtypes=[np.float32, np.dtype("f2"), "float32"])
    assert report.dtypes == [F4, F2]
    assert check(relu_xp.relu, "relu", dtypes=SimpleNamespace(name="float32")).dtypes == [
        F4
    ]  # as torch.float32 has it


def worst(x, g):
    """Wrong in as many ways as one kernel can be."""
    result = g * (x > 0) + np.where(x < -1, of(x, 0.3), of(x, 0))
    return in_blocks(np.where(isnan(x), g, flush(result)), 4, lambda a: a)


def test_a_report_fits_a_screen(wanted):
    wanted("numpy")
    for f, function in (
        (worst, "relu_vjp"),
        (lambda x: np.cos(x), "relu"),
        (lambda x: "a" * 500, "relu"),
    ):
        report = check(f, function, nan=False, dtypes=F4)
        lines = str(report).splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
        found = json.loads(json.dumps(report.to_dict()))
        assert (found["passed"], found["values"]) == (False, report.values)
        assert [each["kind"] for each in found["faults"]] == [fault.kind for fault in report.faults]
        assert {"kind", "count", "example", "advice"} <= found["faults"][0].keys()


def test_an_assertion_has_the_report_for_its_message(wanted):
    wanted("numpy")
    with pytest.raises(AssertionError) as caught:
        assert_computes(lambda x: np.where(x > 0, x, zeros(x)), "relu", dtypes=F4)
    assert str(caught.value) == str(
        check(lambda x: np.where(x > 0, x, zeros(x)), "relu", dtypes=F4)
    )


KERNELS = """
import time
import numpy

def right(x):
    return numpy.where(x < 0, x.dtype.type(0.2) * x, x)

def lost(x):
    return numpy.where(x > 0, x, x.dtype.type(0))

def hangs(x):
    time.sleep(60)

def stopped(x):
    raise KeyboardInterrupt

class Layers:
    leaky = staticmethod(right)
"""


@pytest.fixture
def kernels(wanted, tmp_path, monkeypatch):
    """A module of kernels in the current folder."""
    wanted("numpy")
    pytest.importorskip("rich", reason="rich: not installed")
    (tmp_path / "kernels_here.py").write_text(KERNELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "kernels_here"
    sys.modules.pop("kernels_here", None)


def test_the_command(kernels, capsys):
    command = ["verify", "--as", "leaky_relu", "--scalar", "negative_slope=0.2", "--dtype", F2, F4]
    for name in ("right", "Layers.leaky"):
        assert __main__.main([*command, "--kernel", f"{kernels}:{name}", "--layouts"]) == 0
        assert "values equal the definition" in " ".join(capsys.readouterr().out.split())
    assert __main__.main([*command, "--kernel", f"{kernels}:lost"]) == 1
    assert "of faults" in capsys.readouterr().out


def test_the_command_writes_the_record_and_leaves_out_what_is_not_promised(kernels, capsys):
    command = [
        "verify",
        "--kernel",
        f"{kernels}:lost",
        "--as",
        "relu",
        "--dtype",
        F4,
        "--json",
        "-",
    ]
    assert __main__.main(command) == 1
    found = json.loads(capsys.readouterr().out)
    assert [fault["kind"] for fault in found["faults"]] == ["nan_lost"]
    assert not found["interrupted"]
    assert __main__.main([*command, "--no-nan", "--no-zero-signs", "--no-subnormals"]) == 0
    assert {*json.loads(capsys.readouterr().out)["left_out"]} == {
        "nan=False",
        "zero_signs=False",
        "subnormals=False",
    }
    assert (
        __main__.main(
            ["verify", "--kernel", f"{kernels}:hangs", "--as", "relu", "--timeout", "0.1"]
        )
        == 1
    )
    assert "no result in 0.1 seconds" in capsys.readouterr().out


def test_an_interrupted_command_says_what_was_found(kernels, capsys, monkeypatch):
    steps = _kernels.Checking.steps

    def interrupted(self):
        yield next(steps(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(_kernels.Checking, "steps", interrupted)
    options = ["--as", "leaky_relu", "--scalar", "negative_slope=0.2"]
    command = ["verify", "--kernel", f"{kernels}:right", *options]
    assert __main__.main(command) == 130
    assert "Interrupted." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--kernel", "none_here:f", "--as", "relu"],
            "cannot import none_here:f: ModuleNotFoundError",
        ),
        (["--kernel", "{}:f", "--as", "relu"], "cannot import kernels_here:f: AttributeError"),
        (
            ["--kernel", "{}", "--as", "relu"],
            "--kernel takes package.module:function, got kernels_here",
        ),
        (["--kernel", "{}:right", "--as", "leaky_relu", "--library", "abacus"], "no such library"),
        (
            ["--kernel", "{}:right", "--as", "leaky_relu", "--scalar", "slope=2"],
            "takes negative_slope, grad_at_zero",
        ),
        (["--kernel", "{}:right"], "--kernel needs --as"),
        (["--as", "relu"], "--as goes with --kernel"),
        (["--no-nan"], "--no-nan goes with --kernel"),
        (
            ["--kernel", "{}:right", "--as", "relu", "--backend", "numpy"],
            "--kernel takes no --backend",
        ),
        (
            ["--kernel", "{}:right", "--as", "relu", "--scalar", "grad_at_zero"],
            "not NAME=NUMBER: 'grad_at_zero'",
        ),
    ],
)
def test_a_command_that_makes_no_sense(kernels, capsys, options, says):
    try:
        status = __main__.main(["verify", *(each.format(kernels) for each in options)])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert says in "".join(capsys.readouterr())


# Kernels as people write them elsewhere, as docs/kernels.md shows them.


def test_numba(wanted):
    wanted("numpy")
    numba = pytest.importorskip("numba", reason="numba: not installed")

    @numba.vectorize(["float32(float32, float32)", "float64(float64, float64)"])
    def computed(x, s):
        return s * x if x < 0 else x

    @numba.njit
    def tail_left_out(x):
        y = np.zeros_like(x)
        for i in range(len(x) // 4 * 4):
            y[i] = x[i] if not x[i] <= 0 else 0
        return y

    assert check(lambda x: computed(x, of(x, 0.2)), "leaky_relu", dtypes=[F4, F8], **S2).passed
    report = check(tail_left_out, "relu", dtypes=F4)
    assert [fault.kind for fault in report.faults] == ["unwritten"]


def test_pallas(jax):
    pallas = pytest.importorskip(
        "jax.experimental.pallas", reason="jax.experimental.pallas: not installed"
    )

    def held(body):
        def f(x):
            if x.size == 0:  # a grid of no blocks
                return x
            return pallas.pallas_call(body, jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(
                x
            )

        return f

    def computed(x_ref, y_ref):
        x = x_ref[...]
        y_ref[...] = jax.numpy.where(x < 0, x.dtype.type(0.2) * x, x)

    def loses_nan(x_ref, y_ref):
        x = x_ref[...]
        y_ref[...] = jax.numpy.where(x > 0, x, jax.numpy.zeros_like(x))

    assert_computes(held(computed), "leaky_relu", library="jax", dtypes=[F2, F4], **S2)
    report = check(held(loses_nan), "relu", library="jax", dtypes=[F2, F4])
    assert [fault.kind for fault in report.faults] == ["nan_lost"]


TRITON = """
import torch, triton, triton.language as tl
from relu_xp.verify import check

@triton.jit
def kernel(x, y, n, SLOPE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i, mask=i < n)
    tl.store(y + i, tl.where(v < 0, SLOPE * v, v), mask=i < n)

def leaky_relu(x):
    y = torch.empty_like(x)
    if x.numel():
        kernel[(triton.cdiv(x.numel(), 4096),)](x, y, x.numel(), SLOPE=0.2, BLOCK=4096)
    return y

dtypes = ["float16", "float32", "float64"]
print(check(leaky_relu, "leaky_relu", library="torch", dtypes=dtypes, negative_slope=0.2).passed)
print([fault.kind for fault in check(leaky_relu, "relu", library="torch", dtypes="float32").faults])
"""


def test_triton_interpreted(wanted, tmp_path, monkeypatch):
    wanted("torch")
    pytest.importorskip("triton", reason="triton: not installed")
    (tmp_path / "kernel.py").write_text(
        TRITON
    )  # its decorator reads the source, and the environment
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    command = [sys.executable, tmp_path / "kernel.py"]
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert printed.splitlines() == ["True", "['other']"]


C = """
#include <stddef.h>
void leaky_relu(const float *x, float *y, size_t n, float s) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? s * x[i] : x[i];
}
void relu_of_fours(const float *x, float *y, size_t n) {
    for (size_t i = 0; i + 4 <= n; i += 4)
        for (size_t j = i; j < i + 4; j++) y[j] = x[j] > 0 ? x[j] : 0;
}
"""


def compiler():
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not found:
        pytest.skip("cc: no C compiler here")
    return found


def test_c_by_ctypes(wanted, tmp_path):
    wanted("numpy")
    (tmp_path / "kernel.c").write_text(C)
    library = tmp_path / "kernel.so"
    subprocess.run(
        [compiler(), "-O2", "-shared", "-fPIC", "-o", library, tmp_path / "kernel.c"], check=True
    )
    loaded = ctypes.CDLL(str(library))

    def calling(name, *more):
        def f(x):
            y = np.empty_like(x)
            getattr(loaded, name)(
                *(ctypes.c_void_p(a.ctypes.data) for a in (x, y)), ctypes.c_size_t(x.size), *more
            )
            return y

        return f

    assert check(calling("leaky_relu", ctypes.c_float(0.2)), "leaky_relu", dtypes=F4, **S2).passed
    report = check(calling("relu_of_fours"), "relu", dtypes=F4)
    assert [fault.kind for fault in report.faults] == ["unwritten", "nan_lost"]


def test_a_slope_is_rounded_as_the_reference_says(wanted):
    """A slope in float64 is what the definition, rounded late, gives."""
    wanted("numpy")
    x = -np.arange(1, 2000, dtype=np.float16)
    due = relu_xp.leaky_relu(x, 0.2)
    late = rounded(0.2 * x.astype(np.float64), x.dtype)
    wrong = _faults.Wrong(
        FUNCTIONS["leaky_relu"], (x,), {"negative_slope": 0.2, "grad_at_zero": 1.0}, late, due
    )
    differ = late != due
    assert differ.any()
    (cause,) = _faults.causes(wrong.of(differ), wrong.of(~differ))
    assert (cause.kind, int(cause.where.sum())) == ("slope_rounding", int(differ.sum()))
