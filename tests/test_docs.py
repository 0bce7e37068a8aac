"""Every example that a user can read runs: the docstrings', the README's and the pages' of docs/."""

import doctest
import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

import relu_xp
import relu_xp._dispatch
import relu_xp._threads
import relu_xp.reference
import relu_xp.verify._engine
import relu_xp.verify._kernels
from relu_xp._functions import FUNCTIONS
from relu_xp._registry import REGISTRY

ROOT = pathlib.Path(__file__).parents[1]
# The wheel is tested without its source: then there are none.
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.exists() and not {"_build", "_generated"} & {*page.parts}
]


@pytest.mark.parametrize(
    "module",
    [
        relu_xp,
        relu_xp._threads,
        relu_xp.reference,
        relu_xp.verify._engine,
        relu_xp.verify._kernels,
    ],
    ids=lambda m: m.__name__,
)
def test_docstrings(module, monkeypatch):
    monkeypatch.setattr(relu_xp._dispatch, "_registered", {})
    outcome = doctest.testmod(module)
    assert outcome.attempted > 1
    assert outcome.failed == 0


def _blocks(language):
    """Every fenced block of a language, with its page; the id is the page and a number."""
    for page in PAGES:
        found = re.findall(
            rf"^```{language}\n(.*?)^```",
            page.read_text(encoding="utf-8"),
            re.DOTALL | re.MULTILINE,
        )
        for number, block in enumerate(found, 1):
            yield pytest.param(page, block, id=f"{page.relative_to(ROOT).as_posix()}-{number}")


# Each block runs on its own, as a reader would copy it.
@pytest.mark.parametrize(("page", "block"), list(_blocks("python")))
def test_examples_run(page, block, request, monkeypatch):
    for package in (*(row.name for row in REGISTRY if row.name != "python"), "numba"):
        if re.search(rf"import {package}\b", block) and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package}: not installed")
    if "assert_conforms" in block and importlib.util.find_spec("ml_dtypes") is None:
        pytest.skip("ml_dtypes: not installed")
    if re.search(r"import cupy\b", block):
        import cupy

        if not cupy.cuda.is_available():
            pytest.skip("cupy: no GPU")
    if re.search(r"import jax\b", block):
        import jax

        x64 = jax.config.jax_enable_x64  # on, where other tests ran before
        request.addfinalizer(lambda: jax.config.update("jax_enable_x64", x64))
        jax.config.update("jax_enable_x64", False)
    monkeypatch.setattr(relu_xp._dispatch, "_registered", {})
    test = doctest.DocTestParser().get_doctest(block, {}, page.name, str(page), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def _commands():
    """Every command of ours that a page shows, in a block or in a line of text."""
    ours = r"(?:relu-xp (?:info|verify|bench|demo|vectors)|python3? (?:benchmarks|examples|docs)/\w+\.py)[^`#\n]*"
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        yield from ((page, command.strip()) for command in re.findall(ours, text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page):
    for _, command in filter(lambda each: each[0] == page, _commands()):
        program, first, *_ = command.split()
        source = (ROOT / ("src/relu_xp/__main__.py" if program == "relu-xp" else first)).read_text(
            encoding="utf-8"
        )
        wanted = re.findall(r" (--[\w-]+)", command) + ([first] if program == "relu-xp" else [])
        assert all(f'"{word}"' in source for word in wanted), command


@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_pages_have_examples():
    assert len(list(_blocks("python"))) >= 25
    assert len(list(_commands())) >= 20


@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_sessions_exist():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE)
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / ".github/workflows").glob("*.yml")]
    for page in pages:
        for named in re.findall(
            r"nox (?:-s|--session) ([^`\n]*)", page.read_text(encoding="utf-8")
        ):
            for name in re.findall(r"(?<![\w$<{(])[a-z]\w*", re.sub(r"\(.*?\)", "", named)):
                assert name in sessions, f"{page.name}: nox -s {named}"


@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_versions_agree():
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", "CITATION.cff", "noxfile.py")
    }
    version = re.search(r'^version = "(.*)"', texts["pyproject.toml"], re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in texts["CITATION.cff"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for tool in re.findall(r"additional_dependencies: \[(.*)\]", hooks):
        assert f'"{tool}"' in texts["noxfile.py"]


@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_pictures_are_drawn_from_the_functions_and_the_newest_record(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib: not installed")
    drawn = tmp_path / "plots"
    subprocess.run([sys.executable, ROOT / "docs" / "pictures.py", drawn], check=True, timeout=120)
    wanted = {
        "functions.svg": [name for name in FUNCTIONS if FUNCTIONS[name].role in ("value", "grad")],
        "speed.svg": [
            "NumPy",
            "PyTorch, eager",
            "JAX, eager call",
            "np.where",
            "torch.nn.functional",
            "relu_xp",
        ],
    }
    committed = ROOT / "docs" / "plots"
    assert (
        {path.name for path in committed.iterdir()}
        == {path.name for path in drawn.iterdir()}
        == {*wanted}
    )
    for name, words in wanted.items():
        for folder in (committed, drawn):
            text = (folder / name).read_text(encoding="utf-8")
            assert "prefers-color-scheme: dark" in text.replace("scheme:dark", "scheme: dark")
            assert not [word for word in words if f">{word}" not in text]
            assert f"docs/plots/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")
