"""The examples, run as a reader runs them; `test_jax_devices.py` runs the one in JAX."""

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *options):
    """Run an example in a folder of its own, where it leaves nothing; return what it prints."""
    if not EXAMPLES.exists():
        pytest.skip("examples/: not beside these tests")
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for package, sign in (("rich", "from rich"), ("sklearn", "from _digits")):
        if sign in text:
            pytest.importorskip(package, reason=f"{package}: not installed")
    command = [sys.executable, EXAMPLES / name, *options]
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=300
        ).stdout
        assert list(Path(folder).iterdir()) == []
    return printed


@pytest.mark.skipif(not EXAMPLES.exists(), reason="examples/: not beside these tests")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("[!_]*.py")), ids=lambda path: path.name)
def test_each_says_at_its_top_what_to_install_and_how_to_run_it(path):
    _, install, command, *_ = (
        line for line in path.read_text(encoding="utf-8").splitlines() if line
    )
    assert install.startswith("    python3 -m pip install ")
    assert command.startswith(f"    python examples/{path.name}")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="examples/: not beside these tests")
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("dask_pipeline.py", "zarr"),
        ("dask_pipeline.py", "distributed"),
        ("digits_by_hand.py", "sklearn"),
        ("digits_jax.py", "jax"),
        ("digits_torch.py", "torch"),
        ("learned_slopes.py", "jax"),
        ("subgradient_study.py", "rich"),
    ],
)
def test_a_missing_package_is_told_in_a_sentence(name, missing):
    """Any package before it in the file may be missing too, and is then named as well."""
    path = EXAMPLES / name
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; sys.path.insert(0, {str(EXAMPLES)!r})"
    )
    command = [sys.executable, "-c", f"{code}; runpy.run_path({str(path)!r}, run_name='__main__')"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 1
    install = re.search("python3 -m pip install [^#\n]*", path.read_text(encoding="utf-8"))[
        0
    ].strip()
    told = rf"This example needs [\w.]+: in the project's folder run {re.escape(install)}\n"
    assert re.fullmatch(told, result.stderr), result.stderr
    if importlib.util.find_spec(missing):
        assert missing in result.stderr


@pytest.mark.parametrize(
    ("name", "options", "packages"),
    [
        ("dask_pipeline.py", [], ("distributed", "rich", "zarr")),
        ("digits_jax.py", ["--json"], ("jax", "rich", "sklearn")),
    ],
)
def test_what_is_there_is_not_overwritten(tmp_path, name, options, packages):
    for package in packages:
        pytest.importorskip(package, reason=f"{package}: not installed")
    (tmp_path / "mine").write_text("kept")
    command = [sys.executable, EXAMPLES / name, *options, "mine"]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 2
    assert "mine is there: it would be overwritten" in result.stderr
    assert [each.read_text() for each in tmp_path.iterdir()] == ["kept"]


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


def test_hold_a_kernel(wanted):
    wanted("numpy")
    assert "5 of 5 faults were found and named." in run("hold_a_kernel.py")


def test_digits_torch(wanted):
    wanted("torch")
    printed = run("digits_torch.py", "--epochs", "5")
    assert "equal to the bit" in printed
    accuracies = [float(value) for value in re.findall(r"│\s+(0\.\d{3}) │\s+\S+ ms", printed)]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.8


def test_learned_slopes(wanted):
    wanted("torch")
    pytest.importorskip("jax", reason="jax: not installed")
    printed = run("learned_slopes.py", "--steps", "100")
    exact, _, others = printed.partition("Ordinary numbers:")
    assert exact.count("equal to the bit") == 6  # the five gradients, and all
    assert "NOT" not in exact
    assert all(float(apart) < 8 for apart in re.findall(r"apart by (\S+) units", others))
    first, last = re.findall(r": loss (\S+) -> (\S+), slopes (\S+) to (\S+)$", others, re.MULTILINE)
    assert float(first[1]) < 0.1 < 4 < float(first[0])
    assert max(abs(float(a) - float(b)) for a, b in zip(first, last, strict=True)) < 2e-3
    assert float(first[3]) - float(first[2]) > 0.1  # they were all 0.25
