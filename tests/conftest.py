"""Tests run over every backend of this machine.

One that is missing is skipped by name, or fails if `--backend` asks for it.
"""

import atexit
import collections
import importlib
import os
import shutil
import tempfile

import pytest

from relu_xp import _survey
from relu_xp._registry import SURVEYED

# Torch keeps compiled code on disk, and does not see that it comes from another version of relu_xp.
if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="relu_xp-")
    atexit.register(shutil.rmtree, os.environ["TORCHINDUCTOR_CACHE_DIR"], ignore_errors=True)

MOST_REASONS = 20  # reasons of skipped tests that the summary names
NAMES = tuple(row.name for row in SURVEYED)


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        action="append",
        choices=NAMES,
        help="test this backend only, and fail if it is missing (repeatable)",
    )


# Files that are not about every backend, with those that they run for: each takes half a minute.
OF_SOME = {
    "test_numpy.py": {"numpy"},
    "test_numbers.py": {"numpy"},
    "test_native.py": {"numpy"},
    "test_flags.py": {"numpy"},
    "test_threads.py": {"numpy"},
    "test_house.py": {"numpy"},
    "test_bench.py": {"numpy", "torch"},
    "test_docs.py": {"numpy"},
    "test_plugins.py": {"numpy", "xarray"},
    "test_keras.py": {"jax", "torch", "tensorflow"},
    "test_polars.py": {"polars"},
    "test_scipy.py": {"scipy"},
    "test_tensorflow.py": {"tensorflow"},
    "test_cli.py": {"numpy"},
    "test_demo.py": {"numpy", "jax"},
    "test_copies.py": {"numpy"},
    "test_names.py": {"numpy"},
    "test_arrivals.py": {"numpy"},
    "test_examples.py": {"numpy", "dask"},
    "test_verify.py": {"numpy", "jax", "torch"},
    "test_kernels.py": {"numpy", "jax", "torch", "array_api_strict", "tensorflow"},
    "test_history.py": {"numpy", "jax", "torch"},
    "test_vectors.py": {"numpy", "jax", "torch"},
}


def _left_out(config):
    chosen = config.getoption("--backend")
    return [name for name, backends in OF_SOME.items() if chosen and not backends & {*chosen}]


def pytest_ignore_collect(collection_path, config):
    return True if collection_path.name in _left_out(config) else None


def pytest_report_header(config):
    left_out = _left_out(config)
    return f"left to other backends: {', '.join(left_out)}" if left_out else None


def pytest_terminal_summary(terminalreporter):
    """Count what was skipped, by reason: a line for each would bury the result."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in skipped
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in reasons.most_common(MOST_REASONS):
        terminalreporter.line(f"{count:5} {reason}")
    if len(reasons) > MOST_REASONS:
        terminalreporter.line(f"  ... and {len(reasons) - MOST_REASONS} more reasons: pytest -rs")


@pytest.fixture(scope="session")
def machine():
    """The backends of this machine, surveyed once."""
    found = {}
    for each in _survey.survey():
        found.setdefault(each.name, each)  # the first device of a backend stands for it
    return found


def pytest_generate_tests(metafunc):
    if "target" in metafunc.fixturenames:
        names = metafunc.config.getoption("--backend") or NAMES
        metafunc.parametrize("target", names, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request, machine):
    """One backend on its first device."""
    found = machine.get(request.param, _survey.Unavailable(request.param, "not installed"))
    if isinstance(found, _survey.Unavailable):
        if request.config.getoption("--backend"):
            pytest.fail(f"{found.name}: {found.reason}", pytrace=False)
        pytest.skip(f"{found.name}: {found.reason}")
    if found.name == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    if found.name == "dask":
        import dask

        dask.config.set(scheduler="synchronous")  # numpy.errstate reaches no other thread
    return found


@pytest.fixture(scope="session")
def wanted(request):
    """Import a library that a test is about; skip, by name, if it is missing or not chosen."""

    def imported(name):
        chosen = request.config.getoption("--backend")
        if chosen and name not in chosen:
            pytest.skip(f"{name}: not among the chosen backends")
        return (
            importlib.import_module(name)
            if chosen
            else pytest.importorskip(name, reason=f"{name}: not installed")
        )

    return imported


@pytest.fixture(scope="session")
def jax(wanted):
    """JAX with x64, for the tests that are about JAX."""
    jax = wanted("jax")
    jax.config.update("jax_enable_x64", True)
    return jax
