"""Several threads on one call: the same bits, no work after its end, one warning; their options."""

import asyncio
import importlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _threads
from relu_xp._backends import numpy as backend

compiled = pytest.mark.skipif(
    bool(backend.missing), reason="without a C++ compiler the formulas run, on whole arrays"
)
SIZE = 3 * backend.SHARE + 5  # three threads have work


def given(dtype, size=SIZE):
    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    x[::7], x[1::7], x[2::7] = 0, -0.0, np.nan
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_workers_change_nothing(function, dtype):
    x, g = given(dtype), given(dtype)[::-1].copy()
    with np.errstate(all="ignore"):
        want = oracle.call(function, x, g)
        for count in (2, 3, -1):
            with relu_xp.cpu_options(workers=count):
                oracle.assert_same(oracle.call(function, x, g), want)
                oracle.assert_same(oracle.call(function, x, g, out=np.empty_like(x)), want)


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_every_layout(function):
    whole = given(np.float32, 4 * backend.SHARE).reshape(8, -1)
    slope = np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    options = (
        {"negative_slope": slope} if any(each.may_be_array for each in function.scalars) else {}
    )
    for x in (whole, whole.T, whole[:, ::2], whole[::-1], np.broadcast_to(whole[0], whole.shape)):
        s = {
            name: np.broadcast_to(value.T if x is not whole and x.shape[1] == 8 else value, x.shape)
            for name, value in options.items()
        }
        want = oracle.call(function, x, x, **s)
        with relu_xp.cpu_options(workers=2):
            got = oracle.call(function, x, x, **s)
            oracle.assert_same(got, want)
            assert got.strides == want.strides
            out = np.empty_like(want)
            oracle.assert_same(oracle.call(function, x, x, **s, out=out), want)


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_out_may_overlap(shift):
    memory = given(np.float32)
    x, out = memory[4:-4], memory[4 + shift : len(memory) - 4 + shift]
    want = relu_xp.leaky_relu(x)
    with relu_xp.cpu_options(workers=2):
        oracle.assert_same(relu_xp.leaky_relu(x, out=out), want)


def test_out_may_be_the_transpose():
    """It has the address and the shape of x, but a thread would read what another has written."""
    x = given(np.float32, 8 * backend.SHARE).reshape(1 << 12, -1)
    want = relu_xp.leaky_relu(x, -2.0)
    with relu_xp.cpu_options(workers=8):
        oracle.assert_same(relu_xp.leaky_relu(x, -2.0, out=x.T), want)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.float8_e4m3fn])
def test_out_may_hold_the_slopes(dtype):
    """They have the address and the strides of out, but all threads read what one overwrites."""
    x = given(dtype, 8 * backend.SHARE).reshape(1 << 12, -1)
    out = np.empty_like(x)
    out[0] = -2.0
    want = relu_xp.leaky_relu(x, out[:1].copy())
    with relu_xp.cpu_options(workers=8):
        oracle.assert_same(relu_xp.leaky_relu(x, out[:1], out=out), want)


def test_they_follow_errstate_and_raise():
    x = np.full(SIZE, -np.finfo(np.float32).max, np.float32)
    with relu_xp.cpu_options(workers=3):
        with (
            np.errstate(over="raise"),
            pytest.raises(FloatingPointError, match="overflow encountered in leaky_relu"),
        ):
            relu_xp.leaky_relu(x, 2.0)
        with np.errstate(over="ignore"):
            assert np.isneginf(relu_xp.leaky_relu(x, 2.0)).all()


def overflowing(function, size, dtype=np.float32):
    """Arguments with which every element overflows; None if no arguments do that."""
    single, largest = np.finfo(np.float32).max, np.finfo(dtype).max
    scalars = oracle.scalars_of(function, negative_slope=2.0, grad_at_zero=2.0)
    for sign in (1, 0, -1):
        if oracle.overflows(function, sign * single, single, **scalars):
            arrays = np.full(size, sign * largest, dtype), np.full(size, largest, dtype)
            return oracle.arrays_of(function, *arrays), scalars
    return None


PRODUCTS = [each for each in oracle.RECORDS if overflowing(each, 1)]


def told_of(call, name):
    """The warning of a call, which also reports once to a callback, and once to a log."""
    heard = []
    with np.errstate(over="call", call=lambda *what: heard.append(what)):
        call()
    log = io.StringIO()
    with np.errstate(over="log", call=log):
        call()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call()
    assert heard == [("overflow", 2)]
    assert log.getvalue() == f"Warning: overflow encountered in {name}\n"
    assert [str(each.message) for each in told] == [f"overflow encountered in {name}"]
    return told[0]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("size", [1, 1000, SIZE])
@pytest.mark.parametrize("function", PRODUCTS, ids=str)
def test_one_warning_a_call_at_the_callers_line(function, size, workers):
    arrays, options = overflowing(function, size)
    with relu_xp.cpu_options(workers=workers):
        told = told_of(lambda: getattr(relu_xp, function.name)(*arrays, **options), function)
    assert (told.filename, told.lineno) == (__file__, sys._getframe().f_lineno - 1)


@pytest.mark.parametrize("function", PRODUCTS, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f4"])
def test_one_warning_a_call_of_each_dtype(function, dtype):
    arrays, options = overflowing(function, 1000, np.dtype(dtype))
    for given in (arrays, [a[::-2] for a in arrays], [a.reshape(10, 100).T for a in arrays]):
        run = getattr(relu_xp, function.name)
        told = told_of(lambda given=given, run=run: run(*given, **options), function)
        assert (told.filename, told.lineno) == (__file__, sys._getframe().f_lineno - 1)


WRAPPED = {
    "pandas": lambda pandas, a: pandas.Series(a),
    "pandas frame": lambda pandas, a: pandas.DataFrame(
        {"a": a, "b": a, "c": a.astype("f2"), "d": a.astype("f2")}
    ),
    "polars": lambda polars, a: polars.DataFrame({"a": a, "b": a}),
    "scipy": lambda scipy, a: importlib.import_module("scipy.sparse").csr_array([a]),
    "xarray": lambda xarray, a: xarray.DataArray(a),
    "xarray set": lambda xarray, a: xarray.Dataset({"a": ("t", a), "b": ("t", a)}),
    "xarray tree": lambda xarray, a: xarray.DataTree.from_dict(
        {"/": xarray.Dataset({"a": ("t", a)}), "/c": xarray.Dataset({"b": ("t", a)})}
    ),
    "pint": lambda pint, a: pint.UnitRegistry().Quantity(a),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_one_warning_of_what_wraps_at_the_callers_line(kind):
    """However many columns or variables overflow."""
    package = kind.partition(" ")[0]
    package = pytest.importorskip(package, reason=f"{package}: not installed")
    with np.errstate(over="ignore"):
        x = WRAPPED[kind](package, np.full(3, -3e38, np.float32))
    slope = 1e4 if kind == "pandas frame" else 2.0
    if kind == "pandas frame":
        x["c"] = x["d"] = np.full(3, -6e4, np.float16)
    told = told_of(lambda: relu_xp.leaky_relu(x, slope), "leaky_relu")
    assert (told.filename, told.lineno) == (__file__, sys._getframe().f_lineno - 1)
    with (
        np.errstate(over="raise"),
        pytest.raises(FloatingPointError, match="overflow encountered in leaky_relu"),
    ):
        relu_xp.leaky_relu(x, slope)


def test_workers_are_really_used(monkeypatch):
    seen, both = [], threading.Barrier(2, timeout=60)  # each waits for the other
    right = backend._take_errors

    def take_errors():
        seen.append(threading.get_ident())
        if relu_xp._threads.workers() == 2:
            both.wait()
        return right()

    monkeypatch.setattr(backend, "_take_errors", take_errors)
    x = given(np.float32)
    relu_xp.relu(x)
    assert seen == [threading.get_ident()]
    seen.clear()
    with relu_xp.cpu_options(workers=2):
        relu_xp.relu(x)
    assert len(set(seen)) == 2


def test_workers_are_kept():
    x = given(np.float32)
    _threads._pool.cache_clear()
    others = threading.active_count()
    with relu_xp.cpu_options(workers=2):
        for _ in range(20):
            relu_xp.relu(x)
    assert threading.active_count() - others <= _threads.processors()


def test_no_worker_survives_a_call_that_raised():
    done, begun = [], threading.Event()

    def work(piece):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.1)
        done.append(piece)

    with pytest.raises(KeyboardInterrupt):
        _threads.share(2, work, range(2))
    assert len(done) == 1


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="the platform sends no signal to a thread"
)
def test_a_wait_that_is_interrupted_goes_on():
    """Ctrl-C reaches the main thread while another thread is at work."""
    begun, done = threading.Event(), []

    def work(piece):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
        else:
            begun.set()
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
        done.append(piece)

    # A background job ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            _threads.share(2, work, range(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(done) == [0, 1]


@pytest.mark.parametrize("workers", [2, 4])
def test_where_no_thread_can_be_started_one_does_all(monkeypatch, workers):
    _threads._pool.cache_clear()

    def start(thread):
        raise RuntimeError("can't start new thread")

    x = given(np.float32)
    want = relu_xp.leaky_relu(x)
    with monkeypatch.context() as patch, relu_xp.cpu_options(workers=workers):
        patch.setattr(threading.Thread, "start", start)
        out = np.full_like(x, 7)
        oracle.assert_same(relu_xp.leaky_relu(x, out=out), want)
    out[:] = 7
    with relu_xp.cpu_options(workers=workers):
        oracle.assert_same(relu_xp.leaky_relu(x), want)
    assert (out == 7).all()  # no thread writes into it after its call
    _threads._pool.cache_clear()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thread_may_outlive_the_main_thread(workers):
    code = f"""
import threading, numpy as np
import relu_xp
def late():
    threading.main_thread().join()
    with relu_xp.cpu_options(workers={workers}):
        print(relu_xp.relu(np.linspace(-1, 1, 1 << 22)).sum() > 0)
threading.Thread(target=late).start()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.stdout == "True\n", run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_fork_after_workers():
    code = """
import os, numpy as np, relu_xp
x = np.full(1 << 22, -1.0)
with relu_xp.cpu_options(workers=2):
    relu_xp.leaky_relu(x)
    child = os.fork()
    if child == 0:
        os._exit(int((relu_xp.leaky_relu(x) != -0.01).any()))
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)


@compiled
@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_many_threads_may_call_at_once_and_memory_stays_flat(dtype):
    """It stays flat during the calls, and while the threads live."""
    count = 200
    x = np.random.default_rng(0).normal(size=(count, 1 << 13)).astype(dtype)
    want = relu_xp.leaky_relu_vjp(x, x, 0.5)
    results = np.zeros_like(x)
    called, end = threading.Barrier(count + 1), threading.Event()

    def call(i):
        relu_xp.leaky_relu_vjp(x[i], x[i], 0.5, out=results[i])
        called.wait(60)
        end.wait(60)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(count)]
    tracemalloc.start()
    before = resident()
    for thread in threads:
        thread.start()
    called.wait(60)
    kept, peak = tracemalloc.get_traced_memory()
    after = resident()
    tracemalloc.stop()
    end.set()
    for thread in threads:
        thread.join()
    oracle.assert_same(results, want)
    assert peak < 1 << 21, (kept, peak)
    # Their stacks need less. Buffers of 2 MB for each thread would need 400 MB.
    assert after - before < 100 << 20


def resident():
    """Bytes of memory that the process holds; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if statm.exists() else 0


@compiled
def test_memory_beyond_the_output_is_small():
    x = np.random.default_rng(0).normal(size=(3000, 2000))
    for a in (x, x.T, x[::2]):
        out = np.empty_like(a)
        for function in oracle.RECORDS:
            tracemalloc.start()
            oracle.call(function, a, a, out=out)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 1 << 20, function


def workers_of(variable):
    code = "import numpy, relu_xp; relu_xp.relu(numpy.ones(1 << 22)); "
    code += "print(relu_xp._threads.workers())"
    environment = {**os.environ, "RELU_XP_WORKERS": variable}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_environment_variable():
    assert workers_of("3").stdout == "3\n"
    assert workers_of("").stdout == "1\n"
    assert int(workers_of("-1").stdout) >= 1
    for wrong in ("0", "-2", "two"):
        error = workers_of(wrong).stderr
        assert "RELU_XP_WORKERS must be a positive integer, or -1 for all processors, got" in error


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_bad_workers(wrong, error):
    with pytest.raises(error, match=r"^relu_xp\.cpu_options: workers must be"):
        relu_xp.cpu_options(workers=wrong)


def test_options_end_with_their_block():
    before, five = _threads.workers(), relu_xp.cpu_options(workers=5)
    with five:
        with relu_xp.cpu_options(workers=7):
            assert _threads.workers() == 7
        with five:  # again, and within itself
            assert _threads.workers() == 5
        assert _threads.workers() == 5
    assert _threads.workers() == before
    with five:
        assert _threads.workers() == 5
    assert _threads.workers() == before


def test_options_decorate():
    five = relu_xp.cpu_options(workers=5)

    @five
    def plain(x):
        return x, _threads.workers()

    @five
    async def awaited(x):
        await asyncio.sleep(0)
        return x, _threads.workers()

    async def both():
        return await asyncio.gather(awaited(1), awaited(2))

    assert plain(3) == (3, 5)
    assert asyncio.run(both()) == [(1, 5), (2, 5)]
    assert _threads.workers() == 1
