"""Keras' symbolic tensors: models compute, train, are saved and loaded, on each backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("keras_models.py")


def has(package):
    return importlib.util.find_spec(package) is not None


BACKENDS = [name for name in ("jax", "torch", "tensorflow") if has(name)]
pytestmark = pytest.mark.skipif(not has("keras"), reason="keras: not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keras")


def python(backend, folder, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )


def run(backend, command, folder, file):
    ran = python(backend, folder, SCRIPT, command, folder / file)
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_models(folder, backend):
    run(backend, "build", folder, f"{backend}.keras")


@pytest.mark.skipif(not BACKENDS, reason="none of JAX, PyTorch and TensorFlow is installed")
def test_a_model_saved_by_one_process_is_loaded_by_another(folder):
    """If possible, with the other backend."""
    saved = folder / f"{BACKENDS[0]}.keras"
    if not saved.exists():  # the test above was not asked for
        run(BACKENDS[0], "build", folder, saved.name)
    run(BACKENDS[-1], "load", folder, saved.name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_activations_come_back_as_themselves(folder, backend):
    run(backend, "rebuild", folder, f"{backend}-activations.keras")


ORDERS = {
    "keras first": "import keras, relu_xp",
    "relu_xp first": "import relu_xp, keras",
    "relu_xp.keras first": "import relu_xp.keras, keras",
    "keras.layers alone": "import relu_xp, keras.layers; keras = keras.layers; import keras",
    "looked for before": "import relu_xp, importlib.util; importlib.util.find_spec('keras'); "
    "import keras",
    "in threads": "import threading; threads = [threading.Thread(target=__import__, args=(name,)) "
    "for name in ('keras', 'relu_xp')]; [t.start() for t in threads]; [t.join() for t in threads]; "
    "import relu_xp, keras",
}


@pytest.mark.skipif(not BACKENDS, reason="none of JAX, PyTorch and TensorFlow is installed")
@pytest.mark.parametrize("order", ORDERS)
def test_keras_knows_the_functions_whichever_is_imported_first(folder, order):
    code = """
for name in ("relu", "leaky_relu", "clipped_relu", "squared_relu_grad"):
    f = getattr(relu_xp, name)
    layer = keras.layers.TimeDistributed(keras.layers.Dense(1, activation=f))  # before any call
    assert type(layer).from_config(layer.get_config()).layer.activation is f, name
    rnn = keras.layers.Bidirectional(keras.layers.SimpleRNN(1, activation=f))
    assert rnn.forward_layer.cell.activation is rnn.backward_layer.cell.activation is f, name
"""
    ran = python(BACKENDS[0], folder, "-c", ORDERS[order] + code)
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.skipif(not BACKENDS, reason="none of JAX, PyTorch and TensorFlow is installed")
def test_activations_in_another_process(folder):
    """Without relu_xp Keras refuses the model; with it, the layers have the functions."""
    saved = folder / f"{BACKENDS[0]}-activations.keras"
    if not saved.exists():  # the test above was not asked for
        run(BACKENDS[0], "rebuild", folder, saved.name)
    load = f"import keras; model = keras.saving.load_model({str(saved)!r})"
    ran = python(BACKENDS[-1], folder, "-c", load)
    assert ran.returncode == 1
    assert "relu_xp" in ran.stderr.strip().splitlines()[-1]
    check = (
        "values = [relu_xp.relu, relu_xp.leaky_relu, relu_xp.clipped_relu, relu_xp.squared_relu]\n"
    )
    check += "found = [layer.activation for layer in model.layers]\n"
    check += "assert found[:-1] == values and found[-1].scalars == {'negative_slope': 0.3}, found"
    ran = python(BACKENDS[-1], folder, "-c", f"import relu_xp\n{load}\n{check}")
    assert ran.returncode == 0, ran.stderr[-3000:]
