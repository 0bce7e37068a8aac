"""CuPy's backend without a GPU, as `cupy_on_host.py` runs it: the definition, layouts, alignment, checks and geometry.

What the GPU's compiler makes of its CUDA text, `test_cupy_ptx.py` looks at.
"""

import ctypes
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
from relu_xp._machine import Target
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
    """A target whose arrays are CuPy's own, in the host's memory, and whose launches run here."""
    from relu_xp._backends import cupy as backend

    class OnHost(Target):
        pass

    OnHost.launches, allocate = cupy_on_host.install(monkeypatch.setattr, library)
    with cupy.cuda.using_allocator(allocate):
        yield OnHost("cupy", backend, "cuda:0")


NAMES = [*_cases.FLOATS, *_cases.INTEGERS]


@pytest.mark.parametrize(
    ("name", "function"),
    [(name, function) for name in NAMES for function in (oracle.FUNCTIONS if name in _cases.FLOATS else ["relu"])],
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
    ways = {"contiguous", "strided"} if name in _cases.FLOATS else {"contiguous"}
    assert {launch[0] for launch in host.launches} == ways


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_every_alignment(host, dtype):
    """Heads and tails of every length, with a target for the packs between them, or none."""
    memory = np.arange(-40, 60).astype(dtype)
    lanes = 16 // memory.itemsize
    held = host.put(memory)
    first = -held.data.ptr % 16 // memory.itemsize
    for start in range(first, first + lanes):
        for size in (0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes - 1):
            x = held[start : start + size]
            out = host.put(np.zeros(100, dtype))
            for to in (out[start : start + size], out[start + 1 : start + 1 + size]):  # as far from a boundary, or not
                relu_xp.relu(x, out=to)
                oracle.assert_same(host.get(to), relu_xp.relu(memory[start : start + size]))
            written = host.get(out)
            assert not written[:start].any()
            assert not written[start + size + 1 :].any()
    assert {launch[-1] for launch in host.launches if launch[0] == "contiguous"} == {*range(lanes)}


def test_more_than_one_round_of_the_grid(host):
    size = cupy_on_host.PROCESSORS * 8 * 256 * 4 * 5 + 3  # every thread has packs in flight, and then one more
    x, g = (np.random.default_rng(i).normal(size=size).astype(np.float32) for i in (0, 1))
    result = host.get(relu_xp.leaky_relu_vjp(host.put(x), host.put(g)))
    oracle.assert_same(result, oracle.expected("leaky_relu_vjp", (x, g), 0.01, 1.0))
    strided = host.get(relu_xp.leaky_relu_vjp(host.put(x)[::2], host.put(g)[::2]))
    oracle.assert_same(strided, result[::2])
    assert [launch[:3] for launch in host.launches] == [("contiguous", 16, 256), ("strided", 16, 256)]


def test_indices_of_64_bits(host, library):
    x = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)
    want = host.get(relu_xp.relu(host.put(x)[:, ::-1]))
    oracle.assert_same(want, np.maximum(x[:, ::-1], 0))
    *_, layout = host.launches[-1]
    out = np.zeros((3, 4), np.float32)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x[:, ::-1], x[:, ::-1], out, layout)]
    library("relu", "float32").strided_with_64_bits(*pointers)
    oracle.assert_same(out, want)


def plan(cupy, shape, dtype="float32", strides=None, offset=0):
    """The plan for one array of any size: nothing is read, so its memory need not be there."""
    from relu_xp._backends import cupy as backend

    memory = cupy.cuda.memory.UnownedMemory(1 << 20, 1 << 40, None, 0)
    x = cupy.ndarray(shape, dtype, cupy.cuda.memory.MemoryPointer(memory, offset), strides=strides)
    starts = (x.data.ptr % backend.PACK,) * 3
    way, (blocks,), arguments = backend._plan(x.shape, x.itemsize, (x.strides,) * 3, starts, 132)
    if way == "contiguous":
        return way, blocks, arguments
    (layout,) = arguments
    n = int(layout["dimensions"])
    return way, blocks, int(layout["size"]), [tuple(map(int, layout[k][:n])) for k in ("shape", "x", "out")]


def test_the_grid_fits_the_device(cupy):
    assert plan(cupy, (16,)) == ("contiguous", 1, (16, 0))
    assert plan(cupy, (4096,)) == ("contiguous", 4, (4096, 0))
    assert plan(cupy, (4097,)) == ("contiguous", 4, (4097, 0))
    assert plan(cupy, (1 << 26,)) == ("contiguous", 132 * 8, (1 << 26, 0))
    assert plan(cupy, (1 << 34,), "int8") == ("contiguous", 132 * 8, (1 << 34, 0))  # beyond 32 bits
    assert plan(cupy, (5,), offset=4) == ("contiguous", 1, (5, 3))
    assert plan(cupy, (2,), offset=4) == ("contiguous", 1, (2, 2))
    assert plan(cupy, (7,), "int8", offset=9) == ("contiguous", 1, (7, 7))


def test_dimensions_are_merged(cupy):
    assert plan(cupy, ()) == ("contiguous", 1, (1, 0))
    assert plan(cupy, (2, 3, 4)) == ("contiguous", 1, (24, 0))
    assert plan(cupy, (4, 3), strides=(4, 16)) == ("contiguous", 1, (12, 0))  # Fortran order
    assert plan(cupy, (2, 4, 3), strides=(48, 4, 16)) == ("contiguous", 1, (24, 0))  # dense, in another order
    assert plan(cupy, (5, 1, 3), strides=(12, 999, 4)) == ("contiguous", 1, (15, 0))
    assert plan(cupy, (4, 3), strides=(32, 4)) == ("strided", 1, 12, [(3, 4), (4, 32), (4, 32)])
    assert plan(cupy, (8, 4, 3), strides=(64, 16, 4)) == ("strided", 1, 96, [(3, 32), (4, 16), (4, 16)])
    assert plan(cupy, (6,), strides=(-4,)) == ("strided", 1, 6, [(6,), (-4,), (-4,)])
    assert plan(cupy, (2,) * 40, strides=[1 << 2 * i + 2 for i in range(20)] * 2)[0] == "strided"


def test_arguments_are_checked_first(host, cupy):
    x = host.put(np.ones(3, np.float32))
    for bad, error, words in [
        (lambda: relu_xp.relu_vjp(x, host.put(np.ones(3))), TypeError, "one dtype, got float32 and float64"),
        (lambda: relu_xp.relu_vjp(x, x[:2]), ValueError, "one shape"),
        (lambda: relu_xp.relu_vjp(x, np.ones(3, np.float32)), TypeError, "from one library"),
        (lambda: relu_xp.relu(x, out=np.ones(3, np.float32)), TypeError, "out must be a cupy.ndarray"),
        (lambda: relu_xp.relu(x, out=x[:2]), ValueError, "out must have the result's shape"),
        (lambda: relu_xp.relu(x, out=host.put(np.ones(3))), TypeError, "out must have the result's dtype float32"),
        (lambda: relu_xp.relu(host.put(np.ones(3, bool))), TypeError, "real floating and integer dtypes, got bool"),
        (lambda: relu_xp.relu_grad(host.put(np.ones(3, int))), TypeError, "real floating dtypes, got int64"),
        (lambda: relu_xp.leaky_relu(x, np.nan), ValueError, "negative_slope must be finite, got nan"),
        (lambda: relu_xp.leaky_relu(x, 1e39), ValueError, "must be finite in float32"),
        (lambda: relu_xp.leaky_relu(x, "0.1"), TypeError, "negative_slope must be a real number, got str"),
        (lambda: relu_xp.leaky_relu(x, None), TypeError, "negative_slope must be a real number, got NoneType"),
        (lambda: relu_xp.relu(x, grad_at_zero=np.inf), ValueError, "grad_at_zero must be finite"),
        (lambda: relu_xp.relu(host.put(np.ones(3, int)), grad_at_zero="1"), TypeError, "grad_at_zero must be a real"),
    ]:
        with pytest.raises(error, match=words):
            bad()
    assert not host.launches


def test_slopes_are_arguments(host):
    x = host.put(np.array([-1.0, 2.0], np.float32))
    for slope in (0.25, 0.5, -3):
        assert host.get(relu_xp.leaky_relu(x, slope)).tolist() == [-slope, 2.0]
    assert {launch[:3] for launch in host.launches} == {("contiguous", 1, 256)}


def test_the_benchmark_says_that_there_is_no_gpu(cupy):
    try:
        pytest.skip(f"{cupy.cuda.runtime.getDeviceCount()} GPU, which the benchmark would take for minutes")
    except cupy.cuda.runtime.CUDARuntimeError:
        script = Path(__file__).parents[1] / "benchmarks/gpu.py"
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(":")[0]) == (2, "no GPU"), done.stderr
