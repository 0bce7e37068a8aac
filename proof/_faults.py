"""Faults that are put into each text: the solvers must refute the statement on the faulty text.

So no statement is true whatever the text says. Two solvers refute it for any operations, and one
names inputs for IEEE's operations: run on them, the faulty function must give a wrong result.
"""

import math
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from proof._solvers import ask, ask_in_turn
from proof._statements import ANY, IEEE, OVERFLOW, statement
from proof._texts import Format, Text, from_python, names, pattern

from relu_xp._functions import FUNCTIONS
from relu_xp.verify._expected import expected, same_bits


class Fault(NamedTuple):
    """A replacement in one function of one text."""

    text: str
    function: str
    old: str
    new: str
    flags: bool = False  # only the exceptions change, no value does


PYTHON, CPP = "_formulas.py", "rectifiers.hpp"
FAULTS = (
    Fault(PYTHON, "relu", "(x <= 0", "(x < 0"),
    Fault(PYTHON, "relu_grad", "0.0, z)", "z, z)"),
    Fault(
        PYTHON,
        "relu_vjp",
        "xp.where(x == 0, _product(xp, x != 0, z, g), zero)",
        "_product(xp, x != 0, z, g)",
    ),
    Fault(PYTHON, "relu_vjp", "z in (0, 1)", "z in (0, 1, 2)"),
    Fault(PYTHON, "leaky_relu", "s, x), x)", "s, x), relu(xp, x))"),
    Fault(PYTHON, "leaky_relu", "x >= 0, s", "x != x, s", flags=True),
    Fault(PYTHON, "leaky_relu_grad", "x > 0, one", "x >= 0, one"),
    Fault(PYTHON, "leaky_relu_vjp", "_filled(xp, g, s)", "_filled(xp, g, z)"),
    Fault(
        PYTHON,
        "leaky_relu_slope_vjp",
        "xp.where(x < 0, _product(xp, x >= 0, x, g), xp.zeros_like(g))",
        "g * x",
    ),
    Fault(PYTHON, "clipped_relu", "relu(xp, x)", "x"),
    Fault(PYTHON, "clipped_relu_grad", "c, z, k)", "c, k, z)"),
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


def space(fault: Fault) -> str:
    """The fault's C++ namespace."""
    return f"fault{FAULTS.index(fault)}"


def faulty(source: str, fault: Fault) -> str:
    """Put the fault into the text."""
    (body,) = re.findall(rf"(?:def|Word) {fault.function}\(.*?\n\n", source + "\n", re.DOTALL)
    if body.count(fault.old) != 1:
        where = f"{fault.function} of {fault.text}"
        msg = f"{fault.old} does not stand once in {where}: bring this fault up to date"
        raise ValueError(msg)
    return source.replace(body, body.replace(fault.old, fault.new))


def refute(
    fault: Fault, format: Format, source: str, text: Text | None, program: Path, limit: float
) -> tuple[bool, str]:
    """Whether it is refuted, with the inputs for which the text, when it is run, goes wrong."""
    function, formulas = FUNCTIONS[fault.function], ModuleType("formulas")
    if text is None:
        exec(faulty(source, fault), formulas.__dict__)
        text = from_python(getattr(formulas, fault.function), function, format)
    told = [
        statement(function, text, format, each, fault.flags)
        for each in (ANY, OVERFLOW if fault.flags else IEEE)
    ]
    inputs, count = names(function), len(function.arrays)
    answers = ask_in_turn(format.solvers, told[0], inputs, limit)
    answers.append(ask(format.solvers[0], told[1], inputs, limit))
    if {each.result for each in answers} != {"sat"}:
        return False, "; ".join(map(str, answers))
    found = answers[-1].inputs
    arrays = [format.array(bits) for bits in found.values()]
    want = expected(
        function, tuple(arrays[:count]), dict(zip(inputs[count:], arrays[count:], strict=True))
    )
    if fault.text == PYTHON:  # a scalar is a number; only an array slope may be infinite
        scalars = [float(each[0]) if math.isfinite(each[0]) else each for each in arrays[count:]]
        errors = list[str]()
        with np.errstate(all="ignore", over="call", call=lambda error, _: errors.append(error)):
            got, raised = (
                getattr(formulas, fault.function)(np, *arrays[:count], *scalars),
                bool(errors),
            )
    else:
        command = [
            str(program),
            f"{space(fault)} {fault.function}",
            format.name,
            *map(str, found.values()),
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        got, raised = format.array(int(output[0])), output[1] == "1"
    same, shown = (
        bool(same_bits(got, want).all()),
        ", ".join(f"{name} {bits:#x}" for name, bits in found.items()),
    )
    if fault.flags:
        return (
            same and raised,
            f"{shown}: overflow in a product that the definition does not compute",
        )
    return not same, f"{shown}: {pattern(got):#x} instead of {pattern(want):#x}"
