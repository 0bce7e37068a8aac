"""The command line, as a user runs it."""

import io
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import relu_xp
from relu_xp import __main__, _survey
from relu_xp._functions import FUNCTIONS


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


def test_info(cli):
    result = run("info")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "numpy" in line]
    assert any("cpu" in line and "yes" in line for line in lines)
    assert "cupy" in result.stdout
    assert re.search(
        r"^compiled loops: (yes|no\. NumPy calls are slow: pip found no C\+\+)",
        result.stdout,
        re.MULTILINE,
    )


def test_whether_the_loops_are_compiled(monkeypatch):
    from relu_xp._backends import numpy as backend

    extension = types.ModuleType("_ufuncs")
    monkeypatch.setattr(backend, "_ufuncs", extension)
    monkeypatch.setattr(backend, "missing", "")
    assert _survey.compiled_loops() == "yes"
    extension.cpu = "avx512"
    assert _survey.compiled_loops() == "yes (avx512)"
    monkeypatch.setattr(backend, "missing", "the reason; what to do")
    assert _survey.compiled_loops() == "no: the reason; what to do"


def test_version_and_usage():
    assert run("--version").stdout.strip() == relu_xp.__version__
    assert run().returncode == 2
    helped = run("--help").stdout
    assert "demo" in helped
    for call in (
        "  relu(x, /, *, grad_at_zero=1.0)",
        "  leaky_relu_slope_vjp(x, cotangent, /)",
        "  clipped_relu_grad(x, /, ceiling=6.0, *, grad_at_zero=1.0, grad_at_ceiling=0.0)",
    ):
        assert f"{call}\n" in helped
    for name in FUNCTIONS:
        assert f"  {name}(" in helped
    assert "each 4 times the last" in " ".join(run("bench", "--help").stdout.split())


def test_a_mistake_is_told_in_one_line():
    result = run("verify", "--function", "gelu")
    assert result.returncode == 2
    assert result.stderr.startswith("relu-xp verify: argument --function: invalid choice: 'gelu'")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bnch"], "relu-xp: argument command: invalid choice: 'bnch'; did you mean bench?"),
        (
            ["verify", "--function", "leaky_rel"],
            "relu-xp verify: argument --function: invalid choice: 'leaky_rel'; "
            "did you mean leaky_relu?",
        ),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(capsys, arguments, told):
    with pytest.raises(SystemExit):
        __main__.main(arguments)
    assert re.fullmatch(
        re.escape(told) + r" see relu-xp( verify)? --help\n", capsys.readouterr().err
    )


def test_a_device_or_backend_that_is_not_here_is_told_in_one_line(cli, capsys, monkeypatch):
    assert __main__.main(["verify", "--device", "tpu"]) == 2
    assert re.fullmatch("no device 'tpu' here; devices: cpu.*\n", capsys.readouterr().out)
    assert __main__.main(["verify", "--backend", "numpy", "--device", "tpu"]) == 2
    assert capsys.readouterr().out == "no device 'tpu' here; devices: cpu\n"
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("jax", "cupy") else find(name)
    )
    assert __main__.main(["verify", "--backend", "jax"]) == 2
    said = capsys.readouterr().out.split()
    assert " ".join(said) == "jax: not installed; to have it: python3 -m pip install jax"


def test_nothing_is_cut_in_a_narrow_terminal(cli):
    result = subprocess.run(
        [sys.executable, "-m", "relu_xp", "info"],
        env={**os.environ, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 40


def test_a_backend_that_is_not_installed_says_how_to_have_it(cli, capsys, monkeypatch):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("torch", "cupy") else find(name)
    )
    assert __main__.main(["verify", "--backend", "torch", "cupy", "nonesuch"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "torch: not installed; to have it: python3 -m pip install torch" in said
    assert "cupy: not installed; to have it: python3 -m pip install cupy-cuda13x ml_dtypes" in said
    assert "nonesuch: no such backend here" in said


VERIFY = [
    "verify",
    "--quick",
    "--backend",
    "numpy",
    "--function",
    "squared_relu_grad",
    "--dtype",
    "float16",
]
needs_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="/dev/full: not on this system"
)


@needs_full
def test_a_record_that_does_not_fit_on_the_disk(cli):
    result = run(*VERIFY, "--json", "/dev/full")
    assert result.returncode == 3
    assert "relu-xp: cannot write /dev/full: No space left on device\n" in result.stderr
    assert "Traceback" not in result.stderr
    assert "values equal the definition" in result.stdout  # what was found is shown all the same


@pytest.mark.skipif(os.name == "nt", reason="no such pipes")
@pytest.mark.parametrize("arguments", [["info"], [*VERIFY, "--json", "-"], VERIFY])
def test_a_pipe_whose_reader_has_gone_is_no_fault(cli, arguments):
    """The reader has seen enough, for example in `relu-xp info | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "relu_xp", *arguments]
        result = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 3
    assert "cannot write" not in result.stderr
    assert "Broken pipe" not in result.stderr
    assert "Traceback" not in result.stderr


@needs_full
@pytest.mark.parametrize("size", [1, 1 << 12, 1 << 20])
def test_what_a_disk_did_not_take_is_told_of_once(capfd, monkeypatch, size):
    """Less than a buffer's stays in it after an error, and would be tried again at exit."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        __main__.Output("-").write("x" * size)
        full.flush()
    assert capfd.readouterr().err == "relu-xp: cannot write -: No space left on device\n"


@needs_full
def test_a_terminal_that_cannot_be_written(cli):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "relu_xp", "info"]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (
        3,
        "relu-xp: cannot write standard output: No space left on device\n",
    )


def test_a_record_on_standard_output_stands_there_alone(cli):
    result = run(*VERIFY, "--json", "-")
    assert result.returncode == 0
    record = json.loads(result.stdout)
    assert record["targets"][0]["dtypes"]["float16"]["mismatches"] == 0
    assert "values equal the definition" in result.stderr


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (".", "directory"),
        ("n" * 300, "too long"),
        ("", "directory"),
        ("nowhere/x.json", "No such file"),
    ],
)
def test_a_name_that_no_file_can_have(cli, capsys, monkeypatch, tmp_path, file, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["verify", "--json", file])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("relu-xp verify: argument --json: ")
    assert why in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_workers_that_is_none(cli, capsys, monkeypatch):
    monkeypatch.setenv("RELU_XP_WORKERS", "two")
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["bench"])
    assert stopped.value.code == 2
    assert "RELU_XP_WORKERS must be a positive integer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "package", "name", "extra"),
    [("info", "rich", "rich", "cli"), ("demo", "sklearn", "scikit-learn", "demo")],
)
def test_a_missing_extra_is_named(monkeypatch, capsys, command, package, name, extra):
    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in (package, "rich") else find(name)
    )
    assert __main__.main([command]) == 2
    assert f"relu-xp {command} needs" in capsys.readouterr().err
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else object()
    )
    assert __main__.main([command]) == 2
    assert f"relu-xp {command} needs {name}; in the project's folder run " in (
        err := capsys.readouterr().err
    )
    assert f"[{extra}]" in err


def test_a_backend_that_is_broken_is_reported_with_its_reason(monkeypatch):
    def broken():
        raise RuntimeError("no driver\nand a long story")

    from relu_xp._backends import numpy as backend

    monkeypatch.setattr(backend, "devices", broken)
    found = {each.name: each for each in _survey.survey()}
    assert found["numpy"] == _survey.Unavailable("numpy", "RuntimeError: no driver")
    monkeypatch.setattr(backend, "get", lambda x: x + 1)
    assert _survey.Target("numpy", backend, "cpu").trouble() == "relu of [-1, 2] gives [1.0, 3.0]"
    monkeypatch.setattr(backend, "put", lambda array, device: broken())
    assert _survey.Target("numpy", backend, "cpu").trouble() == "RuntimeError: no driver"


def test_verify_says_what_it_leaves_out_and_cuts_nothing_in_a_narrow_terminal(cli, monkeypatch):
    rich = pytest.importorskip("rich.console")
    from relu_xp.verify import _report
    from relu_xp.verify._engine import Tally

    tallies = {name: Tally(cases=20, values=3_409_842) for name in ("float16", "bfloat16")}
    for count, tally in enumerate(tallies.values(), 1):
        tally.excepted["a named deviation"] = 1000 * count
        tally.left_out["out="] = "its arrays can't be written to"
    tallies["float16"].left_out["all"] = "not held"
    console = rich.Console(file=io.StringIO(), width=60)
    target = next(each for each in _survey.survey() if isinstance(each, _survey.Target))
    _report._show(console, target, tallies)
    shown = console.file.getvalue()
    assert "…" not in shown
    assert "3,409,842" in shown
    said = " ".join(shown.partition("- ")[2].split())
    assert "known deviation, a named deviation: 1,000 of float16, 2,000 of bfloat16" in said
    assert "left out out=, its arrays can't be written to: every dtype" in said
    assert "left out, not held: float16" in said
    assert _report._dtypes(console, None)
    assert "longdouble and the 8-bit floats are left out." in console.file.getvalue()
