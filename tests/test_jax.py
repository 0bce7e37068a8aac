"""What only JAX has: transforms, tracers, learned slopes, a backward pass that keeps one byte."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._functions import FUNCTIONS

SPECIALS = [1.5, -2.0, 0.0, -0.0, np.nan, np.inf, -np.inf]


@pytest.fixture
def x(jax):
    return jax.numpy.array(SPECIALS, np.float32)


@pytest.fixture
def g(jax):
    return jax.numpy.array([-0.0, 0.0, -0.0, np.inf, np.nan, -0.0, np.inf], np.float32)


# VJPs that only compare x with numbers: one byte is kept of x, and the second derivative is 0.
COMPARING = [getattr(relu_xp, each.name) for each in oracle.RECORDS if each.only_compares_x]


def both(slope, grad_at_zero):
    """Give each value function and its VJP, with the scalars bound."""
    return oracle.rectifiers(
        negative_slope=slope, grad_at_zero=grad_at_zero, ceiling=1.5, grad_at_ceiling=grad_at_zero
    )


def assert_equal(got, want):
    """Compare bits, but not the sign of a zero: of autodiff that is not promised."""
    oracle.assert_same(np.asarray(got) + 0, want + 0)


@pytest.mark.parametrize("grad_at_zero", [1.0, 0.0, 0.5, -0.0, 2.0])
@pytest.mark.parametrize("slope", oracle.SLOPES)
def test_autodiff_equals_the_vjp(jax, x, g, slope, grad_at_zero):
    for function, vjp in both(slope, grad_at_zero):
        with np.errstate(all="ignore"):
            want = vjp(np.asarray(x), np.asarray(g))
        oracle.assert_same(np.asarray(vjp(x, g)), want)
        for f in (function, jax.jit(function)):
            assert_equal(jax.vjp(f, x)[1](g)[0], want)
            assert_equal(jax.jvp(f, (x,), (g,))[1], want)
            assert_equal(jax.linearize(f, x)[1](g), want)


def test_gradient_at_zero(jax):
    for zero in (0.0, -0.0):
        assert jax.grad(relu_xp.relu)(zero) == 1.0
        assert jax.grad(lambda x: relu_xp.relu(x, grad_at_zero=0.0))(zero) == 0.0
        assert jax.grad(lambda x: relu_xp.relu(x, grad_at_zero=0.5))(zero) == 0.5
        assert jax.grad(relu_xp.leaky_relu)(zero) == 1.0
        assert jax.grad(lambda x: relu_xp.leaky_relu(x, 0.1, grad_at_zero=0.1))(zero) == 0.1


def test_transforms_agree(jax, x):
    for function, vjp in both(0.1, 1.0):
        value = np.asarray(function(x))
        slopes = np.asarray(vjp(x, jax.numpy.ones_like(x)))
        oracle.assert_same(np.asarray(jax.jit(function)(x)), value)
        oracle.assert_same(np.asarray(jax.vmap(function)(x)), value)
        oracle.assert_same(np.asarray(jax.vmap(jax.vmap(function))(x.reshape(7, 1)))[:, 0], value)
        oracle.assert_same(np.asarray(jax.vmap(jax.grad(function))(x)), slopes)
        oracle.assert_same(np.asarray(jax.vmap(jax.value_and_grad(function))(x)[1]), slopes)
        finite = x[:4]
        for jacobian in (jax.jacfwd, jax.jacrev):
            oracle.assert_same(np.asarray(jacobian(function)(finite)).diagonal().copy(), slopes[:4])
        second = np.zeros(4) if vjp.func in COMPARING else 2 * (np.asarray(finite) > 0)
        assert np.array_equal(
            jax.hessian(lambda v, f=function: f(v).sum())(finite), np.diag(second)
        )
        assert jax.eval_shape(function, x).dtype == x.dtype
        remat = jax.checkpoint(lambda v, f=function: f(v) * 2)
        oracle.assert_same(np.asarray(jax.vmap(jax.grad(remat))(finite)), slopes[:4] * 2)


def test_control_flow(jax):
    def step(carry, _):
        carry = relu_xp.leaky_relu(carry - 1, 0.5)
        return carry, relu_xp.relu(carry)

    last, path = jax.lax.scan(step, jax.numpy.float32(2), None, length=4)
    assert (last, path.tolist()) == (-0.75, [1.0, 0.0, 0.0, 0.0])
    assert (
        jax.grad(lambda x: jax.lax.scan(step, x, None, length=4)[0])(jax.numpy.float32(2)) == 0.25
    )
    assert (
        jax.lax.while_loop(lambda v: v > 1, lambda v: relu_xp.relu(v - 1), jax.numpy.float32(2.5))
        == 0.5
    )
    for taken, want in ((True, 1.0), (False, 0.25)):
        branches = jax.grad(
            lambda x, t=taken: jax.lax.cond(
                t, relu_xp.relu, lambda v: relu_xp.leaky_relu(v, 0.25), x + 0 * t
            )
        )
        assert branches(jax.numpy.float32(-3 if not taken else 3)) == want


def test_an_infinite_input_does_not_spoil_a_constant_slope(jax):
    def loop(x):
        return jax.lax.scan(lambda c, _: (relu_xp.leaky_relu(c, 0.5), None), x, None, length=2)[
            0
        ].sum()

    assert jax.grad(loop)(jax.numpy.array([-np.inf, 1.0])).tolist() == [0.25, 1.0]


def test_slope_may_be_learned(jax, x):
    finite = x[:4]
    for slope in (0.25, jax.numpy.float32(0.25), jax.numpy.float16(0.25), jax.numpy.asarray(0.25)):
        oracle.assert_same(
            np.asarray(relu_xp.leaky_relu(finite, slope)),
            np.array([1.5, -0.5, 0, -0.0], np.float32),
        )
    assert jax.grad(lambda s: relu_xp.leaky_relu(finite, s).sum())(0.25) == -2.0
    assert jax.grad(lambda s: relu_xp.leaky_relu_grad(finite, s).sum())(0.25) == 1.0
    assert jax.grad(lambda s: relu_xp.leaky_relu_vjp(finite, finite, s).sum())(0.25) == -2.0
    both_at_once = jax.grad(lambda x, s: relu_xp.leaky_relu(x, s).sum(), argnums=(0, 1))(
        finite, 0.25
    )
    assert [np.asarray(d).tolist() for d in both_at_once] == [[1.0, 0.25, 1.0, 1.0], -2.0]
    mixed = jax.jacfwd(jax.grad(lambda x, s: relu_xp.leaky_relu(x, s).sum()), argnums=1)(
        finite, 0.25
    )
    assert mixed.tolist() == [0.0, 1.0, 0.0, 0.0]
    oracle.assert_same(
        np.asarray(jax.vmap(relu_xp.leaky_relu, (None, 0))(finite[1], jax.numpy.array([0.5, 2.0]))),
        np.array([-1, -4], np.float32),
    )


@pytest.mark.parametrize("cotangent", [np.inf, np.nan])
def test_no_cotangent_of_an_active_unit_spoils_a_learned_slope(jax, cotangent):
    pull = jax.vjp(lambda s: relu_xp.leaky_relu(jax.numpy.array([1.0, -2.0]), s), 0.25)[1]
    assert pull(jax.numpy.array([cotangent, 1.0]))[0] == -2.0


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16], ids=str)
def test_products_are_rounded_where_they_are_fused(jax, dtype):
    x = np.random.default_rng(0).normal(size=1000).astype(dtype)
    g = np.random.default_rng(1).normal(size=1000).astype(dtype)
    for function, vjp in both(0.01, 0.3):
        value = (function(x), lambda x, g, f=function: f(x))
        pulled = (vjp(x, g), lambda x, g, f=vjp: f(x, g))
        by_autodiff = (vjp(x, g), lambda x, g, f=function: jax.vjp(f, x)[1](g)[0])
        by_forward = (vjp(x, g), lambda x, g, f=function: jax.jvp(f, (x,), (g,))[1])
        for want, compute in (value, pulled, by_autodiff, by_forward):
            fused = jax.jit(lambda x, g, f=compute: f(x * 1, g * 1).astype(np.float32) * 3)
            oracle.assert_same(np.asarray(fused(x, g)), want.astype(np.float32) * 3)


@pytest.mark.parametrize("name", oracle.SLOPED)
@pytest.mark.parametrize("dtype", [*oracle.FLOATS[:2], np.dtype(np.float32)], ids=str)
def test_a_slope_in_an_array_is_rounded_to_the_dtype_of_x(jax, name, dtype):
    x = np.linspace(-4, -0.1, 400).astype(dtype)
    arrays = oracle.arrays_of(name, x)
    want = oracle.expected(name, arrays, 0.1, 1.0)
    function = getattr(relu_xp, name)
    for slope in (jax.numpy.float32(0.1), jax.numpy.asarray(0.1)):
        for call in (function, jax.jit(function)):
            oracle.assert_same(np.asarray(call(*map(jax.numpy.asarray, arrays), slope)), want)


def test_without_jit(jax, x):
    for dtype in (jax.numpy.bfloat16, np.float16, np.float32, np.float64):
        few = jax.numpy.asarray(x, dtype)
        for name in oracle.FUNCTIONS:
            arrays = oracle.arrays_of(name, few)
            with jax.disable_jit():
                plain = getattr(relu_xp, name)(*arrays)
            assert plain.dtype == dtype
            oracle.assert_same(np.asarray(plain), np.asarray(getattr(relu_xp, name)(*arrays)))


def test_without_x64(jax):
    pytest.importorskip("rich", reason="rich: not installed")
    command = [
        sys.executable,
        "-m",
        "relu_xp",
        "verify",
        "--quick",
        "--backend",
        "jax",
        "--dtype",
        "float32",
        "bfloat16",
        "--function",
        "relu",
        "leaky_relu_vjp",
    ]
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("function", oracle.SLOPED)
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (lambda jnp: jnp.ones(2), ValueError, r"broadcast to the shape of x, \(7,\), got \(2,\)"),
        (lambda jnp: jnp.asarray(True), TypeError, "have a real floating dtype, got bool"),
        (lambda jnp: jnp.asarray(1j), TypeError, "have a real floating dtype, got complex"),
    ],
)
def test_array_that_is_no_slope(jax, x, function, bad, error, words):
    with pytest.raises(error, match=rf"relu_xp\.{function}: negative_slope must (be )?{words}"):
        oracle.call(function, x, x, negative_slope=bad(jax.numpy))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 4, 5)])
@pytest.mark.parametrize("function", oracle.SLOPED)
def test_a_slope_may_be_an_array(jax, function, shape):
    rng = np.random.default_rng(0)
    x, g, s = (rng.normal(size=size).astype(np.float32) for size in ((3, 4, 5), (3, 4, 5), shape))
    want = oracle.call(function, x, g, negative_slope=s)
    for call in (oracle.call, jax.jit(oracle.call, static_argnums=0)):
        oracle.assert_same(
            np.asarray(
                call(function, *map(jax.numpy.asarray, (x, g)), negative_slope=jax.numpy.asarray(s))
            ),
            want,
        )


@pytest.mark.parametrize("shape", [(), (5,), (4, 1)])
def test_the_gradient_in_a_slope_has_its_shape(jax, shape):
    rng = np.random.default_rng(0)
    x, s = (
        jax.numpy.asarray(rng.integers(-4, 5, size).astype(np.float32))
        for size in ((3, 4, 5), shape)
    )
    got = jax.jit(jax.grad(lambda s: relu_xp.leaky_relu(x, s).sum()))(s)
    axes = tuple(i for i in range(3) if i < 3 - len(shape) or shape[i - 3 + len(shape)] == 1)
    want = np.minimum(np.asarray(x), 0).sum(axes).reshape(shape)
    oracle.assert_same(np.asarray(got), want)


def test_a_learned_slope_with_an_array_of_numpy_is_told_to_move_that(jax):
    x = np.ones(3, np.float32)
    with pytest.raises(TypeError, match=r"negative_slope .* make x an array of the library of"):
        jax.jit(lambda slope: relu_xp.leaky_relu(x, slope))(0.1)
    # A number that may be no array gets no such advice.
    text = r"grad_at_zero must be a real number, got .*Tracer; pass a Python float\n"
    with pytest.raises(TypeError, match=text):
        jax.jit(lambda z: relu_xp.relu(x, grad_at_zero=z))(0.1)


NUMBERS = [
    (str(each), number.name)
    for each in oracle.RECORDS
    for number in each.parameters
    if not number.may_be_array
]


@pytest.mark.parametrize(("name", "number"), NUMBERS)
def test_all_numbers_but_a_slope_are_static(jax, x, name, number):
    with pytest.raises(
        TypeError, match=rf"relu_xp\.{name}: {number} must be a Python float, got a JAX array"
    ):
        oracle.call(name, x, **{number: jax.numpy.asarray(0.5)})


@pytest.mark.parametrize("grad_at_zero", [1.0, 0.0, 0.5, 0.01])
def test_backward_pass_keeps_one_byte_an_element(jax, grad_at_zero):
    x = jax.numpy.ones(1000, np.float32)
    for function, vjp in both(0.01, grad_at_zero):
        kept = jax.tree.leaves(jax.vjp(function, x)[1])
        each = 1 if vjp.func in COMPARING else x.itemsize
        assert sum(leaf.nbytes for leaf in kept) <= 1000 * each + 8  # 8 for a slope


@pytest.fixture
def compiled(jax):
    """List an event for each program that XLA compiles during the test."""
    found = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    if hasattr(jax.monitoring, "unregister_event_duration_listener"):  # older JAX lacks it
        jax.monitoring.unregister_event_duration_listener(listen)


WITH_NUMBERS = [
    (record.name, number.name) for record in oracle.RECORDS for number in record.parameters
]


@pytest.mark.parametrize("way", ["eager", "grad", "vmap", "jvp"])
@pytest.mark.parametrize(("name", "number"), WITH_NUMBERS)
def test_a_new_number_compiles_nothing(jax, x, g, compiled, name, number, way):
    ways = {
        "eager": lambda f: f(x),
        "grad": lambda f: jax.grad(lambda x: f(x).sum())(x),
        "vmap": lambda f: jax.vmap(f)(x) if "cotangent" not in FUNCTIONS[name].arrays else f(x),
        "jvp": lambda f: jax.jvp(f, (x,), (g,)),
    }

    def run(value):
        others = (g,) * (len(FUNCTIONS[name].arrays) - 1)
        jax.block_until_ready(
            ways[way](lambda x: getattr(relu_xp, name)(x, *others, **{number: value}))
        )

    run(0.3)
    run(0.4)
    before = len(compiled)
    for value in (0.25, 0.625, 0.7, 1.5, np.float32(0.8), 3):
        run(value)
    assert len(compiled) == before
    relu_xp._plans.forget()
    run(0.3)
    assert (
        len(compiled) == before
    )  # a program depends on which scalars are arguments, not on their values


def test_ever_new_numbers_do_not_fill_the_memory(jax, x):
    from relu_xp._backends import jax as backend

    programs = backend._program.cache_info().currsize
    for i in range(3 * relu_xp._plans.MOST):
        relu_xp.leaky_relu_vjp(x, x, 0.1 + i / 1024, grad_at_zero=0.75)
    assert len(backend._plans) <= relu_xp._plans.MOST
    assert backend._program.cache_info().currsize <= programs + 1


def test_a_result_does_not_hang_on_the_calls_before(jax):
    strong, weak = jax.numpy.float32(-2), jax.numpy.asarray(-2.0)
    assert weak.weak_type
    for i, order in enumerate([(strong, weak), (weak, strong)] * 2):
        for record in oracle.RECORDS:
            scalars = {each.name: 0.3 + 0.01 * (i % 2) for each in record.parameters}
            for x in order:
                results = [
                    getattr(relu_xp, record.name)(*[x] * len(record.arrays), **scalars)
                    for _ in range(3)
                ]
                assert {(each.dtype, each.weak_type) for each in results} == {
                    (x.dtype, x.weak_type)
                }, record.name


def test_zeros_of_both_signs_are_two_numbers(jax):
    x, g = jax.numpy.array([0.0, -1.0]), jax.numpy.array([1.0, 1.0])
    for zero in (0.0, -0.0) * 2:
        oracle.assert_same(
            np.asarray(relu_xp.relu_grad(x, grad_at_zero=zero)), np.array([zero, 0.0])
        )
        oracle.assert_same(np.asarray(relu_xp.leaky_relu_grad(x, zero)), np.array([1.0, zero]))
        oracle.assert_same(
            np.asarray(relu_xp.leaky_relu_vjp(x, g, zero, grad_at_zero=zero)), np.array([0.0, zero])
        )


@pytest.mark.parametrize("name", oracle.FUNCTIONS)
def test_a_call_like_one_before_takes_few_frames(jax, x, g, name):
    """At most five frames of relu_xp: the function, the dispatcher, the backend, `bits` twice."""
    record = FUNCTIONS[name]
    settings = [
        {each.name: value or each.default * each.above_zero for each in record.parameters}
        for value in (0.0, 0.5)
    ]
    if name in oracle.SLOPED:
        settings.append({"negative_slope": jax.numpy.full_like(x, 0.5)})
    for scalars in settings:
        frames = []

        def note(frame, event, _, frames=frames):
            if event == "call" and frame.f_globals["__name__"].startswith("relu_xp"):
                frames.append(frame.f_code.co_name)

        def run(scalars=scalars):
            getattr(relu_xp, name)(*oracle.arrays_of(name, x, g), **scalars)

        run()
        sys.setprofile(note)
        try:
            run()
        finally:
            sys.setprofile(None)
        assert len(frames) <= 5, frames


def test_weak_types_and_integers(jax):
    assert relu_xp.relu(jax.numpy.array([1, -2], np.int8)).tolist() == [1, 0]
    assert jax.jit(relu_xp.relu)(jax.numpy.array([1, 2], np.uint16)).tolist() == [1, 2]
    assert relu_xp.relu(jax.numpy.array([1, -2], jax.numpy.int4)).dtype == jax.numpy.int4
    weak = jax.jit(relu_xp.relu)(2.0)
    assert weak.weak_type
    assert (weak + jax.numpy.float16(1)).dtype == np.float16


def test_strict_modes(jax, x):
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.check_tracer_leaks(),
    ):
        for dtype in (jax.numpy.bfloat16, np.float16, np.float32):
            for function, _ in both(0.1, 0.5):
                assert (
                    jax.vjp(jax.jit(function), x.astype(dtype))[1](x.astype(dtype))[0].dtype
                    == dtype
                )


def test_pytrees(jax, x):
    tree = {"a": x[:2], "b": (x[:1],)}
    assert jax.tree.map(relu_xp.relu, tree)["b"][0].tolist() == [1.5]


@pytest.mark.parametrize("name", [n for n in dir(ml_dtypes) if n.startswith("float8")])
def test_float8(jax, name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    bits = oracle.patterns(dtype)
    x = jax.numpy.asarray(bits)
    if name == "float8_e8m0fnu":
        with pytest.raises(TypeError, match=r"got float8_e8m0fnu; cast it first"):
            relu_xp.relu(x)
        return
    for function in oracle.FUNCTIONS:
        arrays = oracle.arrays_of(function, bits, bits[::-1].copy())
        got = getattr(relu_xp, function)(*map(jax.numpy.asarray, arrays))
        oracle.assert_same(np.asarray(got), oracle.expected(function, arrays, 0.01, 1.0), function)


def test_random_keys_are_no_numbers(jax):
    with pytest.raises(
        TypeError,
        match=r"relu_xp\.relu: takes .*, got key<\w+>; it is a key, with which "
        r"jax\.random\.normal draws numbers",
    ):
        relu_xp.relu(jax.random.key(0))


def test_a_rectifier_without_rules_of_its_own_runs_its_formulas(jax, monkeypatch):
    """So a new function is right on JAX before anybody writes a rule for it."""
    from relu_xp import _formulas, _functions
    from relu_xp._backends import jax as backend

    z = _functions.GRAD_AT_ZERO
    value = _functions.Function("doubled_relu", "doubled_relu", "value", (), (z,))
    grad = _functions.Function("doubled_relu_grad", "doubled_relu", "grad", (z,))
    vjp = _functions.Function("doubled_relu_vjp", "doubled_relu", "vjp", (z,))
    for each in (value, grad, vjp):
        monkeypatch.setitem(_functions._FAMILIES, (each.rectifier, each.role), each)

    def doubled_grad(xp, x, z):
        return xp.where(x > 0, 2 + 0 * x, xp.where(x == 0, xp.full_like(x, z), xp.zeros_like(x)))

    def doubled_vjp(xp, x, g, z):
        return xp.where(x > 0, 2 * g, xp.where(x == 0, z * g, xp.zeros_like(g)))

    for name, formula in (
        ("doubled_relu", lambda xp, x: 2 * _formulas.relu(xp, x)),
        ("doubled_relu_grad", doubled_grad),
        ("doubled_relu_vjp", doubled_vjp),
    ):
        monkeypatch.setattr(_formulas, name, formula, raising=False)
    jnp = jax.numpy
    x = jnp.asarray([-1.0, 0.0, 3.0], jnp.float32)

    def f(x, z=1.0):
        return backend.call(value, (x,), (z,), None)

    assert f(x).tolist() == [0.0, 0.0, 6.0]
    assert jax.jit(f)(x).tolist() == [0.0, 0.0, 6.0]
    assert jax.grad(lambda x: f(x, 0.5).sum())(x).tolist() == [0.0, 0.5, 2.0]
    assert jax.jvp(f, (x,), (x + 1,))[1].tolist() == [0.0, 1.0, 8.0]
    assert backend.call(vjp, (x, x + 5), (0.25,), None).tolist() == [0.0, 1.25, 16.0]
    for z in (0.0, -0.0):
        assert np.signbit(backend.call(grad, (x,), (z,), None)[1]) == np.signbit(z)
