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


def test_digits_torch(request):
    chosen = request.config.getoption("--backend")
    if chosen and "torch" not in chosen:
        pytest.skip("torch: not among the chosen backends")
    for package, name in (("torch", "torch"), ("sklearn", "scikit-learn"), ("rich", "rich")):
        pytest.importorskip(package, reason=f"{name}: not installed")
    if not EXAMPLES.exists():
        pytest.skip("examples/: not beside these tests")
    command = [sys.executable, EXAMPLES / "digits_torch.py", "--epochs", "5"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "equal to the bit" in run.stdout
    accuracies = [float(value) for value in re.findall(r"│\s+(0\.\d{3}) │\s+\S+ ms", run.stdout)]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.8
