"""Every backend against the scalar reference, bit for bit."""

import numpy as np
import oracle
import pytest

import relu_xp

# What a library can't hold: each with its reason, each skipped visibly.
LACKING = {
    ("array_api_strict", "float16"): "the array API standard has no float16",
    ("array_api_strict", "bfloat16"): "the array API standard has no bfloat16",
    ("sparse", "bfloat16"): "sparse takes NumPy's own dtypes only",
    ("ndonnx", "bfloat16"): "ndonnx takes NumPy's own dtypes only",
    ("dask.array", "bfloat16"): "array-api-compat's dask namespace does not know ml_dtypes",
    (
        "torch",
        "bfloat16",
    ): "torch takes no ml_dtypes array; its own bfloat16 is tested with the PyTorch backend",
}

# onnxruntime's Where adds its two halves, and -0 + 0 is +0: the one place where ndonnx can't follow the definition.
UNSIGNED_ZEROS = {("ndonnx", "relu_vjp")}


def cases(function):
    for slope in oracle.SLOPES if function.startswith("leaky") else (0.01,):
        for grad_at_zero in oracle.GRADS_AT_ZERO if not function.endswith("relu") else (1.0,):
            yield slope, grad_at_zero


def inputs(function, dtype):
    """Pairs (x, cotangent) or single arrays, which between them hold all that dtype can hold, or a dense sample."""
    x = oracle.patterns(dtype) if dtype.itemsize <= 2 else oracle.samples(dtype)
    if not function.endswith("vjp"):
        return [(x,)]
    specials = np.array([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3], dtype)
    shuffled = np.random.default_rng(1).permutation(x)
    tiled = np.resize(specials, x.shape)
    return [(x, shuffled), (tiled, x), (x, tiled)]


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("function", oracle.FUNCTIONS)
def test_equals_the_reference(place, function, dtype):
    if (place.name, dtype.name) in LACKING:
        pytest.skip(f"{place.name}: {LACKING[place.name, dtype.name]}")
    flushes = dtype.name in oracle.FLUSHING.get((place.name, platform(place)), ())
    excepted = 0
    for arrays in inputs(function, dtype):
        for slope, grad_at_zero in cases(function):
            scalars = {"grad_at_zero": grad_at_zero}
            if function.startswith("leaky"):
                scalars["negative_slope"] = slope
            with np.errstate(all="ignore"):
                given = [place.put(a) for a in arrays]
                got = place.get(getattr(relu_xp, function)(*given, **scalars))
            want = oracle.expected(function, dtype, arrays, slope, grad_at_zero)
            if (place.name, function) in UNSIGNED_ZEROS:
                excepted += (~oracle.same_bits(got, want)).sum()
                got, want = got + 0, want + 0
            if flushes:
                oracle.assert_same_but_flushed(function, arrays, slope, grad_at_zero, got, want)
            else:
                oracle.assert_same(got, want, f"{function} {dtype} slope={slope} grad_at_zero={grad_at_zero}")
    assert (excepted > 0) == ((place.name, function) in UNSIGNED_ZEROS), "an exception that is no longer needed"


def platform(place):
    return place.put(np.zeros(1, np.float32)).device.platform if place.name == "jax" else "cpu"


def test_tutorial(place):
    x = place.put(np.array([1, -10, 0, 15, -20], np.float32))
    results = [getattr(relu_xp, name)(x) for name in ("relu", "leaky_relu", "relu_grad", "leaky_relu_grad")]
    relu, leaky, relu_grad, leaky_grad = (place.get(r) for r in results)
    np.testing.assert_array_equal(relu, np.array([1, 0, 0, 15, 0], np.float32))
    np.testing.assert_array_equal(
        leaky, np.array([1, np.float32(0.01) * -10, 0, 15, np.float32(0.01) * -20], np.float32)
    )
    np.testing.assert_array_equal(relu_grad, np.array([1, 0, 1, 1, 0], np.float32))
    np.testing.assert_array_equal(leaky_grad, np.array([1, 0.01, 1, 1, 0.01], np.float32))
