"""Every backend against the scalar reference, bit for bit: the verifier's own cases."""

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import verify
from relu_xp._registry import REGISTRY, SURVEYED
from relu_xp.verify import _cases

EACH = [
    (name, record)
    for name in _cases.DTYPES
    for record in oracle.RECORDS
    if name in _cases.FLOATS or record.takes_integers
]
# By backend and dtype: the only deviations that are allowed. They are written out, since
# `_exceptions` is under test too.
FLUSHES = dict.fromkeys(("bfloat16", "float32", "float64"), "flushes subnormals")
MAY_DEVIATE = {
    "jax": FLUSHES,
    "tensorflow": FLUSHES,
    "torch": {"float32": "ONNX's Relu and Clip keep -0"},
    "ndonnx": dict.fromkeys(
        ("float16", "float32", "float64"), "onnxruntime's Where gives +0 for -0"
    ),
}
# The backends whose arrays can be written to, and those that take an array for a scalar.
WRITEABLE = [row.name for row in REGISTRY if row.writeable]
TAKES_ARRAYS_FOR_SCALARS = [row.name for row in SURVEYED if not row.holds_arrays]


@pytest.mark.parametrize(("name", "function"), EACH, ids=lambda each: str(each))
def test_equals_the_reference(target, name, function):
    dtype = next(dtype for dtype in verify.dtypes() if dtype.name == name)
    *_, record = verify.verify(target, [dtype], (function,))
    tally = record[name]
    if "all" in tally.left_out:
        pytest.skip(f"{target.name}: {tally.left_out['all']}")
    assert tally.values > 0
    assert tally.mismatches == 0, "\n".join(map(str, tally.examples))
    allowed = MAY_DEVIATE.get(target.name, {}).get(name)
    assert all(allowed and deviation.endswith(allowed) for deviation in tally.excepted)
    assert ("out=" in tally.left_out) <= (target.name not in WRITEABLE)
    assert ("negative_slope: an array" in tally.left_out) <= (
        target.name not in TAKES_ARRAYS_FOR_SCALARS
    )


@pytest.mark.parametrize("function", oracle.RECORDS, ids=str)
def test_sweep_begins_and_goes_on(target, function):
    tally = verify.Tally()
    counts = verify.sweep(target, function, tally, chunk=1 << 16)
    assert [next(counts), next(counts)] == [1 << 16, 1 << 17]
    assert (tally.values, tally.mismatches) == (1 << 17, 0), tally.examples


def test_tutorial(target):
    x = target.put(np.array([1, -10, 0, 15, -20], np.float32))
    results = [
        getattr(relu_xp, name)(x) for name in ("relu", "leaky_relu", "relu_grad", "leaky_relu_grad")
    ]
    relu, leaky, relu_grad, leaky_grad = (target.get(r) for r in results)
    slope = np.float32(0.01)
    np.testing.assert_array_equal(relu, np.array([1, 0, 0, 15, 0], np.float32))
    np.testing.assert_array_equal(leaky, np.array([1, slope * -10, 0, 15, slope * -20], np.float32))
    np.testing.assert_array_equal(relu_grad, np.array([1, 0, 1, 1, 0], np.float32))
    np.testing.assert_array_equal(leaky_grad, np.array([1, slope, 1, 1, slope], np.float32))
