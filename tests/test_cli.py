"""The command line, as a user runs it."""

import io
import re
import subprocess
import sys
import types

import pytest

from relu_xp import __main__, _machine


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "relu_xp", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def cli():
    pytest.importorskip("rich", reason="rich: not installed")


@pytest.fixture(scope="module")
def demo(cli):
    pytest.importorskip("sklearn", reason="scikit-learn: not installed")
    from relu_xp import demo

    return demo


def test_info(cli):
    result = run("info")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "numpy" in line]
    assert any("cpu" in line and "yes" in line for line in lines)
    assert "cupy" in result.stdout
    assert re.search(r"^compiled loops: (yes|no: no C\+\+ compiler)", result.stdout, re.MULTILINE)


def test_whether_the_loops_are_compiled(monkeypatch):
    from relu_xp._backends import numpy as backend
    from relu_xp._native import standin

    extension = types.ModuleType("_ufuncs")
    monkeypatch.setattr(backend, "_ufuncs", extension)
    assert _machine.compiled_loops() == "yes"
    extension.cpu = "avx512"
    assert _machine.compiled_loops() == "yes (avx512)"
    monkeypatch.setattr(backend, "_ufuncs", standin)
    assert "install one, then pip install again" in _machine.compiled_loops()


def test_a_checkout_that_is_not_installed(monkeypatch, capsys):
    def version(name):
        raise __main__.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(__main__.importlib.metadata, "version", version)
    with pytest.raises(SystemExit):
        __main__.main(["--version"])
    assert capsys.readouterr().out == "unknown\n"


def test_version_and_usage():
    assert run("--version").stdout.strip() == __main__._version()
    assert run().returncode == 2
    assert "demo" in run("--help").stdout


@pytest.mark.parametrize(
    ("command", "package", "name", "extra"),
    [("info", "rich", "rich", "cli"), ("demo", "sklearn", "scikit-learn", "demo")],
)
def test_a_missing_extra_is_named(monkeypatch, capsys, command, package, name, extra):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in (package, "rich") else find(name))
    assert __main__.main([command]) == 2
    assert f"relu-xp {command} needs" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    assert __main__.main([command]) == 2
    assert f"relu-xp {command} needs {name}; in the project's folder run " in (err := capsys.readouterr().err)
    assert f"[{extra}]" in err


def test_demo(demo):
    result = run("demo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "equal" in result.stdout
    assert "all 360 the same" in result.stdout


def test_demo_by_hand_and_by_jax_learn_alike(demo):
    pytest.importorskip("jax", reason="jax: not installed")
    digits = demo._load_digits()
    first = demo._first_params()
    for function in demo.ACTIVATIONS:
        hand, traced = (next(epochs(function, first, digits)) for epochs in (demo._epochs_by_hand, demo._epochs_by_jax))
        for a, b in zip(hand, traced, strict=True):
            assert abs(a - b).max() < 1e-4  # one epoch; the sums of matrix products differ in their order


def test_demo_without_jax(demo, monkeypatch):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "jax" else find(name))
    console = demo.Console(record=True, width=120, file=io.StringIO())
    assert demo.run(console)
    text = console.export_text()
    assert "NumPy, by hand with our VJPs" in text
    assert "jax: not installed" in text


def test_demo_fails_where_a_backend_is_wrong(demo, monkeypatch):
    import relu_xp

    target = next(p for p in _machine.survey() if isinstance(p, _machine.Target))
    console = demo.Console(record=True, width=120, file=io.StringIO())
    assert demo._show_tutorial(console, [target])
    monkeypatch.setattr(relu_xp, "relu", lambda x: x)
    assert not demo._show_tutorial(console, [target])
    assert "[1.0, -10.0, 0.0, 15.0, -20.0]" in console.export_text()


def test_a_backend_that_is_broken_is_reported_with_its_reason(monkeypatch):
    def broken():
        raise RuntimeError("no driver\nand a long story")

    from relu_xp._backends import numpy as backend

    monkeypatch.setattr(backend, "devices", broken)
    found = {each.name: each for each in _machine.survey()}
    assert found["numpy"] == _machine.Unavailable("numpy", "RuntimeError: no driver")
    monkeypatch.setattr(backend, "get", lambda x: x + 1)
    assert _machine.Target("numpy", backend, "cpu").trouble() == "relu of [-1, 2] gives [1.0, 3.0]"
    monkeypatch.setattr(backend, "put", lambda array, device: broken())
    assert _machine.Target("numpy", backend, "cpu").trouble() == "RuntimeError: no driver"
