"""What XLA gets and what it compiles: the same operations and fusions as for jax.nn."""

import collections
import dataclasses
import functools
import re

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp._functions import FUNCTIONS

PLATFORMS = ["cpu", "cuda", "rocm", "tpu"]
X = np.array([1.5, -2.0, 0.0, -0.0, np.inf, -np.inf], np.float32)
G = np.array([2.0, np.inf, -1.0, 3.0, -0.0, np.inf], np.float32)


def call(function, slope=None, **options):
    """Give a public function as a function of its arrays only."""
    scalars = {} if slope is None or function not in oracle.SLOPED else {"negative_slope": slope}
    return lambda *arrays: getattr(relu_xp, function)(*arrays, **scalars, **options)


def arrays_for(function):
    return oracle.arrays_of(function, X, G)


def operations(text):
    """Count each StableHLO operation, without those that only shape constants."""
    counts = collections.Counter(re.findall(r"stablehlo\.(\w+)", text))
    return {
        name: n
        for name, n in counts.items()
        if name not in ("constant", "broadcast_in_dim", "convert")
    }


def fusions(jax, function, *args):
    """Count the fusions that XLA makes, and allow no custom call.

    Older versions call what runs on several threads: that is no custom call.
    """
    text = jax.jit(function).lower(*args).compile().as_text()
    assert not re.findall(r"= \S+ custom-call\(", text)
    return len(re.findall(r"= \S+ fusion\(", text))


@pytest.fixture
def export(jax):
    pytest.importorskip("flatbuffers", reason="flatbuffers: not installed")  # jax.export needs it
    from jax import export

    return export


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint16"])
def test_relu_is_one_maximum_with_zero(jax, dtype):
    text = jax.jit(relu_xp.relu).lower(jax.ShapeDtypeStruct((8,), dtype)).as_text()
    assert operations(text) == {"maximum": 1}
    assert re.search(r"stablehlo\.constant dense<0(\.0+e\+00)?> ", text)


@pytest.mark.parametrize("slope", [None, 0.25])
def test_leaky_relu_is_one_compare_multiply_and_select(jax, slope):
    text = jax.jit(call("leaky_relu", slope)).lower(X).as_text()
    assert operations(text) == {"compare": 1, "multiply": 1, "select": 1}


@pytest.mark.parametrize(
    ("function", "theirs", "scalars"),
    [
        ("relu", "relu", {"grad_at_zero": 1.0}),
        ("relu", "relu", {"grad_at_zero": 0.0}),
        ("leaky_relu", "leaky_relu", {"negative_slope": 0.2}),
        ("leaky_relu", "leaky_relu", {"negative_slope": 0.0}),
        ("leaky_relu", "leaky_relu", {"negative_slope": 0.2, "grad_at_zero": 0.2}),
        ("leaky_relu", "leaky_relu", {"negative_slope": np.full(6, 0.2, np.float32)}),
        ("clipped_relu", "relu6", {}),
    ],
)
def test_a_gradient_has_at_most_two_operations_more_than_that_of_jax_nn(
    jax, function, theirs, scalars
):
    arrays = {name: s for name, s in scalars.items() if np.ndim(s)}
    numbers = {name: s for name, s in scalars.items() if not np.ndim(s)}

    def count(f):
        def gradient(x, arrays, g):
            return jax.vjp(lambda x, arrays: f(x, **arrays), x, arrays)[1](g)

        text = jax.jit(gradient).lower(X, arrays, G).compile().as_text()
        return len(
            re.findall(
                r"= \S+ (?!parameter|constant|broadcast|tuple|fusion|call|bitcast|copy)"
                r"[a-z][\w-]*\(",
                text,
            )
        )

    numbers_of_theirs = {name: s for name, s in numbers.items() if name != "grad_at_zero"}
    ours = count(functools.partial(getattr(relu_xp, function), **numbers))
    assert 0 < ours <= count(functools.partial(getattr(jax.nn, theirs), **numbers_of_theirs)) + 2


@pytest.mark.parametrize("grad_at_zero", [1.0, 0.0, 0.5])
@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
def test_a_layer_fuses_as_with_jax_nn(jax, function, grad_at_zero):
    shapes = [(64, 128), (128, 256), (256,), (64, 256)]
    x, w, b, g = (np.ones(shape, np.float32) for shape in shapes)

    def layers(activation):
        def forward(x, w, b):
            return activation(x @ w + b)

        def backward(x, w, b, g):
            return jax.vjp(forward, x, w, b)[1](g)

        step = jax.grad(lambda x, w, b, v: (forward(x, w, b) @ v).sum(), (0, 1, 2, 3))
        return (
            fusions(jax, forward, x, w, b),
            fusions(jax, backward, x, w, b, g),
            fusions(jax, step, x, w, b, w.T),
        )

    ours = layers(call(function, grad_at_zero=grad_at_zero))
    assert ours == layers(getattr(jax.nn, function))
    assert all(ours)


@pytest.mark.parametrize("function", oracle.FUNCTIONS)
def test_exported_for_every_platform(export, function, jax):
    arrays = arrays_for(function)
    exported = export.export(jax.jit(call(function, 0.1)), platforms=PLATFORMS)(*arrays)
    assert list(exported.platforms) == PLATFORMS
    again = export.deserialize(bytearray(exported.serialize()))
    oracle.assert_same(
        np.asarray(again.call(*arrays)), oracle.expected(function, arrays, 0.1, 1.0), function
    )


def test_exported_with_its_gradient(export, jax):
    exported = export.export(jax.jit(relu_xp.leaky_relu), platforms=PLATFORMS)(X)
    again = export.deserialize(bytearray(exported.serialize(vjp_order=1)))
    pulled = jax.vjp(again.call, jax.numpy.asarray(X))[1](jax.numpy.asarray(G))[0]
    oracle.assert_same(
        np.asarray(pulled) + 0, oracle.expected("leaky_relu_vjp", (X, G), 0.01, 1.0) + 0
    )


@pytest.mark.parametrize("function", oracle.FUNCTIONS)
def test_compiled_ahead_of_time(jax, function):
    arrays = arrays_for(function)
    compiled = jax.jit(call(function)).lower(*arrays).compile()
    oracle.assert_same(
        np.asarray(compiled(*arrays)), oracle.expected(function, arrays, 0.01, 1.0), function
    )
    shape = jax.eval_shape(call(function), *arrays)
    assert (shape.shape, shape.dtype) == (X.shape, X.dtype)


@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
def test_an_argument_may_be_donated(jax, function):
    x = jax.numpy.array(X)
    at = x.unsafe_buffer_pointer()
    result = jax.jit(call(function), donate_argnums=0)(x)
    assert x.is_deleted()
    assert result.unsafe_buffer_pointer() == at


@pytest.mark.parametrize("slope", [None, 0.25])
@pytest.mark.parametrize("function", oracle.FUNCTIONS)
def test_under_a_debugger_and_guards(jax, function, slope):
    # At x = inf squared_relu_vjp gives inf * g, which is rightly NaN for g = 0: so g is 1 there.
    g = np.where(np.inf == X, np.float32(1), G)
    arrays = [jax.device_put(a) for a in oracle.arrays_of(function, X, g)]
    want = oracle.expected(function, oracle.arrays_of(function, X, g), slope or 0.01, 1.0)
    f = call(function, slope)
    with jax.debug_nans(True), jax.check_tracer_leaks():
        oracle.assert_same(np.asarray(f(*arrays)), want)  # no NaN in between either
        if FUNCTIONS[function].role == "value":
            jax.vjp(f, *arrays)[1](jax.device_put(g))
    jitted = jax.jit(f)
    with jax.transfer_guard("disallow"):
        oracle.assert_same(jax.device_get(jitted(*arrays)), want)
        if slope is None:  # eagerly JAX moves any Python number to the device
            oracle.assert_same(jax.device_get(f(*arrays)), want)


@pytest.mark.parametrize("policy", ["everything_saveable", "nothing_saveable", "dots_saveable"])
def test_checkpoint_policies(jax, policy):
    w = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
    x = np.linspace(-1, 1, 6, dtype=np.float32)

    def layer(x):
        return relu_xp.leaky_relu(x @ w, 0.25).sum()

    saved = jax.checkpoint(layer, policy=getattr(jax.checkpoint_policies, policy))
    oracle.assert_same(np.asarray(jax.grad(saved)(x)), np.asarray(jax.grad(layer)(x)))


def test_beside_custom_batching(jax):
    @jax.custom_batching.custom_vmap
    def doubled(x):
        return relu_xp.relu(x) * 2

    @doubled.def_vmap
    def rule(size, batched, x):
        return relu_xp.relu(x) * 4, batched[0]

    finite = X[:4].reshape(2, 2)
    twice = jax.vmap(lambda x: relu_xp.leaky_relu(doubled(x)))(finite)
    oracle.assert_same(
        np.asarray(twice), oracle.expected("relu", (finite,), 0, 1.0) * np.float32(4)
    )
    mapped = jax.lax.map(relu_xp.relu, finite, batch_size=1)
    oracle.assert_same(np.asarray(mapped), oracle.expected("relu", (finite,), 0, 1.0))


def test_axes_of_vmap(jax):
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)
    slopes = np.array([0.5, 2.0, -1.0], np.float32)
    rows = jax.vmap(relu_xp.leaky_relu, in_axes=(1, 0), out_axes=1)(x, slopes)
    one_by_one = [
        oracle.expected("leaky_relu", (x[:, i],), float(s), 1.0) for i, s in enumerate(slopes)
    ]
    oracle.assert_same(np.asarray(rows), np.stack(one_by_one, axis=1))
    pulled = jax.vmap(jax.vmap(relu_xp.relu_vjp), in_axes=(1, None))(
        x.reshape(2, 3, 1), x[:, :1].reshape(2, 1)
    )
    assert pulled.shape == (3, 2, 1)


def test_a_module_holds_it_as_it_is(jax):
    @functools.partial(
        jax.tree_util.register_dataclass, data_fields=["w", "slope"], meta_fields=["activation"]
    )
    @dataclasses.dataclass
    class Layer:
        w: object
        slope: object
        activation: object = relu_xp.leaky_relu

        def __call__(self, x):
            return self.activation(x @ self.w, self.slope)

    layer = Layer(np.eye(2, dtype=np.float32), np.float32(0.25))
    x = np.array([1.0, -2.0], np.float32)
    gradient = jax.jit(jax.grad(lambda layer: layer(x).sum()))(layer)
    assert gradient.slope == -2.0
    assert gradient.w.tolist() == [[1.0, 0.25], [-2.0, -0.5]]


@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
def test_a_weak_type_stays_weak(jax, function):
    weak = jax.numpy.asarray(2.0)
    assert weak.weak_type
    for f in (call(function), call(function, 0.25), jax.jit(call(function, 0.25))):
        assert f(weak).weak_type
        assert not f(jax.numpy.float32(2)).weak_type


def test_profiles_show_the_function_by_name(jax):
    for function in oracle.FUNCTIONS:
        text = str(jax.make_jaxpr(call(function, 0.1))(*arrays_for(function)))
        assert f"name={function}" in text


@pytest.mark.parametrize("function", ["relu", "leaky_relu"])
@pytest.mark.parametrize("grad_at_zero", [1.0, 0.0, 0.5])
def test_second_derivatives_are_zero(jax, function, grad_at_zero):
    f = call(function, grad_at_zero=grad_at_zero)
    for second in (jax.grad(jax.grad(f)), jax.jacfwd(jax.jacfwd(f)), jax.jacfwd(jax.grad(f))):
        for value in (*X[:4], np.float32(np.nan)):
            assert second(value) == 0
