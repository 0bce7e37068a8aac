"""Backends from elsewhere: registered or installed, found late, and verified in one line."""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import oracle
import pytest

import relu_xp
from relu_xp import _dispatch, _survey, backends
from relu_xp._backends import numpy as numpy_backend
from relu_xp._functions import FUNCTIONS, RELU, RELU_GRAD, RELU_VJP
from relu_xp._registry import REGISTRY
from relu_xp.verify import assert_conforms, verify
from relu_xp.verify._refusals import accepted

EXAMPLE = Path(__file__).parents[1] / "examples" / "backend_for_awkward.py"
PAGE = Path(__file__).parents[1] / "docs" / "your-backend.md"


class Boxed:
    """An array type from the package `boxes`."""

    __module__ = "boxes.arrays"

    def __init__(self, array):
        self.array = np.asarray(array)


class Boxes:
    """Its backend, whose computation of some functions a test may replace by another."""

    def __init__(self, **replaced):
        self.replaced = replaced

    def owns(self, x):  # noqa: D102
        return isinstance(x, Boxed)

    def call(self, function, arrays, scalars, out):  # noqa: D102
        return self.replaced.get(function.name, self.compute)(function, arrays, scalars, out)

    def compute(self, function, arrays, scalars, out):  # noqa: D102
        if out is not None:
            raise TypeError("boxes cannot be written to")
        plain = [a.array if isinstance(a, Boxed) else a for a in arrays]
        return Boxed(getattr(relu_xp, function.name)(*plain, **function.named(scalars)))

    def devices(self):  # noqa: D102
        return ["cpu"]

    def put(self, array, device):  # noqa: D102
        return Boxed(array)

    def get(self, x):  # noqa: D102
        return x.array


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(_dispatch, "_registered", {})
    for cache in ("_OWNERS",):
        if hasattr(_dispatch, cache):
            monkeypatch.setattr(_dispatch, cache, {})
    monkeypatch.setitem(sys.modules, "boxes", types.ModuleType("boxes"))


def test_a_registered_object_owns_its_arrays_until_it_is_unregistered(registry):
    with pytest.raises(TypeError, match=r"relu_xp\.relu: x must be an array"):
        relu_xp.relu(Boxed([1.0]))
    relu_xp.register_backend("boxes", Boxes())
    assert relu_xp.relu(Boxed([-1.0, 2.0])).array.tolist() == [0.0, 2.0]
    assert relu_xp.leaky_relu(Boxed([-1.0, 2.0]), 0.5, grad_at_zero=0.5).array.tolist() == [
        -0.5,
        2.0,
    ]
    assert relu_xp.relu_vjp(
        Boxed([-1.0, 0.0]), Boxed([3.0, 4.0]), grad_at_zero=0.5
    ).array.tolist() == [0.0, 2.0]
    relu_xp.unregister_backend("boxes")
    with pytest.raises(TypeError, match=r"relu_xp\.relu: x must be an array"):
        relu_xp.relu(Boxed([1.0]))


@pytest.mark.parametrize(
    ("package", "error", "words"),
    [
        (1, TypeError, "package must be a string, got int"),
        ("a.b", ValueError, "the name of a top-level package, got 'a.b'"),
        ("crates", ValueError, r"no backend is registered for crates; there are \['boxes'\]"),
    ],
)
def test_what_cannot_be_unregistered(registry, package, error, words):
    relu_xp.register_backend("boxes", Boxes())
    with pytest.raises(error, match=rf"^relu_xp\.unregister_backend: .*{words}"):
        relu_xp.unregister_backend(package)
    assert relu_xp.relu(Boxed([-1.0])).array.tolist() == [0.0]


def test_a_name_is_imported_when_an_array_arrives(registry, monkeypatch):
    relu_xp.register_backend("boxes", "boxes_for_relu_xp")
    assert "boxes_for_relu_xp" not in sys.modules
    assert relu_xp.relu(np.array([-1.0])).tolist() == [0.0]
    with pytest.raises(ModuleNotFoundError, match="boxes_for_relu_xp") as raised:
        relu_xp.relu(Boxed([1.0]))
    assert raised.value.__notes__ == ["relu_xp: boxes_for_relu_xp is the backend of boxes"]
    monkeypatch.setitem(sys.modules, "boxes_for_relu_xp", Boxes())
    assert relu_xp.relu(Boxed([-1.0])).array.tolist() == [0.0]


def test_a_registered_backend_comes_before_our_own(registry):
    class Marked(np.ndarray):
        pass

    relu_xp.relu(np.ones(1).view(Marked))
    ours = types.SimpleNamespace(**vars(numpy_backend))
    ours.owns = lambda x: type(x) is Marked
    relu_xp.register_backend("numpy", ours)  # it makes the dispatcher forget its types
    assert _dispatch.owner(RELU, "x", np.ones(1).view(Marked)) is ours
    assert _dispatch.owner(RELU, "x", np.ones(1)) is numpy_backend


OLD = types.ModuleType("written_for_the_old_interface")
OLD.__dict__.update(dict.fromkeys((*FUNCTIONS, "owns", "devices", "put", "get"), print))


@pytest.mark.parametrize(
    ("package", "backend", "error", "words"),
    [
        (1, "x", TypeError, "package must be a string, got int"),
        ("a.b", "x", ValueError, "the name of a top-level package, got 'a.b'"),
        (
            "boxes",
            1,
            TypeError,
            r"it lacks owns, devices, put, get, call\(function, arrays, scalars, out\)",
        ),
        ("boxes", types.ModuleType("empty"), TypeError, "it lacks owns, devices, put, get, call"),
        (
            "boxes",
            OLD,
            TypeError,
            r"it lacks call\(function, arrays, scalars, out\), or delegate\(function, inside, arra",
        ),
    ],
)
def test_what_is_no_backend(registry, package, backend, error, words):
    with pytest.raises(error, match=rf"^relu_xp\.register_backend: .*{words}"):
        relu_xp.register_backend(package, backend)
    assert not _dispatch._registered


class Holding(Boxes):
    """Its boxes delegate what they hold, whole or in two parts, and hand on the slope or not."""

    call = None

    def __init__(self, parts=1, takes_slopes=True):
        self.parts, self.takes_slopes = parts, takes_slopes

    def delegate(self, function, inside, arrays, slope, out):  # noqa: D102
        backends.no_out(function, out, "a box")
        cut = [np.array_split(a.array, self.parts) for a in arrays]
        if slope is None or not self.takes_slopes:
            return Boxed(np.concatenate([inside(*held) for held in zip(*cut, strict=True)]))
        slopes = np.array_split(np.broadcast_to(slope, arrays[0].array.shape), self.parts)
        parts = zip(zip(*cut, strict=True), slopes, strict=True)
        return Boxed(np.concatenate([inside(*held, slope=part) for held, part in parts]))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", oracle.SLOPED)
def test_a_delegating_backend_hands_on_the_parts_of_a_slope(registry, parts, name):
    relu_xp.register_backend("boxes", Holding(parts))
    x, slopes = np.array([-1.0, -2.0, 0.0, 4.0]), np.array([0.5, 2.0, 3.0, 4.0])
    for slope in (slopes, 0.5, np.float32(0.25)):
        for z in (1.0, 0.25, -0.0):
            options = {"negative_slope": slope, "grad_at_zero": z}
            got = oracle.call(name, Boxed(x), **options)
            oracle.assert_same(got.array, oracle.call(name, x, **options))
    for z, got in ((None, "NoneType"), (slopes, r"numpy\.ndarray")):
        with pytest.raises(TypeError, match=f"grad_at_zero must be a real number, got {got}; "):
            oracle.call(name, Boxed(x), negative_slope=slopes, grad_at_zero=z)


@pytest.mark.parametrize("slope", [np.array([0.5, 2.0]), [0.5, 2.0], Boxed([0.5, 2.0])])
def test_an_array_of_slopes_is_refused_for_a_backend_that_leaves_it_out(registry, slope):
    relu_xp.register_backend("boxes", Holding(takes_slopes=False))
    assert relu_xp.leaky_relu(Boxed([-1.0, 2.0]), 0.5).array.tolist() == [-0.5, 2.0]
    text = (
        r"^relu_xp\.leaky_relu: negative_slope must be a real number, got .*; pass a Python float"
    )
    with pytest.raises(TypeError, match=rf"{text}, since boxes\.arrays\.Boxed takes no array$"):
        relu_xp.leaky_relu(Boxed([-1.0, 2.0]), slope)
    with pytest.raises(TypeError, match=rf"{text}$"):
        relu_xp.leaky_relu(Boxed([-1.0, 2.0]), None)


def test_a_delegate_of_the_older_interface_is_told_the_new_one(registry, monkeypatch):
    class Older(Boxes):
        call = None

        def delegate(self, function, inside, arrays, out):
            return inside(*arrays)

    lacks = r"it lacks .*, or delegate\(function, inside, arrays, slope, out\)$"
    with pytest.raises(
        TypeError, match=rf"^relu_xp\.register_backend: backend must have .*{lacks}"
    ):
        relu_xp.register_backend("boxes", Older())
    monkeypatch.setitem(sys.modules, "boxes_for_relu_xp", Older())
    relu_xp.register_backend("boxes", "boxes_for_relu_xp")
    with pytest.raises(TypeError, match=rf"^relu_xp: boxes_for_relu_xp, the backend of .*{lacks}"):
        relu_xp.relu(Boxed([1.0]))


def methods(*protocols):
    """Their methods by name, those that they inherit among them."""
    return {
        name: method
        for protocol in protocols
        for each in protocol.__mro__
        if each.__module__ == backends.__name__
        for name, method in vars(each).items()
        if inspect.isfunction(method) and name[0] != "_"
    }


@pytest.mark.skipif(not PAGE.exists(), reason="docs/: not beside these tests")
def test_the_page_names_the_whole_interface():
    """The table of `docs/your-backend.md` has the methods of the protocols."""
    told = dict(
        re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    protocols = (backends.Backend, backends.Delegating, backends.Advising)
    assert told == {
        name: ", ".join([*inspect.signature(method).parameters][1:])
        for name, method in methods(*protocols).items()
    }


# What one backend has besides, and who asks for it.
BESIDES = {
    "jax": {"forget"},  # the verifier, so that its memory stays small
    "cupy": {"source", "options"},  # the tests that compile its kernels without a GPU
}


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.name)
def test_our_own_backends_have_what_the_protocols_name_alone(row):
    tree = ast.parse(Path(importlib.util.find_spec(row.served_by).origin).read_text("utf-8"))
    public = {
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    }
    protocols = methods(backends.Backend, backends.Delegating, backends.Advising)
    assert public - {*protocols} <= BESIDES.get(row.name, set())


@pytest.mark.parametrize("path", [EXAMPLE, PAGE], ids=lambda path: path.name)
def test_a_plugin_uses_nothing_private(path):
    if not path.exists():
        pytest.skip(f"{path.parent.name}/: not beside these tests")
    assert not re.search(r"relu_xp\._|import _", path.read_text(encoding="utf-8"))


def test_strings_in_awkward_arrays_get_our_error(registry, monkeypatch):
    awkward = pytest.importorskip("awkward", reason="awkward: not installed")
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    relu_xp.register_backend("awkward", "backend_for_awkward")
    text = r"^relu_xp\.leaky_relu: takes real floating dtypes, got string; .*, for example ([^\n]*)"
    for given, want in ((["-1.5"], [-1.5]), ([["-1.5"], [], ["2"]], [[-1.5], [], [2.0]])):
        x = awkward.Array(given)
        with pytest.raises(TypeError, match=text) as raised:
            relu_xp.leaky_relu(x, 1.0)
        advice = re.search(text, str(raised.value))[1]
        numbers = eval(advice, {"awkward": awkward, "x": x})
        assert relu_xp.leaky_relu(numbers, 1.0).to_list() == want


def test_conformance_and_survey(registry):
    backend = Boxes()
    with pytest.raises(TypeError, match="x must be an array"):
        assert_conforms(backend)
    relu_xp.register_backend("boxes", backend)
    record = assert_conforms(backend)["cpu"]
    assert record["float32"].values > 1_000_000
    assert "boxes" in [each.name for each in _survey.survey()]


def conformance_of(backend):
    relu_xp.register_backend("boxes", backend)
    with np.errstate(invalid="ignore"):
        assert_conforms(backend)


def test_conformance_fails_where_a_value_differs(registry):
    careful = Boxes().compute

    def leaves_out_as_it_was(function, arrays, scalars, out):
        stale = isinstance(out, Boxed) and out.array.shape == arrays[0].array.shape
        return careful(function, arrays, scalars, None if stale else out)

    with pytest.raises(AssertionError, match=r"values differ, such as\nrelu\(float16.*out: "):
        conformance_of(Boxes(relu=leaves_out_as_it_was))

    def multiplies(function, arrays, scalars, out):  # x * 0 is -0.0 for x < 0, and NaN for -inf
        x = arrays[0].array
        if x.dtype.kind == "b" or out is not None:
            raise KeyError("no")
        return Boxed(np.where(x > 0, x, x * 0))

    taken = r"does not refuse an x of bool, in relu \(KeyError: 'no'\); "
    taken += r".*an out that is a list, in relu \(KeyError"
    with pytest.raises(AssertionError, match=taken):
        conformance_of(Boxes(relu=multiplies))

    def refuses(function, arrays, scalars, out):
        careful(function, arrays, scalars, out)
        return multiplies(function, arrays, scalars, None)

    with pytest.raises(AssertionError, match=r"values differ, such as\nrelu\(float16"):
        conformance_of(Boxes(relu=refuses))
    backend = Boxes()
    backend.put = lambda array, device: array
    with pytest.raises(AssertionError, match="does not own what its put"):
        conformance_of(backend)


def test_conformance_fails_under_python_without_assertions(tmp_path):
    """`python -O` drops assert statements, and must not make a verifier that passes everything."""
    code = """
import numpy, types, relu_xp
from relu_xp._backends import numpy as right
from relu_xp.verify import assert_conforms
wrong = types.SimpleNamespace(**vars(right))
wrong.call = lambda function, arrays, scalars, out: arrays[0]
relu_xp.register_backend("numpy", wrong)
try:
    assert_conforms(wrong)
except AssertionError:
    print("raised")
"""
    run = subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout == "raised\n"


def test_what_is_not_refused_is_told_of_the_dtypes_that_there_are(registry):
    backend = Boxes(
        relu_vjp=lambda function, arrays, *_: arrays[0],
        relu_grad=lambda function, arrays, *_: arrays[0],
    )
    relu_xp.register_backend("boxes", backend)
    target = _survey.Target("boxes", backend, "cpu")
    taken = [*accepted(target, ["float32"])]
    assert f"a cotangent of another shape, in {RELU_VJP}" in taken
    assert f"grad_at_zero=nan, in {RELU_GRAD}" in taken
    assert {each.rpartition(" in ")[2] for each in taken} == {RELU_GRAD.name, RELU_VJP.name}
    more = {*accepted(target, ["float32", "int32"])} - {*taken}
    assert more == {f"an x of int32, in {each}" for each in (RELU_GRAD, RELU_VJP)}


def test_a_dtype_that_put_loses_is_told(registry):
    backend = Boxes()
    backend.put = lambda array, device: Boxed(
        array.astype("f4") if array.dtype == np.float16 else array
    )
    relu_xp.register_backend("boxes", backend)
    target = _survey.Target("boxes", backend, "cpu")
    *_, record = verify(target, [np.dtype("f2"), np.dtype("i1")])
    assert record["float16"].left_out == {"all": "becomes float32"}
    assert record["int8"].values == 256


def test_a_backend_that_breaks_on_out_is_no_end_of_the_run(registry):
    def breaks(function, arrays, scalars, out):
        return Boxes().compute(function, arrays, scalars, None) if out is None else out.nothing

    backend = Boxes(relu=breaks)
    relu_xp.register_backend("boxes", backend)
    *_, record = verify(_survey.Target("boxes", backend, "cpu"), [np.dtype("f2")], (RELU,))
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
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: relu-xp-awkward\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[relu_xp.backends]\nawkward = backend_for_awkward\n"
    )
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
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "[[1.0, -0.1], [], [0.0]] [[1.0, -5.0], [], [0.0]]",
        "True",
        "cannot broadcast nested list",
    ]


DAMAGED = {
    "nothing-1.0.dist-info/RECORD": b"",
    ".dist-info/RECORD": b"",  # pip leaves such folders when it is interrupted
    "~alf_removed-1.0.dist-info/RECORD": b"",
    "malformed-1.0.dist-info/entry_points.txt": b"[console_scripts]\nno equals sign\n",
    "unreadable-1.0.dist-info/entry_points.txt": b"\xff\xfe",
    "unreadable-1.0.dist-info/METADATA": b"\xff\xfe",
    "a_folder-1.0.dist-info/entry_points.txt/file": b"",
    "ours-1.0.dist-info/entry_points.txt": b"[relu_xp.backends]\nboxes = boxes_for_relu_xp\n",
    "empty-1.0.dist-info/entry_points.txt": b"[relu_xp.backends]\nbags =\n",
}


def test_damaged_metadata_elsewhere_does_no_harm(tmp_path):
    """Real distributions on the path: those that cannot be read get one warning each."""
    pytest.importorskip("array_api_strict", reason="array_api_strict: not installed")
    for name, data in DAMAGED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "call.py").write_text("""
import warnings, array_api_strict as xp, relu_xp
from relu_xp import _dispatch, _survey
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert float(relu_xp.relu(xp.asarray(-1.0))) == 0
    assert float(relu_xp.leaky_relu_vjp(xp.asarray(1.0), xp.asarray(3.0))) == 3
for each in [each for each in told if "relu_xp" in str(each.message)]:
    print(each.lineno, each.filename, each.message)
assert _dispatch.plugins() == {"boxes": "boxes_for_relu_xp", "bags": ""}
assert _survey.versions()["numpy"] == "unknown"
""")
    (tmp_path / "numpy-9.9.dist-info").mkdir()  # relu-xp info lists it, but has no version
    run = subprocess.run(
        [sys.executable, "call.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    told = sorted(run.stdout.splitlines())
    assert len(told) == 2, told
    for line, name in zip(told, ("malformed", "unreadable"), strict=True):
        assert re.fullmatch(
            rf"6 \S*call\.py relu_xp: .* of \S*{name}-1\.0\.dist-info cannot be read, .*remove it",
            line,
        )


def test_the_example_runs_as_it_stands():
    if not EXAMPLE.exists():
        pytest.skip("examples/: not beside these tests")
    if importlib.util.find_spec("awkward") is None:
        pytest.skip("awkward: not installed")
    run = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, check=True, timeout=300
    )
    assert "[[1.0, -0.1], [], [0.0, 15.0, -0.2]]" in run.stdout
    assert "values equal the definition" in run.stdout
