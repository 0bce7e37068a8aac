"""The examples, run as a reader would; the one in JAX is tested beside what it shows, in `test_jax_devices.py`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *options):
    """What an example prints."""
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    pytest.importorskip("rich", reason="rich: not installed")
    if not EXAMPLES.exists():
        pytest.skip("examples/: not beside these tests")
    command = [sys.executable, EXAMPLES / name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_digits_by_hand(wanted, activation):
    wanted("numpy")
    printed = run("digits_by_hand.py", "--activation", activation, "--epochs", "5")
    assert float(re.search(r"accuracy (\S+),", printed)[1]) > 0.9


def test_subgradient_study(wanted):
    wanted("numpy")
    printed = run("subgradient_study.py", "--epochs", "2", "--seeds", "1")
    assert "float32: 0 of 2 trainings part" in printed  # no sum cancels to an exact zero
    assert "float16: 2 of 2 trainings part" in printed


def test_digits_torch(wanted):
    wanted("torch")
    printed = run("digits_torch.py", "--epochs", "5")
    assert "equal to the bit" in printed
    accuracies = [float(value) for value in re.findall(r"│\s+(0\.\d{3}) │\s+\S+ ms", printed)]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.8
