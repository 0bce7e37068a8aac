"""Backends from elsewhere: registered by a call or installed, found late, and held to the definition in one line."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import relu_xp
from relu_xp import _dispatch, _machine
from relu_xp._backends import numpy as numpy_backend
from relu_xp.verify import assert_conforms, verify
from relu_xp.verify._refusals import accepted

EXAMPLE = Path(__file__).parents[1] / "examples" / "backend_for_awkward.py"


class Boxed:
    """An array type of nobody's, from the package `boxes`."""

    __module__ = "boxes.arrays"

    def __init__(self, array):
        self.array = np.asarray(array)


def boxes_backend():
    module = types.ModuleType("boxes_for_relu_xp")

    def opened(name):
        def run(*args):
            *arrays, z, out = args
            if out is not None:
                raise TypeError("boxes cannot be written to")
            arrays = [a.array if isinstance(a, Boxed) else a for a in arrays]
            return Boxed(getattr(relu_xp, name)(*arrays, grad_at_zero=z))

        return run

    for name in ("relu", "relu_grad", "relu_vjp", "leaky_relu", "leaky_relu_grad", "leaky_relu_vjp"):
        setattr(module, name, opened(name))
    module.owns = lambda x: isinstance(x, Boxed)
    module.devices = lambda: ["cpu"]
    module.put = lambda array, device: Boxed(array)
    module.get = lambda x: x.array
    return module


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(_dispatch, "_registered", {})
    monkeypatch.setattr(_dispatch, "_OWNERS", {})
    monkeypatch.setitem(sys.modules, "boxes", types.ModuleType("boxes"))


def test_a_registered_module_owns_its_arrays(registry):
    with pytest.raises(TypeError, match=r"relu_xp\.relu: x must be an array"):
        relu_xp.relu(Boxed([1.0]))
    relu_xp.register_backend("boxes", boxes_backend())
    assert relu_xp.relu(Boxed([-1.0, 2.0])).array.tolist() == [0.0, 2.0]
    assert relu_xp.leaky_relu(Boxed([-1.0, 2.0]), 0.5, grad_at_zero=0.5).array.tolist() == [-0.5, 2.0]
    assert relu_xp.relu_vjp(Boxed([-1.0, 0.0]), Boxed([3.0, 4.0]), grad_at_zero=0.5).array.tolist() == [0.0, 2.0]


def test_a_name_is_imported_when_an_array_arrives(registry, monkeypatch):
    relu_xp.register_backend("boxes", "boxes_for_relu_xp")
    assert "boxes_for_relu_xp" not in sys.modules
    assert relu_xp.relu(np.array([-1.0])).tolist() == [0.0]
    with pytest.raises(ModuleNotFoundError, match="boxes_for_relu_xp") as raised:
        relu_xp.relu(Boxed([1.0]))
    assert raised.value.__notes__ == ["relu_xp: boxes_for_relu_xp is the backend of boxes"]
    monkeypatch.setitem(sys.modules, "boxes_for_relu_xp", boxes_backend())
    assert relu_xp.relu(Boxed([-1.0])).array.tolist() == [0.0]


def test_a_registered_backend_comes_before_our_own(registry):
    class Marked(np.ndarray):
        pass

    relu_xp.relu(np.ones(1).view(Marked))
    ours = types.ModuleType("ours")
    ours.__dict__.update({name: getattr(numpy_backend, name) for name in _dispatch._INTERFACE})
    ours.owns = lambda x: type(x) is Marked
    relu_xp.register_backend("numpy", ours)  # and what was found before is looked for again
    assert _dispatch.owner("relu", np.ones(1).view(Marked)) is ours
    assert _dispatch.owner("relu", np.ones(1)) is numpy_backend


@pytest.mark.parametrize(
    ("package", "backend", "error", "words"),
    [
        (1, "x", TypeError, "package must be a string, got int"),
        ("a.b", "x", ValueError, "the name of a top-level package, got 'a.b'"),
        ("boxes", 1, TypeError, "it lacks relu, "),
        ("boxes", types.ModuleType("empty"), TypeError, "it lacks relu, relu_grad, .*, get"),
    ],
)
def test_what_is_no_backend(registry, package, backend, error, words):
    with pytest.raises(error, match=rf"^relu_xp\.register_backend: .*{words}"):
        relu_xp.register_backend(package, backend)
    assert not _dispatch._registered


def test_conformance_and_survey(registry):
    backend = boxes_backend()
    with pytest.raises(TypeError, match="x must be an array"):
        assert_conforms(backend)
    relu_xp.register_backend("boxes", backend)
    record = assert_conforms(backend)["cpu"]
    assert record["float32"].values > 1_000_000
    assert "boxes" in [each.name for each in _machine.survey()]


def test_conformance_fails_where_a_value_differs(registry):
    backend = boxes_backend()
    careful = backend.relu

    def leaves_out_as_it_was(x, z, out):
        return careful(x, z, out if not isinstance(out, Boxed) or out.array.shape != x.array.shape else None)

    backend.relu = leaves_out_as_it_was
    relu_xp.register_backend("boxes", backend)
    with pytest.raises(AssertionError, match=r"values differ, such as\nrelu\(float16.*out: "):
        assert_conforms(backend)
    backend = boxes_backend()
    backend.relu = lambda x, z, out: (
        Boxed(np.where(x.array > 0, x.array, x.array * 0)) if x.array.dtype.kind != "b" and out is None else {}["no"]
    )  # -0, and NaN of -inf
    relu_xp.register_backend("boxes", backend)
    with pytest.raises(AssertionError, match=r"does not refuse an x of bool \(KeyError: 'no'\); an out that is a list"):
        assert_conforms(backend)
    wrong = backend.relu
    backend.relu = lambda x, z, out: wrong(x, z, None) if out is None and x.array.dtype != bool else careful(x, z, out)
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match=r"values differ, such as\nrelu\(float16"):
        assert_conforms(backend)
    backend.put = lambda array, device: array
    with pytest.raises(AssertionError, match="does not own what its put"):
        assert_conforms(backend)


def test_what_is_not_refused_is_told_of_the_dtypes_that_there_are(registry):
    backend = boxes_backend()
    backend.relu_vjp = lambda x, g, z, out: x
    backend.relu_grad = lambda x, z, out: x
    relu_xp.register_backend("boxes", backend)
    target = _machine.Target("boxes", backend, "cpu")
    taken = ["a cotangent of another shape", "a grad_at_zero that is NaN"]
    assert list(accepted(target, ["float32"])) == taken
    assert list(accepted(target, ["float32", "int32"])) == ["an x of int32, which has no derivative", *taken]


def test_a_dtype_that_put_loses_is_told(registry):
    backend = boxes_backend()
    backend.put = lambda array, device: Boxed(array.astype("f4") if array.dtype == np.float16 else array)
    relu_xp.register_backend("boxes", backend)
    target = _machine.Target("boxes", backend, "cpu")
    *_, record = verify(target, [np.dtype("f2"), np.dtype("i1")])
    assert record["float16"].left_out == {"all": "is held as float32"}
    assert record["int8"].values == 256


def test_a_backend_that_breaks_on_out_is_no_end_of_the_run(registry):
    backend = boxes_backend()
    careful = backend.relu
    backend.relu = lambda x, z, out: careful(x, z, None) if out is None else out.nothing
    relu_xp.register_backend("boxes", backend)
    *_, record = verify(_machine.Target("boxes", backend, "cpu"), [np.dtype("f2")], ("relu",))
    assert record["float16"].mismatches == 5 * 1000
    assert "out=" not in record["float16"].left_out


def test_an_installed_plugin_is_found_by_its_entry_point(tmp_path):
    """A real distribution on the path; it is imported when its array arrives, not before."""
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    if importlib.util.find_spec("awkward") is None:
        pytest.skip("awkward: not installed")
    (tmp_path / "backend_for_awkward.py").write_text(EXAMPLE.read_text())
    metadata = tmp_path / "relu_xp_awkward-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: relu-xp-awkward\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[relu_xp.backends]\nawkward = backend_for_awkward\n")
    code = """
import sys
import numpy, relu_xp
relu_xp.relu(numpy.ones(3))
assert not {"backend_for_awkward", "awkward", "importlib.metadata"} & set(sys.modules)
import awkward as ak
x = ak.Array([[1.0, -10.0], [], [0.0]])
assert "backend_for_awkward" not in sys.modules
print(relu_xp.leaky_relu(x).to_list(), relu_xp.leaky_relu_vjp(x, x, 0.5).to_list())
from relu_xp.verify import assert_conforms
print(assert_conforms("backend_for_awkward")["cpu"]["float32"].values > 1_000_000)
try:
    relu_xp.relu_vjp(x, ak.Array([[1.0], [2.0], [3.0]]))
except ValueError as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "[[1.0, -0.1], [], [0.0]] [[1.0, -5.0], [], [0.0]]",
        "True",
        "cannot broadcast nested list",
    ]


def test_the_example_runs_as_it_stands():
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    if importlib.util.find_spec("awkward") is None:
        pytest.skip("awkward: not installed")
    run = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True, timeout=300)
    assert "[[1.0, -0.1], [], [0.0, 15.0, -0.2]]" in run.stdout
    assert "values equal the definition" in run.stdout
