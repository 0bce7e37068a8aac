"""Keras' symbolic tensors, on each of its backends: models of the functions compute and train, are saved and loaded."""

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


def run(backend, command, folder, file):
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, command, folder / file],
        env=environment,
        capture_output=True,
        text=True,
    )
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
