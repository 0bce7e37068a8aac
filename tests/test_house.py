"""The house: imports go one way, no code asks a function's name, names stand in few files."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from relu_xp._functions import FUNCTIONS
from relu_xp._registry import REGISTRY, SURVEYED

ROOT = Path(__file__).parents[1]
COUNTS = ROOT / "benchmarks" / "house.py"
pytestmark = pytest.mark.skipif(
    not COUNTS.exists() or not (ROOT / "src").exists(),
    reason="benchmarks/house.py and src/: not beside these tests",
)


@pytest.fixture
def house():
    spec = importlib.util.spec_from_file_location("house", COUNTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_go_one_way(house):
    assert house.bad_imports() == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_checks.py", "from relu_xp import _dispatch"),
        ("_dtypes.py", "from relu_xp._checks import Library"),
        ("_threads.py", "import relu_xp._backends.numpy"),
        ("_dispatch.py", "from relu_xp import _api"),
        ("_api.py", "from relu_xp import relu"),
        ("_backends/numpy.py", "from relu_xp._dispatch import call"),
        ("_backends/numpy.py", "def f():\n    from relu_xp._backends import python"),
        ("_dispatch.py", "def f():\n    import relu_xp.verify"),
        ("_dispatch.py", "def f():\n    importlib.import_module('relu_xp.verify')"),
        ("_checks.py", "f = sys.modules['relu_xp._dispatch'].call"),
        ("_checks.py", "f = sys.modules.get(f'relu_xp._backends.{package}')"),
        ("_dispatch.py", "sys.modules['relu_xp._api'].call = None"),
        ("_backends/numpy.py", "__import__('relu_xp._dispatch')"),
        ("_functions.py", "from relu_xp._registry import REGISTRY; from relu_xp import _dtypes"),
        ("reference.py", "import numpy, jax"),
        ("verify/_engine.py", "import torch.nn"),
    ],
)
def test_that_an_import_is_seen(house, monkeypatch, file, text):
    monkeypatch.setattr(house, "sources", lambda: {file: text})
    assert len(house.bad_imports()) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "_backends/numpy.py",
            "from relu_xp import _checks, _formulas\n"
            "from relu_xp._native import _ufuncs\nimport jax",
        ),
        ("_dispatch.py", "from relu_xp import _backends"),
        ("demo.py", "import relu_xp\nfrom relu_xp.bench import _plots"),
        ("_survey.py", "from relu_xp import _dispatch, _registry"),
        ("_dispatch.py", "importlib.import_module(name)\nf = sys.modules[__name__]"),
        ("demo.py", "importlib.import_module('relu_xp.verify')"),
        ("verify/_engine.py", "def f():\n    import torch.nn"),
    ],
)
def test_that_other_imports_are_not(house, monkeypatch, file, text):
    monkeypatch.setattr(house, "sources", lambda: {file: text})
    assert house.bad_imports() == []


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def test_frameworks_are_those_of_the_linter(house):
    lint = settings()["ruff"]["lint"]["flake8-tidy-imports"]
    assert sorted(lint["banned-module-level-imports"]) == sorted(house.FRAMEWORKS)


def test_the_type_checker_takes_every_framework_as_untyped():
    untyped = settings()["mypy"]["overrides"][0]["module"]
    imported = {row.name for row in REGISTRY if not row.module} - {"numpy", "python"}
    assert {f"{name}.*" for name in imported} <= {*untyped}


def test_the_sessions_of_nox_name_backends_of_the_registry():
    """The noxfile makes a session for each that they do not name."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    (sessions,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BACKENDS"
    ]
    named = [
        each.value
        for session in sessions.values
        for each in ast.walk(session.elts[2])
        if isinstance(each, ast.Constant)
    ]
    assert len(named) == len({*named})
    assert {*named} <= {row.name for row in SURVEYED}


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.name)
def test_each_backend_has_its_file_and_its_page(row):
    assert importlib.util.find_spec(row.served_by)
    assert (ROOT / "docs" / "backends" / f"{row.page}.md").exists()


def test_no_page_is_left_over():
    pages = {path.stem for path in (ROOT / "docs" / "backends").glob("*.md")}
    assert pages == {row.page for row in REGISTRY}


def test_the_registry_can_be_read_without_relu_xp():
    """The noxfile does so, before anything is installed."""
    path = ROOT / "src" / "relu_xp" / "_registry.py"
    code = f"import runpy; print(len(runpy.run_path({str(path)!r})['REGISTRY']))"
    command = [sys.executable, "-I", "-S", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{len(REGISTRY)}\n"


def test_a_backend_stands_in_its_files_its_row_and_its_page_alone(house):
    assert house.places_of_backends() == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_checks.py", "advice = 'convert it first, for example polars.Series(x)'"),
        ("_dispatch.py", "if package == 'tensorflow':\n    pass"),
        ("_survey.py", "NAMES = ('numpy', 'jax')"),
        ("_backends/numpy.py", "def f(x):\n    import cupy"),
        ("_backends/torch.py", "def f(keras):\n    pass"),
    ],
)
def test_that_another_place_is_seen(house, monkeypatch, file, text):
    monkeypatch.setattr(house, "sources", lambda: {file: text})
    assert len(house.places_of_backends()) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_backends/torch.py", "import torch"),
        ("_backends/_torch_kernels.py", "import torch"),
        ("torch.py", "import torch"),
        ("_backends/array_api.py", "_WITHOUT_AUTODIFF = {'ndonnx'}"),
        ("_checks.py", '"""As torch does."""\ndef f():\n    """Not as jax does."""\n    # cupy'),
    ],
)
def test_that_its_own_places_are_not(house, monkeypatch, file, text):
    monkeypatch.setattr(house, "sources", lambda: {file: text})
    assert house.places_of_backends() == []


def test_no_code_asks_what_a_function_is_called(house):
    assert house.tests_on_names() == []


@pytest.mark.parametrize(
    "text",
    [
        'name.startswith("leaky")',
        'name.endswith(("_grad", "vjp"))',
        'function.name == "relu"',
        'str(function) in ("relu", "leaky_relu")',
    ],
)
def test_that_such_a_question_is_seen(house, monkeypatch, text):
    monkeypatch.setattr(
        house, "sources", lambda: {"_functions.py": "", "demo.py": f"if {text}:\n    pass"}
    )
    assert len(house.tests_on_names()) == 1


def test_no_test_asks_either(house, monkeypatch):
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py")}
    own = {name: text for name, text in texts.items() if name != Path(__file__).name}
    monkeypatch.setattr(house, "sources", lambda: own)
    assert [
        each for each in house.tests_on_names() if "startswith" in each or "endswith" in each
    ] == []


@pytest.mark.parametrize("folder", ["src", "benchmarks", "examples", "docs"])
def test_no_check_vanishes_under_python_without_assertions(folder):
    """`python -O` drops assert statements: outside of the tests nothing may rest on one."""
    asserting = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert asserting == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_name_stands_in_few_files(house, name):
    assert name in house.functions()
    assert len(house.files_with(name)) <= house.MOST_FILES_A_NAME, house.files_with(name)
