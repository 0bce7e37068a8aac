"""What only CuPy has: devices, streams and memory order."""

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _survey


@pytest.fixture(scope="module")
def cupy(request, machine):
    found = machine.get("cupy")
    chosen = request.config.getoption("--backend")
    if isinstance(found, _survey.Unavailable) and "cupy" not in (chosen or ()):
        pytest.skip(f"cupy: {found.reason}")
    import cupy

    return cupy


def want(name, x):
    return oracle.expected(name, oracle.arrays_of(name, x))


def ramp(shape):
    size = int(np.prod(shape))
    return (np.arange(size, dtype=np.float32) - size // 2).reshape(shape)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_layouts_keep_their_order(cupy, name):
    def views(a):
        return a, a.transpose(1, 2, 0), a[::2, ::-3], a[:1, :1, 0], a[:0], a.T

    whole = ramp((8, 9, 10))
    for x, held in zip(views(cupy.asarray(whole)), views(whole), strict=True):
        result = oracle.call(name, x)
        # CuPy's own functions would give C order.
        assert result.strides == np.positive(held).strides
        oracle.assert_same(cupy.asnumpy(result), want(name, held))
        assert not cupy.may_share_memory(result, x)


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 7])
def test_out_may_overlap(cupy, name, shift):
    memory = cupy.asarray(ramp((100_000,)))
    x, out = memory[10:-10], memory[10 + shift : len(memory) - 10 + shift]
    expected = want(name, cupy.asnumpy(x))
    assert oracle.call(name, x, out=out) is out
    oracle.assert_same(cupy.asnumpy(out), expected)


def test_runs_in_the_current_stream(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.full(1 << 20, -1, np.float32)
    relu_xp.relu(x)  # compiles the kernel now, since a capture does not allow that
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        relu_xp.relu(x, out=x)  # a synchronisation would break the capture
        graph = stream.end_capture()
    assert float(x.sum()) == -(1 << 20)  # nothing has run yet, in another stream either
    graph.launch(stream)
    stream.synchronize()
    assert float(x.sum()) == 0


def test_runs_on_the_device_of_x(cupy):
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("cupy: one GPU only")
    with cupy.cuda.Device(1):
        x = cupy.ones(3)
    result = relu_xp.relu(x)
    assert result.device == x.device
    with pytest.raises(ValueError, match=r"relu_xp\.relu: out must be on the device of x"):
        relu_xp.relu(x, out=cupy.ones(3))


def test_a_new_slope_compiles_nothing(cupy):
    from relu_xp._backends import cupy as backend

    x = cupy.ones(3, np.float32)
    relu_xp.leaky_relu(x, 0.25)
    built = backend._elementwise.cache_info().misses
    relu_xp.leaky_relu(x, 0.125)
    assert backend._elementwise.cache_info().misses == built


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_aligned_or_not(cupy, name):
    whole = ramp((4099,))
    held = cupy.asarray(whole)
    for start in range(5):
        out = cupy.zeros_like(held)
        oracle.call(name, held[start:-3], out=out[start:-3])
        oracle.assert_same(cupy.asnumpy(out)[start:-3], want(name, whole[start:-3]))
        assert not cupy.asnumpy(out)[:start].any()
        assert not cupy.asnumpy(out)[-3:].any()
        # x and out are equally far from a boundary of 16 bytes only if start is 0 or 4.
        oracle.call(name, held[start:-3], out=out[: 4096 - start])
        oracle.assert_same(cupy.asnumpy(out)[: 4096 - start], want(name, whole[start:-3]))


@pytest.mark.large
def test_more_elements_than_32_bits_count(cupy):
    size = (1 << 32) + 5
    x = cupy.full(size, -1, np.int8)
    x[-3:] = 3
    assert int(relu_xp.relu(x).sum(dtype=np.int64)) == 9
    relu_xp.relu(x[::-1], out=x[::-1])
    assert int(x.sum(dtype=np.int64)) == 9


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.uint64])
def test_relu_of_integers(cupy, dtype):
    x = np.array([-3, 0, 7]).astype(dtype)
    oracle.assert_same(cupy.asnumpy(relu_xp.relu(cupy.asarray(x))), relu_xp.relu(x))


@pytest.mark.parametrize("dtype", [bool, np.complex64])
def test_unsupported_dtypes(cupy, dtype):
    with pytest.raises(TypeError, match=r"relu_xp\.relu: takes real floating and integer dtypes"):
        relu_xp.relu(cupy.zeros(3, dtype))
