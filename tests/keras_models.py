"""Run by test_keras.py in processes of their own, since Keras reads its backend's name once.

    python keras_models.py build FILE
    python keras_models.py load FILE

`build` makes a model of every function, compares what it computes to the bit, and saves it; trains a small model; and
tries what must be refused. `load` compares what the saved model computes.
"""

import importlib
import re
import sys

import keras
import numpy as np
import oracle
import pytest

import relu_xp

X = np.array([[1.5, -2.0, 0.0], [-0.0, 6.0, -np.inf], [np.inf, 7.0, -0.25]], np.float32)
G = np.array([[2.0, 3.0, -1.0], [5.0, np.inf, 2.0], [-3.0, 0.5, 4.0]], np.float32)
SCALARS = {"negative_slope": 0.3, "grad_at_zero": 0.5, "ceiling": 6, "grad_at_ceiling": 0.25}  # 0.3 must be rounded


def given(record):
    return {each.name: SCALARS[each.name] for each in record.parameters}


def model_of_all():
    x, g = keras.Input((3,), name="x"), keras.Input((3,), name="g")
    results = [oracle.call(record, x, g, **given(record)) for record in oracle.RECORDS]
    for result in results:
        assert isinstance(result, keras.KerasTensor)
        assert (result.shape, result.dtype) == ((None, 3), "float32")
    return keras.Model([x, g], results)


def check(model):
    for results in (model([X, G]), model.predict([X, G], verbose=0)):
        for record, result in zip(oracle.RECORDS, results, strict=True):
            want = oracle.expected(record, oracle.arrays_of(record, X, G), **given(record))
            oracle.assert_same(keras.ops.convert_to_numpy(result), want, str(record))


def train():
    """As with Keras' own function, where the two agree."""
    weights = []
    for function in (relu_xp.leaky_relu, keras.ops.leaky_relu):
        keras.utils.set_random_seed(0)
        x = keras.Input((4,))
        hidden = function(keras.layers.Dense(8)(x), negative_slope=0.25)
        model = keras.Model(x, keras.layers.Dense(1)(hidden))
        model.compile("sgd", "mse")
        data = np.random.default_rng(0).normal(size=(32, 5)).astype("float32")
        model.fit(data[:, :4], data[:, 4:], batch_size=16, verbose=0)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def refused(error, text, function, *arrays, **options):
    with pytest.raises(error, match=rf"^relu_xp\.{function.__name__}: {text}") as raised:
        function(*arrays, **options)
    return str(raised.value)


def check_refusals():
    x, half, whole = keras.Input((3,)), keras.Input((3,), dtype="float16"), keras.Input((3,), dtype="int32")
    assert relu_xp.relu(whole).dtype == "int32"
    said = refused(TypeError, "takes real floating dtypes, got int32; cast it first", relu_xp.leaky_relu, whole)
    advice = re.search(r"for example (.*)$", said)[1]
    assert relu_xp.leaky_relu(eval(advice, {"keras": keras, "x": whole})).dtype == "float32"
    refused(TypeError, "x and cotangent must have one dtype, got float32 and float16", relu_xp.relu_vjp, x, half)
    refused(ValueError, "x and cotangent must have one shape, got ", relu_xp.relu_vjp, x, keras.Input((4,)))
    refused(ValueError, "x and cotangent must have one shape, got ", relu_xp.relu_vjp, x, keras.Input((3, 1)))
    assert relu_xp.relu_vjp(x, keras.Input(batch_shape=(7, 3))).shape == (None, 3)
    refused(TypeError, "x and cotangent must come from one library, got ", relu_xp.relu_vjp, x, X)
    refused(TypeError, "a symbolic tensor of Keras cannot be written to", relu_xp.relu, x, out=x)
    refused(ValueError, "negative_slope must be finite in float16, got 100000.0", relu_xp.leaky_relu, half, 1e5)
    refused(ValueError, "ceiling must be above 0 in float32, got -1", relu_xp.clipped_relu, x, -1)
    for slope in (x, X, "1", True):
        refused(TypeError, "negative_slope must be a real number, got ", relu_xp.leaky_relu, x, slope)
    variable = keras.Variable([-1.0, 2.0])
    said = refused(
        TypeError, "x must be an array or a real number, got keras.*Variable; take what", relu_xp.relu, variable
    )
    result = relu_xp.relu(eval(re.search(r"for example (.*)$", said)[1], {"x": variable}))
    assert keras.ops.convert_to_numpy(result).tolist() == [0, 2]


def check_verifier():
    """It sees what a model's gradient is, and would see another one."""
    from relu_xp._backends.keras import Rectifier  # which `load` must not import
    from relu_xp._machine import Target
    from relu_xp.verify._autodiff import derivatives
    from relu_xp.verify._engine import Check, Tally, compare

    backend = importlib.import_module(f"relu_xp._backends.{keras.backend.backend()}")
    target = Target(keras.backend.backend(), backend, backend.devices()[0])
    value = relu_xp._functions.LEAKY_RELU

    def mismatches():
        found = []
        for case, arrays, want, call in derivatives(target, np.dtype("float32"), [value]):
            if case.kind == "autodiff: reverse, in a Keras model":
                tally = Tally()
                compare(target, case, Check(arrays, case.scalars, want, call), call(target), tally)
                found.append(tally.mismatches)
        return found

    assert mismatches() == [0, 0]
    right, Rectifier.call = Rectifier.call, lambda self, x: keras.ops.leaky_relu(x, self.scalars["negative_slope"])
    assert all(mismatches())
    Rectifier.call = right


def main(command, file):
    if command == "load":
        importlib.import_module("relu_xp.keras")  # as the page on Keras tells
        check(keras.saving.load_model(file))
        return
    model = model_of_all()
    check(model)
    assert len({operation.name for operation in model.operations}) == len(oracle.RECORDS) + 2
    model.save(file)
    check(keras.saving.load_model(file))
    check(keras.models.clone_model(model))
    train()
    check_refusals()
    check_verifier()


if __name__ == "__main__":
    main(*sys.argv[1:])
