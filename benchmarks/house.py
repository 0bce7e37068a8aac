"""Counts that tell how the house keeps: what a function's name touches, which imports go upward.

    python benchmarks/house.py

`tests/test_house.py` fails where a count is above its limit.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from relu_xp._functions import FUNCTIONS

SOURCE = Path(__file__).parents[1] / "src" / "relu_xp"
# From the lowest on: a module imports only what stands on a line above its own. Of the modules on
# one line, the first four know those before them, backends know none beside them, and the tools on
# top know each other.
LAYERS = (
    ("_functions", "_dtypes", "_checks", "_threads", "_plans", "_arrivals"),
    ("_formulas", "reference", "_native"),
    ("_backends",),
    ("_dispatch",),
    ("_api",),
    ("",),  # relu_xp itself
    ("_machine", "_peers", "verify", "bench", "demo", "__main__"),
)
FRAMEWORKS = (
    "array_api_strict", "awkward", "cupy", "dask", "jax", "keras", "matplotlib", "ml_dtypes", "ndonnx", "onnx",
    "onnxruntime", "pandas", "pint", "polars", "rich", "scipy", "sklearn", "sparse", "tensorflow", "thinc", "torch",
    "xarray",
)  # fmt: skip
# Beside the backends, the files that pyproject.toml lets import some when they are loaded.
MAY_IMPORT = (
    "_backends/",
    "torch.py",
    "demo.py",
    "verify/_report.py",
    "bench/_report.py",
    "bench/_plots.py",
)
MOST_FILES_A_NAME = 9


def sources() -> dict[str, str]:
    """Every text of src by its name below relu_xp, Python and C++."""
    files = sorted(
        path for path in SOURCE.rglob("*") if path.suffix in (".py", ".cpp", ".hpp", ".cu")
    )
    return {path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in files}


def functions() -> list[str]:
    """The public functions, as the records name them."""
    return [*FUNCTIONS]


def files_with(name: str) -> list[str]:
    """Files in which a function's name is an identifier or a string of its own, docstrings and comments aside."""
    return [file for file, text in sources().items() if name in _words(file, text)]


def _words(file: str, text: str) -> set[str]:
    """Identifiers and strings of a file; in a backend's, an attribute is its library's own, as in `torch.relu`."""
    if not file.endswith(".py"):
        return set(re.findall(r"\w+", re.sub(r"//.*|/\*.*?\*/", "", text)))
    fields = ("id", "name", "arg", "asname", *(() if file.startswith("_backends/") else ("attr",)))
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        found |= {getattr(node, field, None) for field in fields}
    return found


def bad_imports() -> list[str]:
    """Imports that go upward or aside, and frameworks imported when a module is loaded that is not theirs."""
    found = []
    for file, text in sources().items():
        if not file.endswith(".py"):
            continue
        tree = ast.parse(text)
        late = {
            id(node)
            for each in ast.walk(tree)
            if isinstance(each, ast.FunctionDef)
            for node in ast.walk(each)
        }
        for node, name in _imports(tree):
            package, _, rest = name.partition(".")
            if package == "relu_xp" and _goes_wrong(file, rest):
                found.append(f"{file}: imports {name}")
            elif package in FRAMEWORKS and id(node) not in late and not file.startswith(MAY_IMPORT):
                found.append(f"{file}: imports {name} when it is loaded")
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every import, wherever it stands, with the full name of each module or object that it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def _goes_wrong(file: str, imported: str) -> bool:
    """Whether a file may not import what has this name below relu_xp."""
    own, other = _module(file.removesuffix(".py").replace("/", ".")), _module(imported)
    layer, other_layer = _layer(own), _layer(other)
    if own == other:  # of one package: backends know none beside them, but one may have a helper
        return own == "_backends" and not imported.startswith("_backends._")
    if layer == other_layer:
        return layer < len(LAYERS) - 1 and LAYERS[layer].index(own) < LAYERS[layer].index(other)
    return layer < other_layer


def _module(name: str) -> str:
    first = name.partition(".")[0]
    return first if any(first in layer for layer in LAYERS) else ""


def _layer(module: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if module in layer)


def tests_on_names() -> list[str]:
    """Lines of Python that ask what a function is called, where its record should be read."""
    names = set(functions())
    parts = {part for name in names for part in re.findall(r"[a-z]+", name)} | {
        f"_{n.rpartition('_')[2]}" for n in names
    }
    found = []
    for file, text in sources().items():
        for node in ast.walk(ast.parse(text)) if file.endswith(".py") else ():
            asked: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asked = node.args if node.func.attr in ("startswith", "endswith") else []
            elif isinstance(node, ast.Compare):
                asked = [node.left, *node.comparators]
            wanted = names if isinstance(node, ast.Compare) else names | parts
            told = {
                each.value
                for part in asked
                for each in ast.walk(part)
                if isinstance(each, ast.Constant)
            }
            if told & wanted:
                found.append(f"{file}:{node.lineno}: {ast.unparse(node)}")
    return found


def main() -> int:
    """Print the counts; 1 if one is above its limit."""
    print(f"A function's name stands in so many files, at most {MOST_FILES_A_NAME}:")
    spread = {name: files_with(name) for name in functions()}
    for name, files in spread.items():
        print(f"  {len(files):2} {name}: {', '.join(files)}")
    wrong = [
        f"in {len(files)} files: {name}"
        for name, files in spread.items()
        if len(files) > MOST_FILES_A_NAME
    ]
    wrong += [f"bad import: {each}" for each in bad_imports()]
    wrong += [f"asks for a name: {each}" for each in tests_on_names()]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
