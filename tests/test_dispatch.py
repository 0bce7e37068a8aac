"""Dispatch: the owner of a type is found once, by threads at once too, and imports no more."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import relu_xp
from relu_xp import _dispatch
from relu_xp._backends import array_api
from relu_xp._backends import numpy as numpy_backend
from relu_xp._backends import python as python_backend
from relu_xp._functions import RELU

HEAVY = (
    "jax",
    "cupy",
    "torch",
    "tensorflow",
    "dask",
    "ml_dtypes",
    "array_api_strict",
    "rich",
    "sklearn",
)


def imported_by(code):
    """Which heavy packages, and which backends, a fresh interpreter holds after `code`."""
    ours = "m.startswith('relu_xp._backends.')"
    report = f"import sys; print(*[m for m in sys.modules if m in {HEAVY} or {ours}])"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_import_is_light():
    assert imported_by("import relu_xp") == set()


def test_a_numpy_call_imports_no_other_backend():
    code = "import numpy, relu_xp; relu_xp.relu(numpy.ones(3)); relu_xp.relu(1.0)"
    assert imported_by(code) == {
        f"relu_xp._backends.{name}"
        for name in ("numpy", "_numpy_classes", "_numpy_errors", "python", "_host")
    }


def test_that_the_import_tests_can_fail():
    pytest.importorskip("ml_dtypes")
    assert imported_by("import relu_xp, ml_dtypes") == {"ml_dtypes"}


def test_owner_is_found_once_per_type(monkeypatch):
    class Once(np.ndarray):
        pass

    x = np.ones(3).view(Once)
    assert _dispatch.owner(RELU, "x", x) is numpy_backend
    monkeypatch.setattr(_dispatch, "_find", None)  # a second search would call it
    assert _dispatch.owner(RELU, "x", x) is numpy_backend


@pytest.mark.parametrize(
    ("x", "backend"),
    [
        (1.0, python_backend),
        (1, python_backend),
        (np.float64(1), numpy_backend),  # a Python float too
        (np.int8(1), numpy_backend),
        (np.ones(3), numpy_backend),
        (np.ma.ones(3), numpy_backend),
    ],
    ids=repr,
)
def test_owners(x, backend):
    assert _dispatch.owner(RELU, "x", x) is backend


def test_subclasses_of_numbers_are_numbers():
    class Celsius(float):
        pass

    assert relu_xp.relu(Celsius(-1.5)) == 0.0


def test_classes_made_again_and_again_are_not_kept():
    kept = []
    for _ in range(_dispatch.MOST_TYPES + 2):
        made = type("Made", (np.ndarray,), {})
        relu_xp.relu(np.ones(1).view(made))
        kept.append(weakref.ref(made))
    gc.collect()
    assert kept[0]() is None


def test_a_name_alone_owns_nothing():
    class Liar:
        """Says it comes from NumPy."""

    Liar.__module__ = "numpy"
    with pytest.raises(TypeError, match=r"relu_xp\.relu: x must be an array"):
        relu_xp.relu(Liar())


def test_a_framework_that_is_not_imported_is_not_asked(monkeypatch):
    class Liar:
        """Says it comes from JAX, in a process without it."""

    Liar.__module__ = "jax"
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.delitem(sys.modules, "relu_xp._backends.jax", raising=False)
    with pytest.raises(TypeError, match=r"relu_xp\.relu: x must be an array"):
        relu_xp.relu(Liar())
    assert "relu_xp._backends.jax" not in sys.modules


class Wrapped:
    """An array of nobody's: NumPy underneath, the standard's namespace on top."""

    def __array_namespace__(self, api_version=None):
        return np


def test_any_array_api_array_has_an_owner():
    assert _dispatch.owner(RELU, "x", Wrapped()) is array_api
    with pytest.raises(TypeError, match=r"got type"):
        relu_xp.relu(Wrapped)


def test_a_backend_that_breaks_breaks_alone():
    code = """
import sys, types, numpy, relu_xp
jax = sys.modules["jax"] = types.ModuleType("jax")  # too old or too new: has no jax.numpy
class Array: __module__ = "jax"
try:
    relu_xp.relu(Array())
except ImportError:
    assert relu_xp.relu(numpy.array([-1.0])).tolist() == [0.0]
    print("alone")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "alone\n"


def test_threads_may_race_for_a_new_type():
    for _ in range(50):
        cls = type("Fresh", (np.ndarray,), {})
        barrier = threading.Barrier(8)
        results = []

        def race(cls=cls, barrier=barrier, results=results):
            x = np.array([-1.0, 2.0]).view(cls)
            barrier.wait()
            results.append(relu_xp.relu(x))

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [r.tolist() for r in results] == [[0.0, 2.0]] * 8
        assert {type(r) for r in results} == {cls}


WITH_A_STUB = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")  # half installed, or much older, or newer
import numpy, relu_xp
assert relu_xp.relu(numpy.array([-1.0, 2.0])).tolist() == [0.0, 2.0]
assert relu_xp.relu(-1.0) == 0.0
ours = [name for name in sys.modules if name.startswith("relu_xp._backends")]
assert ours and not [name for name in ours if "torch" in name]
"""


def test_a_framework_without_what_its_backend_needs_breaks_no_other():
    done = subprocess.run([sys.executable, "-c", WITH_A_STUB], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_another_thread_forgets_is_found_all_the_same(monkeypatch):
    """`register_backend`, or one type too many, empties the table while others look in it."""
    monkeypatch.setattr(_dispatch, "_OWNERS", {})
    stop, errors = threading.Event(), []

    def forget():
        while not stop.is_set():
            _dispatch._forget()

    def look():
        x = np.array([-1.0, 2.0])
        try:
            for _ in range(3000):
                assert _dispatch.owner(RELU, "x", x).__name__ == "relu_xp._backends.numpy"
                assert relu_xp.relu_vjp(x, x.view(type("Own", (np.ndarray,), {}))).tolist() == [
                    0.0,
                    2.0,
                ]
        except Exception as error:
            errors.append(error)

    forgetting, looking = (
        threading.Thread(target=forget),
        [threading.Thread(target=look) for _ in range(3)],
    )
    for each in (forgetting, *looking):
        each.start()
    for each in looking:
        each.join()
    stop.set()
    forgetting.join()
    assert errors == []
