"""Prove that both texts of the maths compute the definition, for all inputs and finite scalars.

    python -m proof [--markdown FILE]

In float16, bfloat16, float32 and float64, `_formulas.py` and `rectifiers.hpp` give the bits of
`relu_xp.reference`, and raise the same floating-point exceptions; NaN equals NaN. The statements
are made from these texts: formulas and definition are run on terms, and the header is compiled with
primitives that print. Two solvers must agree on each statement. Faults that are put into the texts
must be refuted, by inputs for which the faulty text gives wrong results.

The following is trusted, not proved:

- the solvers: an error would have to be made by two of them;
- the code that makes the statements: the terms in `_texts.py`, and the printing primitives of
  `text.cpp`, which mean what the head of `rectifiers.hpp` says in words;
- the operations of array libraries, the primitives of the C++ and CUDA code, and the compiler. The
  tests and `relu-xp verify` run them instead;
- comparisons raise no exception, and every NaN is quiet.
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

from proof._faults import CPP, FAULTS, PYTHON, Fault, faulty, refute, space
from proof._solvers import Answer, ask_in_turn
from proof._statements import lemmas, statement
from proof._texts import FORMATS, NATIVE, compiled, from_cpp, from_python, names

from relu_xp import _formulas
from relu_xp._functions import FUNCTIONS

LIMIT = 60.0  # seconds for one solver and one statement
Proofs = dict[str, dict[str, list[Answer]]]  # by claim and format
Refutations = dict[Fault, dict[str, tuple[bool, str]]]  # by format: whether it is, and the inputs


def main(arguments: list[str] | None = None) -> int:
    """Prove, print, and give the exit status: 1 if anything is not proved or a fault lives."""
    parser = argparse.ArgumentParser(
        prog="python -m proof", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    options, begin = parser.parse_args(arguments), time.perf_counter()
    proofs, refutations = run()
    lines = [*tables(proofs, refutations)]
    print(*lines, sep="\n")
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    bad = [
        f"not proved: {claim}, {at}: {'; '.join(map(str, each))}"
        for claim, at, each in _flat(proofs)
        if not proved(each)
    ]
    bad += [
        f"lives: {fault}, {at}: {shown}"
        for fault, at, (dead, shown) in _flat(refutations)
        if not dead
    ]
    print("", *bad, f"{time.perf_counter() - begin:.0f} s, {len(bad)} failures", sep="\n")
    return bool(bad)


def run() -> tuple[Proofs, Refutations]:
    """Ask the solvers about everything, on all cores."""
    formulas, header = (
        path.read_text("utf-8") for path in (Path(_formulas.__file__), NATIVE / "rectifiers.hpp")
    )
    cpp_faults = [fault for fault in FAULTS if fault.text == CPP]
    texts = {"original": header} | {space(fault): faulty(header, fault) for fault in cpp_faults}
    functions = {"original": [*FUNCTIONS]} | {
        space(fault): [fault.function] for fault in cpp_faults
    }
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(os.cpu_count()) as pool:
        program = compiled(texts, functions, Path(folder))
        told = from_cpp(program)
        asked, faults = dict[str, Any](), dict[Fault, Any]()
        for format in FORMATS:
            for claim, (script, solvers) in lemmas(format).items():
                asked.setdefault(claim, {})[format.name] = pool.submit(
                    ask_in_turn, solvers, script, [*"ab"], LIMIT
                )
        for name, function in FUNCTIONS.items():
            for format in FORMATS:
                formula = from_python(getattr(_formulas, name), function, format)
                for which, text in ((PYTHON, formula), (CPP, told[f"original {name}"])):
                    script, row = (
                        statement(function, text, format),
                        asked.setdefault(f"`{name}` in `{which}`", {}),
                    )
                    row[format.name] = pool.submit(
                        ask_in_turn, format.solvers, script, names(function), LIMIT
                    )
        for fault in FAULTS:
            text_or_none = told.get(f"{space(fault)} {fault.function}")
            faults[fault] = {
                format.name: pool.submit(
                    refute, fault, format, formulas, text_or_none, program, LIMIT
                )
                for format in FORMATS
                # Products of 16 bits are made in a wider format, and so have its flags.
                if not (fault.flags and format.bits == 16)
            }
        return _results(asked), _results(faults)


def _results(futures: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {
        key: {at: future.result() for at, future in row.items()} for key, row in futures.items()
    }


def _flat(rows: dict[Any, dict[str, Any]]) -> Iterator[tuple[Any, str, Any]]:
    return ((key, at, each) for key, row in rows.items() for at, each in row.items())


def proved(answers: list[Answer]) -> bool:
    """Whether two solvers say so, or the only one that was asked, and none says otherwise."""
    known = [each.result for each in answers if each.result != "unknown"]
    return {*known} == {"unsat"} and len(known) >= min(2, len(answers))


def tables(proofs: Proofs, refutations: Refutations) -> Iterator[str]:
    """Make the documentation's tables: the claims, with solvers and seconds; and the faults."""
    yield f"| proved | {' | '.join(format.name for format in FORMATS)} |"
    yield "|---" * (1 + len(FORMATS)) + "|"
    for claim, row in proofs.items():
        yield f"| {claim} | {' | '.join(_cell(row.get(format.name, [])) for format in FORMATS)} |"
    yield from (
        "",
        "| fault in | faulty code | right code | float32 inputs that show it |",
        "|---|---|---|---|",
    )
    for fault, at in refutations.items():
        parts = (part.strip().replace("|", r"\|") for part in (fault.new, fault.old))
        changed = " | ".join(f"`{part}`" if part else "nothing" for part in parts)
        yield f"| `{fault.function}` in `{fault.text}` | {changed} | {at['float32'][1]} |"


def _cell(answers: list[Answer]) -> str:
    return ", ".join(
        f"{each.solver} {each.seconds:.2f}" for each in answers if each.result == "unsat"
    )


if __name__ == "__main__":
    sys.exit(main())
