"""JAX in every mode: products before sums, kernels, meshes, x64, guards, learned slopes."""

import functools

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._functions import FUNCTIONS

DTYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
VALUES = [name for name, record in FUNCTIONS.items() if record.role == "value"]
# Products with these are inexact, so one that is fused with a sum shows: it is rounded once.
SCALARS = {"negative_slope": 0.3, "grad_at_zero": 0.3, "ceiling": 1.25, "grad_at_ceiling": 0.7}


def scalars_of(name):
    return oracle.scalars_of(name, **SCALARS)


def arrays_with_kinks(jax, dtype, shape=(1000,)):
    """Give values, cotangents and addends. Some values lie at the kinks."""
    rng = np.random.default_rng(0)
    x, g, y = (rng.normal(size=shape).astype(jax.numpy.dtype(dtype)) for _ in range(3))
    x.ravel()[::50], x.ravel()[::77] = 0, SCALARS["ceiling"]
    return x, g, y


def linear_in_g(jax):
    """Give name, function of (x, g), and its definition: for each function and rule of autodiff."""
    for name in FUNCTIONS:
        scalars = scalars_of(name)
        f = functools.partial(getattr(relu_xp, name), **scalars)

        def want(x, g, name=name, scalars=scalars):
            return oracle.expected(name, oracle.arrays_of(name, x, g), **scalars)

        yield name, (lambda x, g, f=f, name=name: f(*oracle.arrays_of(name, x, g))), want
        if name not in VALUES:
            continue
        vjp = functools.partial(want, name=f"{name}_vjp", scalars=scalars_of(f"{name}_vjp"))
        yield f"{name}, reverse", (lambda x, g, f=f: jax.vjp(f, x)[1](g)[0]), vjp
        yield f"{name}, forward", (lambda x, g, f=f: jax.jvp(f, (x,), (g,))[1]), vjp
        yield f"{name}, remat", (lambda x, g, f=f: jax.vjp(jax.checkpoint(f), x)[1](g)[0]), vjp
    leaky, slopes = relu_xp.leaky_relu, lambda x: jax.numpy.full_like(x, 0.3)

    def by_slope(x, g):
        return oracle.expected("leaky_relu_slope_vjp", (x, g))

    yield (
        "slope, reverse",
        (lambda x, g: jax.vjp(lambda s: leaky(x, s), slopes(x))[1](g)[0]),
        by_slope,
    )
    yield (
        "slope, forward",
        (lambda x, g: jax.jvp(lambda s: leaky(x, s), (slopes(x),), (g,))[1]),
        by_slope,
    )


@DTYPES
def test_no_product_is_fused_with_a_sum_that_follows(jax, dtype):
    x, g, y = arrays_with_kinks(jax, dtype)
    for name, f, want in linear_in_g(jax):
        expected = want(x, g) + y
        ways = {
            "jit": jax.jit(lambda x, g, y, f=f: f(x, g) + y),
            "vmap": jax.jit(jax.vmap(lambda x, g, y, f=f: f(x, g) + y)),
            "scan": jax.jit(
                lambda x, g, y, f=f: jax.lax.scan(
                    lambda _, each: (None, f(*each[:2]) + each[2]),
                    None,
                    (x[None], g[None], y[None]),
                )[1][0]
            ),
        }
        for way, compute in ways.items():
            oracle.assert_same(np.asarray(compute(x, g, y)), expected, f"{name}, {way}")


@DTYPES
@pytest.mark.parametrize("name", VALUES)
def test_the_gradient_of_a_residual_block(jax, dtype, name):
    x, g, _ = arrays_with_kinks(jax, dtype)
    block = lambda x: getattr(relu_xp, name)(x, **scalars_of(name)) + x  # noqa: E731
    want = oracle.expected(f"{name}_vjp", (x, g), **scalars_of(f"{name}_vjp")) + g
    for pull in (
        lambda x, g: jax.vjp(block, x)[1](g)[0],
        jax.jit(lambda x, g: jax.vjp(block, x)[1](g)[0]),
    ):
        oracle.assert_same(np.asarray(pull(jax.numpy.asarray(x), jax.numpy.asarray(g))), want)


def test_a_slope_of_64_bits_where_they_are_allowed_one_by_one(jax):
    if not hasattr(jax.config, "jax_explicit_x64_dtypes"):
        pytest.skip("this JAX has no jax_explicit_x64_dtypes")
    kept = jax.config.jax_explicit_x64_dtypes
    enabled = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", False)
        jax.config.update("jax_explicit_x64_dtypes", "allow")
        values = np.array([-1.0, -3.0, 2.0])
        x = jax.numpy.asarray(values, np.float64)
        assert x.dtype == np.float64
        want = oracle.expected("leaky_relu", (values,), 0.1)
        for slope in (0.1, np.float64(0.1), jax.numpy.asarray(np.array([0.1]), np.float64)):
            for call in (
                relu_xp.leaky_relu,
                jax.jit(relu_xp.leaky_relu, static_argnums=() if np.ndim(slope) else 1),
            ):
                oracle.assert_same(np.asarray(call(x, slope)), want)
        assert np.asarray(relu_xp.clipped_relu(x + 9, 6.1)).tolist() == [6.1, 6.0, 6.1]
    finally:
        jax.config.update("jax_explicit_x64_dtypes", kept)
        jax.config.update("jax_enable_x64", enabled)


def in_kernels(jax):
    """Give what a Pallas kernel may call: every function, its derivatives, those in a slope."""
    for name, record in FUNCTIONS.items():
        f, count = getattr(relu_xp, name), len(record.arrays)
        yield name, f, count
        if record.role == "value":
            yield f"{name}, reverse", (lambda x, g, f=f: jax.vjp(f, x)[1](g)[0]), 2
            yield f"{name}, forward", (lambda x, g, f=f: jax.jvp(f, (x,), (g,))[1]), 2
        if name in oracle.SLOPED:
            yield f"{name}, slope", f, count + 1
            if record.role == "value":
                yield f"{name}, by slope", (lambda x, s, g, f=f: jax.vjp(f, x, s)[1](g)[1]), 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_kernels_lower(jax, platform, dtype):
    """On TPU, and by Triton. Mosaic on GPU takes no custom_jvp, so not jax.nn.relu either."""
    from jax.experimental import pallas

    options = {}
    if platform == "cuda":
        triton = pytest.importorskip(
            "jax.experimental.pallas.triton", reason="this JAX has no Triton"
        )
        options = {"compiler_params": triton.CompilerParams()}
    shape = jax.ShapeDtypeStruct((8, 128), dtype)
    for name, f, count in in_kernels(jax):

        def kernel(*refs, f=f):
            refs[-1][...] = f(*(ref[...] for ref in refs[:-1]))

        call = pallas.pallas_call(kernel, out_shape=shape, **options)
        try:
            jax.jit(call).trace(*[shape] * count).lower(lowering_platforms=(platform,))
        except Exception as error:
            pytest.fail(f"{name}: {error}")


def test_no_cotangent_and_no_nan_spoils_the_derivative_of_a_vjp_in_the_slope(jax):
    x = jax.numpy.array([1.0, -2.0, 0.0, np.nan])
    g = jax.numpy.array([np.inf, 1.0, np.nan, 1.0])
    assert jax.grad(lambda s: relu_xp.leaky_relu_vjp(x, g, s).sum())(0.25) == 2.0
    for tangent in (
        jax.jvp(lambda s: relu_xp.leaky_relu_vjp(x, g, s), (0.25,), (1.0,))[1],
        jax.jvp(lambda s: jax.vjp(lambda x: relu_xp.leaky_relu(x, s), x)[1](g)[0], (0.25,), (1.0,))[
            1
        ],
    ):
        assert np.array_equal(tangent, [0.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize("name", VALUES)
def test_numbers_of_python_without_jit(jax, name):
    f, derivative = getattr(relu_xp, name), getattr(relu_xp, f"{name}_grad")
    with jax.disable_jit():
        for x in (-1.0, 0.0, 2.5, 7.0):
            assert jax.grad(f)(x) == jax.numpy.asarray(derivative(x))
            value, tangent = jax.jvp(f, (x,), (1.0,))
            assert (value, tangent) == (jax.numpy.asarray(f(x)), jax.numpy.asarray(derivative(x)))
            assert jax.jit(f)(x) == jax.numpy.asarray(f(x))


def test_jet_is_as_far_as_jax_takes_it(jax):
    """jet goes through leaky_relu. It loses its trace in any custom_jvp, that of jax.nn.relu too.

    See https://github.com/jax-ml/jax/issues/30352.
    """
    jet = pytest.importorskip("jax.experimental.jet", reason="this JAX has no jet")
    x, series = (jax.numpy.array([1.5, -2.0]),), ((jax.numpy.ones(2), jax.numpy.zeros(2)),)
    assert jet.jet(relu_xp.squared_relu_grad, x, series)[1][0].tolist() == [2.0, 0.0]
    ours, theirs = (
        jet.jet(lambda x, f=f: f(x, 0.5), x, series)
        for f in (relu_xp.leaky_relu, jax.nn.leaky_relu)
    )
    assert jax.tree.map(lambda a: a.tolist(), ours) == jax.tree.map(lambda a: a.tolist(), theirs)
    for f in (jax.nn.relu, relu_xp.relu, relu_xp.clipped_relu, relu_xp.squared_relu):
        with pytest.raises(jax.errors.UnexpectedTracerError):
            jet.jet(f, x, series)


def test_an_explicit_mesh(jax):
    if not hasattr(jax.sharding, "AxisType") or not hasattr(jax, "set_mesh"):
        pytest.skip("this JAX has no explicit meshes")
    spec = jax.sharding.PartitionSpec
    mesh = jax.make_mesh((1,), ("a",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        values, cotangents = np.arange(-8.0, 8.0).reshape(4, 4), np.arange(16.0).reshape(4, 4) - 3
        x = jax.device_put(values, spec("a"))
        wanted = jax.typeof(x).sharding.spec
        for name, record in FUNCTIONS.items():
            slopes = [None]
            if name in oracle.SLOPED:
                slopes += [
                    jax.device_put(np.full(4, 0.5), spec()),
                    jax.device_put(np.full((4, 1), 0.5), spec("a")),
                ]
            for slope in slopes:
                options = {} if slope is None else {"negative_slope": slope}
                for g in (
                    jax.device_put(cotangents, spec()),
                    jax.device_put(cotangents, spec("a")),
                ):
                    arrays = (x, g)[: len(record.arrays)]
                    f = functools.partial(getattr(relu_xp, name), **options)
                    want = oracle.expected(
                        name,
                        oracle.arrays_of(name, values, cotangents),
                        **(options and {"negative_slope": 0.5}),
                    )
                    for result in (f(*arrays), jax.jit(f)(*arrays)):
                        assert jax.typeof(result).sharding.spec == wanted, name
                        oracle.assert_same(np.asarray(result), want, name)
                if slope is not None and record.role == "value":
                    by_slope = jax.grad(lambda s: relu_xp.leaky_relu(x, s).sum())(slope)
                    assert by_slope.shape == slope.shape


@pytest.mark.parametrize("slope", [0.0, -0.0])
def test_a_slope_of_zero_trips_no_guard(jax, slope):
    from jax.experimental import checkify

    x, g = jax.numpy.array([np.inf, -1.0, 2.0]), jax.numpy.array([np.inf, 1.0, -np.inf])
    for name in oracle.SLOPED:
        arrays = oracle.arrays_of(name, x, jax.numpy.where(x > 0, g, 1.0))
        f = functools.partial(getattr(relu_xp, name), negative_slope=slope)
        with jax.debug_nans(True):
            f(*arrays)
            jax.jit(f)(*arrays)
        checkify.checkify(f, errors=checkify.float_checks)(*arrays)[0].throw()


@pytest.mark.parametrize("name", VALUES)
def test_types_are_as_weak_as_those_of_jax(jax, name):
    theirs = {
        "clipped_relu": jax.nn.relu6,
        "squared_relu": lambda x: jax.numpy.square(jax.nn.relu(x)),
    }
    ours, theirs = getattr(relu_xp, name), theirs.get(name) or getattr(jax.nn, name)
    for x in (
        2.0,
        jax.numpy.asarray(2.0),
        jax.numpy.float32(2),
        jax.numpy.ones(2),
        jax.numpy.asarray(2) * 1.0,
    ):
        for transformed in (jax.jit, lambda f: jax.grad(lambda v: f(v).sum())):
            a, b = transformed(ours)(x), transformed(theirs)(x)
            assert (a.dtype, a.weak_type) == (b.dtype, b.weak_type)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_programs_bear_the_function_s_name(jax, name):
    text = (
        jax.jit(getattr(relu_xp, name))
        .lower(*oracle.arrays_of(name, np.ones(3, np.float32)))
        .as_text()
    )
    assert f"@jit_{name} " in text
    assert "lambda" not in text
    assert "_jitted" not in text


LEARNED = [(), (1,), (5,), (4, 1), (3, 4, 5)]


def of_slope(jax, way, x, s, g):
    """Give the gradient in the slope, taken in one of many ways."""

    def pull(x, s, g):
        return jax.vjp(relu_xp.leaky_relu, x, s)[1](g)[1]

    if way == "vmap":  # over the first axis; the gradients in one slope are added
        if s.ndim == 3:
            return jax.vmap(pull)(x, s, g)
        return jax.vmap(pull, (0, None, 0))(x, s, g).sum(0)
    if way == "scan":

        def step(total, each):
            return total + pull(each[0], s, each[1]), None

        return (
            jax.lax.scan(step, jax.numpy.zeros_like(s), (x, g))[0] if s.ndim < 3 else pull(x, s, g)
        )
    if way == "remat":
        return jax.vjp(jax.checkpoint(relu_xp.leaky_relu), x, s)[1](g)[1]
    if way == "shard_map":
        spec = jax.sharding.PartitionSpec
        mesh = jax.sharding.Mesh(jax.devices()[:1], ("a",))
        shard_map = (
            jax.shard_map
            if hasattr(jax, "shard_map")
            else pytest.skip("this JAX has no jax.shard_map")
        )
        whole = spec("a") if s.ndim == 3 else spec()
        f = shard_map(
            relu_xp.leaky_relu, mesh=mesh, in_specs=(spec("a"), whole), out_specs=spec("a")
        )
        return jax.vjp(f, x, s)[1](g)[1]
    return (jax.jit(pull) if way == "jit" else pull)(x, s, g)


@pytest.mark.parametrize("way", ["eager", "jit", "vmap", "scan", "remat", "shard_map"])
@pytest.mark.parametrize("shape", LEARNED, ids=str)
def test_a_learned_slope_in_every_mode(jax, way, shape):
    rng = np.random.default_rng(0)  # whole numbers: their sums are exact in any order
    x, g, s = (
        rng.integers(-8, 9, size).astype(np.float32) for size in ((3, 4, 5), (3, 4, 5), shape)
    )
    want = oracle.expected("leaky_relu_slope_vjp", (x, g))
    while want.ndim > len(shape):
        want = want.sum(0)
    want = want.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
    got = np.asarray(of_slope(jax, way, *map(jax.numpy.asarray, (x, s, g))))
    assert (got.shape, got.dtype) == (shape, np.float32)
    assert np.array_equal(got, want)


def test_a_parameter_of_flax(jax):
    nnx = pytest.importorskip("flax.nnx", reason="flax: not installed")
    x = jax.numpy.array([-2.0, 3.0])
    slope = nnx.Param(jax.numpy.asarray(0.25))
    assert relu_xp.leaky_relu(x, slope).tolist() == [-0.5, 3.0]
    assert jax.grad(lambda s: relu_xp.leaky_relu(x, s).sum())(slope[...]) == -2.0

    class Rectifier(nnx.Module):
        def __init__(self):
            self.slope = nnx.Param(jax.numpy.full(2, 0.25))

        def __call__(self, x):
            return relu_xp.leaky_relu(x, self.slope)

    gradients = nnx.grad(lambda model: model(x).sum())(Rectifier())
    assert np.asarray(gradients["slope"][...]).tolist() == [-2.0, 0.0]
