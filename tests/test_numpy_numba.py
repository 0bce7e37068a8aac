"""The compiled engine: what only it has to prove; the other tests of NumPy run over it where it is the engine."""

import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp

numba = pytest.importorskip("numba", reason="numba: not installed")

NAMES = oracle.FUNCTIONS


def compiled(name, *arrays, **options):
    with relu_xp.cpu_options(engine="numba"):
        return getattr(relu_xp, name)(*arrays, **options)


def by_numpy(name, *arrays, **options):
    with relu_xp.cpu_options(engine="numpy"):
        return getattr(relu_xp, name)(*arrays, **options)


def given(name, dtype, size):
    x = np.random.default_rng(0).normal(size=size).astype(dtype)
    x[::7], x[1::7], x[2::7] = dtype.type(0), dtype.type(-0.0), dtype.type(np.nan)
    return (x, np.roll(x, 3)[::-1].copy())[: 1 + name.endswith("vjp")]


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_loops_are_used_and_compute_the_definition(name, dtype, monkeypatch):
    from relu_xp._backends import numpy_blocks, numpy_numba

    arrays = given(name, dtype, 70_000)
    want = oracle.expected(name, arrays, 0.01, 1.0)
    monkeypatch.setattr(numpy_blocks, "_numpy_kernel", None)
    for shape in ((-1,), (7, -1)):
        shaped = [a.reshape(shape) for a in arrays]
        oracle.assert_same(compiled(name, *shaped), want.reshape(shape))
        out = np.empty_like(shaped[0])
        assert compiled(name, *shaped, out=out) is out
        oracle.assert_same(out, want.reshape(shape))
        for i in range(len(arrays)):
            each = [a.copy() for a in shaped]
            oracle.assert_same(compiled(name, *each, out=each[i]), want.reshape(shape))
    strided = [np.repeat(a, 2)[::2] for a in arrays]
    oracle.assert_same(compiled(name, *strided), want)
    assert numpy_numba._loop.cache_info().currsize > 0


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_writes_past_the_caches(name, dtype, monkeypatch):
    from relu_xp._backends import numpy_numba

    monkeypatch.setattr(numpy_numba, "FEW", 0)
    monkeypatch.setattr(numpy_numba, "STREAMED", 0)
    memory = given(name, dtype, 10_000)
    want = oracle.expected(name, memory, 0.01, 1.0)
    for size in (0, 1, 7, 64, 2047, 4096, 9_990):
        for start in range(4):  # in and between lines
            arrays = [a[start : start + size] for a in memory]
            out = np.zeros(10_000, dtype)
            compiled(name, *arrays, out=out[start + 1 : start + 1 + size])
            oracle.assert_same(out[start + 1 : start + 1 + size], want[start : start + size])
            assert not out[: start + 1].any()
            assert not out[start + 1 + size :].any()
    for i in range(len(memory)):  # in place they do not pay
        each = [a.copy() for a in memory]
        oracle.assert_same(compiled(name, *each, out=each[i]), want)


def test_writes_past_the_caches_are_compiled_as_such():
    from relu_xp._backends import numpy_numba

    kept = numpy_numba._loop("leaky_relu", np.dtype(np.float32), True, "streamed")
    loop = numba.njit(kept.py_func)  # what comes from the disk has no text
    x = np.ones(4096, np.float32)
    loop(x, x.copy(), np.empty(256, np.float32), np.float32(0.01))
    (text,) = loop.inspect_asm().values()
    if platform.machine() in ("x86_64", "AMD64"):
        assert "movnt" in text
    if platform.machine() in ("arm64", "aarch64"):
        assert "stnp" in text


PRODUCTS = [
    ("leaky_relu", {"negative_slope": 2.0}, "over", "max"),
    ("leaky_relu", {"negative_slope": 0.0}, "invalid", "inf"),
    ("leaky_relu", {"negative_slope": 0.3}, "under", "tiny"),
    ("leaky_relu", {"negative_slope": 1.5}, "under", "smallest_subnormal"),
    ("leaky_relu_vjp", {"negative_slope": 2.0}, "over", "max"),
    ("leaky_relu_vjp", {"negative_slope": 0.0}, "invalid", "inf"),
    ("leaky_relu_vjp", {"negative_slope": 0.3}, "under", "tiny"),
    ("leaky_relu_vjp", {"grad_at_zero": 2.0}, "over", "max"),
    ("relu_vjp", {"grad_at_zero": 2.0}, "over", "max"),
    ("relu_vjp", {"grad_at_zero": 0.3}, "under", "tiny"),
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("name", "options", "kind", "value"), PRODUCTS)
@pytest.mark.parametrize("size", [1, 70_000])
def test_warnings_are_those_of_the_definition(name, options, kind, value, dtype, size):
    size_of = np.inf if value == "inf" else getattr(np.finfo(dtype), value)
    x = np.full(size, 1, dtype)
    x[-1] = -size_of if name == "leaky_relu" else 0 if "grad_at_zero" in options else -1
    arrays = (x, np.full(size, size_of, dtype))[: 1 + name.endswith("vjp")]
    with np.errstate(all="ignore", **{kind: "raise"}), pytest.raises(FloatingPointError):
        compiled(name, *arrays, **options)
    with np.errstate(all="raise", **{kind: "ignore"}):
        result = compiled(name, *arrays, **options)
    with np.errstate(all="ignore"):
        oracle.assert_same(result, by_numpy(name, *arrays, **options))
        oracle.assert_same(compiled(name, *arrays, **options), result)


@pytest.mark.parametrize("size", [20, 70_000])
def test_arrays_that_cannot_be_written_are_left_alone(size):
    x = np.linspace(-1, 1, size).astype(np.float32)
    x.flags.writeable = False
    oracle.assert_same(compiled("leaky_relu", x), by_numpy("leaky_relu", x))
    with pytest.raises(ValueError, match="out is read-only"):
        compiled("leaky_relu", x, out=x)
    writeable = np.linspace(-1, 1, size).astype(np.float32)
    view = writeable.view()
    view.flags.writeable = False
    oracle.assert_same(compiled("leaky_relu", view, out=writeable), by_numpy("leaky_relu", x))


@pytest.mark.parametrize("name", NAMES)
def test_small_arrays_that_overlap(name):
    memory = np.linspace(-1, 1, 40).astype(np.float32)
    g = (memory[::-1].copy()[:30],) if name.endswith("vjp") else ()
    want = by_numpy(name, memory[:30].copy(), *g)
    oracle.assert_same(compiled(name, memory[:30], *g, out=memory[1:31]), want)


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_without_a_loop_are_numpys(name):
    x = np.linspace(-1, 1, 40).astype(np.longdouble)
    arrays = (x, x) if name.endswith("vjp") else (x,)
    assert (compiled(name, *arrays) == by_numpy(name, *arrays)).all()


def test_bad_calls_are_refused_alike():
    x = np.ones(5, np.float32)
    for options in ({"out": [9.0] * 5}, {"out": np.ones(4, "f4")}, {"out": np.ones(5)}, {"grad_at_zero": True}):
        messages = []
        for call in (by_numpy, compiled):
            with pytest.raises((TypeError, ValueError)) as caught:
                call("relu_grad", x, **options)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_threads_may_compile_at_once():
    from relu_xp._backends import numpy_numba

    numpy_numba._loop.cache_clear()
    numpy_numba._plan.cache_clear()
    x = np.linspace(-1, 1, 1001)
    results = [None] * 8

    def work(i):
        results[i] = compiled("leaky_relu_vjp", x, x, 0.25)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    oracle.assert_same(np.stack(results), np.stack([by_numpy("leaky_relu_vjp", x, x, 0.25)] * 8))


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


CALL = "import numpy, relu_xp; print(relu_xp.leaky_relu(numpy.full(30_000, -2.0), 0.5)[0])"


def test_environment_variable():
    run = python(f"{CALL}; import sys; print('numba' in sys.modules)", RELU_XP_ENGINE="numba")
    assert (run.stdout, run.stderr) == ("-1.0\nTrue\n", "")
    run = python(CALL, RELU_XP_ENGINE="fortran")
    assert "ValueError: RELU_XP_ENGINE must be 'numpy' or 'numba', got 'fortran'" in run.stderr
    run = python("import numpy, relu_xp; relu_xp.relu(numpy.ones(1))", RELU_XP_ENGINE="fortran")
    assert "ValueError: RELU_XP_ENGINE must be 'numpy' or 'numba', got 'fortran'" in run.stderr


def test_bad_engine():
    for wrong in ("fortran", "", 3, ["numba"]):
        with (
            pytest.raises(ValueError, match=r"relu_xp\.cpu_options: engine must be 'numpy' or 'numba', got"),
            relu_xp.cpu_options(engine=wrong),
        ):
            pass


@pytest.mark.parametrize("dtype", [">f4", ">f8", "float8_e4m3", "float8_e5m2", np.longdouble], ids=str)
def test_dtypes_that_are_left_to_numpy(dtype):
    x = np.array([-2, -0.0, 0.0, 0.5, np.nan]).astype(getattr(ml_dtypes, str(dtype), dtype))
    with relu_xp.cpu_options(engine="numba"):
        found = relu_xp.leaky_relu_vjp(x, x, 0.5)
    want = relu_xp.leaky_relu_vjp(x, x, 0.5)
    assert found.dtype == want.dtype
    oracle.assert_same(found, want)


WITHOUT = "import sys; sys.modules['numba'] = None; "


def test_where_numba_is_missing():
    run = python(f"{WITHOUT}import relu_xp; relu_xp.cpu_options(engine='numba').__enter__()")
    assert "ImportError: relu_xp.cpu_options: engine 'numba' needs Numba: pip install 'relu-xp[numba]'" in run.stderr
    run = python(WITHOUT + CALL, RELU_XP_ENGINE="numba")
    assert "ImportError: RELU_XP_ENGINE 'numba' needs Numba: pip install 'relu-xp[numba]'" in run.stderr
    assert python(WITHOUT + CALL, RELU_XP_ENGINE="numpy").stdout == "-1.0\n"


def test_the_disk_keeps_what_was_compiled(tmp_path):
    for _ in range(2):
        run = python(CALL, RELU_XP_ENGINE="numba", NUMBA_CACHE_DIR=str(tmp_path))
        assert (run.stdout, run.stderr) == ("-1.0\n", "")
    assert len(list(tmp_path.rglob("*leaky_relu*.nbc"))) == 1


def test_without_sources(tmp_path):
    package = Path(relu_xp.__file__).parent
    shutil.copytree(package, tmp_path / "relu_xp")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-b", tmp_path], check=True)
    for source in tmp_path.rglob("*.py"):
        source.unlink()
    kept = tmp_path / "kept"
    run = python(CALL, RELU_XP_ENGINE="numba", PYTHONPATH=str(tmp_path), NUMBA_CACHE_DIR=str(kept))
    assert (run.stdout, run.stderr, kept.exists()) == ("-1.0\n", "", False)


def test_no_place_on_the_disk():
    # Numba asks for a place when a function is made, and gives up where there is none.
    refused = "from numba.core import caching; caching.CacheImpl._locator_classes = []; "
    run = python(refused + CALL, RELU_XP_ENGINE="numba")
    assert (run.stdout, run.stderr) == ("-1.0\n", "")


def test_a_processor_that_cannot_convert_float16(tmp_path):
    run = python(
        CALL.replace("-2.0)", "-2.0, 'float16')"),
        RELU_XP_ENGINE="numba",
        NUMBA_CPU_NAME="generic",
        NUMBA_CPU_FEATURES="",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert (run.stdout, run.stderr) == ("-1.0\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_fork():
    code = """
import os, numpy as np, relu_xp
x = np.full(1 << 21, -1.0)
with relu_xp.cpu_options(workers=2, engine="numba"):
    relu_xp.leaky_relu(x)
    child = os.fork()
    if child == 0:
        wrong = (relu_xp.leaky_relu(x) != -0.01).any() or (relu_xp.leaky_relu_grad(x) != 0.01).any()
        os._exit(int(wrong))
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=300)
