"""Copies that no installer made: frozen, in an archive, without metadata or compiled loops."""

import importlib.machinery
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import relu_xp
from relu_xp._backends import numpy as numpy_backend
from relu_xp._native import missing

PACKAGE = Path(relu_xp.__file__).parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
compiled = pytest.mark.skipif(bool(numpy_backend.missing), reason="the loops are not compiled here")


def run(code, path, **environment):
    """In a process that finds relu_xp there, and no other."""
    environment = {**os.environ, **environment, "PYTHONPATH": str(path)}
    environment = {name: value for name, value in environment.items() if value is not None}
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def copied(folder, *, loops=None):
    """The package alone: with its loops, without, or with something else in their place."""
    shutil.copytree(PACKAGE, folder / "relu_xp", ignore=shutil.ignore_patterns("__pycache__"))
    if loops is not None:
        for path in (folder / "relu_xp" / "_native").glob("_ufuncs.*"):
            path.unlink()
            for name in loops:
                (path.parent / name).write_bytes(b"")
    return folder


CALLS = """
import numpy as np, relu_xp
small = relu_xp.relu(np.array([-1.0, 2.0], np.float32))
large = [relu_xp.leaky_relu(np.full(1 << 17, -1.0)) for _ in range(3)]
assert small.tolist() == [0, 2] and large[2][-1] == -0.01
from relu_xp import _survey  # info imports every framework that is here
print(_survey.compiled_loops())
"""


def told(folder, **environment):
    """What `info` says of the loops; that the warning says the same, once, at the caller's line."""
    environment = {"RELU_XP_NATIVE": None, **environment}
    ran = run(CALLS, folder, **environment)
    said = ran.stdout.strip()
    assert said.startswith("no: ")
    (warned,) = [line for line in ran.stderr.splitlines() if "RuntimeWarning" in line]
    assert re.match(r"<string>:4: RuntimeWarning: relu_xp: .* slow", warned)
    assert said.removeprefix("no: ") in warned
    assert warned.endswith("RELU_XP_NATIVE=optional silences this")
    assert (
        "RuntimeWarning"
        not in run(CALLS, folder, **{**environment, "RELU_XP_NATIVE": "optional"}).stderr
    )
    return said


def test_the_version_needs_no_metadata(tmp_path):
    code = "import relu_xp, pydoc; print(relu_xp.__version__); pydoc.render_doc(relu_xp); "
    code += "from relu_xp.__main__ import main; main(['--version'])"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(copied(tmp_path))!r}); {code}",
        ],
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == [relu_xp.__version__] * 2


@pytest.fixture
def distribution():
    try:
        return importlib.metadata.distribution("relu-xp")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("relu-xp: a copy without metadata")


def test_the_version_is_the_one_of_the_metadata(distribution):
    assert relu_xp.__version__ == distribution.version
    assert relu_xp.info()["versions"]["relu-xp"] == relu_xp.__version__
    if PYPROJECT.exists() and "relu-xp" in PYPROJECT.read_text(encoding="utf-8"):
        assert f'\nversion = "{relu_xp.__version__}"\n' in PYPROJECT.read_text(encoding="utf-8")


@compiled
@pytest.mark.parametrize("cpu", ["AVX2", "avx-512", "neon", "baseline2"])
def test_a_cpu_that_is_none(tmp_path, cpu):
    said = told(copied(tmp_path), RELU_XP_CPU=cpu)
    assert re.fullmatch(
        rf"no: RELU_XP_CPU is {cpu}, and the loops here are (.*); unset it, or .*", said
    )
    named = re.search("loops here are ([^;]*)", said)[1].split(", ")
    assert run(CALLS, tmp_path, RELU_XP_CPU=named[-1]).stdout == f"yes ({named[-1]})\n"


@compiled
def test_no_loops_at_all(tmp_path):
    assert "pip found no C++ compiler" in told(copied(tmp_path, loops=[]))


@compiled
def test_loops_of_another_python(tmp_path):
    said = told(copied(tmp_path, loops=["_ufuncs.cpython-399-x86_64-linux-gnu.so"]))
    assert (
        "_ufuncs.cpython-399-x86_64-linux-gnu.so is not for this Python, "
        f"{sys.implementation.cache_tag}" in said
    )


@compiled
def test_loops_that_are_damaged(tmp_path):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    said = told(copied(tmp_path, loops=[f"_ufuncs{suffix}"]))
    assert re.match(
        rf"no: _ufuncs{re.escape(suffix)} cannot be loaded: .*; run `python3 -m pip", said
    )


@compiled
def test_loops_for_a_newer_numpy(tmp_path, monkeypatch):
    """The import fails in NumPy's own words; here the version alone is another."""
    monkeypatch.setattr(missing.np, "__version__", "1.26.4")
    assert (
        missing.reason(ImportError("x")) == "they need NumPy 2, and this is 1.26.4; upgrade NumPy"
    )


def test_out_of_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for path in PACKAGE.rglob("*"):
            if "__pycache__" not in path.parts:
                archive.write(path, Path("relu_xp", path.relative_to(PACKAGE)))
    said = told(tmp_path / "app.zip")
    assert "cannot be loaded out of an archive" in said
    code = "import pydoc, relu_xp; print(relu_xp.__version__); pydoc.render_doc(relu_xp)"
    assert run(code, tmp_path / "app.zip").stdout == f"{relu_xp.__version__}\n"


def test_pyinstaller_finds_the_hook(distribution):
    (ours,) = distribution.entry_points.select(group="pyinstaller40", name="hook-dirs")
    (folder,) = ours.load()()
    assert [path.name for path in Path(folder).glob("hook-*.py")] == ["hook-relu_xp.py"]


PROGRAM = """
import sys
import numpy as np
import relu_xp
print(relu_xp.relu(np.array([-1.0, 2.0])).tolist(), relu_xp.leaky_relu(-1.0))
print(relu_xp.__version__, relu_xp.info()["compiled_loops"][:3])
try:
    import array_api_strict as strict
except ImportError:
    print([0.0, 2.0])
else:
    print(np.asarray(relu_xp.relu(strict.asarray([-1.0, 2.0]))).tolist())
"""


@compiled
def test_a_frozen_program(tmp_path):
    pytest.importorskip("PyInstaller", reason="PyInstaller: not installed")
    (tmp_path / "app.py").write_text(PROGRAM)
    freeze = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", "app.py"]
    frozen = subprocess.run(freeze, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert frozen.returncode == 0, frozen.stderr
    ran = subprocess.run([tmp_path / "dist" / "app" / "app"], capture_output=True, text=True)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "[0.0, 2.0] -0.01",
        f"{relu_xp.__version__} yes",
        "[0.0, 2.0]",
    ]
    taken = {path.name for path in (tmp_path / "dist" / "app" / "_internal").iterdir()}
    assert "numpy" in taken
    assert not taken & {"torch", "jax", "pandas", "scipy", "dask", "keras", "tensorflow"}
