"""Faults put into each text: the statement must be refuted, by inputs for which the faulty function does differ.

A statement that is true of everything would let them live. A fault is a replacement in the text of the one function,
or of a helper of its own.
"""

import ast
import math
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from proof._solvers import ask, ask_in_turn
from proof._statements import ANY, IEEE, OVERFLOW, statement
from proof._terms import Format, names
from proof._texts import Text, from_python
from relu_xp._functions import FUNCTIONS
from relu_xp.verify._expected import expected, same_bits


class Refutation(NamedTuple):
    """What a solver made of a fault in one format, and what came of its inputs."""

    solver: str
    seconds: float
    shown: str  # the inputs and both results, in bits
    holds: bool  # the results differ, or one raises and the other does not


class Fault(NamedTuple):
    """In a text, the function that is proved wrong, and what is put in the place of what."""

    text: str
    function: str
    old: str
    new: str
    helper: str = ""  # where it stands, if not in the function itself
    flags: bool = False  # no value changes, only what is raised


PYTHON, CPP = "_formulas.py", "rectifiers.hpp"
FAULTS = (
    Fault(PYTHON, "relu", "x <= 0", "x < 0"),
    Fault(PYTHON, "relu_grad", "0.0, z)", "z, z)"),
    Fault(PYTHON, "relu_vjp", "xp.where(x == 0, _product(xp, x != 0, z, g), zero)", "_product(xp, x != 0, z, g)"),
    Fault(PYTHON, "relu_vjp", "z in (0, 1)", "z in (0, 1, 2)"),
    Fault(PYTHON, "leaky_relu", "s, x), x)", "s, x), relu(xp, x))"),
    Fault(PYTHON, "leaky_relu", "x >= 0, s", "x != x, s", flags=True),
    Fault(PYTHON, "leaky_relu_grad", "x > 0, one", "x >= 0, one"),
    Fault(PYTHON, "leaky_relu_vjp", "_filled(xp, g, s)", "_filled(xp, g, z)"),
    Fault(PYTHON, "leaky_relu_vjp", "if z == 0:", "if z <= 0:"),
    Fault(PYTHON, "leaky_relu_slope_vjp", "xp.where(x < 0, _product(xp, x >= 0, x, g), xp.zeros_like(g))", "g * x"),
    Fault(PYTHON, "clipped_relu", "relu(xp, x)", "x"),
    Fault(PYTHON, "clipped_relu_grad", "c, z, k)", "c, k, z)"),
    Fault(PYTHON, "clipped_relu_grad", "x < c", "x <= c", helper="_clipped_derivative"),
    Fault(PYTHON, "clipped_relu_vjp", "(0, 1) and k", "(0, 1) or k"),
    Fault(PYTHON, "squared_relu", "relu(xp, x)", "x"),
    Fault(PYTHON, "squared_relu_grad", "active + active", "active * active"),
    Fault(PYTHON, "squared_relu_vjp", "active + active, g", "active, g + g"),
    Fault(CPP, "relu", "P::signed_number", "P::negative"),
    Fault(CPP, "relu_grad", "P::zero(x)", "~P::positive(x)"),
    Fault(CPP, "relu_vjp", " & ~P::zero(z)", ""),
    Fault(CPP, "leaky_relu", "s, x), x)", "s, s), x)"),
    Fault(CPP, "leaky_relu", "P::product(scaled", "P::product(scaled | P::positive(x)", flags=True),
    Fault(CPP, "leaky_relu_grad", "z, s)", "s, z)"),
    Fault(CPP, "leaky_relu_vjp", "z, s), g) & scaled", "z, z), g) & scaled"),
    Fault(CPP, "leaky_relu_slope_vjp", "P::negative(x)", "~P::positive(x)"),
    Fault(CPP, "clipped_relu", "~P::below", "P::below"),
    Fault(CPP, "clipped_relu_grad", "z & P::zero(x)", "k & P::zero(x)"),
    Fault(CPP, "clipped_relu_vjp", "at_zero, z, k", "at_zero, k, z"),
    Fault(CPP, "squared_relu", "relu(x))", "x)"),
    Fault(CPP, "squared_relu_grad", "P::two()", "P::one()"),
    Fault(CPP, "squared_relu_vjp", "P::product(active, P::two(), x), g", "x, g"),
)


def faulty(source: str, fault: Fault) -> str:
    """Put the fault into the text; where what it replaces does not stand once, the fault is out of date."""
    name = fault.helper or fault.function
    if fault.text == PYTHON:
        node = next(each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == name)
        lines = source.splitlines(keepends=True)
        body = "".join(lines[node.body[0].end_lineno or 0 : node.end_lineno])  # after its docstring
    else:
        (body,) = re.findall(rf"^    static RELU_XP_DEVICE Word {name}\((?:[^\n]*}}\n|.*?^    }}\n)", source, re.M | re.S)
    if (source.count(body), body.count(fault.old)) != (1, 1):
        msg = f"{fault.text}: {fault.old} does not stand once in {name}; bring this fault up to date"
        raise ValueError(msg)
    return source.replace(body, body.replace(fault.old, fault.new))


def module(source: str) -> ModuleType:
    """The formulas of this text."""
    made = ModuleType("formulas")
    exec(compile(source, PYTHON, "exec"), made.__dict__)
    return made


def space(fault: Fault) -> str:
    """Its namespace in the host program."""
    return f"fault{FAULTS.index(fault)}"


def refute(fault: Fault, format: Format, source: str, told: Text | None, program: Path, limit: float) -> Refutation:
    """Have a solver find inputs for which the faulty text goes wrong, and run it on them."""
    function, formula = FUNCTIONS[fault.function], None
    if told is None:
        formula = getattr(module(faulty(source, fault)), fault.function)
        told = from_python(formula, function, format)
    scripts = [
        statement(function, told, format, operations, flags=fault.flags)
        for operations in (ANY, OVERFLOW if fault.flags else IEEE)
    ]
    agreed = [each.result for each in ask_in_turn(format.solvers, scripts[0], limit)]
    answer = ask(format.solvers[0], scripts[1], names(function), limit)
    if (agreed.count("sat"), "unsat" in agreed, answer.result) != (2, False, "sat"):
        return Refutation(answer.solver, answer.seconds, f"{', '.join(agreed)}; {answer.result}", holds=False)
    inputs = answer.inputs.values()
    arrays = [format.array(each) for each in inputs]
    count = len(function.arrays)
    want = expected(function, tuple(arrays[:count]), dict(zip(names(function)[count:], arrays[count:], strict=True)))
    if formula:
        got, raised = _run_python(formula, arrays, count)
    else:
        got, raised = _run_cpp(program, f"{space(fault)} {fault.function}", format, [*inputs])
    same = bool(same_bits(got, want).all())
    shown = ", ".join(f"{name} {value:#x}" for name, value in answer.inputs.items())
    shown += f" give {_bits(got)}, not {_bits(want)}" if not fault.flags else " overflow, in a product thrown away"
    return Refutation(answer.solver, answer.seconds, shown, holds=(same and raised) if fault.flags else not same)


def _run_python(formula: Any, arrays: list[Any], count: int) -> tuple[Any, bool]:
    """A number where it can be one: an array slope may be no finite one."""
    scalars = [float(each[0]) if math.isfinite(each[0]) else each for each in arrays[count:]]
    errors = list[str]()
    with np.errstate(all="ignore", over="call", call=lambda error, _: errors.append(error)):
        return formula(np, *arrays[:count], *scalars), bool(errors)


def _run_cpp(program: Path, title: str, format: Format, inputs: list[int]) -> tuple[Any, bool]:
    command = [str(program), title, format.name, *map(str, inputs)]
    bits, raised = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return format.array(int(bits)), bool(int(raised))


def _bits(array: Any) -> str:
    return f"{int(array.view(f'u{array.itemsize}')[0]):#x}"
