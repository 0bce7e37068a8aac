"""The examples, run as a reader would; the one in JAX is tested beside what it shows, in `test_jax_devices.py`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_digits_by_hand(request, activation):
    chosen = request.config.getoption("--backend")
    if chosen and "numpy" not in chosen:
        pytest.skip("numpy: not among the chosen backends")
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    pytest.importorskip("rich", reason="rich: not installed")
    if not EXAMPLES.exists():
        pytest.skip("examples/: not beside these tests")
    command = [sys.executable, EXAMPLES / "digits_by_hand.py", "--activation", activation, "--epochs", "5"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert float(re.search(r"accuracy (\S+),", run.stdout)[1]) > 0.9


def test_subgradient_study(request):
    chosen = request.config.getoption("--backend")
    if chosen and "numpy" not in chosen:
        pytest.skip("numpy: not among the chosen backends")
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    pytest.importorskip("rich", reason="rich: not installed")
    if not EXAMPLES.exists():
        pytest.skip("examples/: not beside these tests")
    command = [sys.executable, EXAMPLES / "subgradient_study.py", "--epochs", "2", "--seeds", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "float32: 0 of 2 trainings part" in run.stdout  # no sum cancels to an exact zero
    assert "float16: 2 of 2 trainings part" in run.stdout
