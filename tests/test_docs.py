"""Every example that a user can read runs: the docstrings' and the README's."""

import doctest
import importlib.util
import pathlib
import re

import pytest

import relu_xp._api
import relu_xp._dispatch
import relu_xp.reference
import relu_xp.verify._engine

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize(
    "module", [relu_xp._api, relu_xp._dispatch, relu_xp.reference, relu_xp.verify._engine], ids=lambda m: m.__name__
)
def test_docstrings(module, monkeypatch):
    monkeypatch.setattr(relu_xp._dispatch, "_registered", {})
    outcome = doctest.testmod(module)
    assert outcome.attempted > 1
    assert outcome.failed == 0


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL) if README.exists() else []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: re.search(r"import (\w+)", b)[1])
def test_readme(block):
    for package in ("jax", "cupy", "pandas", "torch"):
        if re.search(rf"import {package}\b", block) and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package}: not installed")
    if re.search(r"import cupy\b", block):
        import cupy

        if not cupy.cuda.is_available():
            pytest.skip("cupy: no GPU")
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", str(README), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_readme_has_examples():
    if not README.exists():
        pytest.skip("README.md: the wheel is tested without its source")
    assert len(BLOCKS) >= 4
