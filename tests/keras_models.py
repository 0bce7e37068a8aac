"""Run by test_keras.py in processes of their own, since Keras reads its backend's name once.

    python keras_models.py build FILE
    python keras_models.py rebuild FILE
    python keras_models.py load FILE

`build` makes a model of every function, compares what it computes to the bit, and saves it; trains
a small model; and tries what must be refused. `rebuild` has Keras make layers and models with the
functions as activations again, in all its ways, and saves one. `load` compares what the model that
`build` saved computes.
"""

import copy
import functools
import importlib
import json
import math
import pickle
import re
import sys
from pathlib import Path

import keras
import numpy as np
import oracle
import pytest

import relu_xp

X = np.array([[1.5, -2.0, 0.0], [-0.0, 6.0, -np.inf], [np.inf, 7.0, -0.25]], np.float32)
G = np.array([[2.0, 3.0, -1.0], [5.0, np.inf, 2.0], [-3.0, 0.5, 4.0]], np.float32)
# 0.3 is not exact in float32, so it must be rounded.
SCALARS = {"negative_slope": 0.3, "grad_at_zero": 0.5, "ceiling": 6, "grad_at_ceiling": 0.25}


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
    """Training gives the weights that Keras' own function gives, for x that is never 0."""
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
    x, half, whole = (
        keras.Input((3,)),
        keras.Input((3,), dtype="float16"),
        keras.Input((3,), dtype="int32"),
    )
    assert relu_xp.relu(whole).dtype == "int32"
    said = refused(
        TypeError, "takes real floating dtypes, got int32; cast it first", relu_xp.leaky_relu, whole
    )
    advice = re.search(r"for example (.*)$", said)[1]
    assert relu_xp.leaky_relu(eval(advice, {"keras": keras, "x": whole})).dtype == "float32"
    refused(
        TypeError,
        "x and cotangent must have the same dtype, got float32 and float16",
        relu_xp.relu_vjp,
        x,
        half,
    )
    refused(
        ValueError,
        "x and cotangent must have the same shape, got ",
        relu_xp.relu_vjp,
        x,
        keras.Input((4,)),
    )
    refused(
        ValueError,
        "x and cotangent must have the same shape, got ",
        relu_xp.relu_vjp,
        x,
        keras.Input((3, 1)),
    )
    assert relu_xp.relu_vjp(x, keras.Input(batch_shape=(7, 3))).shape == (None, 3)
    refused(
        TypeError, "x and cotangent must come from the same library, got ", relu_xp.relu_vjp, x, X
    )
    refused(TypeError, "a symbolic tensor of Keras cannot be written to", relu_xp.relu, x, out=x)
    refused(
        ValueError,
        "negative_slope must be finite in float16, got 100000.0",
        relu_xp.leaky_relu,
        half,
        1e5,
    )
    refused(ValueError, "ceiling must be above 0 in float32, got -1", relu_xp.clipped_relu, x, -1)
    for slope in (x, X, "1", True):
        refused(
            TypeError, "negative_slope must be a real number, got ", relu_xp.leaky_relu, x, slope
        )
    variable = keras.Variable([-1.0, 2.0])
    said = refused(
        TypeError,
        "x must be an array or a real number, got keras.*Variable; take what",
        relu_xp.relu,
        variable,
    )
    result = relu_xp.relu(eval(re.search(r"for example (.*)$", said)[1], {"x": variable}))
    assert keras.ops.convert_to_numpy(result).tolist() == [0, 2]
    x = keras.ops.convert_to_tensor([-1.0, 2.0])
    for slope in (keras.Variable(0.5), keras.Variable([0.5, 0.25])):
        try:
            result = relu_xp.leaky_relu(x, slope)
        except TypeError as error:  # Keras on JAX takes a variable for an array
            advice = re.search(r"for example (.*)$", str(error))[1]
            result = relu_xp.leaky_relu(x, eval(advice, {"negative_slope": slope}))
        assert keras.ops.convert_to_numpy(result).tolist() == [-0.5, 2]


def check_verifier():
    """The verifier finds a model's gradient right, and finds a wrong one wrong."""
    from relu_xp._backends.keras import Rectifier  # late: `load` must not import it
    from relu_xp._survey import Target
    from relu_xp.verify._autodiff import derivatives
    from relu_xp.verify._engine import Check, Tally, compare

    backend = importlib.import_module(f"relu_xp._backends.{keras.backend.backend()}")
    target = Target(keras.backend.backend(), backend, backend.devices()[0])
    value = relu_xp._functions.LEAKY_RELU

    def mismatches():
        found = []
        for case, arrays, want, call in derivatives(target, np.dtype("float32"), [value]):
            if case.kind.name == "reverse, in a Keras model":
                tally = Tally()
                compare(target, case, Check(arrays, case.scalars, want, call), call(target), tally)
                found.append(tally.mismatches)
        return found

    assert mismatches() == [0, 0]
    right, Rectifier.call = (
        Rectifier.call,
        lambda self, x: 2 * keras.ops.leaky_relu(x, self.scalars["negative_slope"]),
    )
    assert all(mismatches())
    Rectifier.call = right


LAYERS = {
    "Activation": lambda f: keras.layers.Activation(f),
    "Dense": lambda f: keras.layers.Dense(2, activation=f),
    "Conv1D": lambda f: keras.layers.Conv1D(2, 1, activation=f),
    "EinsumDense": lambda f: keras.layers.EinsumDense("abc,cd->abd", (None, 2), activation=f),
    "Lambda": lambda f: keras.layers.Lambda(f),
    "LSTM": lambda f: keras.layers.LSTM(2, activation=f, recurrent_activation=f),
    "RNN": lambda f: keras.layers.RNN(keras.layers.GRUCell(2, activation=f)),
    "Bidirectional": lambda f: keras.layers.Bidirectional(keras.layers.LSTM(2, activation=f)),
    "TimeDistributed": lambda f: keras.layers.TimeDistributed(keras.layers.Dense(2, activation=f)),
}


def saved_and_loaded(model, file):
    model.save(file)
    return keras.saving.load_model(file, safe_mode=False)  # safe_mode refuses a Lambda


def rebuilt(layer):
    return type(layer).from_config(json.loads(json.dumps(layer.get_config())))


WAYS = {
    "from_config": lambda model, _: type(model).from_config(model.get_config()),
    "of a layer": lambda model, _: keras.Sequential(
        [keras.Input((4, 3)), rebuilt(model.layers[-1])]
    ),
    "json": lambda model, _: keras.models.model_from_json(model.to_json()),
    "clone": lambda model, _: keras.models.clone_model(model),
    "copy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    ".keras": lambda model, file: saved_and_loaded(model, file.with_suffix(".again.keras")),
    ".h5": lambda model, file: saved_and_loaded(model, file.with_suffix(".h5")),
}


def check_activations(file):
    """A layer computes the same bits after each way of WAYS to rebuild it."""
    data = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    data[0, 0] = -1, 0, 7
    with_slope = relu_xp.keras.Rectifier("leaky_relu", {"negative_slope": 0.3})
    values = [getattr(relu_xp, each.name) for each in oracle.RECORDS if each.role == "value"]
    for function in (*values, relu_xp.relu_grad, with_slope):
        for layer in LAYERS if function is relu_xp.leaky_relu else ("Activation", "Bidirectional"):
            model = keras.Sequential([keras.Input((4, 3)), LAYERS[layer](function)])
            want = keras.ops.convert_to_numpy(model(data))
            for way, again in WAYS.items():
                other = again(model, file)
                other.set_weights(model.get_weights())
                oracle.assert_same(
                    keras.ops.convert_to_numpy(other(data)), want, f"{function}, {layer}, {way}"
                )
                if layer == "Activation" and function is not with_slope:
                    assert other.layers[-1].activation is function
    for function in values:
        assert keras.activations.deserialize(keras.activations.serialize(function)) is function
    assert keras.activations.get("leaky_relu") is keras.activations.leaky_relu
    keras.Sequential([keras.Input((4, 3)), *map(LAYERS["Dense"], [*values, with_slope])]).save(file)


def check_what_is_refused(file):
    """Keras cannot write a partial or read an unregistered name: nothing of ours replaces it."""
    partial = functools.partial(relu_xp.leaky_relu, negative_slope=0.3)
    model = keras.Sequential([keras.Input((4, 3)), LAYERS["Dense"](partial)])
    for again in WAYS.values():
        with pytest.raises(TypeError, match=r"Cannot serialize object functools\.partial"):
            again(model, file)
    somebodys = {"class_name": "function", "module": "builtins", "config": "squared_relu"}
    with pytest.raises(TypeError, match="Could not locate function 'squared_relu'"):
        keras.saving.deserialize_keras_object(somebodys)
    for given in (("nothing",), ("relu", {"negative_slope": 0.3}), ("squared_relu", {"x": 1})):
        with pytest.raises(ValueError, match=r"^relu_xp\.keras\.Rectifier: .*, got '"):
            relu_xp.keras.Rectifier(*given)
    for error, given, said in [
        (ValueError, (["relu"],), r"keras\.Rectifier: function must be one of "),
        (
            TypeError,
            ("leaky_relu", 0.25),
            r"keras\.Rectifier: scalars must be a dict by .*, got float$",
        ),
        (
            ValueError,
            ("leaky_relu", {"negative_slope": math.nan}),
            "leaky_relu: negative_slope must be finite, got nan$",
        ),
        (
            TypeError,
            ("leaky_relu", {"negative_slope": "a"}),
            "leaky_relu: negative_slope must be a real number, got str",
        ),
        (
            ValueError,
            ("clipped_relu", {"ceiling": 0}),
            "clipped_relu: ceiling must be above 0 in float64, got 0$",
        ),
    ]:
        with pytest.raises(error, match=rf"^relu_xp\.{said}"):
            relu_xp.keras.Rectifier(*given)


def check_operation():
    """A changed config does not change the operation; a variable is no slope, but its number is."""
    leaky = relu_xp.keras.Rectifier("leaky_relu", {"negative_slope": 0.25})
    leaky.get_config()["scalars"]["negative_slope"] = 1.0
    assert repr(leaky) == "relu_xp.keras.Rectifier('leaky_relu', {'negative_slope': 0.25})"
    for slope, advice in ((0.25, r", for example float\(negative_slope\)"), ([0.25, 0.5], "")):
        with pytest.raises(
            TypeError,
            match=rf"negative_slope must be .* got \S*Variable; pass a Python float{advice}$",
        ):
            relu_xp.leaky_relu(keras.Input((4, 2)), keras.Variable(slope))
    relu_xp.leaky_relu(keras.Input((4,)), float(keras.Variable(0.25)))


def main(command, file):
    if command == "load":
        check(keras.saving.load_model(file))
        return
    if command == "rebuild":
        check_activations(Path(file))
        check_what_is_refused(Path(file))
        check_operation()
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
