"""The solvers, each given the same SMT-LIB script: `unsat` proves, `sat` refutes and says for which inputs."""

import time
from typing import NamedTuple


class Answer(NamedTuple):
    solver: str
    result: str  # "sat", "unsat" or "unknown"
    seconds: float
    values: dict[str, int]  # of the inputs' bits, where sat


def _bitwuzla(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    from bitwuzla import Option, Options, Parser, TermManager

    options = Options()
    options.set(Option.PRODUCE_MODELS, True)
    options.set(Option.TIME_LIMIT_PER, int(limit * 1000))
    parser = Parser(TermManager(), options)
    parser.parse(script, True, False)
    solver = parser.bitwuzla()
    result = str(solver.check_sat()).rpartition(".")[2].lower()
    values = [solver.get_value(parser.parse_term(name)).value(2) for name in names] if result == "sat" else []
    return result, values


def _z3(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    import z3

    solver = z3.Solver()
    solver.set("timeout", int(limit * 1000))
    solver.from_string(script)
    return str(solver.check()), []


def _cvc5(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    import cvc5

    solver = cvc5.Solver()
    solver.setOption("tlimit-per", str(int(limit * 1000)))
    solver.setOption("fp-exp", "true")
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, script, "statement")
    symbols = parser.getSymbolManager()
    while not (command := parser.nextCommand()).isNull():
        command.invoke(solver, symbols)
    return str(solver.checkSat()), []


_SOLVERS = {"bitwuzla": _bitwuzla, "z3": _z3, "cvc5": _cvc5}


def ask(solver: str, script: str, names: list[str], limit: float) -> Answer:
    """Give a script without its `(check-sat)` to a solver, for so many seconds."""
    begin = time.perf_counter()
    result, values = _SOLVERS[solver](script, names, limit)
    seconds = time.perf_counter() - begin
    result = result if result in ("sat", "unsat") else "unknown"
    return Answer(solver, result, seconds, {n: int(v, 2) for n, v in zip(names, values, strict=False)})
