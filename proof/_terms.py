"""The definition in SMT-LIB, and the words in which all statements are written."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from relu_xp._functions import Function
from relu_xp.verify._expected import Expression, Run, paths, rounded

COMPARISONS = {
    "lt": "(fp.lt {} {})",
    "le": "(fp.leq {} {})",
    "eq": "(fp.eq {} {})",
    "ne": "(not (fp.eq {} {}))",
    "ge": "(fp.geq {} {})",
    "gt": "(fp.gt {} {})",
}
OPERATIONS = {"mul": "mul_raises", "add": "add_raises"}  # and what says whether they raise a floating-point exception


@dataclass(frozen=True)
class Format:
    """A binary floating-point format, and the solvers that read it: two have to agree, the others help out."""

    name: str
    exponent: int  # bits
    significand: int  # bits, the hidden one included
    solvers: tuple[str, ...] = ("bitwuzla", "z3", "cvc5")

    @property
    def bits(self) -> int:
        """How many there are."""
        return self.exponent + self.significand

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's, or that of ml_dtypes."""
        if self.name != "bfloat16":
            return np.dtype(self.name)
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)

    def word(self, pattern: int) -> str:
        """A constant by its bits."""
        return f"#b{pattern:0{self.bits}b}"

    def number(self, value: float) -> str:
        """A constant by its value."""
        return f"(value {self.word(int(rounded(value, self.dtype).view(f'u{self.bits // 8}')))})"

    def array(self, pattern: int) -> np.ndarray[Any, Any]:
        """One element with these bits."""
        return np.array([pattern], f"u{self.bits // 8}").view(self.dtype)


FORMATS = (
    Format("float16", 5, 11),
    Format("bfloat16", 8, 8, ("z3", "cvc5")),  # which bitwuzla, as it is built for PyPI, has no name for
    Format("float32", 8, 24),
    Format("float64", 11, 53),
)


def names(function: Function) -> list[str]:
    """The inputs, in the order of every signature."""
    return [*function.arrays, *(each.name for each in function.scalars)]


def both(terms: Iterable[str]) -> str:
    """Whether all of them hold."""
    return f"(and true true {' '.join(terms)})"


def either(terms: Iterable[str]) -> str:
    """Whether one of them holds."""
    return f"(or false false {' '.join(terms)})"


def term(expression: Expression, format: Format) -> str:
    """What a run of the definition computes, or compares."""
    kind, *of = expression
    if kind == "input":
        return of[0]
    if kind == "constant":
        return format.number(float.fromhex(of[0]))
    return f"({kind} {' '.join(term(each, format) for each in of)})"


def condition(run: Run, format: Format) -> str:
    """Whether a run takes its way, as its comparisons say."""
    held = ((COMPARISONS[symbol].format(term(a, format), term(b, format)), yes) for (symbol, a, b), yes in run.items())
    return both(each if yes else f"(not {each})" for each, yes in held)


def definition(function: Function, format: Format) -> list[str]:
    """What `relu_xp.reference` computes, `expected`, and whether it raises an exception, `expected_raised`."""
    result, raised = "", []
    for run, expression in paths(function):
        when, value = condition(run, format), term(expression, format)
        result = f"(ite {when} {value} {result})" if result else value
        raised += [both([when, each]) for each in _raised(expression, format)]
    return [f"(define-fun expected () Number {result})", f"(define-fun expected_raised () Bool {either(raised)})"]


def _raised(expression: Expression, format: Format) -> list[str]:
    kind, *of = expression
    if kind not in OPERATIONS:
        return []
    own = f"({OPERATIONS[kind]} {' '.join(term(each, format) for each in of)})"
    return [own, *(inner for each in of for inner in _raised(each, format))]
