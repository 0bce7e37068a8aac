"""The C++ as builders meet it: headers compile alone, and a tuned build's flags change nothing."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
HEADERS = sorted((ROOT / "src/relu_xp/_native").glob("*.hpp"))
FLAGS = "-Ofast -ffast-math -funsafe-math-optimizations -ffinite-math-only -fno-math-errno "
FLAGS += "-march=native -flto -Wall -Wextra -Wpedantic -Werror"

# Compared as integers: once subnormals count as zeros, 5e-311 == 0.0.
FLUSHES = """
import numpy as np
bits = lambda a: a.view(np.int64).tolist()
tiny = np.array([1e-310, -1e-310])
before = bits(tiny / 2)
import relu_xp
y = relu_xp.leaky_relu(tiny, 0.5)
assert relu_xp.info()["compiled_loops"].startswith("yes")
assert bits(tiny / 2) == before
assert float("1e-310") / 2 > 0
assert bits(y) == [bits(tiny)[0], before[1]]
"""


@pytest.fixture(scope="module")
def compiler():
    """The command of a compiler."""
    command = os.environ.get("CXX", "c++")
    if not shutil.which(command) or sys.platform == "win32":
        pytest.skip("no compiler that takes the flags of GCC")
    return command


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_a_header_compiles_alone(compiler, header):
    """Also twice, except for `rectifiers.hpp`, which has no guard, as it says."""
    python = Path(sysconfig.get_paths()["include"])
    if not (python / "Python.h").exists():
        pytest.skip("the headers of Python are not here")
    folders = [f"-I{folder}" for folder in (header.parent, python, np.get_include())]
    times = 1 if header.name == "rectifiers.hpp" else 2
    result = subprocess.run(
        [compiler, "-std=c++17", "-Wall", "-fsyntax-only", *folders, "-x", "c++", "-"],
        input=f'#include "{header.name}"\n' * times,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.fixture(scope="module")
def installed(compiler, tmp_path_factory):
    """A folder with the package, built so; made once, since it takes half a minute."""
    for needed in ("meson", "ninja"):
        if not shutil.which(needed):
            pytest.skip(f"{needed}: not installed")
    if not (ROOT / "meson.build").exists():
        pytest.skip("the sources are not here")
    folder = tmp_path_factory.mktemp("flags")
    environment = {**os.environ, "CXXFLAGS": FLAGS}
    setup = [
        "meson",
        "setup",
        f"--prefix={folder}",
        "-Dpython.platlibdir=lib",
        "-Dpython.purelibdir=lib",
    ]
    for command in (
        [*setup, folder / "build", ROOT],
        ["meson", "install", "--quiet", "-C", folder / "build"],
    ):
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    commands = json.loads((folder / "build/compile_commands.json").read_text(encoding="utf-8"))
    assert commands  # there are none if the flags made meson refuse the compiler
    assert all(FLAGS in each["command"] for each in commands)
    return folder / "lib"


def test_the_process_keeps_its_subnormals(installed):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", FLUSHES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_loops_are_exact(installed):
    """The tests of the loops pass for this build too."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "RELU_XP_NATIVE": "required"}
    again = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests/test_native.py"),
    ]
    again += ["-k", "not other_builds"]
    result = subprocess.run(again, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
