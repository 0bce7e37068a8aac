"""The texts as SMT-LIB: each is run, or compiled and run, with terms in the place of numbers, and tells what it computes.

A text becomes lines that define what they compute, and what of it is to be proved.
"""

import functools
import operator
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from relu_xp._functions import Function
from relu_xp.verify._expected import Expression, Run, Term, expression_of, paths, rounded, ways


@dataclass(frozen=True)
class Format:
    """A binary floating-point format."""

    name: str
    exponent: int  # bits
    significand: int  # bits, the hidden one included

    @property
    def bits(self) -> int:
        return self.exponent + self.significand

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        if self.name != "bfloat16":
            return np.dtype(self.name)
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)

    @property
    def one(self) -> int:
        return ((1 << (self.exponent - 1)) - 1) << (self.significand - 1)

    @property
    def two(self) -> int:
        return 1 << (self.bits - 2)

    def constant(self, value: float) -> str:
        pattern = int(rounded(value, self.dtype).view(f"u{self.bits // 8}"))
        return f"(value {self.word(pattern)})"

    def word(self, pattern: int) -> str:
        return f"#b{pattern:0{self.bits}b}"


FORMATS = {each.name: each for each in (
    Format("float16", 5, 11), Format("bfloat16", 8, 8), Format("float32", 8, 24), Format("float64", 11, 53)
)}


@dataclass
class Text:
    """What a text computes: where `when` holds, `result`, and whether an exception is `raised`; `masks` must hold."""

    lines: list[str]
    ends: list[dict[str, str]]


def names(function: Function) -> list[str]:
    """The inputs, in the order of every signature."""
    return [*function.arrays, *(each.name for each in function.scalars)]


COMPARISONS = {"lt": "(fp.lt {} {})", "le": "(fp.leq {} {})", "eq": "(fp.eq {} {})", "ne": "(not (fp.eq {} {}))",
               "ge": "(fp.geq {} {})", "gt": "(fp.gt {} {})"}
OPERATIONS = {"mul": "raises", "add": "raises_sum"}  # and the predicate that says whether they raise an exception


def both(terms: Any) -> str:
    return f"(and true true {' '.join(terms)})"


def either(terms: Any) -> str:
    return f"(or false false {' '.join(terms)})"


def smt(expression: Expression, format: Format) -> str:
    """A term of the definition."""
    kind, *of = expression
    if kind == "input":
        return of[0]
    if kind == "constant":
        return format.constant(float.fromhex(of[0]))
    return f"({kind} {' '.join(smt(each, format) for each in of)})"


def condition(run: Run, format: Format) -> str:
    """What a run found to be so."""
    answers = [(COMPARISONS[symbol].format(smt(a, format), smt(b, format)), yes) for (symbol, a, b), yes in run.items()]
    return both(term if yes else f"(not {term})" for term, yes in answers)


def definition(function: Function, format: Format) -> list[str]:
    """What `relu_xp.reference` says: `expected`, and the exceptions that `expected_raised` it raises."""
    result, raised = "", []
    for run, expression in paths(function):
        when, term = condition(run, format), smt(expression, format)
        result = f"(ite {when} {term} {result})" if result else term
        raised += [both([when, each]) for each in _raised(expression, format)]
    return [f"(define-fun expected () Number {result})", f"(define-fun expected_raised () Bool {either(raised)})"]


def _raised(expression: Expression, format: Format) -> list[str]:
    kind, *of = expression
    if kind not in OPERATIONS:
        return []
    own = f"({OPERATIONS[kind]} {' '.join(smt(each, format) for each in of)})"
    return [own, *(term for each in of for term in _raised(each, format))]


class Array:
    """An array of one element, which is a term: a float, or the answer of a comparison."""

    shape = ()
    __hash__ = __bool__ = None  # type: ignore[assignment]

    def __init__(self, trace: "Trace", name: str) -> None:
        self.trace, self.name = trace, name


class Trace:
    """One way through a formula: the operations that it makes, in order."""

    def __init__(self, prefix: str, format: Format) -> None:
        self.prefix, self.format, self.lines, self.raised = prefix, format, [], []

    def define(self, sort: str, term: str) -> Array:
        name = f"{self.prefix}.{len(self.lines)}"
        self.lines.append(f"(define-fun {name} () {sort} {term})")
        return Array(self, name)

    def name(self, value: Any) -> str:
        return value.name if isinstance(value, Array) else smt(expression_of(value), self.format)


def _compare(a: Array, symbol: str, b: Any) -> Array:
    return a.trace.define("Bool", COMPARISONS[symbol].format(a.name, a.trace.name(b)))


def _operate(a: Array, symbol: str, b: Any) -> Array:
    operands = f"{a.name} {a.trace.name(b)}"
    a.trace.raised.append(f"({OPERATIONS[symbol]} {operands})")
    return a.trace.define("Number", f"({symbol} {operands})")


for _symbol in COMPARISONS:
    setattr(Array, f"__{_symbol}__", functools.partialmethod(_compare, _symbol))
for _symbol in OPERATIONS:
    setattr(Array, f"__{_symbol}__", functools.partialmethod(_operate, _symbol))

NAMESPACE = SimpleNamespace(
    where=lambda mask, a, b: mask.trace.define("Number", f"(ite {mask.name} {a.name} {b.name})"),
    full_like=lambda like, value: like.trace.define("Number", like.trace.name(value)),
    zeros_like=lambda like: NAMESPACE.full_like(like, 0.0),
    ones_like=lambda like: NAMESPACE.full_like(like, 1.0),
)


def python(formula: Any, function: Function, format: Format) -> Text:
    """Run a function of `_formulas` with arrays of terms, each way through its branches, once more with array slopes."""
    text = Text([], [])
    for with_arrays in {False, any(each.may_be_array for each in function.scalars)}:

        def follow(run: Run, with_arrays: bool = with_arrays) -> dict[str, str]:
            trace = Trace(f"way{len(text.ends)}.{len(text.lines)}", format)
            arrays = [Array(trace, name) for name in function.arrays]
            scalars = [
                Array(trace, each.name) if with_arrays and each.may_be_array else Term(("input", each.name), run)
                for each in function.scalars
            ]
            result = formula(NAMESPACE, *arrays, *scalars)
            text.lines.extend(trace.lines)
            return {"result": result.name, "raised": either(trace.raised), "masks": "true"}

        text.ends += [{"when": condition(run, format), **end} for run, end in ways(follow)]
    return text


Spaces = dict[str, tuple[str, list[str]]]  # namespace -> the text of rectifiers.hpp, and functions of it


def compiled(spaces: Spaces, folder: Path, native: Path) -> Path:
    """Compile texts of rectifiers.hpp into a host program."""
    includes, each_text = [], []
    for space, (text, functions) in spaces.items():
        (folder / f"{space}.hpp").write_text(text, encoding="utf-8")
        includes.append(f'namespace {space} {{\n#include "{space}.hpp"\n}}\n')
        each_text += [f"EACH({space}, {name})" for name in functions]
    (folder / "texts.hpp").write_text("".join(includes) + f"#define TEXTS(EACH) {' '.join(each_text)}\n", encoding="utf-8")
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or "c++"
    program = folder / "text"
    source = Path(__file__).with_name("text.cpp")
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-w", f"-I{folder}", f"-I{native}", str(source), "-o", str(program)], check=True
    )
    return program


def cpp(program: Path) -> dict[str, Text]:
    """The texts that a program holds, by namespace and function."""
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    end = {"when": "true", "result": "result", "raised": "raised", "masks": "masks"}
    parts = (part.partition("\n") for part in output.split("; ")[1:])
    return {name: Text(lines.splitlines(), [end]) for name, _, lines in parts}
