"""What only TensorFlow has: tapes, graphs, XLA, variables, sizes nobody knows yet, pipelines, and saved models."""

import re

import numpy as np
import oracle
import pytest

import relu_xp

X = np.array([1.5, -2.0, 0.0, -0.0, np.nan, np.inf, -np.inf, 6.0, 7.0], np.float32)
G = np.array([2.0, -0.0, 3.0, np.inf, 1.0, -1.0, 0.5, -4.0, -0.0], np.float32)
VALUES = [each for each in oracle.RECORDS if each.role == "value"]
VJPS = [each for each in oracle.RECORDS if len(each.arrays) == 2]
call = oracle.call


@pytest.fixture(scope="module")
def tf(wanted):
    return wanted("tensorflow")


@pytest.mark.parametrize("function", VALUES, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("how", ["eager", "graph", "compiled"])
def test_the_tape_gives_the_vjp(tf, function, dtype, how):
    x, g = (tf.constant(a.astype(tf.as_dtype(dtype).as_numpy_dtype)) for a in (X, G))

    def derivatives(x, g):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = call(function, x)
            first = tape.gradient(y, x, output_gradients=g)
        return first, outer.gradient(first, x)

    if how != "eager":
        derivatives = tf.function(derivatives, jit_compile=how == "compiled")
    first, second = derivatives(x, g)
    oracle.assert_same(first.numpy(), oracle.expected(function.vjp, (x.numpy(), g.numpy())))
    want = np.where(X > 0, 2 * G, 0) if function.degree == 2 else np.zeros_like(X)
    np.testing.assert_array_equal(second.numpy().astype("f4"), want)


@pytest.mark.parametrize("function", VJPS, ids=str)
def test_vjps_have_derivatives_too(tf, function):
    """They are linear in the cotangent."""
    x, g = tf.constant(X), tf.constant(G)
    with tf.GradientTape() as tape:
        tape.watch(g)
        y = call(function, x, g)
    pulled = tape.gradient(y, g, output_gradients=tf.constant(G[::-1].copy()))
    oracle.assert_same(pulled.numpy(), oracle.expected(function, (X, G[::-1])))


@pytest.mark.parametrize("how", ["eager", "graph", "compiled"])
@pytest.mark.parametrize("shape", [(), (9,), (2, 1), (2, 9)])
def test_slopes_are_learned(tf, how, shape):
    """One for all, a column, a row or an element; NaN and infinities apart, which have no exact sums."""
    exact = np.where(np.isfinite(X) & np.isfinite(G), 1, 0)
    x, g = (np.where(exact, np.nan_to_num(a), 0).astype("f4") * [[1], [2]] for a in (X, G))
    x, g = x.astype("f4"), g.astype("f4")
    slope = np.resize(np.array([0.5, -2.0], np.float32), shape)

    def gradients(x, slope, g):
        with tf.GradientTape() as tape:
            tape.watch([x, slope])
            y = relu_xp.leaky_relu(x, slope)
        return y, *tape.gradient(y, [x, slope], output_gradients=g)

    if how != "eager":
        spec = [tf.TensorSpec([None, 9] if how == "graph" else a.shape, tf.float32) for a in (x, slope, g)]
        spec[1] = tf.TensorSpec(shape, tf.float32)
        gradients = tf.function(gradients, jit_compile=how == "compiled", input_signature=spec)
    y, by_x, by_slope = gradients(*map(tf.constant, (x, slope, g)))
    full = np.broadcast_to(slope, x.shape)
    oracle.assert_same(y.numpy(), oracle.expected("leaky_relu", (x,), full))
    oracle.assert_same(by_x.numpy(), oracle.expected("leaky_relu_vjp", (x, g), full))
    products = oracle.expected("leaky_relu_slope_vjp", (x, g))
    axes = tuple(i for i, n in enumerate((1,) * (2 - len(shape)) + shape) if n == 1)
    np.testing.assert_array_equal(by_slope.numpy(), products.sum(axes).reshape(shape))


def test_a_variable_is_a_slope(tf):
    slope, x = tf.Variable([0.5]), tf.constant([-2.0, 4.0, -1.0])
    for function in oracle.RECORDS:
        if any(each.may_be_array for each in function.scalars):
            with tf.GradientTape() as tape:
                y = call(function, x, x, negative_slope=slope)
            whole = oracle.arrays_of(function, x.numpy(), x.numpy())
            oracle.assert_same(y.numpy(), oracle.expected(function, whole, 0.5))
            factor = {"value": x, "grad": tf.ones_like(x), "vjp": x}[function.role].numpy()
            assert tape.gradient(y, slope).numpy().tolist() == [factor[[0, 2]].sum()]


def test_variables(tf):
    x = tf.Variable(X)
    with tf.GradientTape() as tape:
        y = relu_xp.leaky_relu(x, 0.25)
    oracle.assert_same(y.numpy(), oracle.expected("leaky_relu", (X,), 0.25))
    oracle.assert_same(tape.gradient(y, x).numpy(), oracle.expected("leaky_relu_grad", (X,), 0.25))
    oracle.assert_same(relu_xp.relu_vjp(x, tf.constant(G)).numpy(), oracle.expected("relu_vjp", (X, G)))


def test_sizes_that_are_not_known(tf):
    spec = tf.TensorSpec([None], tf.float32), tf.TensorSpec(None, tf.float32)
    graph = tf.function(relu_xp.relu_vjp, input_signature=spec)
    oracle.assert_same(graph(X, G).numpy(), oracle.expected("relu_vjp", (X, G)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"relu_xp\.relu_vjp: x and cotangent must have one shape"):
        graph(X, G[:1])


def test_pipelines_and_saved_models(tf, tmp_path):
    held = np.stack([X, G])
    pipeline = tf.data.Dataset.from_tensor_slices(held).map(relu_xp.relu)
    oracle.assert_same(np.stack(list(pipeline.as_numpy_iterator())), oracle.expected("relu", (held,)))

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x):
            return relu_xp.leaky_relu(x, -0.5)

    tf.saved_model.save(Model(), str(tmp_path))
    loaded, x = tf.saved_model.load(str(tmp_path)), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loaded(x)
    oracle.assert_same(y.numpy(), oracle.expected("leaky_relu", (X,), -0.5))
    gradient = tape.gradient(y, x, output_gradients=tf.constant(G))
    oracle.assert_same(gradient.numpy(), oracle.expected("leaky_relu_vjp", (X, G), -0.5))


def test_bad_input(tf):
    x = tf.constant(X)
    for made in (tf.ragged.constant([[1.0, -2.0], [3.0]]), tf.sparse.from_dense([[0.0, -1.0]])):
        with pytest.raises(TypeError, match=r"^relu_xp\.relu: x must be an array .*Tensor; convert it fi") as raised:
            relu_xp.relu(made)
        advice = re.search(r"for example (.*)$", str(raised.value))[1]
        assert relu_xp.relu(eval(advice, {"x": made, "tensorflow": tf})).numpy().min() == 0
    with pytest.raises(TypeError, match=r"takes real floating dtypes, got int32; cast it first, for ex") as raised:
        relu_xp.leaky_relu(tf.constant([1, -2]))
    advice = re.search(r"for example (.*)$", str(raised.value))[1]
    assert relu_xp.leaky_relu(eval(advice, {"x": tf.constant([1, -2]), "tensorflow": tf}), 0.5).numpy().tolist() == [
        1,
        -1,
    ]
    with pytest.raises(TypeError, match=r"^relu_xp\.relu: a TensorFlow tensor cannot be written to"):
        relu_xp.relu(x, out=tf.Variable(X))
    with pytest.raises(TypeError, match=r"^relu_xp\.leaky_relu: negative_slope must be a real number, got numpy"):
        relu_xp.leaky_relu(x, X)
