"""CuPy's backend without a GPU, as `cupy_on_host.py` runs it.

`test_cupy_ptx.py` looks at the machine code that NVIDIA's compiler makes of the CUDA text.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import cupy_on_host
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import verify
from relu_xp._functions import FUNCTIONS
from relu_xp._survey import Target
from relu_xp.verify import _cases

COMPILER = shutil.which("g++")


@pytest.fixture(scope="session")
def cupy(wanted):
    cupy = wanted("cupy")
    if COMPILER is None:
        pytest.skip("g++: not installed")
    return cupy


@pytest.fixture(scope="session")
def library(cupy, tmp_path_factory):
    return cupy_on_host.compiler(COMPILER, tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def host(cupy, library, monkeypatch):
    """Make a target with real CuPy arrays in the host's memory, whose launches run on the CPU."""
    from relu_xp._backends import cupy as backend

    class OnHost(Target):
        pass

    OnHost.launches, allocate = cupy_on_host.install(monkeypatch.setattr, library)
    with cupy.cuda.using_allocator(allocate):
        yield OnHost("cupy", backend, "cuda:0")


NAMES = [*_cases.FLOATS, *_cases.INTEGERS]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        (name, function)
        for name in NAMES
        for function in (oracle.FUNCTIONS if name in _cases.FLOATS else ["relu"])
    ],
)
def test_equals_the_reference(host, name, function):
    dtype = next(dtype for dtype in verify.dtypes() if dtype.name == name)
    *_, record = verify.verify(host, [dtype], (FUNCTIONS[function],))
    tally = record[name]
    if "all" in tally.left_out:
        pytest.skip(f"cupy: {tally.left_out['all']}")
    assert tally.values > 0
    assert tally.mismatches == 0, "\n".join(map(str, tally.examples))
    assert not tally.excepted
    assert {launch[0] for launch in host.launches} == (
        {"contiguous", "elementwise"} if name in _cases.FLOATS else {"elementwise"}
    )


@pytest.fixture
def every_size(host, monkeypatch):
    """Let small arrays take the kernel for contiguous arrays too."""
    monkeypatch.setattr(host.backend, "LARGE", 0)
    return host


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_every_alignment(every_size, dtype):
    """Heads and tails of every length, with and without packs of 16 bytes between them."""
    host, memory = every_size, np.arange(-40, 60).astype(dtype)
    per_pack = 16 // memory.itemsize
    held = host.put(memory)
    first = -held.data.ptr % 16 // memory.itemsize
    for start in range(first, first + per_pack):
        for size in (0, 1, per_pack - 1, per_pack, per_pack + 1, 3 * per_pack - 1):
            x = held[start : start + size]
            out = host.put(np.zeros(100, dtype))
            # Only the first lies as far from a boundary of 16 bytes as x.
            for to in (out[start : start + size], out[start + 1 : start + 1 + size]):
                relu_xp.relu(x, out=to)
                oracle.assert_same(host.get(to), relu_xp.relu(memory[start : start + size]))
            written = host.get(out)
            assert not written[:start].any()
            assert not written[start + size + 1 :].any()
    heads = {launch[-1] for launch in host.launches if launch[0] == "contiguous"}
    assert heads == {*range(per_pack)}


@pytest.mark.parametrize("name", _cases.FLOATS)
@pytest.mark.parametrize("function", oracle.FUNCTIONS)
def test_the_kernel_for_contiguous_arrays(every_size, function, name):
    """Several full blocks, a last block with few packs, and a tail."""
    host, dtype = every_size, next(dtype for dtype in verify.dtypes() if dtype.name == name)
    size = (
        5 * host.backend.NARROW * host.backend.IN_FLIGHT * 16 // dtype.itemsize
        + 16 // dtype.itemsize
        + 1
    )
    arrays = tuple(
        np.random.default_rng(i).normal(size=size).astype(dtype)
        for i in range(len(FUNCTIONS[function].arrays))
    )
    got = host.get(getattr(relu_xp, function)(*map(host.put, arrays)))
    oracle.assert_same(got, oracle.expected(function, arrays, 0.01, 1.0))
    assert [launch[:3] for launch in host.launches] == [("contiguous", 6, 128)]


def test_which_kernel(host):
    size = host.backend.LARGE // 4
    x = host.put(np.ones((2, size), np.float32))
    for a in (x[0], x, x.T, x[0, 1:], x[:, ::2], x[0, :9]):
        relu_xp.relu(a)
    # x[0, 1:] is not aligned as its new result is, so it takes the elementwise kernel.
    kinds = [launch[0][0] for launch in host.launches]
    assert "".join(kinds) == "cccee" + "e"
    assert relu_xp.relu(x.T).strides == x.T.strides
    assert relu_xp.relu(x[:, ::2]).strides == (2 * size, 4)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 4, 5)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_slope_may_be_an_array(host, shape, dtype):
    rng = np.random.default_rng(0)
    x, g, s = (rng.normal(size=size).astype(dtype) for size in ((3, 4, 5), (3, 4, 5), shape))
    got = host.get(relu_xp.leaky_relu_vjp(host.put(x), host.put(g), host.put(s), grad_at_zero=0.5))
    oracle.assert_same(got, relu_xp.leaky_relu_vjp(x, g, s, grad_at_zero=0.5))
    oracle.assert_same(
        host.get(relu_xp.leaky_relu(host.put(x), host.put(s))), relu_xp.leaky_relu(x, s)
    )
    oracle.assert_same(
        host.get(relu_xp.leaky_relu_grad(host.put(x), host.put(s))), relu_xp.leaky_relu_grad(x, s)
    )


def test_arguments_are_checked_first(host, cupy):
    x = host.put(np.ones(3, np.float32))
    for bad, error, words in [
        (
            lambda: relu_xp.relu_vjp(x, host.put(np.ones(3))),
            TypeError,
            "same dtype, got float32 and float64",
        ),
        (lambda: relu_xp.relu_vjp(x, x[:2]), ValueError, "same shape"),
        (lambda: relu_xp.relu_vjp(x, np.ones(3, np.float32)), TypeError, "from the same library"),
        (
            lambda: relu_xp.relu(x, out=np.ones(3, np.float32)),
            TypeError,
            "out must be a cupy.ndarray",
        ),
        (lambda: relu_xp.relu(x, out=x[:2]), ValueError, "out must have the result's shape"),
        (
            lambda: relu_xp.relu(x, out=host.put(np.ones(3))),
            TypeError,
            "out must have the result's dtype float32",
        ),
        (
            lambda: relu_xp.relu(host.put(np.ones(3, bool))),
            TypeError,
            "real floating and integer dtypes, got bool",
        ),
        (
            lambda: relu_xp.relu_grad(host.put(np.ones(3, int))),
            TypeError,
            "real floating dtypes, got int64",
        ),
        (
            lambda: relu_xp.leaky_relu(x, np.nan),
            ValueError,
            "negative_slope must be finite, got nan",
        ),
        (lambda: relu_xp.leaky_relu(x, 1e39), ValueError, "must be finite in float32"),
        (
            lambda: relu_xp.leaky_relu(x, "0.1"),
            TypeError,
            "negative_slope must be a real number, got str",
        ),
        (
            lambda: relu_xp.leaky_relu(x, None),
            TypeError,
            "negative_slope must be a real number, got NoneType",
        ),
        (lambda: relu_xp.relu(x, grad_at_zero=np.inf), ValueError, "grad_at_zero must be finite"),
        (
            lambda: relu_xp.relu(host.put(np.ones(3, int)), grad_at_zero="1"),
            TypeError,
            "grad_at_zero must be a real",
        ),
    ]:
        with pytest.raises(error, match=words):
            bad()
    assert not host.launches


def test_slopes_are_arguments(host):
    x = host.put(np.array([-1.0, 2.0], np.float32))
    for slope in (0.25, 0.5, -3):
        assert host.get(relu_xp.leaky_relu(x, slope)).tolist() == [-slope, 2.0]
    assert {*host.launches} == {("elementwise", 2)}


def test_the_benchmark_says_that_there_is_no_gpu(cupy):
    try:
        pytest.skip(
            f"{cupy.cuda.runtime.getDeviceCount()} GPU, which the benchmark would take for minutes"
        )
    except cupy.cuda.runtime.CUDARuntimeError:
        script = Path(__file__).parents[1] / "benchmarks/gpu.py"
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(":")[0]) == (2, "no GPU"), done.stderr
