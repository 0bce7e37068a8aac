"""The house of DESIGN.md: imports go one way, no code asks a function's name, names stand in few files."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from relu_xp._functions import FUNCTIONS

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
            "from relu_xp import _checks, _formulas\nfrom relu_xp._native import _ufuncs\nimport jax",
        ),
        ("_dispatch.py", "from relu_xp import _backends"),
        ("_machine.py", "import relu_xp\nfrom relu_xp.bench import _plots"),
        ("verify/_engine.py", "def f():\n    import torch.nn"),
    ],
)
def test_that_other_imports_are_not(house, monkeypatch, file, text):
    monkeypatch.setattr(house, "sources", lambda: {file: text})
    assert house.bad_imports() == []


def test_frameworks_are_those_of_the_linter(house):
    banned = re.search(
        r"banned-module-level-imports = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL
    )[1]
    assert {*house.FRAMEWORKS} >= {*re.findall(r'"(\w+)"', banned)} - {"numba"}


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
