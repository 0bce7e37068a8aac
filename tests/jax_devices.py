"""Run by `test_jax_devices.py`, one function a process: JAX fixes its devices when it starts.

python tests/jax_devices.py NAME [ARGUMENT ...]
"""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import oracle
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import relu_xp
from relu_xp._functions import FUNCTIONS

X = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
G = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
COLLECTIVES = r"all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"


def arrays_for(function):
    return oracle.arrays_of(function, X, G)


def assert_as_expected(function, arrays, result):
    oracle.assert_same(np.asarray(result), oracle.expected(function, arrays, 0.01, 1.0), function)


def sharding_is_kept():
    """Eager and jitted results are sharded as x is, without a collective or a transfer."""
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("rows", "columns"))
    for spec in (("rows", "columns"), (("columns", "rows"),), (None, "rows"), ()):
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        for function in oracle.FUNCTIONS:
            arrays = jax.device_put(arrays_for(function), sharding)
            f = getattr(relu_xp, function)
            with jax.transfer_guard("disallow"):
                results = [f(*arrays), jax.jit(f)(*arrays)]
            if FUNCTIONS[function].role != "vjp":
                results.append(jax.vmap(f)(*arrays))
            for result in results:
                assert result.sharding.is_equivalent_to(sharding, 2), (
                    function,
                    spec,
                    result.sharding,
                )
                assert_as_expected(function, arrays_for(function), result)
            text = jax.jit(f).lower(*arrays).compile().as_text()
            assert not re.search(COLLECTIVES, text), (function, spec)


def a_gradient_communicates_only_what_any_would():
    """The backward pass through a sharded layer has the same collectives as with jax.nn."""
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    x = jax.device_put(X, NamedSharding(mesh, PartitionSpec("batch")))
    w = jax.device_put(G[:8], NamedSharding(mesh, PartitionSpec()))

    def collectives(activation):
        step = jax.jit(jax.grad(lambda w, x: activation(x @ w).sum(), argnums=(0, 1)))
        return re.findall(rf"= \S+ ({COLLECTIVES})\(", step.lower(w, x).compile().as_text())

    assert collectives(relu_xp.relu) == collectives(jax.nn.relu) == ["all-reduce"]
    assert collectives(relu_xp.leaky_relu) == ["all-reduce"]
    assert collectives(lambda x: relu_xp.relu_vjp(x, x)) == collectives(lambda x: x * x)


def shard_map():
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    rows = PartitionSpec("rows")
    for function in oracle.FUNCTIONS:
        arrays = arrays_for(function)
        split = jax.shard_map(
            getattr(relu_xp, function), mesh=mesh, in_specs=(rows,) * len(arrays), out_specs=rows
        )
        assert_as_expected(function, arrays, jax.jit(split)(*arrays))
    for function in ("relu", "leaky_relu"):
        split = jax.shard_map(getattr(relu_xp, function), mesh=mesh, in_specs=rows, out_specs=rows)
        assert_as_expected(
            f"{function}_vjp", (X, G), jax.vjp(split, jnp.asarray(X))[1](jnp.asarray(G))[0]
        )


def each_device():
    """A committed array stays on its device, with any slope."""
    for device in jax.devices():
        x = jax.device_put(X, device)
        for result in (
            relu_xp.relu(x),
            relu_xp.leaky_relu(x),
            relu_xp.leaky_relu(x, 0.01),
            relu_xp.relu_vjp(x, x),
        ):
            assert result.devices() == {device}
        assert relu_xp.leaky_relu(jnp.asarray(X)).committed is False


def a_number_is_at_home_everywhere():
    """A scalar first met under an explicit mesh, or on another default device, serves elsewhere."""
    kinds = (jax.sharding.AxisType.Explicit,)
    for axis, count in {"a": 2, "b": 8}.items():
        with jax.set_mesh(jax.make_mesh((count,), (axis,), axis_types=kinds)):
            x = jax.device_put(X, PartitionSpec(axis))
            for result in (relu_xp.leaky_relu(x, 0.01), relu_xp.leaky_relu(x)):
                assert jax.typeof(result).sharding.spec == jax.typeof(x).sharding.spec
                assert_as_expected("leaky_relu", (X,), result)
    with jax.default_device(jax.devices()[3]):
        assert relu_xp.leaky_relu(jnp.asarray(X)).devices() == {jax.devices()[3]}
    each_device()


def one_of_several_processes(address, count, index):
    """No process holds the global array whole; after a step all have the same weights."""
    jax.distributed.initialize(address, int(count), int(index), initialization_timeout=60)
    assert len(jax.devices()) == int(count) * len(jax.local_devices())
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    x, g = (jax.make_array_from_callback(a.shape, sharding, lambda at, a=a: a[at]) for a in (X, G))
    assert not x.is_fully_addressable
    for function in oracle.FUNCTIONS:
        arrays = oracle.arrays_of(function, x, g)
        want = oracle.expected(function, arrays_for(function), 0.01, 1.0)
        scalars = {"negative_slope": 0.01} if function in oracle.SLOPED else {}
        f = getattr(relu_xp, function)
        for result in (f(*arrays), f(*arrays, **scalars), jax.jit(f)(*arrays)):
            assert result.sharding == sharding
            for shard in result.addressable_shards:
                oracle.assert_same(np.asarray(shard.data), want[shard.index], function)

    @jax.jit
    def step(w, x):
        loss, gradient = jax.value_and_grad(
            lambda w: relu_xp.leaky_relu(relu_xp.relu(x @ w) - 1).mean()
        )(w)
        return w - gradient, loss

    w = np.ones((8, 4), np.float32)
    moved, loss = step(w, x)
    alone, want = step(w, X)
    # The sums have another order.
    np.testing.assert_allclose(np.asarray(loss), np.asarray(want), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(moved), np.asarray(alone), rtol=1e-6)
    assert moved.is_fully_replicated
    print("the loss is", float(loss))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print("done:", sys.argv[1])
