"""Counts that tell how the house keeps: which files know a name, which imports go upward.

    python benchmarks/house.py

`tests/test_house.py` fails where a count is above its limit.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from relu_xp._functions import FUNCTIONS
from relu_xp._registry import REGISTRY, Row

SOURCE = Path(__file__).parents[1] / "src" / "relu_xp"
# From the lowest on: a module imports only what stands above it here, on an earlier line or before
# it on its own line. Two lines are different: backends do not know each other, and the tools on the
# last line all do.
LAYERS = (
    (
        "_registry",
        "_functions",
        "_dtypes",
        "_checks",
        "backends",
        "_threads",
        "_plans",
        "_arrivals",
    ),
    ("_formulas", "reference", "_native"),
    ("_backends",),
    ("_dispatch", "_survey"),
    ("_api",),
    ("",),  # relu_xp itself
    ("_peers", "verify", "bench", "demo", "__main__"),
)
# The packages of the backends, and others that no module imports when it is loaded.
BACKENDS = tuple(row.name for row in REGISTRY if row.name not in ("numpy", "python"))
FRAMEWORKS = (
    *BACKENDS,
    "awkward", "matplotlib", "ml_dtypes", "onnx", "onnxruntime", "rich", "sklearn", "thinc",
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
# Files that name backends beside a backend's own: which ones, and why.
EVERY = "every backend"
MAY_NAME = {
    "_registry.py": (EVERY, "its row"),
    "__init__.py": ("keras", "Keras reads models back by bare names, so its import is watched for"),
    "__main__.py": ("jax keras", "examples in the help"),
    "_backends/array_api.py": ("dask jax", "its advice for objects of a protocol names them"),
    "_backends/_pandas_advice.py": ("pint", "what pint-pandas calls its columns"),
    "_backends/scipy.py": ("sparse", "a module of SciPy"),
    "_backends/tensorflow.py": ("sparse", "a module of TensorFlow"),
    "_peers.py": (EVERY, "rectifiers of other libraries, to compare with"),
    "_pyinstaller/": ("keras", "its public module, which is imported by name"),
    "bench/": (EVERY, "the same peers, and training steps in frameworks"),
    "demo.py": ("jax", "it trains in JAX"),
    "verify/_autodiff.py": (EVERY, "each framework differentiates by functions of its own"),
    "verify/_cases.py": (EVERY, "dtypes and layouts that one library cannot hold"),
    "verify/_exceptions.py": (EVERY, "a known exception is one library's"),
    "verify/_kernels.py": (EVERY, "a user's kernel is a function of one library"),
    "verify/_peers.py": (EVERY, "rectifiers of other libraries, to compare with"),
}


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
    """Files in which a function's name is an identifier or a string, not only in prose."""
    return [file for file, text in sources().items() if name in _words(file, text)]


def _words(file: str, text: str) -> set[str]:
    """Identifiers and strings; a backend's attributes are its library's own, as in `torch.relu`."""
    if not file.endswith(".py"):
        return set(re.findall(r"\w+", re.sub(r"//.*|/\*.*?\*/", "", text)))
    fields = ("id", "name", "arg", "asname", *(() if file.startswith("_backends/") else ("attr",)))
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        found |= {getattr(node, field, None) for field in fields}
    return found


def places_of_backends() -> list[str]:
    """Where a backend's name stands in code or in a message outside of its own files."""
    found = []
    for file, text in sources().items():
        if file.endswith(".py"):
            names = _names_in_code(ast.parse(text))
            allowed = _may_name(file)
            found += [f"{file}: {each}" for each in BACKENDS if each in names - allowed]
    return found


def _may_name(file: str) -> set[str]:
    own = {row.name for row in REGISTRY if _is_own(file, row)}
    named = [names for prefix, (names, _) in MAY_NAME.items() if file.startswith(prefix)]
    return {*BACKENDS} if EVERY in named else own.union(*(names.split() for names in named))


def _is_own(file: str, row: Row) -> bool:
    """Whether it is a file of the backend, a helper of one, or its public module."""
    served_by = row.served_by.removeprefix("relu_xp.").replace(".", "/")
    helper = f"_backends/_{row.name}_"
    return file in (f"{served_by}.py", f"{row.name}.py") or file.startswith(helper)


def _names_in_code(tree: ast.Module) -> set[str]:
    """Every word of the code and its strings, docstrings aside."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    fields = ("id", "name", "arg", "asname", "module")
    found: set[str] = set()
    for node in ast.walk(tree):
        texts = [getattr(node, field, None) for field in fields]
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            texts.append(node.value)
        found |= {w for text in texts if isinstance(text, str) for w in re.findall(r"\w+", text)}
    return found


def bad_imports() -> list[str]:
    """Imports that go upward or aside, or that load a framework with the module that has them."""
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


def _imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every import, wherever it stands, with the full name of each module or object it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)
        elif name := _dynamic(node):
            yield node, name


def _dynamic(node: ast.AST) -> str | None:
    """The module of ours in `import_module("...")` or `sys.modules["..."]`, or how it begins."""
    if isinstance(node, ast.Call) and node.args:
        called, name = ast.unparse(node.func), node.args[0]
        is_import = called.endswith(("import_module", "__import__", "sys.modules.get"))
    elif isinstance(node, ast.Subscript):
        name, is_import = node.slice, ast.unparse(node.value) == "sys.modules"
    else:
        return None
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    if is_import and isinstance(name, ast.Constant) and str(name.value).startswith("relu_xp"):
        return str(name.value)
    return None


def _goes_wrong(file: str, imported: str) -> bool:
    """Whether a file may not import what has this name below relu_xp."""
    own, other = _module(file.removesuffix(".py").replace("/", ".")), _module(imported)
    layer, other_layer = _layer(own), _layer(other)
    if own == other:  # backends know none beside them, but may share a helper
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
    wrong += [f"names a backend: {each}" for each in places_of_backends()]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
