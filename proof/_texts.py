"""The definition and both texts in SMT-LIB: each is run, and records what it does.

`reference.py` and `_formulas.py` run on terms in place of numbers, once for each way through their
`if`s; the formulas' arrays have one element. `rectifiers.hpp` is compiled with primitives that
print their calls.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import relu_xp
from relu_xp._functions import Function
from relu_xp.verify._expected import Expression, Run, Term, expression_of, paths, rounded, ways

NATIVE = Path(relu_xp.__file__).parent / "_native"
COMPARISONS = {
    "lt": "fp.lt",
    "le": "fp.leq",
    "eq": "fp.eq",
    "ne": "unequal",
    "ge": "fp.geq",
    "gt": "fp.gt",
}
# Each operation, with the term for whether it raises a floating-point exception.
OPERATIONS = {"mul": "mul_raises", "add": "add_raises"}


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, and the solvers that read it: two have to agree."""

    name: str
    exponent: int  # bits
    significand: int  # bits, the hidden one included
    solvers: tuple[str, ...] = ("bitwuzla", "z3", "cvc5")

    @property
    def bits(self) -> int:
        """The number of bits of a word."""
        return self.exponent + self.significand

    def word(self, pattern: int) -> str:
        """A constant by its bits."""
        return f"#b{pattern:0{self.bits}b}"

    def number(self, value: float) -> str:
        """A constant by its value."""
        return f"(value {self.word(pattern(rounded(value, self.array(0).dtype)))})"

    def array(self, pattern: int) -> np.ndarray[Any, Any]:
        """One element with these bits."""
        bits = np.array([pattern], f"u{self.bits // 8}")
        if self.name != "bfloat16":
            return bits.view(self.name)
        import ml_dtypes

        return bits.view(ml_dtypes.bfloat16)


FORMATS = (
    Format("float16", 5, 11),
    Format("bfloat16", 8, 8, ("z3", "cvc5")),  # PyPI's bitwuzla has no sort for it
    Format("float32", 8, 24),
    Format("float64", 11, 53),
)


@dataclass
class Text:
    """Lines that define terms; for each way, the terms of its condition, result and exceptions."""

    lines: list[str]
    ends: list[dict[str, str]]


def pattern(array: np.ndarray[Any, Any]) -> int:
    """The bits of one element."""
    return int(array.view(f"u{array.itemsize}").item())


def names(function: Function) -> list[str]:
    """The inputs, in the order of every signature."""
    return [*function.arrays, *(each.name for each in function.scalars)]


def both(terms: Iterable[str]) -> str:
    """Whether all of them hold."""
    return f"(and true true {' '.join(terms)})"


def definition(function: Function, format: Format) -> list[str]:
    """Define the terms `expected`, the definition's result, and `expected_raised`."""
    result, raised = "", list[str]()
    for run, expression in paths(function):
        when, value = _condition(run, format), _term(expression, format)
        result = f"(ite {when} {value} {result})" if result else value
        raised += (both([when, each]) for each in _raised(expression, format))
    return [
        f"(define-fun expected () Number {result})",
        f"(define-fun expected_raised () Bool {_either(raised)})",
    ]


def _raised(expression: Expression, format: Format) -> Iterator[str]:
    kind, *of = expression
    if kind in OPERATIONS:
        yield f"({OPERATIONS[kind]} {' '.join(_term(each, format) for each in of)})"
        for each in of:
            yield from _raised(each, format)


def _term(expression: Expression, format: Format) -> str:
    kind, *of = expression
    if kind == "input":
        return str(of[0])
    if kind == "constant":
        return format.number(float.fromhex(of[0]))
    return f"({kind} {' '.join(_term(each, format) for each in of)})"


def _condition(run: Run, format: Format) -> str:
    held = (
        (f"({COMPARISONS[kind]} {_term(a, format)} {_term(b, format)})", yes)
        for (kind, a, b), yes in run.items()
    )
    return both(each if yes else f"(not {each})" for each, yes in held)


def _either(terms: Iterable[str]) -> str:
    return f"(or false false {' '.join(terms)})"


class Trace:
    """One way through a formula: its operations, in order, and the terms of their exceptions."""

    def __init__(self, prefix: str, format: Format) -> None:
        self.prefix, self.format = prefix, format
        self.lines, self.raised = list[str](), list[str]()


class Array:
    """An array of one element, which is a term: a number, or the answer of a comparison."""

    shape = ()
    __hash__ = __bool__ = None  # type: ignore[assignment]

    def __init__(self, trace: Trace, sort: str, value: str) -> None:
        self.trace, self.name = trace, f"{trace.prefix}.{len(trace.lines)}"
        trace.lines.append(f"(define-fun {self.name} () {sort} {value})")


def _named(trace: Trace, value: Any) -> str:
    return value.name if isinstance(value, Array) else _term(expression_of(value), trace.format)


def _compare(a: Array, symbol: str, b: Any) -> Array:
    return Array(a.trace, "Bool", f"({COMPARISONS[symbol]} {a.name} {_named(a.trace, b)})")


def _operate(a: Array, symbol: str, b: Any) -> Array:
    operands = f"{a.name} {_named(a.trace, b)}"
    a.trace.raised.append(f"({OPERATIONS[symbol]} {operands})")
    return Array(a.trace, "Number", f"({symbol} {operands})")


for _symbols, _method in ((COMPARISONS, _compare), (OPERATIONS, _operate)):
    for _symbol in _symbols:
        setattr(Array, f"__{_symbol}__", functools.partialmethod(_method, _symbol))

_XP: Any = SimpleNamespace(
    where=lambda mask, a, b: Array(mask.trace, "Number", f"(ite {mask.name} {a.name} {b.name})"),
    full_like=lambda like, value: Array(like.trace, "Number", _named(like.trace, value)),
    zeros_like=lambda like: _XP.full_like(like, 0.0),
    ones_like=lambda like: _XP.full_like(like, 1.0),
)


def from_python(formula: Any, function: Function, format: Format) -> Text:
    """Run a function of `_formulas`; twice where a scalar may be an array."""
    text = Text([], [])
    for as_arrays in sorted({False, *(each.may_be_array for each in function.scalars)}):

        def follow(run: Run, as_arrays: bool = as_arrays) -> dict[str, str]:
            trace = Trace(f"line{len(text.lines)}", format)
            arrays = [Array(trace, "Number", name) for name in function.arrays]
            scalars = [
                Array(trace, "Number", each.name)
                if as_arrays and each.may_be_array
                else Term(("input", each.name), run)
                for each in function.scalars
            ]
            result = formula(_XP, *arrays, *scalars)
            text.lines += trace.lines
            return {"result": result.name, "raised": _either(trace.raised), "masks": "true"}

        text.ends += [{"when": _condition(run, format), **end} for run, end in ways(follow)]
    return text


def compiled(texts: dict[str, str], functions: dict[str, list[str]], folder: Path) -> Path:
    """Compile texts of `rectifiers.hpp` into a program that prints these functions of each."""
    lines = []
    for name, text in texts.items():
        (folder / f"{name}.hpp").write_text(text, encoding="utf-8")
        lines += [f"namespace {name} {{", f'#include "{name}.hpp"', "}"]
    each = (f"EACH({name}, {function})" for name in texts for function in functions[name])
    lines += [f"#define TEXTS(EACH) {' '.join(each)}", ""]
    (folder / "texts.hpp").write_text("\n".join(lines), encoding="utf-8")
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), "c++")
    source, program = Path(__file__).with_name("text.cpp"), folder / "text"
    command = [
        compiler,
        "-std=c++17",
        "-O1",
        "-w",
        f"-I{folder}",
        f"-I{NATIVE}",
        str(source),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    return program


def from_cpp(program: Path) -> dict[str, Text]:
    """Have the program tell its texts, by name and function."""
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    end = {"when": "true", "result": "result", "raised": "raised", "masks": "masks"}
    parts = (part.partition("\n") for part in output.split("; ")[1:])
    return {title: Text(lines.splitlines(), [end]) for title, _, lines in parts}
