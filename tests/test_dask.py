"""Dask: nothing is computed early, a block is one task, and sizes may be unknown."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest

import relu_xp


@pytest.fixture(scope="module")
def da(request):
    if "dask" in (request.config.getoption("--backend") or ["dask"]):
        return pytest.importorskip("dask.array", reason="dask: not installed")
    pytest.skip("dask: not among the chosen backends")


def test_unknown_sizes(da):
    x = da.from_array(np.array([-2.0, 1.0, 3.0]))
    some = x[x > -5]
    assert np.isnan(some.shape[0])
    assert relu_xp.relu_vjp(some, 2 * some).compute().tolist() == [0.0, 2.0, 6.0]
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same shape"
    ):
        relu_xp.relu_vjp(some, da.ones((3, 1)))


def test_nothing_is_computed_before_it_is_asked_for(da):
    def fail(block):
        raise AssertionError

    x = da.map_blocks(fail, da.ones(4), dtype=np.float64, meta=np.empty(0))
    result = relu_xp.leaky_relu(x, 0.5)
    assert isinstance(result, da.Array)
    with pytest.raises(AssertionError):
        result.compute()


X = np.array([[1.5, -2.0, 0.0], [-0.0, np.nan, -np.inf], [7.0, -7.0, 1e-40]], np.float32)
G = np.array([[2.0, 3.0, -0.0], [5.0, np.inf, np.nan], [1.0, -1.0, 0.5]], np.float32)


@pytest.fixture(scope="module")
def frames(da):
    """A frame's columns and its cotangent's, as pandas and as Dask hold them."""
    pandas = pytest.importorskip("pandas", reason="pandas: not installed")
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)  # it needs pyarrow too
    held = [
        pandas.DataFrame(a, index=[3, 5, 9], columns=[*"abc"]).astype({"b": "Float64"})
        for a in (X, G)
    ]
    return held, [dd.from_pandas(each, npartitions=2) for each in held]


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_frames_stay_lazy(frames, name):
    import dask
    import pandas

    def refuse(*arguments, **options):
        raise AssertionError

    held, lazy = frames
    with dask.config.set(scheduler=refuse):
        result = oracle.call(name, *lazy)
        column = oracle.call(name, *(a["c"] for a in lazy))
    assert (type(result), type(column)) == (type(lazy[0]), type(lazy[0]["c"]))
    assert result.npartitions == 2
    assert result.divisions == lazy[0].divisions
    want = oracle.call(name, *held)
    pandas.testing.assert_frame_equal(result._meta, want[:0])
    pandas.testing.assert_frame_equal(result.compute(), want, check_exact=True)
    computed = column.compute()
    assert computed.name == "c"
    oracle.assert_same(
        computed.to_numpy(), oracle.expected(name, oracle.arrays_of(name, X[:, 2], G[:, 2]))
    )


def test_frames_of_unknown_divisions(frames):
    _, (x, g) = frames
    x, g = x.clear_divisions(), g.clear_divisions()
    oracle.assert_same(
        relu_xp.relu_vjp(x, g)["a"].compute().to_numpy(),
        oracle.expected("relu_vjp", (X[:, 0], G[:, 0])),
    )
    with pytest.raises(
        ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have the same index; align"
    ):
        relu_xp.relu_vjp(
            x, g.map_partitions(lambda part: part.set_axis(part.index + 1), meta=g._meta)
        ).compute()


def test_frames_are_refused_at_the_call(da, frames):
    _, (x, g) = frames
    with pytest.raises(
        TypeError, match=r"^relu_xp\.leaky_relu: column 'b': takes real .*, got int64; cast it"
    ):
        relu_xp.leaky_relu(x.assign(b=1))
    with pytest.raises(ValueError, match=r"^relu_xp\.leaky_relu: .*negative_slope must be finite"):
        relu_xp.leaky_relu(x, np.nan)
    with pytest.raises(
        ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same divisions; align"
    ):
        relu_xp.relu_vjp(x, g.repartition(npartitions=1))
    with pytest.raises(
        ValueError, match=r"^relu_xp\.relu_vjp: x and cotangent must have the same columns; align"
    ):
        relu_xp.relu_vjp(x, g[[*"acb"]])
    for other in (g["a"], da.ones((3, 3))):
        for given in ((x, other), (other, x)):
            with pytest.raises(
                TypeError,
                match=r"^relu_xp\.relu_vjp: x and cotangent must come from the same library",
            ):
                relu_xp.relu_vjp(*given)
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: a Dask array cannot be written to"):
        relu_xp.relu(x, out=x)
    for slope in (g, da.ones((3, 3))):
        with pytest.raises(
            TypeError,
            match=r"^relu_xp\.leaky_relu: negative_slope must be a real number, got dask\.",
        ):
            relu_xp.leaky_relu(x, slope)
    with pytest.raises(
        TypeError,
        match=r"^relu_xp\.leaky_relu: x and negative_slope must come from the same library",
    ):
        relu_xp.leaky_relu(da.ones((3, 3)), x)
    for nothing in (x.index, x["a"].sum()):
        with pytest.raises(
            TypeError, match=r"^relu_xp\.relu: x must be an array or a real number, got dask\.data"
        ):
            relu_xp.relu(nothing)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_one_task_a_block(da, name):
    x = da.ones((6, 4), chunks=(2, 2), dtype=np.float32)
    arrays = oracle.arrays_of(name, x, 2 * x)
    result = oracle.call(name, *arrays)
    (layer,) = set(result.dask.layers) - set().union(*(a.dask.layers for a in arrays))
    assert len(result.dask.layers[layer]) == 6
    assert layer.startswith(f"{name}-")
    assert (result.chunks, result.dtype, type(result._meta)) == (x.chunks, np.float32, np.ndarray)


def test_fuses_with_its_neighbours(da):
    import dask

    x = da.from_array(np.linspace(-1, 1, 8), chunks=2)
    result = relu_xp.leaky_relu(x * 3, 0.5) + 1
    (optimised,) = dask.optimize(result)
    assert len(optimised.dask) <= 8 + 1  # a slice of the data and all the arithmetic for each block
    assert result.compute().tolist() == [
        3 * v * (0.5 if v < 0 else 1) + 1 for v in np.linspace(-1, 1, 8)
    ]


def test_a_call_is_the_same_task_each_time(da):
    x = da.ones(4, chunks=2)
    assert relu_xp.leaky_relu(x, 0.5).name == relu_xp.leaky_relu(x, 0.5).name
    assert relu_xp.leaky_relu(x, 0.5).name != relu_xp.leaky_relu(x, 0.25).name


def test_masked_blocks_keep_their_masks(da):
    x = da.ma.masked_array(
        da.from_array(np.array([-1.0, -2.0, 3.0]), chunks=2), mask=[True, False, False]
    )
    result = relu_xp.leaky_relu(x, 0.5)
    assert isinstance(result._meta, np.ma.MaskedArray)
    assert result.compute().tolist() == [None, -1.0, 3.0]


def test_sparse_blocks_stay_sparse(da):
    sparse = pytest.importorskip("sparse", reason="sparse: not installed")
    x = da.from_array(np.array([[-1.0, 0.0], [0.0, 2.0]]), chunks=1).map_blocks(
        sparse.COO.from_numpy
    )
    result = relu_xp.relu(x)
    assert isinstance(result.compute(), sparse.COO)
    assert result.compute().todense().tolist() == [[0.0, 0.0], [0.0, 2.0]]


def test_other_blocks_of_the_cotangent(da):
    x, g = (
        da.from_array(np.array([-1.0, 0.0, 2.0]), chunks=2),
        da.from_array(np.array([3.0, 4.0, 5.0]), chunks=1),
    )
    assert relu_xp.relu_vjp(x, g).compute().tolist() == [0.0, 4.0, 5.0]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4"])
def test_results_have_the_processors_byte_order(da, dtype):
    x = np.array([-1, 0, 2], dtype)
    result = relu_xp.relu(da.from_array(x, chunks=2))
    assert result.dtype == result.compute().dtype == x.dtype.newbyteorder("=")
    assert result.dtype.isnative
    assert result.compute().tolist() == [0, 0, 2]
    if dtype != ">i4":
        assert relu_xp.relu_vjp(da.from_array(x, chunks=2), result).compute().tolist() == [0, 0, 2]


def test_bad_input_is_refused_before_anything_is_computed(da):
    x = da.ones(3)
    for bad, error, words in [
        (
            lambda: relu_xp.leaky_relu(da.ones(3, dtype=int)),
            TypeError,
            r"leaky_relu: takes real floating dtypes",
        ),
        (
            lambda: relu_xp.leaky_relu(x, np.inf),
            ValueError,
            r"leaky_relu: negative_slope must be finite",
        ),
        (
            lambda: relu_xp.leaky_relu(x, np.ones(3)),
            TypeError,
            r"leaky_relu: negative_slope must be .* or a dask",
        ),
        (
            lambda: relu_xp.relu_vjp(x, da.ones(3, dtype="f4")),
            TypeError,
            r"relu_vjp: x and cotangent must have the same",
        ),
        (lambda: relu_xp.relu(x, out=x), TypeError, r"relu: a Dask array cannot be written to"),
    ]:
        with pytest.raises(error, match=rf"relu_xp\.{words}"):
            bad()


EXAMPLE = Path(__file__).parents[1] / "examples" / "dask_pipeline.py"


def test_a_cluster_writes_what_no_worker_can_hold(da, tmp_path):
    pytest.importorskip("distributed", reason="distributed: not installed")
    zarr = pytest.importorskip("zarr", reason="zarr: not installed")
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    store = tmp_path / "result.zarr"
    command = [
        sys.executable,
        EXAMPLE,
        store,
        "--gigabytes",
        "0.6",
        "--memory",
        "350MB",
        "--kill-a-worker",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "killed a worker" in run.stdout
    spec = importlib.util.spec_from_file_location("dask_pipeline", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    stored = zarr.open_array(store, mode="r")
    blocks = stored.shape[0] // example.BLOCK
    assert blocks * example.BLOCK * 4 > 0.55e9
    for i in range(blocks):
        block = slice(i * example.BLOCK, (i + 1) * example.BLOCK)
        x = np.random.default_rng((0, i)).standard_normal(example.BLOCK, np.float32)
        y = relu_xp.leaky_relu(x, 0.1)
        oracle.assert_same(stored[block], relu_xp.leaky_relu_vjp(x, y, 0.1), f"block {i}")


@pytest.mark.parametrize("shape", [(), (5,), (6, 1), (1, 1, 5), (4, 6, 5)], ids=str)
def test_a_slope_follows_the_chunks_of_x(da, shape):
    rng = np.random.default_rng(0)
    x, g, s = (rng.normal(size=size).astype(np.float32) for size in ((4, 6, 5), (4, 6, 5), shape))
    lazy, cotangent = (da.from_array(a, chunks=(2, 4, 5)) for a in (x, g))
    slope = da.from_array(np.asarray(s), chunks=shape)
    for name in oracle.SLOPED:
        result = oracle.call(name, lazy, cotangent, negative_slope=slope)
        assert result.chunks == lazy.chunks
        oracle.assert_same(
            result.compute(), oracle.call(name, x, g, negative_slope=np.asarray(s)), name
        )
    with pytest.raises(
        ValueError,
        match=r"leaky_relu: negative_slope must broadcast to the shape of x, \(4, 6, 5\)",
    ):
        relu_xp.leaky_relu(lazy, da.ones((3,)))
