"""A call gives the same result the first time, the second time, and whatever was called in between.

Backends remember how calls are computed: whatever decides a result's dtype, class, layout or weak
type must stand in the key of what they remember.
"""

import itertools
import random

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _dispatch, _plans
from relu_xp._functions import FUNCTIONS

NUMBERS = (0.25, -0.0, 0.0, 1, 1.0, np.float32(0.25), np.float64(1.0), 3)


def described(result):
    """All that a caller may see of a result: its class, dtype, weak type, strides and bits."""
    seen = [type(result)]
    for name in ("dtype", "weak_type", "shape", "strides"):
        found = getattr(result, name, None)
        seen.append(found)
    if hasattr(result, "stride"):  # a tensor's
        seen.append(result.stride())
    a = np.asarray(result.detach().float() if hasattr(result, "detach") else result)
    words = a.astype(np.float64) if a.dtype.name in ("bfloat16", "float16") else a
    return [*map(str, seen), words.tobytes()]


def jobs(arrays):
    for name, x, number in itertools.product(FUNCTIONS, arrays, NUMBERS):
        record = FUNCTIONS[name]
        scalars = {each.name: number for each in record.parameters if not each.above_zero}
        yield name, lambda name=name, x=x, scalars=scalars: oracle.call(name, x, **scalars)


def assert_the_same_in_any_order(arrays):
    every = list(jobs(arrays))
    first = [described(run()) for _, run in every]
    order = list(range(len(every)))
    for seed in (0, 1):
        random.Random(seed).shuffle(order)
        for i in order:
            name, run = every[i]
            assert described(run()) == first[i], (name, i)


VALUES = np.array([[1.5, -2.0], [0.0, -0.0]])


def test_numpy_and_python(wanted):
    wanted("numpy")
    halves = VALUES.astype(np.float16)
    arrays = [
        VALUES,
        VALUES.T,
        halves,
        VALUES.astype(np.float32),
        VALUES[0, 1],
        np.array(-2.0, np.float32),
        -2.0,
        3,
    ]
    assert_the_same_in_any_order(arrays)


def test_torch(wanted):
    torch = wanted("torch")
    whole = torch.from_numpy(VALUES)
    single = whole.float()
    arrays = [whole, single, single.t(), whole.half(), whole.bfloat16(), single[0, 1], single[:, 0]]
    assert_the_same_in_any_order(arrays)


def test_jax(wanted):
    jax = wanted("jax")
    jnp = jax.numpy
    arrays = [jnp.asarray(VALUES, dtype) for dtype in (np.float32, np.float16, jnp.bfloat16)]
    assert_the_same_in_any_order([*arrays, jnp.asarray(-2.0), arrays[0][0, 1]])


def test_numbers_are_told_apart_by_their_bits():
    assert _plans.bits((0.0, 1.0)) != _plans.bits((-0.0, 1.0))
    assert _plans.bits((0.5,)) == _plans.bits((0.5,))
    for other in (1, True, np.float64(1.0), "1", None):
        assert _plans.bits((1.0, other)) is None


def test_plans_are_bounded_and_forgotten():
    plans = _plans.Plans()
    for i in range(10 * _plans.MOST):
        plans.keep((i, _plans.bits((float(i),))), i)
    assert len(plans) <= _plans.MOST
    _dispatch._forget()
    assert not plans
    _plans._everyone.remove(plans)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_ever_new_numbers_fill_no_memory(wanted, library):
    wanted(library)
    if library == "torch":
        import torch

        from relu_xp._backends import torch as backend

        x = torch.tensor([-1.0])
    else:
        import jax.numpy as jnp

        from relu_xp._backends import jax as backend

        x = jnp.asarray([-1.0])
    for i in range(1, 3 * _plans.MOST):
        assert float(relu_xp.leaky_relu(x, i / 8)[0]) == -i / 8
        assert len(backend._plans) <= _plans.MOST
