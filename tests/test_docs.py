"""What users read: every example runs, and what can be read from the code or a record agrees."""

import doctest
import importlib.util
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import relu_xp
import relu_xp._dispatch
import relu_xp._threads
import relu_xp.reference
import relu_xp.verify._engine
import relu_xp.verify._kernels
from relu_xp._functions import FUNCTIONS
from relu_xp._registry import REGISTRY
from relu_xp.verify._exceptions import DEVIATIONS

ROOT = pathlib.Path(__file__).parents[1]
# The wheel is tested without its source: then there are none.
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.exists() and not {"_build", "_generated", "functions"} & {*page.parts}
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
    ours = r"relu-xp (?:info|verify|bench|demo|vectors)"
    ours = rf"(?:{ours}|python3? (?:benchmarks|examples|docs)/\w+\.py)[^`#\n]*"
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


def _prose(text):
    """Without code: fenced blocks, indented blocks and what stands in backticks."""
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))


TEXTS = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]


@pytest.mark.parametrize(
    "page", TEXTS if PAGES else [], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_markdown_takes_no_power_for_bold(page):
    assert not re.findall(r".*\d\*\*.*\d.*", _prose(page.read_text(encoding="utf-8")))


BRITISH = r"""(?ix) \b\w*? (
    behaviour | colour | favour | neighbour | \Bcentre | \bmaths\b | \bgrey\b | labelled | catalogue
    | (normal|optim|quant|initial|vector|parametr|synchron|serial|recogn|summar|general)
      is (e|ed|es|ing|ation)
)\b"""


@pytest.mark.parametrize(
    "page", TEXTS if PAGES else [], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_spelling_is_american(page):
    prose = re.sub(r"\]\(.*?\)", "", _prose(page.read_text(encoding="utf-8")))
    prose = re.sub(r"^labelled$", "", prose, flags=re.MULTILINE)  # the name of a page
    assert not [found[0] for found in re.finditer(BRITISH, prose)]


@pytest.fixture
def figures():
    path = ROOT / "docs" / "figures.py"
    if not path.exists():
        pytest.skip("docs/figures.py: not beside these tests")
    spec = importlib.util.spec_from_file_location("figures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_figures_are_the_records(figures):
    """Else print them by `python docs/figures.py`, and copy them."""
    assert figures.readme() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_says_what_ran_on_a_gpu(figures):
    [told] = re.findall(
        r"^- CuPy: (.*?) were\s+tested",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    assert sorted(re.findall(r"`(\w+)`", told)) == sorted(figures.measured_on_gpu())


def test_figures_of_a_record(figures):
    text = """
    PyTorch 1, float32;
       time
┏━━━━━━━┳━━━━━━━┓
┃       ┃ tape, ┃
┃ call  ┃ 2^4   ┃
┡━━━━━━━╇━━━━━━━┩
│ relu  │ 1.00  │
│ PReLU │ 0.96  │
│ of 2  │       │
└───────┴───────┘
"""
    [table] = figures.tables(text)
    assert table.title == "PyTorch 1, float32; time"
    rows = [{"call": "relu", "tape, 2^4": "1.00"}, {"call": "PReLU of 2", "tape, 2^4": "0.96"}]
    assert table.rows == rows
    assert list(figures.tables(text.partition("└")[0])) == [table]
    assert figures.span([0.0034, 1.52, 0.5]) == "0.003 to 1.5"
    assert figures.span([2.04, 2.0]) == "2.0"


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_every_extra_is_told(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = re.findall(
        r"^\| `pip install .*$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {extra for row in rows for extra in re.findall(r"\.\[([\w-]+)\]", row)}
    assert told == {*project["optional-dependencies"]}


@pytest.mark.parametrize("page", ["README.md", "docs/semantics.md"])
@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_every_known_exception_is_told(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    told = re.search(r"## Known exceptions\n\n(.*?)\n\n", text, re.DOTALL)[1].split("\n- ")
    names = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch", "ndonnx": "ndonnx"}
    assert sorted(names[each.library] for each in DEVIATIONS) == sorted(
        re.match(r"[- ]*(\w+)", line)[1] for line in told
    )


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=str)
@pytest.mark.parametrize("page", ["README.md", "docs/semantics.md"])
@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_the_table_of_values_is_the_definitions(page, function):
    """Each cell is computed: `z·g`, `x below c, c from c on`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    row = re.search(rf"^\| `{function}\(x.*?\)` \|(.*)\|$", text, re.MULTILINE)[1]
    cells = [cell.strip() for cell in row.split("|")]
    numbers = {"s": 0.25, "z": 0.5, "c": 6.0, "k": 0.75, "g": 3.0}
    given = {"negative_slope": "s", "grad_at_zero": "z", "ceiling": "c", "grad_at_ceiling": "k"}
    scalars = {each.name: numbers[given[each.name]] for each in function.parameters}
    for column, x in enumerate((5.0, 0.0, -2.0, float("nan"), 6.0, 7.0)):
        cell = cells[0 if column > 3 else column]
        arrays = (x, numbers["g"])[: len(function.arrays)]
        wanted = getattr(relu_xp.reference, function.name)(*arrays, **scalars)
        assert repr(_computed(cell, {**numbers, "x": x})) == repr(wanted), (cell, x)


def _computed(cell, numbers):
    """Compute the part of a cell that holds for x: it may be one of several, with its condition."""
    cell = cell.replace("at c: g if k is 1, +0 if k is 0, else k·g;", "k·g at c;")
    cell = cell.replace("g if z is 1, +0 if z is 0, else z·g", "z·g")
    cell = re.sub(r", (with its sign|two operations)$", "", cell)
    x, c = numbers["x"], numbers["c"]
    for part in reversed(re.split("[,;] ", cell)):
        value, condition = re.match(r"(.*?)( below c| at c| above| from c on|)$", part).groups()
        if {" below c": x < c, " at c": x == c, " above": x > c, " from c on": x >= c}.get(
            condition, True
        ):
            return float(eval(value.replace("·", "*"), {**numbers, "NaN": float("nan")}))
    raise AssertionError(cell)


@pytest.mark.skipif(not PAGES, reason="README.md: the wheel is tested without its source")
def test_the_readmes_links_work_where_it_is_shown():
    """A package index shows the README alone: once the project has an address, links are whole."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", readme):
        if "urls" in project:
            assert target.startswith("https://"), target
        else:
            assert target.startswith("https://") or (ROOT / target).exists(), target


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


@pytest.mark.parametrize("name", ["exports", "in_jax", "in_tensorflow", "in_torch"])
def test_a_record_names_its_commit_date_and_machine(name):
    first = (ROOT / "docs" / "recorded" / f"{name}.txt").read_text("utf-8").partition("\n")[0]
    assert re.match(
        r"relu_xp at [0-9a-f]{8}\+?, \d{4}-\d\d-\d\d, .+, \d+ cores, load [\d.]+$", first
    )
