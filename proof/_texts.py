"""Both texts in SMT-LIB, by what they do themselves when they are given terms in the place of numbers.

`_formulas.py` runs on arrays of one element, which is a term, each way through its own branches. `rectifiers.hpp` is
compiled with primitives that print what they are asked for.
"""

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import relu_xp
from proof._terms import COMPARISONS, OPERATIONS, Format, condition, either, term
from relu_xp._functions import Function
from relu_xp.verify._expected import Run, Term, expression_of, ways

NATIVE = Path(relu_xp.__file__).parent / "_native"


@dataclass
class Text:
    """Lines that define terms, and of each way that ends, the names of them: its condition, result and exceptions."""

    lines: list[str]
    ends: list[dict[str, str]]


class Array:
    """An array of one element, which is a term: a number, or the answer of a comparison."""

    shape = ()
    __hash__ = __bool__ = None  # type: ignore[assignment]

    def __init__(self, trace: "Trace", name: str) -> None:
        self.trace, self.name = trace, name


class Trace:
    """One way through a formula: the operations that it makes, in order, and of each whether it raises an exception."""

    def __init__(self, prefix: str, format: Format) -> None:
        self.prefix, self.format = prefix, format
        self.lines, self.raised = list[str](), list[str]()

    def define(self, sort: str, value: str) -> Array:
        """Name a term."""
        name = f"{self.prefix}.{len(self.lines)}"
        self.lines.append(f"(define-fun {name} () {sort} {value})")
        return Array(self, name)

    def name(self, value: Any) -> str:
        """Give the name of an array's element, or a number as a term."""
        return value.name if isinstance(value, Array) else term(expression_of(value), self.format)


def _compare(a: Array, symbol: str, b: Any) -> Array:
    return a.trace.define("Bool", COMPARISONS[symbol].format(a.name, a.trace.name(b)))


def _operate(a: Array, symbol: str, b: Any) -> Array:
    operands = f"{a.name} {a.trace.name(b)}"
    a.trace.raised.append(f"({OPERATIONS[symbol]} {operands})")
    return a.trace.define("Number", f"({symbol} {operands})")


for _symbols, _method in ((COMPARISONS, _compare), (OPERATIONS, _operate)):
    for _symbol in _symbols:
        setattr(Array, f"__{_symbol}__", functools.partialmethod(_method, _symbol))

_XP = SimpleNamespace(
    where=lambda mask, a, b: mask.trace.define("Number", f"(ite {mask.name} {a.name} {b.name})"),
    full_like=lambda like, value: like.trace.define("Number", like.trace.name(value)),
    zeros_like=lambda like: _XP.full_like(like, 0.0),
    ones_like=lambda like: _XP.full_like(like, 1.0),
)


def from_python(formula: Any, function: Function, format: Format) -> Text:
    """Run a function of `_formulas`; twice where a scalar may be an array."""
    text = Text([], [])
    for as_arrays in sorted({False, *(each.may_be_array for each in function.scalars)}):

        def follow(run: Run, as_arrays: bool = as_arrays) -> dict[str, str]:
            trace = Trace(f"line{len(text.lines)}", format)
            arrays = [Array(trace, name) for name in function.arrays]
            scalars = [
                Array(trace, each.name) if as_arrays and each.may_be_array else Term(("input", each.name), run)
                for each in function.scalars
            ]
            result = formula(_XP, *arrays, *scalars)
            text.lines += trace.lines
            return {"result": result.name, "raised": either(trace.raised), "masks": "true"}

        text.ends += [{"when": condition(run, format), **end} for run, end in ways(follow)]
    return text


def compiled(texts: dict[str, str], functions: dict[str, list[str]], folder: Path) -> Path:
    """Compile texts of `rectifiers.hpp` by their names, for these functions of each, into a program that tells them."""
    lines = []
    for name, text in texts.items():
        (folder / f"{name}.hpp").write_text(text, encoding="utf-8")
        lines += [f"namespace {name} {{", f'#include "{name}.hpp"', "}"]
    each = (f"EACH({name}, {function})" for name in texts for function in functions[name])
    lines += [f"#define TEXTS(EACH) {' '.join(each)}", ""]
    (folder / "texts.hpp").write_text("\n".join(lines), encoding="utf-8")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), "c++")
    source, program = Path(__file__).with_name("text.cpp"), folder / "text"
    command = [compiler, "-std=c++17", "-O1", "-w", f"-I{folder}", f"-I{NATIVE}", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def from_cpp(program: Path) -> dict[str, Text]:
    """Have the program tell its texts, by name and function."""
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    end = {"when": "true", "result": "result", "raised": "raised", "masks": "masks"}
    parts = (part.partition("\n") for part in output.split("; ")[1:])
    return {title: Text(lines.splitlines(), [end]) for title, _, lines in parts}
