"""Prove that both texts of the maths compute the definition, for every input and every finite scalar.

    python -m proof [--markdown FILE]

For float16, bfloat16, float32 and float64, `_formulas.py` and `rectifiers.hpp` give the bits of `relu_xp.reference`, NaN
being equal to NaN, and raise the same floating-point exceptions. The statements come from the very texts: the formulas
are run on terms, the header is compiled with primitives that print, the definition is followed through its `if`s. Two
solvers must agree on each, and faults put into either text must be refuted by inputs on which it does go wrong.

What is trusted, that is, not proved here:

- the solvers, of which two must err alike;
- what makes the statements: the terms in `_terms.py` and `_texts.py`, and the printing primitives of `text.cpp`, which
  say what the head of `rectifiers.hpp` says in words;
- that a library's own operations, and the primitives in `loops.cpp` and `rectifiers.cu`, do what those words say. They
  are run instead, by the tests and by `relu-xp verify`; so is what the compiler makes of them;
- that comparisons raise nothing, and that a NaN is quiet: a signalling one is an invalid operand wherever it is.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from proof._mutants import CPP, FAULTS, PYTHON, Fault, Refutation, faulty, refute, space
from proof._solvers import Answer, ask_in_turn
from proof._statements import lemmas, statement
from proof._terms import FORMATS
from proof._texts import NATIVE, compiled, from_cpp, from_python
from relu_xp import _formulas
from relu_xp._functions import FUNCTIONS

LIMIT = 60.0  # seconds, for a solver and statement
Proofs = dict[str, dict[str, list[Answer]]]  # by claim and format
Refutations = dict[Fault, dict[str, Refutation]]  # by format


def main(arguments: list[str] | None = None) -> int:
    """Prove, print, and give the exit status: 1 if anything is not proved or a fault lives."""
    parser = argparse.ArgumentParser(prog="python -m proof", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    proofs, refutations = run()
    print(*lines(proofs, refutations), sep="\n")
    bad = [f"not proved: {claim} ({at})" for claim, row in proofs.items() for at, each in row.items() if not proved(each)]
    bad += [f"lives: {fault} ({at})" for fault, row in refutations.items() for at, each in row.items() if not each.holds]
    print(*bad, f"{time.perf_counter() - begin:.0f} s, {len(bad)} failures", sep="\n")
    if options.markdown:
        options.markdown.write_text("\n".join(markdown(proofs, refutations)) + "\n", encoding="utf-8")
    return bool(bad)


def run() -> tuple[Proofs, Refutations]:
    """Ask the solvers about everything, on all cores."""
    formulas, header = (path.read_text("utf-8") for path in (Path(_formulas.__file__), NATIVE / "rectifiers.hpp"))
    cpp_faults = [fault for fault in FAULTS if fault.text == CPP]
    texts = {"original": header} | {space(fault): faulty(header, fault) for fault in cpp_faults}
    functions = {"original": [*FUNCTIONS]} | {space(fault): [fault.function] for fault in cpp_faults}
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(os.cpu_count()) as pool:
        program = compiled(texts, functions, Path(folder))
        told = from_cpp(program)
        asked, faults = dict[str, Any](), dict[Fault, Any]()
        for format in FORMATS:
            for claim, (script, solvers) in lemmas(format).items():
                asked.setdefault(claim, {})[format.name] = pool.submit(ask_in_turn, solvers, script, LIMIT)
        for name, function in FUNCTIONS.items():
            for format in FORMATS:
                by_formula = from_python(getattr(_formulas, name), function, format)
                for which, text in ((PYTHON, by_formula), (CPP, told[f"original {name}"])):
                    future = pool.submit(ask_in_turn, format.solvers, statement(function, text, format), LIMIT)
                    asked.setdefault(f"`{name}` in `{which}`", {})[format.name] = future
        for fault in FAULTS:
            text = told.get(f"{space(fault)} {fault.function}")
            faults[fault] = {
                format.name: pool.submit(refute, fault, format, formulas, text, program, LIMIT)
                for format in FORMATS
                if not (fault.flags and format.bits == 16)  # whose overflow is that of another product
            }
        return _results(asked), _results(faults)


def _results(futures: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {key: {at: future.result() for at, future in row.items()} for key, row in futures.items()}


def proved(answers: list[Answer]) -> bool:
    """Two agree, or the only one that is asked says so, and nobody objects."""
    known = [each.result for each in answers if each.result != "unknown"]
    return {*known} == {"unsat"} and len(known) >= min(2, len(answers))


def lines(proofs: Proofs, refutations: Refutations) -> Iterator[str]:
    """Tell every statement in a line of its own."""
    for claim, row in proofs.items():
        for at, answers in row.items():
            told = ", ".join(f"{each.solver} {each.result} {each.seconds:.2f} s" for each in answers)
            yield f"{claim:46} {at:9} {told}"
    for fault, per_format in refutations.items():
        for at, each in per_format.items():
            claim = f"{fault.function} in {fault.text} with {fault.new or 'nothing'} for {fault.old}"
            yield f"{claim}, {at}: {each.solver} {each.seconds:.2f} s: {each.shown}"


def markdown(proofs: Proofs, refutations: Refutations) -> Iterator[str]:
    """Make the tables of the documentation."""
    yield "| proved | " + " | ".join(format.name for format in FORMATS) + " |"
    yield "|---" * (1 + len(FORMATS)) + "|"
    for claim, row in proofs.items():
        cells = (
            ", ".join(f"{each.solver[0]} {each.seconds:.2f}" for each in row.get(format.name, []) if each.result == "unsat")
            for format in FORMATS
        )
        yield f"| {claim} | {' | '.join(cells)} |"
    yield ""
    yield "| refuted | put in the place of | for example, in float32 |"
    yield "|---|---|---|"
    for fault, per_format in refutations.items():
        shown = per_format["float32"].shown
        yield f"| `{fault.function}` in `{fault.text}` | `{fault.new or ' '}` for `{fault.old}` | {shown} |"


if __name__ == "__main__":
    sys.exit(main())
