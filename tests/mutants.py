"""Finds what no test sees: changes the code in one place, and runs the tests that should fail.

    python tests/mutants.py [--number 120] [--workers 2] [--only WORD ...] [--json FILE]

The mutations are cosmic-ray's and two of our own: a statement and a keyword argument that are left
out. Lines are drawn by a hash of the seed and their text, so the same ones are drawn again after an
edit elsewhere. A mutant that changes nothing that is promised stands in `mutants.toml` with the
reason. The score is killed / (tried - named there); it must reach 95 %.
"""

import argparse
import ast
import concurrent.futures
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from rich.progress import track

import relu_xp

HERE = Path(__file__).parent
LEAST = 0.95
LONGEST = 1800  # seconds; a mutant that hangs is killed
# Decorators and `X | Y` are there for speed and for types. Of the other operators two need words to
# put in, and one fails for dotted names of exceptions.
LEFT_OUT = (
    "RemoveDecorator", "_BitOr_", "VariableReplacer", "VariableInserter", "ExceptionReplacer",
)  # fmt: skip

CALLS = "test_api test_definition test_bad_input"
NUMPY = "test_numpy test_numbers test_threads"
EAGER = "not compil and not inductor and not export and not onnx"
# Files, the backends that their tests are run for, and these tests.
ROADS = (
    ("_functions _dtypes reference", "numpy", f"{CALLS} test_units"),
    ("_formulas", "numpy array_api_strict", f"{CALLS} test_array_api"),
    ("_checks", "numpy pandas", f"{CALLS} test_advice test_labelled"),
    ("_dispatch _registry _survey", "numpy", f"{CALLS} test_dispatch test_plugins test_cli"),
    ("_plans _backends/python", "numpy", f"{CALLS} test_numbers test_threads test_history"),
    ("_threads", "numpy", "test_threads test_numpy"),
    ("_backends/numpy _backends/_numpy_classes", "numpy", f"{CALLS} {NUMPY}"),
    ("_backends/array_api", "array_api_strict", f"{CALLS} test_array_api"),
    ("_backends/dask", "dask", f"{CALLS} test_dask"),
    ("_backends/xarray", "xarray", f"{CALLS} test_labelled"),
    ("_backends/pandas", "pandas", f"{CALLS} test_labelled"),
    ("_backends/pint", "pint", f"{CALLS} test_labelled test_units"),
    ("_backends/polars", "polars", f"{CALLS} test_polars"),
    ("_backends/scipy", "scipy", f"{CALLS} test_scipy"),
    ("_backends/jax", "jax", f"{CALLS} test_jax test_jax_modes test_jax_compiled"),
    ("_backends/torch _backends/_torch_kernels", "torch", f"{CALLS} test_torch -k {EAGER}"),
    ("verify/_expected verify/_exceptions", "numpy", "test_verify test_kernels test_definition"),
)  # fmt: skip


class DropStatement(Operator):
    """Leaves out a call, a raise, or an assignment to a part of something."""

    def mutation_positions(self, node: parso.tree.NodeOrLeaf) -> Iterator[tuple]:
        """Find statements whose loss leaves no name undefined."""
        if node.type != "simple_stmt":
            return
        said = node.children[0]
        parts = [child.type for child in getattr(said, "children", ())]
        is_call = said.type in ("atom_expr", "power") and said.children[-1].type == "trailer"
        is_stored = said.type == "expr_stmt" and parts[0] in ("atom_expr", "power")
        if is_call or is_stored or said.type == "raise_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node: parso.tree.NodeOrLeaf, index: int) -> parso.tree.NodeOrLeaf:
        """Say `pass` in its place."""
        nothing = parso.parse("pass\n").children[0]
        nothing.get_first_leaf().prefix = node.get_first_leaf().prefix
        return nothing

    @classmethod
    def examples(cls) -> tuple:
        """Give none: cosmic-ray wants them for its own tests."""
        return ()


class DropKeyword(Operator):
    """Leaves out a keyword argument."""

    def mutation_positions(self, node: parso.tree.NodeOrLeaf) -> Iterator[tuple]:
        """Find the keywords of calls that have other arguments too."""
        if node.type == "arglist":
            for child in node.children:
                if child.type == "argument" and child.children[1] == "=":
                    yield child.start_pos, child.end_pos

    def mutate(self, node: parso.tree.NodeOrLeaf, index: int) -> parso.tree.NodeOrLeaf:
        """Take it away, with the comma before or after it."""
        keywords = [c for c in node.children if c.type == "argument" and c.children[1] == "="]
        at = node.children.index(keywords[index])
        del node.children[max(at - 1, 0) : max(at - 1, 0) + 2]
        return node

    @classmethod
    def examples(cls) -> tuple:
        """Give none, as above."""
        return ()


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    was: str
    now: str
    code: str
    outcome: str = "not tried"

    @property
    def name(self) -> str:
        """The change, without its place, which edits elsewhere move."""
        return f"{self.file}: {self.was} -> {self.now}"


def every_operator() -> Iterator[Operator]:
    """Give cosmic-ray's operators, and ours."""
    for name in operator_names():
        if not any(word in name for word in LEFT_OUT):
            yield get_operator(name)()
    yield DropStatement()
    yield DropKeyword()


def places(package: Path, file: str) -> dict[str, list[tuple[Operator, int]]]:
    """Find what can be changed: by line, each operator and which of its occurrences."""
    code = (package / file).read_text(encoding="utf-8")
    lines, nodes = code.split("\n"), [*ast_nodes(get_ast(code))]
    found: dict[str, list[tuple[Operator, int]]] = {}
    for operator in every_operator():
        positions = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(positions):
            found.setdefault(lines[line - 1].strip(), []).append((operator, occurrence))
    return found


def mutant(package: Path, file: str, operator: Operator, occurrence: int) -> Mutant | None:
    """Change a file; None where nothing changes, or where Python cannot compile the result."""
    code = (package / file).read_text(encoding="utf-8")
    changed = mutate_code(code, operator, occurrence)
    if changed is None or changed == code:
        return None
    try:
        ast.parse(changed)
    except SyntaxError:  # any test would see it
        return None
    line, was, now = _difference(code, changed)
    return Mutant(file, line, was, now, changed)


def _difference(code: str, changed: str) -> tuple[int, str, str]:
    """The number of the first line that differs, and what differs, each side joined to a line."""
    a, b = code.split("\n"), changed.split("\n")
    first = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    a, b = a[first:], b[first:]
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
        a.pop(), b.pop()
    return first + 1, " ".join(map(str.strip, a)), " ".join(map(str.strip, b))


def drawn(package: Path, only: list[str], number: int, seed: int) -> list[Mutant]:
    """Draw lines, and of each line one mutant: a comparison has many more than a call."""
    names = [name for names, *_ in ROADS for name in names.split()]
    files = [f"{name}.py" for name in names if any(word in name for word in only)]
    lines = [(file, *each) for file in files for each in places(package, file).items()]
    lines.sort(key=lambda each: _lot(seed, *each[:2]))
    made: list[Mutant] = []
    for file, line, ways in lines:
        way = min(ways, key=lambda way: _lot(seed, line, type(way[0]).__name__))
        if each := mutant(package, file, *way):
            made.append(each)
        if len(made) == number:
            break
    return made


def _lot(seed: int, *texts: str) -> str:
    return hashlib.sha256(" ".join((str(seed), *texts)).encode()).hexdigest()


def road(file: str) -> tuple[str, str, str]:
    """Find the tests of a file."""
    return next(each for each in ROADS if file.removesuffix(".py") in each[0].split())


def outcome(folder: Path, tests: tuple[str, str, str]) -> str:
    """Run tests on the package in a folder: a mutant that they pass survives."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [f"--backend={name}" for name in tests[1].split()]
    files, _, words = tests[2].partition(" -k ")
    command += [str(HERE / f"{name}.py") for name in files.split()] + ["-k", words] * bool(words)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    try:
        ran = subprocess.run(
            command, cwd=HERE.parent, env=environment, capture_output=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return "killed"
    return "killed" if ran.returncode else "survived"


def tried(mutant: Mutant, folder: Path) -> Mutant:
    """Run the tests of its file on a copy of the package that has the change."""
    place = folder / "relu_xp" / mutant.file
    before = place.read_text(encoding="utf-8")
    place.write_text(mutant.code, encoding="utf-8")
    try:
        return replace(mutant, outcome=outcome(folder, road(mutant.file)))
    finally:
        place.write_text(before, encoding="utf-8")


def main() -> int:
    """Try the mutants and print the survivors; 1 if fewer than 95 % are killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=120, help="mutants to try (default 120)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="tests at once")
    parser.add_argument("--seed", type=int, default=1, help="decides which are drawn")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="files with such a word in their name"
    )
    parser.add_argument("--json", type=Path, help="write every mutant's outcome to a file")
    options = parser.parse_args()
    equivalent = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))

    package = Path(relu_xp.__file__).parent
    chosen = drawn(package, options.only, options.number, options.seed)
    with (
        tempfile.TemporaryDirectory() as root,
        concurrent.futures.ThreadPoolExecutor(options.workers) as pool,
    ):
        folders: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(options.workers):
            folders.put(Path(root) / str(number))
            shutil.copytree(package, Path(root) / str(number) / "relu_xp")

        def turn(mutant: Mutant) -> Mutant:
            folder = folders.get()
            try:
                result = tried(mutant, folder)
            finally:
                folders.put(folder)
            if result.outcome == "survived":
                told = equivalent.get(result.name, "NO TEST SEES IT")
                print(f"{result.file}:{result.line}: {told}\n  - {result.was}\n  + {result.now}")
            return result

        roads = [*dict.fromkeys(road(each.file) for each in chosen)]
        unchanged = pool.map(lambda each: (each, outcome(Path(root) / "0", each)), roads)
        for each, found in track(unchanged, "without a change", total=len(roads)):
            if found == "killed":
                print(f"these tests fail without a change: --backend {each[1]}, {each[2]}")
                return 2
        results = [*track(pool.map(turn, chosen), "testing", total=len(chosen))]
    if options.json:
        kept = [{k: v for k, v in asdict(each).items() if k != "code"} for each in results]
        options.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return report(results, equivalent)


def report(results: list[Mutant], equivalent: dict[str, str]) -> int:
    """Print the score; 1 if it is too low."""
    survivors = [each for each in results if each.outcome == "survived"]
    named = sum(each.name in equivalent for each in survivors)
    counted = len(results) - named
    score = (len(results) - len(survivors)) / counted if counted else 1.0
    print(
        f"{len(results)} mutants, {len(survivors)} survived, {named} of these are named: "
        f"{score:.1%} killed"
    )
    return int(score < LEAST)


if __name__ == "__main__":
    sys.exit(main())
