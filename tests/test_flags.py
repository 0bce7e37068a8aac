"""The loops built with a builder's own flags, as tuned distributions have them: the same bits, and no other effect."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLAGS = "-Ofast -ffast-math -funsafe-math-optimizations -ffinite-math-only -fno-math-errno -march=native -flto"
FLAGS += " -Wall -Wextra -Wpedantic -Werror"

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
def installed(tmp_path_factory):
    """A folder with the package, built so; made once, since it takes half a minute."""
    if not shutil.which(os.environ.get("CXX", "c++")) or sys.platform == "win32":
        pytest.skip("no compiler that takes the flags of GCC")
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
    assert (
        commands
    )  # there are none where the flags kept the compiler from being found to be good enough
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
    """By the tests of the loops as they are."""
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
