"""The block schedule: every fast path against its formula, at the edges of its blocks, and on several threads."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._backends import numpy_blocks

NAMES = oracle.FUNCTIONS
SLOPES = (0.01, 0.0, -0.0, 1.0, 2.0, -0.5, 0.3)
GRADS_AT_ZERO = (1.0, 0.0, -0.0, 0.5, 0.3, 2.0)


def given(name, dtype, size, seed=0):
    """Random bits, and then specials, of which no neighbours are alike."""
    words = np.random.default_rng(seed).integers(
        0, 2 ** (8 * dtype.itemsize), size, f"u{dtype.itemsize}", endpoint=False
    )
    x = words.view(dtype)
    with np.errstate(all="ignore"):
        x = np.where(x == x, x, dtype.type(np.nan)).astype(dtype)
    x[::7], x[1::7], x[2::7] = dtype.type(0), dtype.type(-0.0), dtype.type(-1.5)
    return (x, np.roll(x, 3)[::-1].copy())[: 1 + name.endswith("vjp")]


def scalars(name, slope, grad_at_zero):
    options = {"grad_at_zero": grad_at_zero}
    if name.startswith("leaky"):
        options["negative_slope"] = slope
    return options


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_fast_path_is_its_formula(name, dtype):
    arrays = given(name, dtype, 5000)
    for slope in SLOPES if name.startswith("leaky") else (0.01,):
        for grad_at_zero in GRADS_AT_ZERO:
            options = scalars(name, slope, grad_at_zero)
            want = np.empty_like(arrays[0])
            rounded = tuple(float(oracle.rounded(v, dtype)) for v in reversed(options.values()))
            with np.errstate(all="ignore"):
                numpy_blocks._by_formula(name, rounded, *arrays, want)
                for under in ("ignore", "warn"), ("warn", "ignore"):
                    with np.errstate(under=under[0]), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        got = getattr(relu_xp, name)(*arrays, **options)
                    oracle.assert_same(got, want, f"{name} {dtype} {options}")
            oracle.assert_same(got, oracle.expected(name, arrays, slope, grad_at_zero), f"{name} {dtype} {options}")


@pytest.mark.parametrize("dtype", [*oracle.FLOATS, np.dtype(np.int8), np.dtype(np.int64)], ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 17])
def test_edges_of_blocks(name, dtype, blocks, beyond):
    if dtype.kind == "i" and name != "relu":
        pytest.skip("integers are for relu alone")
    size = numpy_blocks.BLOCK_BYTES // dtype.itemsize * blocks + beyond
    words = np.random.default_rng(0).integers(-100, 100, size).astype(dtype)
    arrays = (words, words[::-1].copy())[: 1 + name.endswith("vjp")]
    want = np.empty_like(words)
    defaults = (0.01,) * name.startswith("leaky") + (1.0,)
    numpy_blocks._by_formula(
        name, tuple(float(oracle.rounded(v, dtype)) if dtype.kind != "i" else v for v in defaults), *arrays, want
    )
    function = getattr(relu_xp, name)
    oracle.assert_same(function(*arrays), want)
    strided = tuple(np.repeat(a, 2)[::2] for a in arrays)
    oracle.assert_same(function(*strided), want)
    swapped = tuple(a.astype(dtype.newbyteorder()) for a in arrays) if dtype.kind != "V" else arrays
    oracle.assert_same(function(*swapped), want)
    memory = np.concatenate([arrays[0], arrays[0][:1]])
    oracle.assert_same(function(memory[:-1], *arrays[1:], out=memory[1:]), want)
    oracle.assert_same(function(arrays[0], *arrays[1:], out=arrays[0]), want)


def test_where_maximum_leaves_the_sign_of_zero_open(monkeypatch):
    monkeypatch.setattr(numpy_blocks, "maximum_gives_plus_zero", lambda dtype: False)
    kernel = numpy_blocks._relu(np.dtype(np.float32), True, 1.0)
    x = np.array([-0.0, 0.0, -1.0, 2.0, np.nan], np.float32)
    out = np.empty_like(x)
    kernel(numpy_blocks.Helpers(), x, out)
    oracle.assert_same(out, np.array([0.0, 0.0, 0.0, 2.0, np.nan], np.float32))


@pytest.mark.parametrize("remembered", [True, False])
def test_errstate_is_followed(remembered, monkeypatch):
    if not remembered:  # as where NumPy keeps its state elsewhere
        monkeypatch.setattr(numpy_blocks, "_errstate", object)
    for _ in range(3):
        for under in ("ignore", "warn", "raise"):
            with np.errstate(under=under):
                assert numpy_blocks.is_ignored("under") == (under == "ignore")
                assert numpy_blocks.is_ignored("under", "over") is False
                before = np.seterr(all="ignore")
                assert numpy_blocks.is_ignored("under", "over", "invalid")
                np.seterr(**before)
                assert numpy_blocks.is_ignored("under") == (under == "ignore")
    seen = []
    with np.errstate(under="raise"):
        thread = threading.Thread(target=lambda: seen.append(numpy_blocks.is_ignored("under")))
        thread.start()
        thread.join()
        assert not numpy_blocks.is_ignored("under")
    assert seen == [True]


def test_that_this_machine_was_asked():
    numpy_blocks.maximum_gives_plus_zero.cache_clear()
    minus = np.full(1000, -0.0, np.float32)
    if numpy_blocks.maximum_gives_plus_zero(np.dtype(np.float32)):
        assert not np.signbit(np.maximum(minus, np.zeros_like(minus))).any()
    assert not np.signbit(relu_xp.relu(minus)).any()


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_workers_change_nothing(name, dtype):
    arrays = given(name, dtype, 3 * max(numpy_blocks.SHARE, numpy_blocks.SHARED_BLOCK_BYTES // dtype.itemsize) + 5)
    with np.errstate(all="ignore"):
        want = getattr(relu_xp, name)(*arrays)
        for count in (1, 2, 3, -1):
            with relu_xp.cpu_options(workers=count):
                oracle.assert_same(getattr(relu_xp, name)(*arrays), want)
                oracle.assert_same(getattr(relu_xp, name)(*arrays, out=np.empty_like(want)), want)


def test_workers_follow_errstate_and_raise():
    x = np.full(4 * numpy_blocks.SHARE, -np.finfo(np.float32).max, np.float32)
    with relu_xp.cpu_options(workers=2):
        with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
            relu_xp.leaky_relu(x, 2.0)
        with np.errstate(over="ignore"):
            assert np.isneginf(relu_xp.leaky_relu(x, 2.0)).all()


def test_workers_are_really_used(monkeypatch):
    right, seen = numpy_blocks._run_flat, []
    both = threading.Barrier(2, timeout=60)  # each waits until the other is at work too

    def run_flat(*args, **how):
        seen.append(threading.get_ident())
        if relu_xp._options.workers() == 2:
            both.wait()
        right(*args, **how)

    monkeypatch.setattr(numpy_blocks, "_run_flat", run_flat)
    x = np.ones(4 * numpy_blocks.SHARE, np.float32)
    relu_xp.relu(x)
    assert seen == [threading.get_ident()]
    seen.clear()
    with relu_xp.cpu_options(workers=2):
        relu_xp.relu(x)
    assert len(set(seen)) == 2


def test_workers_are_kept():
    x = np.ones(4 * numpy_blocks.SHARE, np.float32)
    numpy_blocks._pool.cache_clear()
    others = threading.active_count()
    with relu_xp.cpu_options(workers=2):
        for _ in range(20):
            relu_xp.relu(x)
    assert threading.active_count() - others <= relu_xp._options.processors()


def test_nothing_is_written_after_a_call_that_raised(monkeypatch):
    done = []

    begun = threading.Event()

    def run_flat(kernel, arrays, start, stop, length):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.1)
        done.append(stop)

    monkeypatch.setattr(numpy_blocks, "_run_flat", run_flat)
    x = np.ones(4 * numpy_blocks.SHARE, np.float32)
    with relu_xp.cpu_options(workers=2), pytest.raises(KeyboardInterrupt):
        relu_xp.relu(x)
    assert len(done) == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the platform sends no signal to a thread")
def test_a_wait_that_is_interrupted_goes_on(monkeypatch):
    """Ctrl-C in the main thread, while another has yet to finish its piece."""
    begun, done = threading.Event(), []
    right = numpy_blocks._run_flat

    def run_flat(kernel, arrays, start, stop, length):
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
        else:
            begun.set()
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
        right(kernel, arrays, start, stop, length)
        done.append(stop)

    monkeypatch.setattr(numpy_blocks, "_run_flat", run_flat)
    x = np.ones(2 * numpy_blocks.SHARE, np.float32)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job has not
    try:
        with relu_xp.cpu_options(workers=2), pytest.raises(KeyboardInterrupt):
            relu_xp.relu(x)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(done) == [x.size // 2, x.size]


@pytest.mark.parametrize("workers", [2, 4])
def test_where_no_thread_is_to_be_had_one_does_all(monkeypatch, workers):
    numpy_blocks._pool.cache_clear()

    def start(thread):
        raise RuntimeError("can't start new thread")

    x = np.linspace(-1, 1, 4 * numpy_blocks.SHARE, dtype=np.float32)
    want = relu_xp.leaky_relu(x)
    with monkeypatch.context() as patch, relu_xp.cpu_options(workers=workers):
        patch.setattr(threading.Thread, "start", start)
        out = np.full_like(x, 7)
        oracle.assert_same(relu_xp.leaky_relu(x, out=out), want)
    out[:] = 7
    with relu_xp.cpu_options(workers=workers):
        oracle.assert_same(relu_xp.leaky_relu(x), want)
    assert (out == 7).all()  # what was handed over before is nobody's any more
    numpy_blocks._pool.cache_clear()


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
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert run.stdout == "True\n", run.stderr


def test_a_warning_that_is_heard_in_a_worker_may_call_again():
    large, small = np.full(4 * numpy_blocks.SHARE, -3e38, np.float32), np.ones(2 * numpy_blocks.SHARE, np.float32)
    heard = []

    def called(*_):
        heard.append(relu_xp.relu(small).sum())

    with relu_xp.cpu_options(workers=4), np.errstate(over="call", call=called):
        assert np.isneginf(relu_xp.leaky_relu(large, 3.0)).all()
    assert set(heard) == {small.size}


def test_a_call_may_come_in_the_middle_of_another(monkeypatch):
    """As from a signal's handler, between two operations of a kernel."""
    x = np.random.default_rng(0).normal(size=1 << 15).astype(np.float32)
    want, right = relu_xp.relu_vjp(x, x), numpy_blocks._widened

    def interrupted(*arguments):
        mask = right(*arguments)
        monkeypatch.setattr(numpy_blocks, "_widened", right)
        relu_xp.relu_vjp(-x, x)
        return mask

    for _ in range(2):
        monkeypatch.setattr(numpy_blocks, "_widened", interrupted)
        with relu_xp.cpu_options(engine="numpy"):
            oracle.assert_same(relu_xp.relu_vjp(x, x), want)
        assert numpy_blocks._widened is right


def test_a_new_slope_costs_a_small_array_no_block():
    import tracemalloc

    x = np.linspace(-1, 1, 10, dtype=np.float32)
    relu_xp.leaky_relu_grad(x, 0.5)
    tracemalloc.start()
    for i in range(100):
        relu_xp.leaky_relu_grad(x, 0.1 + i * 1e-3)
        relu_xp.leaky_relu_vjp(x, x, 0.1 + i * 1e-3)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 1 << 20


def test_many_threads_may_call_at_once():
    x = np.random.default_rng(0).normal(size=(8, numpy_blocks.BLOCK_BYTES))
    want = relu_xp.leaky_relu_vjp(x, x, 0.5)
    results = [None] * 8

    def work(i):
        for _ in range(5):
            results[i] = relu_xp.leaky_relu_vjp(x[i], x[i], 0.5)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    oracle.assert_same(np.stack(results), want)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_fork_after_workers():
    code = """
import os, numpy as np, relu_xp
x = np.full(1 << 21, -1.0)
with relu_xp.cpu_options(workers=2):
    relu_xp.leaky_relu(x)
    child = os.fork()
    if child == 0:
        os._exit(int((relu_xp.leaky_relu(x) != -0.01).any()))
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)


def workers_of(variable):
    code = "import numpy, relu_xp; relu_xp.relu(numpy.ones(1)); print(relu_xp._options.workers())"
    environment = {**os.environ, "RELU_XP_WORKERS": variable}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_environment_variable():
    assert workers_of("3").stdout == "3\n"
    assert int(workers_of("-1").stdout) >= 1
    for wrong in ("0", "-2", "two"):
        error = workers_of(wrong).stderr
        assert "RELU_XP_WORKERS must be a positive integer, or -1 for all processors, got" in error
        assert ", in relu\n" in error  # of one element, which no worker shares


@pytest.mark.parametrize(
    ("wrong", "error"), [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_bad_workers(wrong, error):
    with pytest.raises(error, match=r"^relu_xp\.cpu_options: workers must be"), relu_xp.cpu_options(workers=wrong):
        pass


def test_options_end_with_their_block():
    from relu_xp import _options

    before = _options.workers()
    with relu_xp.cpu_options(workers=5):
        with relu_xp.cpu_options(workers=7):
            assert _options.workers() == 7
        assert _options.workers() == 5
    assert _options.workers() == before


def test_memory_beyond_the_output_is_a_few_blocks():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(3000, 2000))
    relu_xp.leaky_relu_vjp(x, x)
    for a in (x, x.T, x[::2]):
        out = np.empty_like(a)
        for name in NAMES:
            tracemalloc.start()
            getattr(relu_xp, name)(*(a, a)[: 1 + name.endswith("vjp")], out=out, grad_at_zero=0.3)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 20 * numpy_blocks.BLOCK_BYTES < a.nbytes / 4, name
