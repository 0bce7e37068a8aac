"""What only Dask has: sizes that nobody knows yet, and masks inside its chunks."""

import numpy as np
import pytest

import relu_xp


@pytest.fixture(scope="module")
def da(request):
    if "dask.array" in (request.config.getoption("--backend") or ["dask.array"]):
        return pytest.importorskip("dask.array", reason="dask.array: not installed")
    pytest.skip("dask.array: not among the chosen backends")


def test_unknown_sizes(da):
    x = da.from_array(np.array([-2.0, 1.0, 3.0]))
    some = x[x > -5]
    assert np.isnan(some.shape[0])
    assert relu_xp.relu_vjp(some, 2 * some).compute().tolist() == [0.0, 2.0, 6.0]
    with pytest.raises(ValueError, match=r"relu_xp\.relu_vjp: x and cotangent must have one shape"):
        relu_xp.relu_vjp(some, da.ones((3, 1)))


def test_nothing_is_computed_before_it_is_asked_for(da):
    def fail(block):
        raise AssertionError

    x = da.map_blocks(fail, da.ones(4), dtype=np.float64, meta=np.empty(0))
    result = relu_xp.leaky_relu(x, 0.5)
    assert isinstance(result, da.Array)
    with pytest.raises(AssertionError):
        result.compute()


def test_masked_chunks_are_refused(da):
    x = da.ma.masked_array(da.ones(3), mask=[True, False, False])
    with pytest.raises(TypeError, match=r"relu_xp\.relu: dask\.array's operations lose masks; use x\.map_blocks\(relu"):
        relu_xp.relu(x)
    assert x.map_blocks(relu_xp.relu).compute().mask.tolist() == [True, False, False]
