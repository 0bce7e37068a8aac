"""TensorFlow: tapes, graphs, XLA, learned slopes, saved models, and what is refused."""

import os
import re
import subprocess
import sys

import numpy as np
import oracle
import pytest

import relu_xp

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow logs the processor's features
VALUES = np.array([1.5, -2.0, 0.0, -0.0, np.nan, np.inf, -np.inf, 6.0, 7.0, 0.25], np.float32)
X, G = np.repeat(VALUES, len(VALUES)), np.tile(VALUES, len(VALUES))
OTHERS = {"negative_slope": -0.0, "grad_at_zero": 0.5, "ceiling": 0.25, "grad_at_ceiling": -0.0}
RECTIFIERS = [each for each in oracle.RECORDS if each.role == "value"]
call = oracle.call


@pytest.fixture(scope="module")
def tf(wanted):
    return wanted("tensorflow")


def given(function, **changed):
    return {each.name: {**OTHERS, **changed}[each.name] for each in function.parameters}


def expected(function, *arrays, **scalars):
    return oracle.expected(function, oracle.arrays_of(function, *arrays), **scalars)


def assert_same_derivative(got, want):
    """Compare bits, but not the sign of a zero: of autodiff that is not promised."""
    zero = want.dtype.type(0)
    oracle.assert_same(got.numpy() + zero, want + zero)


def function(tf, f, *specs, **how):
    """Make a new tf.function, so that no test meets a graph of another."""
    return tf.function(f, autograph=False, **({"input_signature": specs} if specs else {}), **how)


@pytest.mark.parametrize("record", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["function", "jit_compile"])
def test_values_in_graphs(tf, record, dtype, compiled):
    x, g = X.astype(dtype), G.astype(dtype)
    for scalars in ({}, given(record)):
        f = function(tf, lambda x, g, s=scalars: call(record, x, g, **s), jit_compile=compiled)
        want = expected(record, x, g, **{**record.named(record.defaults), **scalars})
        oracle.assert_same(f(x, g).numpy(), want, scalars)


@pytest.mark.parametrize("record", oracle.RECORDS, ids=str)
def test_variables_and_tensors_mix(tf, record):
    want = expected(record, X, G)
    for x in (tf.Variable(X), tf.constant(X)):
        for g in (tf.Variable(G), tf.constant(G)):
            result = call(record, x, g)
            assert isinstance(result, tf.Tensor)
            oracle.assert_same(result.numpy(), want)


def test_integers_in_graphs(tf):
    for dtype in ("int8", "int64", "uint8", "uint64"):
        x = np.array([0, 1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        for compiled in (False, True):
            result = function(tf, relu_xp.relu, jit_compile=compiled)(x)
            oracle.assert_same(result.numpy(), np.maximum(x, 0))


@pytest.mark.parametrize("record", oracle.RECORDS, ids=str)
@pytest.mark.parametrize("shape", [[None], [None, None], None], ids=str)
def test_shapes_that_a_graph_does_not_know(tf, record, shape):
    spec = tf.TensorSpec(shape, tf.float32)
    f = function(tf, lambda x, g: call(record, x, g), spec, spec)
    for n in (4, 0, 100):
        x, g = (a[:n].reshape(-1, 2) if shape and len(shape) == 2 else a[:n] for a in (X, G))
        oracle.assert_same(f(x, g).numpy(), expected(record, x, g))
    if len(record.arrays) == 2:
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=f"relu_xp.{record}: x and cotangent must have the same sh",
        ):
            f(x, g[:1])


def test_shapes_that_a_graph_knows_in_part(tf):
    def traced(x, g, f=relu_xp.relu_vjp):
        return function(tf, f, tf.TensorSpec(x), tf.TensorSpec(g)).get_concrete_function()

    assert traced([None, 3], [2, None]).output_shapes.rank == 2
    traced([None, 3], None)
    for x, g in (([None, 3], [2, 4]), ([None], [None, 1])):
        with pytest.raises(
            ValueError,
            match=r"^relu_xp\.relu_vjp: x and cotangent must have the same shape, got .*None",
        ):
            traced(x, g)
    traced([None, 3], [None], relu_xp.leaky_relu)
    for x, s in (([None, 3], [4]), ([None], [None, 1])):
        with pytest.raises(
            ValueError,
            match=r"^relu_xp\.leaky_relu: negative_slope must broadcast to the shape of x",
        ):
            traced(x, s, relu_xp.leaky_relu)


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
def test_a_tape_gives_the_vjp(tf, record):
    """Of a variable: eagerly, in a graph, with an unknown shape, and compiled."""
    scalars, x = given(record), tf.Variable(X)
    vjp = record.vjp
    want = expected(vjp, X, G, **{each.name: scalars[each.name] for each in vjp.parameters})

    def step(g):
        with tf.GradientTape() as tape:
            y = call(record, x, **scalars)
        return tape.gradient(y, x, g)

    for f in (
        step,
        function(tf, step),
        function(tf, step, tf.TensorSpec([None])),
        function(tf, step, jit_compile=True),
    ):
        assert_same_derivative(f(tf.constant(G)), want)


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("how", ["eager", "graph", "compiled"])
def test_within_another_tape_too(tf, record, dtype, how):
    x, g = (tf.constant(a.astype(dtype)) for a in (X, G))

    def derivatives(x, g):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = call(record, x)
            first = tape.gradient(y, x, output_gradients=g)
        return first, outer.gradient(first, x)

    if how != "eager":
        derivatives = tf.function(derivatives, jit_compile=how == "compiled")
    first, second = derivatives(x, g)
    assert_same_derivative(first, oracle.expected(record.vjp, (x.numpy(), g.numpy())))
    want = np.where(X > 0, record.curvature * G, 0) if record.curvature else np.zeros_like(G)
    np.testing.assert_array_equal(second.numpy().astype("f4"), want)


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
def test_derivatives_of_derivatives(tf, record):
    x = tf.constant([2.0, -1.0, 0.5, 0.0])
    want = [record.curvature, 0, record.curvature, 0]

    def second(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = call(record, x)
            first = inner.gradient(y, x)
        return outer.gradient(first, x)

    def of_functions(x):
        others = [
            each
            for each in oracle.RECORDS
            if each.rectifier == record.rectifier and each.role in ("grad", "vjp")
        ]
        for each in others:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = call(each, x, tf.ones_like(x))
            yield tape.gradient(y, x)

    def third(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = second(x)
        return tape.gradient(
            y, x, unconnected_gradients="zero"
        )  # None without, as of TensorFlow's own

    for result in (second(x), function(tf, second)(x), *of_functions(x)):
        assert result.numpy().tolist() == want
    for f in (third, function(tf, third, jit_compile=True)):
        assert f(x).numpy().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("record", [each for each in oracle.RECORDS if each.role == "vjp"], ids=str)
def test_a_vjp_is_linear_in_the_cotangent(tf, record):
    """So its derivative in the cotangent is itself."""
    scalars, x, g = given(record), tf.constant(X), tf.constant(G[::-1].copy())

    def pulled(h):
        with tf.GradientTape() as tape:
            tape.watch(g)
            y = call(record, x, g, **scalars)
        return tape.gradient(y, g, h)

    want = expected(record, X, G, **scalars)
    for f in (pulled, function(tf, pulled), function(tf, pulled, jit_compile=True)):
        assert_same_derivative(f(tf.constant(G)), want)


SHAPES = [(), (4,), (3, 1), (3, 4), (1, 1)]
WHOLE, COTANGENT = np.random.default_rng(0).integers(-2, 3, (2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_that_are_learned(tf, shape, dtype):
    """The gradient has the slope's shape and dtype. Sums of whole numbers are exact."""
    numbers = np.resize(np.array([0.25, -2.0, 0.5], dtype), shape)
    products = np.where(WHOLE < 0, WHOLE * COTANGENT, 0)
    by_slope = products.sum(
        tuple(i for i in range(-2, 0) if i < -len(shape) or shape[i] == 1), keepdims=True
    )
    slope = tf.Variable(numbers)

    def step(x, g):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = relu_xp.leaky_relu(x, slope, grad_at_zero=0.5)
        return y, *tape.gradient(y, (x, slope), g)

    broadcast = np.broadcast_to(numbers.astype("f4"), WHOLE.shape)
    unknown = tf.TensorSpec(None)
    for f in (step, function(tf, step, jit_compile=True), function(tf, step, unknown, unknown)):
        y, by_x, got = f(tf.constant(WHOLE), tf.constant(COTANGENT))
        oracle.assert_same(y.numpy(), expected("leaky_relu", WHOLE, negative_slope=broadcast))
        want = expected(
            "leaky_relu_vjp", WHOLE, COTANGENT, negative_slope=broadcast, grad_at_zero=0.5
        )
        assert_same_derivative(by_x, want)
        assert (got.shape, got.dtype) == (slope.shape, slope.dtype)
        np.testing.assert_array_equal(got.numpy(), by_slope.reshape(shape))


def test_slopes_of_the_derivatives(tf):
    """A tape differentiates the derivative and the VJP in the slope too, even if that is 1 or 0."""
    x, g = tf.constant(WHOLE), tf.constant(COTANGENT)

    def step(s):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(s)
            results = (
                relu_xp.leaky_relu_grad(x, s, grad_at_zero=0.5),
                relu_xp.leaky_relu_vjp(x, g, s, grad_at_zero=0.5),
            )
        return [tape.gradient(y, s) for y in results]

    for slope in (tf.constant(1.0), tf.constant([[0.0], [1.0], [2.0]])):
        for f in (step, function(tf, step, jit_compile=True)):
            for got, factor in zip(f(slope), (np.ones_like(WHOLE), COTANGENT), strict=True):
                each = np.where(WHOLE < 0, factor, 0)
                want = each.sum(1, keepdims=True) if slope.shape.rank else each.sum()
                np.testing.assert_array_equal(got.numpy(), want)


def test_forward_in_a_slope(tf):
    """Signs of zeros are not compared: TensorFlow adds the tangent of x, so -0.0 becomes 0.0."""
    x, s, dot = tf.constant(X), tf.fill(X.shape, 0.25), tf.constant(G)
    with tf.autodiff.ForwardAccumulator(s, dot) as accumulator:
        y = relu_xp.leaky_relu(x, s)
    np.testing.assert_array_equal(
        accumulator.jvp(y).numpy(), expected("leaky_relu_slope_vjp", X, G)
    )


@pytest.mark.parametrize(
    ("slope", "error", "text"),
    [
        (
            np.ones((2, 3), np.int32),
            TypeError,
            "negative_slope must have a real floating dtype, got int32",
        ),
        (
            np.ones((2, 2), np.float32),
            ValueError,
            r"negative_slope must broadcast to the shape of x, \(2, 3\), got",
        ),
        (
            np.ones((1, 2, 3), np.float32),
            ValueError,
            r"negative_slope must broadcast .* got \(1, 2, 3\)",
        ),
    ],
)
def test_bad_slopes(tf, slope, error, text):
    for name in oracle.SLOPED:
        for held in (tf.constant(slope), tf.Variable(slope)):
            with pytest.raises(error, match=rf"^relu_xp\.{name}: {text}"):
                call(name, tf.ones((2, 3)), negative_slope=held)


def test_batches(tf):
    """vectorized_map over examples, and a tape's Jacobian of each example."""
    for record in oracle.RECORDS:
        f = lambda both, record=record: call(record, *both)  # noqa: E731
        result = tf.vectorized_map(f, (tf.constant(WHOLE), tf.constant(COTANGENT)))
        oracle.assert_same(result.numpy(), expected(record, WHOLE, COTANGENT))
    x = tf.constant([[-1.0, 2.0], [0.0, -3.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = relu_xp.leaky_relu(x, 0.5)
    assert tape.batch_jacobian(y, x).numpy().tolist() == [[[0.5, 0], [0, 1]], [[1, 0], [0, 0.5]]]


@pytest.mark.parametrize("record", oracle.RECORDS, ids=str)
def test_datasets(tf, record):
    found = tf.data.Dataset.from_tensor_slices((X, G)).batch(7).map(lambda x, g: call(record, x, g))
    got = np.concatenate([each.numpy() for each in found])
    oracle.assert_same(got, expected(record, X, G))


def test_control_flow_and_training(tf):
    """AutoGraph converts the caller's `if` and `for`; a training step is one graph."""
    slope, weight = tf.Variable(0.25), tf.Variable([2.0, -2.0])

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            y = weight * x
            if tf.reduce_sum(x) > 0:
                for _ in tf.range(2):
                    y = relu_xp.leaky_relu(y, slope)
        for variable, by in zip((weight, slope), tape.gradient(y, (weight, slope)), strict=True):
            variable.assign_sub(by)
        return y

    assert step(tf.constant([1.0, 1.0])).numpy().tolist() == [2, -0.125]
    assert weight.numpy().tolist() == [1, -2.0625]
    assert slope.numpy() == 0.25 + 2 * 0.25 * 2


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
def test_saved_models(tf, record, tmp_path):
    scalars, spec = given(record), tf.TensorSpec([None], tf.float32)
    module = tf.Module()
    module.value = function(tf, lambda x: call(record, x, **scalars), spec)
    module.vjp = function(tf, lambda x, g: call(record.vjp, x, g, **scalars), spec, spec)
    tf.saved_model.save(module, tmp_path / "saved")
    loaded, x = tf.saved_model.load(tmp_path / "saved"), tf.constant(X)
    oracle.assert_same(loaded.value(x).numpy(), expected(record, X, **scalars))
    want = expected(record.vjp, X, G, **scalars)
    oracle.assert_same(loaded.vjp(x, tf.constant(G)).numpy(), want)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loaded.value(x)
    assert_same_derivative(tape.gradient(y, x, tf.constant(G)), want)


def operators(tf, f, *specs):
    """List the operators of the LiteRT model of a function."""
    module = tf.Module()
    module.f = function(tf, f, *specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.f.get_concrete_function()], module
    )
    return [
        each["op_name"]
        for each in tf.lite.Interpreter(model_content=converter.convert())._get_ops_details()
    ]


@pytest.mark.filterwarnings("ignore:[^a-z]*Warning. tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize(
    ("f", "kernels", "converted"),
    [
        (relu_xp.relu, {"Relu"}, ["RELU"]),
        (lambda x: relu_xp.relu(x, grad_at_zero=0.0), {"Relu"}, ["RELU"]),
        (relu_xp.leaky_relu, {"LeakyRelu"}, ["LEAKY_RELU"]),
        (lambda x: relu_xp.leaky_relu(x, 2.0, grad_at_zero=0.5), {"LeakyRelu"}, ["LEAKY_RELU"]),
        (relu_xp.clipped_relu, {"Relu6"}, ["RELU6"]),
        (lambda x: relu_xp.clipped_relu(x, 2.0), {"Relu", "Minimum"}, ["RELU", "MINIMUM"]),
        (relu_xp.squared_relu, {"Relu", "Square"}, ["RELU", "SQUARE"]),
    ],
)
def test_graphs_hold_the_operators_of_tensorflow(tf, f, kernels, converted):
    spec = tf.TensorSpec([None, 3], tf.float32)
    graph = function(tf, f, spec).get_concrete_function().graph
    # The others pass tensors on, carry the rule of the derivative, or add 0 to make +0 of -0.
    others = {"Placeholder", "Const", "StridedSlice", "AddV2", "IdentityN", "Identity"}
    assert {each.type for each in graph.get_operations()} - others == kernels
    assert operators(tf, f, spec) == converted


LENGTHS = {
    "eager": (1, 3, 4, 7, 8, 15, 16, 17, 33, 48, 1000, 70000),
    "function": (1, 7, 16, 33, 70000),
}


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
@pytest.mark.parametrize("how", ["eager", "function", "jit_compile"])
def test_zeros_have_no_sign_at_any_length(tf, dtype, how):
    """TensorFlow's own functions keep -0 among elements that do not fill a vector register."""
    for f in (
        relu_xp.relu,
        relu_xp.clipped_relu,
        lambda x: relu_xp.clipped_relu(x, 2.0),
        relu_xp.squared_relu,
    ):
        run = (
            f
            if how == "eager"
            else function(tf, f, tf.TensorSpec([None], dtype), jit_compile=how == "jit_compile")
        )
        for n in LENGTHS.get(how, (7, 16)):
            for x in (np.full(n, -0.0, dtype), np.resize(np.array([-0.0, 1], dtype), n)):
                result = run(tf.constant(x)).numpy()
                assert not np.signbit(result).any(), n
                assert result.sum() == x.sum()


@pytest.mark.parametrize("dtype", oracle.FLOATS, ids=str)
def test_slopes_that_the_kernel_cannot_hold(tf, dtype):
    """Slopes that are negative, -0.0, or no normal float32, each after a similar one."""
    slopes = [0.0, -0.0, 0.1, 1.0, -1.0, 3.0, 0.0]
    slopes += [1e300, 2.0**-140, float(np.float32(0.1))] if np.dtype(dtype).itemsize == 8 else []
    x, g = X.astype(dtype), G.astype(dtype)
    for s in slopes:
        for z in (1.0, s):
            for record in (r for r in oracle.RECORDS if r.name in oracle.SLOPED):
                scalars = {"negative_slope": s, "grad_at_zero": z}
                for _ in range(2):  # the second call finds a plan
                    result = call(record, tf.constant(x), tf.constant(g), **scalars)
                    oracle.assert_same(result.numpy(), expected(record, x, g, **scalars), (s, z))


def test_what_is_known_of_a_call_is_not_taken_for_another(tf):
    x, g = tf.constant(X), tf.constant(G)
    for record in (each for each in oracle.RECORDS if len(each.arrays) == 2):
        for _ in range(2):
            oracle.assert_same(call(record, x, g).numpy(), expected(record, X, G))
        for other, error in (
            (tf.cast(g, "float64"), TypeError),
            (g[1:], ValueError),
            (g[None], ValueError),
        ):
            with pytest.raises(error, match=rf"^relu_xp\.{record}: x and cotangent must"):
                call(record, x, other)
        with pytest.raises(TypeError, match="cannot be written to"):
            call(record, x, g, out=x)


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
def test_forward_accumulators(tf, record):
    """Also within a tape, which differentiates their tangents."""
    scalars, x, dot = given(record), tf.constant(X), tf.constant(G)
    want = expected(record.vjp, X, G, **scalars)
    with tf.GradientTape() as tape:
        tape.watch(dot)
        with tf.autodiff.ForwardAccumulator(x, dot) as accumulator:
            y = call(record, x, **scalars)
        forward = accumulator.jvp(y)
    assert_same_derivative(forward, want)
    assert_same_derivative(tape.gradient(forward, dot, dot), want)


@pytest.mark.parametrize("record", RECTIFIERS, ids=str)
def test_a_graph_of_the_first_tensorflow(tf, record):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, X.shape)
        y = call(record, x)
        (by_x,) = tf.gradients(y, x, tf.constant(G))
        value, derivative = session.run([y, tf.identity(by_x)], {x: X})
    oracle.assert_same(value, expected(record, X))
    oracle.assert_same(derivative + np.float32(0), expected(record.vjp, X, G) + np.float32(0))


def test_subnormals_are_flushed_or_kept(tf):
    """A float32 subnormal is kept or becomes 0. One of float16 is always kept."""
    tiny = np.array([1e-40, -1e-40, 1e-45, -1e-45], np.float32)
    result = relu_xp.leaky_relu(tf.constant(tiny), 0.5).numpy()
    assert (np.abs(result) <= np.abs(tiny)).all()
    assert (np.signbit(result) == np.signbit(tiny)).all()
    half = np.array([6e-8, -6e-8, 1e-5], np.float16)
    oracle.assert_same(
        relu_xp.leaky_relu(tf.constant(half), 0.5).numpy(),
        expected("leaky_relu", half, None, negative_slope=0.5),
    )


def test_out_is_refused_with_what_to_do(tf):
    for record in oracle.RECORDS:
        x, g, out = tf.constant(X), tf.constant(G), tf.Variable(X)
        with pytest.raises(
            TypeError, match=rf"^relu_xp\.{record}: a TensorFlow tensor cannot be written to; leave"
        ):
            call(record, x, g, out=x)
        with pytest.raises(
            TypeError, match=rf"^relu_xp\.{record}: a TensorFlow variable .* use out\.assign"
        ):
            call(record, x, g, out=out)
        out.assign(call(record, x, g))
        oracle.assert_same(out.numpy(), expected(record, X, G))


def test_advice_for_what_is_no_dense_tensor(tf):
    """Each piece of advice, when followed, computes."""
    ragged = tf.ragged.constant([[1.0, -2.0], [-3.0]])
    sparse = tf.sparse.from_dense([[1.0, 0.0, -2.0]])
    slices = tf.IndexedSlices(tf.constant([[1.0, -1.0]]), tf.constant([0]), tf.constant([2, 2]))
    kinds = [
        tf.constant([[-1, 2]]),
        tf.constant([[True]]),
        tf.constant([["1.5"]]),
        tf.constant([[1j]]),
    ]
    for x in (ragged, sparse, slices, *kinds):
        for record in oracle.RECORDS:
            if record.takes_integers and x is kinds[0]:
                continue
            with pytest.raises(TypeError, match=rf"^relu_xp\.{record}: ") as raised:
                call(record, x)
            advice = re.search(r"(?:, for example|; take) (.*?)(?:, or .*)?$", str(raised.value))[1]
            result = eval(advice, {"tensorflow": tf, "x": x, "cotangent": x, "relu_xp": relu_xp})
            if x is not ragged:
                result = call(record, result)
            assert result.shape[0] == x.shape[0]


def test_a_first_call_within_a_function_warns_of_nothing(tf):
    """AutoGraph warns of called code that it cannot convert; it must not meet relu_xp's imports."""
    code = (
        "import tensorflow as tf, relu_xp\n"
        "f = tf.function(lambda x: relu_xp.leaky_relu(x))\n"
        "print(f(tf.constant([-1.0, 2.0])).numpy().tolist())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("[-0.00999")
    assert "AutoGraph" not in ran.stderr
