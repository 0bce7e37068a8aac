"""The solvers: for an SMT-LIB script, `unsat` is a proof, `sat` a refutation, with its inputs."""

import time
from typing import NamedTuple


class Answer(NamedTuple):
    solver: str
    result: str  # "sat", "unsat" or "unknown"
    seconds: float
    inputs: dict[str, int]  # the bits of the inputs, if the result is sat

    def __str__(self) -> str:
        told = ", ".join(f"{name} {bits:#x}" for name, bits in self.inputs.items())
        return f"{self.solver} {self.result} {self.seconds:.2f} s {told}".rstrip()


def _bitwuzla(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    from bitwuzla import Option, Options, Parser, TermManager

    options = Options()
    options.set(Option.PRODUCE_MODELS, True)
    options.set(Option.TIME_LIMIT_PER, int(limit * 1000))
    parser = Parser(TermManager(), options)
    parser.parse(script, True, False)
    solver = parser.bitwuzla()
    result = str(solver.check_sat()).rpartition(".")[2].lower()
    values = (
        [solver.get_value(parser.parse_term(name)).value(2) for name in names]
        if result == "sat"
        else []
    )
    return result, values


def _z3(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    import z3

    # These tactics give each application of a function a name: a second instead of minutes.
    solver = z3.Then("simplify", "solve-eqs", "ackermannize_bv", "smt").solver()
    solver.set("timeout", int(limit * 1000))
    solver.from_string(script)
    result = str(solver.check())
    if result != "sat":
        return result, []
    found = {each.name(): solver.model()[each] for each in solver.model()}
    return result, [f"{found[name].as_long() if name in found else 0:b}" for name in names]


def _cvc5(script: str, names: list[str], limit: float) -> tuple[str, list[str]]:
    import cvc5

    solver = cvc5.Solver()
    for option, value in {
        "tlimit-per": f"{limit * 1000:.0f}",
        "fp-exp": "true",
        "produce-models": "true",
    }.items():
        solver.setOption(option, value)
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, script, "statement")
    symbols = parser.getSymbolManager()
    while not (command := parser.nextCommand()).isNull():
        command.invoke(solver, symbols)
    result = str(solver.checkSat())
    if result != "sat":
        return result, []
    found = {str(each): each for each in symbols.getDeclaredTerms()}
    return result, [solver.getValue(found[name]).getBitVectorValue(2) for name in names]


_SOLVERS = {"bitwuzla": _bitwuzla, "z3": _z3, "cvc5": _cvc5}


def ask(solver: str, script: str, names: list[str], limit: float) -> Answer:
    """Give a script to a solver, with a limit in seconds; if it is refuted, get the inputs."""
    begin = time.perf_counter()
    result, values = _SOLVERS[solver](script, [f"{name}.bits" for name in names], limit)
    seconds = time.perf_counter() - begin
    inputs = {name: int(value, 2) for name, value in zip(names, values, strict=result == "sat")}
    return Answer(solver, result if result in ("sat", "unsat") else "unknown", seconds, inputs)


def ask_in_turn(
    solvers: tuple[str, ...], script: str, names: list[str], limit: float
) -> list[Answer]:
    """Ask until two solvers have decided, or none is left."""
    answers = list[Answer]()
    for solver in solvers:
        if sum(each.result != "unknown" for each in answers) < 2:
            answers.append(ask(solver, script, names, limit))
    return answers
