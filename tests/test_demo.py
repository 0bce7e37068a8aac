"""`relu-xp demo`, with JAX where it is installed and without."""

import io
import re

import pytest
from test_cli import run

from relu_xp import __main__, _survey


@pytest.fixture(scope="module")
def demo():
    pytest.importorskip("rich", reason="rich: not installed")
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    from relu_xp import demo

    return demo


def test_demo(demo):
    result = run("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "equal" in result.stdout
    assert "all 1,440 the same" in result.stdout
    assert "relu_xp.leaky_relu(x, 0.1)" in result.stdout.splitlines()[-1]  # what to try next
    for command in re.findall("^  relu-xp (--)?([a-z]+) ", result.stdout, re.MULTILINE):
        assert command[1] in run("--help").stdout


def test_demo_by_hand_and_by_jax_learn_alike(demo):
    pytest.importorskip("jax", reason="jax: not installed")
    digits = demo._load_digits()
    first = demo._first_params()
    for function in demo.ACTIVATIONS:
        hand, traced = (
            next(epochs(function, first, digits))
            for epochs in (demo._epochs_by_hand, demo._epochs_by_jax)
        )
        # One epoch: the sums of matrix products differ in their order.
        for one, other in zip(hand, traced, strict=True):
            assert all(abs(a - b).max() < 1e-4 for a, b in zip(one, other, strict=True))


def test_demo_without_jax(demo, monkeypatch):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "jax" else find(name)
    )
    console = demo.Console(record=True, width=120, file=io.StringIO())
    assert demo.run(console)
    text = console.export_text()
    assert "NumPy, by hand with our VJPs" in text
    assert "jax: not installed" in text


def test_demo_fails_where_a_backend_is_wrong(demo, monkeypatch):
    import relu_xp

    target = next(p for p in _survey.survey() if isinstance(p, _survey.Target))
    console = demo.Console(record=True, width=120, file=io.StringIO())
    assert demo._show_tutorial(console, [target])
    monkeypatch.setattr(relu_xp, "relu", lambda x: x)
    assert not demo._show_tutorial(console, [target])
    assert "[1.0, -10.0, 0.0, 15.0, -20.0]" in console.export_text()
