"""The command line: `relu-xp demo`, `info`, `verify`, `bench` and `vectors`."""

import argparse
import contextlib
import difflib
import importlib.util
import inspect
import io
import itertools
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import relu_xp
from relu_xp import _threads
from relu_xp._functions import FUNCTIONS
from relu_xp.verify import DTYPES, FLOATS

Console = Any  # rich's, which may not be here

BAD_USAGE, UNWRITTEN, INTERRUPTED = 2, 3, 130


class Output:
    """A file that a command writes, or `-` for standard output, where nothing else then goes."""

    def __init__(self, file: str) -> None:
        """Find out now whether it can be written, before the work whose result goes there."""
        self.file = file
        self.failed = False
        self._stdout = sys.stdout if file == "-" else None
        path, is_new = Path(file), not os.path.lexists(file)
        try:
            # A pipe is not tried, since its reader would see its end; nor is a device.
            if file != "-" and (is_new or path.is_file() or path.is_dir()):
                path.open("a", encoding="utf-8").close()
                if is_new:
                    path.unlink()
        except OSError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def write(self, text: str) -> None:
        """Write it all, or print why not: what was found is still to be shown."""
        try:
            if self._stdout:
                self._stdout.write(text)
                self._stdout.flush()
            else:
                Path(self.file).write_text(text, encoding="utf-8")
        except OSError as error:
            self.failed = True
            _say_unwritten(self.file, error)
            if self._stdout:
                _close(self._stdout)

    def is_file(self, other: str) -> bool:
        """Say whether that is the same file, however it is spelled."""
        same = os.path.realpath(self.file) == os.path.realpath(other)
        with contextlib.suppress(OSError):  # one of them is not there
            same = same or os.path.samefile(self.file, other)
        return same


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line, with the choice that was probably meant."""
        if found := re.search(r"(.*invalid choice: '(.*)') \(choose from (.*)\)$", message):
            choices = re.findall(r"[\w.-]+", found[3])
            if near := difflib.get_close_matches(found[2], choices, 1):
                message = f"{found[1]}; did you mean {near[0]}?"
        self.exit(BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n".replace("?;", "?"))

    def several(self, flag: str, choices: Iterable[str] | None = None, **options: Any) -> None:
        """Add an option that takes one name or more."""
        if choices:
            options.setdefault("help", f"default: {', '.join(choices)}")
        self.add_argument(flag, nargs="+", choices=choices, metavar="NAME", **options)

    def file(self, flag: str, text: str) -> None:
        """Add an option that names a file to write."""
        self.add_argument(flag, type=Output, metavar="FILE", help=text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the process's exit status."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:  # a pipe whose reader has gone, or a full disk
        _say_unwritten("standard output", error)
        _close(sys.stdout)
        return UNWRITTEN


def _say_unwritten(file: str, error: OSError) -> None:
    """Print why a file cannot be written; a reader that has gone, as of `| head`, is no fault."""
    if not isinstance(error, BrokenPipeError):
        print(f"relu-xp: cannot write {file}: {error.strerror}", file=sys.stderr)


def _run(arguments: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # pragma: no branch  # a notebook's is none
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a plus-minus sign
    parser = _Parser(
        prog="relu-xp",
        description="ReLU and its family for every array: see them, verify them, measure them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="functions of relu_xp, with their defaults; help(relu_xp.NAME) explains one:\n"
        + "".join(f"  {_signature(name)}\n" for name in FUNCTIONS),
    )
    parser.add_argument("--version", action="version", version=relu_xp.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, text, add, _) in _COMMANDS.items():
        add(commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."))
    options = parser.parse_args(arguments)
    run, _, _, check = _COMMANDS[options.command]
    try:
        _threads.workers()
    except ValueError as error:
        parser.error(str(error))
    check(commands.choices[options.command], options)
    if lacks := _missing(options):
        print(lacks, file=sys.stderr)
        return BAD_USAGE
    outputs = [each for each in vars(options).values() if isinstance(each, Output)]
    only = any(each.file == "-" for each in outputs)
    with contextlib.redirect_stdout(sys.stderr) if only else contextlib.nullcontext():
        status = run(_console(), options)
    return UNWRITTEN if any(each.failed for each in outputs) else status


def _signature(name: str) -> str:
    """Give how a function is called, without `out=`, which all have."""
    signature = inspect.signature(getattr(relu_xp, name))
    given = [
        each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name != "out"
    ]
    return name + str(signature.replace(parameters=given, return_annotation=signature.empty))


_BACKEND = "only these; if one is missing, the exit status is 2; default: all"


def _add_verify(verify: _Parser) -> None:
    verify.several("--backend", help=_BACKEND)
    device = "only this device, as `relu-xp info` names it; default: all"
    verify.add_argument("--device", metavar="NAME", help=device)
    default = f"default: {', '.join(DTYPES)}; longdouble and the 8-bit floats are left out"
    verify.several("--dtype", DTYPES, help=default)
    verify.several("--function", FUNCTIONS)
    effort = verify.add_mutually_exclusive_group()
    for flag, text in {
        "--quick": "try fewer array lengths and memory layouts",
        "--exhaustive": "also run all 2**32 float32 values through each function: many minutes",
        "--peers": "instead show how the functions of other libraries differ on the same cases",
    }.items():
        effort.add_argument(flag, action="store_true", help=text)
    verify.file("--json", "write the record; - for standard output")
    kernel = verify.add_argument_group("to check a function of your own, instead of a backend")
    tested = "your function: f(x), or f(x, g) for a backward pass"
    kernel.add_argument("--kernel", metavar="MODULE:FUNCTION", help=tested)
    what = "the function of relu_xp that it should compute"
    kernel.add_argument("--as", dest="name", choices=FUNCTIONS, metavar="NAME", help=what)
    library = "the library of the arrays that it takes; default: numpy"
    kernel.add_argument("--library", metavar="NAME", help=library)
    numbers = "the numbers that it uses, such as negative_slope=0.2; default: those of relu_xp"
    scalars: Any = {"type": scalar, "metavar": "NAME=NUMBER", "help": numbers}
    kernel.add_argument("--scalar", action="extend", nargs="+", **scalars)
    for flag, text in {
        "--layouts": "also pass strided, reversed and 0-d arrays",
        "--no-zero-signs": "accept zeros of either sign",
        "--no-subnormals": "skip subnormal numbers",
        "--no-nan": "skip NaN",
    }.items():
        kernel.add_argument(flag, action="store_true", help=text)
    limit = "how long one call may take; default: 60"
    kernel.add_argument("--timeout", type=float, metavar="SECONDS", help=limit)


def _add_vectors(vectors: _Parser) -> None:
    folder = "the folder to write to; it is made if it does not exist"
    vectors.add_argument("--out", required=True, metavar="DIR", help=folder)
    vectors.several("--functions", FUNCTIONS)
    vectors.several("--dtypes", FLOATS)
    default = "default: json, with .npy beside it"
    vectors.add_argument("--format", choices=("json", "onnx"), default="json", help=default)
    every = "also write all values of the 16-bit types for every setting: 25 MB in all"
    vectors.add_argument("--exhaustive", action="store_true", help=every)


def _add_bench(bench: _Parser) -> None:
    bench.several("--backend", help=_BACKEND)
    peers = "also measure keras, thinc, onnxruntime and the other libraries that are installed"
    bench.add_argument("--peers", action="store_true", help=peers)
    bench.several("--function", FUNCTIONS)
    bench.several("--dtype", FLOATS, help=f"of {', '.join(FLOATS)}; default: float32")
    which = "numbers of elements: a range (each 4 times the last) or a list; default: 2**10:2**22"
    bench.add_argument("--sizes", type=sizes, metavar="FROM:TO", help=which)
    seconds = "seconds to measure (default: 60); set-up takes extra time"
    bench.add_argument("--seconds", type=float, default=60.0, help=seconds)
    bench.file("--report", "write a page with plots, for any browser")
    bench.file("--json", "write every sample; - for standard output")
    how = "run, then compare with OLD, a file that --json wrote; with two files, only compare them"
    bench.add_argument("--compare", nargs="+", metavar="OLD", help=how)


_NAMES = ", ".join(FUNCTIONS)


_OF_KERNELS = (
    "name",
    "library",
    "scalar",
    "layouts",
    "no_zero_signs",
    "no_subnormals",
    "no_nan",
    "timeout",
)


def _given(options: argparse.Namespace, *names: str) -> list[str]:
    """Give those of the options that were used."""
    return [name for name in names if getattr(options, name)]


def _check_kernel(verify: _Parser, options: argparse.Namespace) -> None:
    if not options.kernel:
        for name in _given(options, *_OF_KERNELS):
            flag = "as" if name == "name" else name.replace("_", "-")
            verify.error(f"--{flag} goes with --kernel")
        return
    if not options.name:
        verify.error(f"--kernel needs --as: which function does it compute? There are {_NAMES}")
    for name in _given(options, "backend", "function", "quick", "peers"):
        verify.error(f"--kernel takes no --{name}")


def _check_verify(verify: _Parser, options: argparse.Namespace) -> None:
    _check_kernel(verify, options)
    narrowed = _given(options, "backend", "device", "dtype", "function")
    if options.peers and narrowed:
        verify.error(f"--peers takes no --{narrowed[0]}: it runs all that is installed")
    if options.exhaustive and options.dtype and "float32" not in options.dtype:
        verify.error("--exhaustive is about float32: name it in --dtype, or leave --dtype out")
    chosen = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    floats = not options.dtype or {*options.dtype} & {*FLOATS}
    if not floats and not any(each.takes_integers for each in chosen):
        takers = ", ".join(each.name for each in FUNCTIONS.values() if each.takes_integers)
        verify.error(f"no such cases: only {takers} takes integers")


def _check_bench(bench: _Parser, options: argparse.Namespace) -> None:
    if not 0 <= options.seconds < float("inf"):
        bench.error(f"--seconds must be a number, zero or more, got {options.seconds}")
    if options.report and options.json and options.report.is_file(options.json.file):
        bench.error("--report and --json must be two files")
    for name in ("report", "json"):
        for old in options.compare or ():
            if (output := getattr(options, name)) and output.is_file(old):
                bench.error(f"--{name} would overwrite {old}, which --compare reads")
    measuring = _given(options, "backend", "peers", "function", "dtype", "sizes", "json")
    if len(options.compare or ()) == 2 and measuring:
        bench.error(f"--compare of two files takes no --{measuring[0]}: nothing is measured")
    if len(options.compare or ()) > 2:
        bench.error("--compare takes one file, to compare a new run with, or two")


def _missing(options: argparse.Namespace) -> str:
    """Give how to install what the command needs, if that is not here."""
    needs = {"rich": ("rich", "cli")}  # package -> its distribution, and our extra that has it
    if options.command == "demo":
        needs = {"rich": ("rich", "demo"), "sklearn": ("scikit-learn", "demo")}
    elif options.command == "bench" and options.report:
        needs = {each: (each, "bench") for each in ("rich", "matplotlib", "jinja2")}
    for package, (name, extra) in needs.items():
        if importlib.util.find_spec(package) is None:
            how = f'python3 -m pip install ".[{extra}]"'
            return f"relu-xp {options.command} needs {name}; in the project's folder run {how}"
    return ""


def _console() -> Console:
    from rich import console

    class Raising(console.Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would exit with verify's status of a mismatch

    return Raising()


def _close(output: Any) -> None:
    """Send what is left to nowhere: at exit Python would try, and fail, to write it again."""
    try:
        output.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def sizes(text: str) -> list[int]:
    """Read `2**10:2**26`, sizes that are each 4 times the last; or `1000,2**20`, a list."""
    numbers = [_number(part) for part in re.split("[:,]", text)]
    if ":" not in text and all(numbers):
        return sorted({*numbers})
    low, high = numbers if len(numbers) == 2 and ":" in text else (0, 0)
    if not 0 < low <= high:
        msg = f"not sizes: {text!r}; write 2**10:2**26, or 1000,2**20"
        raise argparse.ArgumentTypeError(msg)
    between = itertools.takewhile(lambda size: size < high, (low * 4**i for i in itertools.count()))
    return [*between, high]


def _number(text: str) -> int:
    """Read a count of elements; 0 if it is none, or more than any memory holds."""
    found = re.fullmatch(r"\s*(\d{1,12})(?:\*\*(\d{1,2}))?\s*", text)
    size = int(found[1]) ** int(found[2] or 1) if found else 0
    return size if size < 1 << 40 else 0


def scalar(text: str) -> tuple[str, float]:
    """Read `negative_slope=0.2`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        msg = f"not NAME=NUMBER: {text!r}; write for example negative_slope=0.2"
        raise argparse.ArgumentTypeError(msg) from None


def _demo(console: Console, options: argparse.Namespace) -> int:
    from relu_xp import demo

    return 0 if demo.run(console) else 1


def _info(console: Console, options: argparse.Namespace) -> int:
    from rich.table import Table
    from rich.text import Text

    from relu_xp import info

    found = info()
    versions = Table(title="Versions")
    for heading in ("package", "version"):
        versions.add_column(heading, overflow="fold")
    versions.add_row("Python", f"{found['python']} on {found['platform']}")
    for row in found["versions"].items():
        versions.add_row(*row)
    backends = Table(title="Backends")
    for heading in ("backend", "device", "usable"):
        backends.add_column(heading, overflow="fold")
    for each in found["backends"]:
        usable = Text("yes", "green") if each["usable"] else Text(f"no: {each['reason']}", "red")
        backends.add_row(each["backend"], each["device"] or "", usable)
    console.print(versions, backends, sep="\n")
    loops = found["compiled_loops"].replace("no: ", "no. NumPy calls are slow: ", 1)
    console.print(f"compiled loops: {loops}", markup=False, highlight=False)
    return 0


def _verify(console: Console, options: argparse.Namespace) -> int:
    # JAX reads this when it is imported; without it, it holds no float64.
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    from relu_xp.verify import _report

    return _report.run_kernel(console, options) if options.kernel else _report.run(console, options)


def _vectors(console: Console, options: argparse.Namespace) -> int:
    from relu_xp.verify import _vectors

    try:
        write = _vectors.write_onnx if options.format == "onnx" else _vectors.write
        count, size = write(
            Path(options.out), options.functions, options.dtypes, exhaustive=options.exhaustive
        )
    except (OSError, ImportError, ValueError) as error:
        print(f"relu-xp vectors: {error}", file=sys.stderr)
        return UNWRITTEN if isinstance(error, OSError) else BAD_USAGE
    console.print(
        f"{count} files, {size / 1e6:.1f} MB, in {options.out}", markup=False, highlight=False
    )
    return 0


def _bench(console: Console, options: argparse.Namespace) -> int:
    # Libraries read these when they are imported: float64 in JAX; on a GPU, memory that is left to
    # the others; and threads that sleep while they wait, since they would otherwise spin through
    # the next candidate's turn.
    if "float64" in (options.dtype or ()):
        os.environ.setdefault("JAX_ENABLE_X64", "1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from relu_xp.bench import _report

    return _report.run(console, options)


def _nothing(parser: _Parser, options: argparse.Namespace | None = None) -> None:
    """Add no options, or check none."""


# Each command has the function that runs it, its help, and the functions that add and check its
# options.
_COMMANDS: dict[str, tuple[Any, str, Any, Any]] = {
    "demo": (
        _demo,
        "run the functions on every backend here, and train a small classifier with them",
        _nothing,
        _nothing,
    ),
    "info": (
        _info,
        "list versions, backends and devices; say why one cannot be used",
        _nothing,
        _nothing,
    ),
    "verify": (
        _verify,
        "compare every backend here with the definition, bit for bit",
        _add_verify,
        _check_verify,
    ),
    "bench": (
        _bench,
        "measure every backend here, beside a copy of the array and beside plain NumPy code",
        _add_bench,
        _check_bench,
    ),
    "vectors": (
        _vectors,
        "write inputs and expected results as files, for kernels in C and for ONNX runtimes",
        _add_vectors,
        _nothing,
    ),
}


if __name__ == "__main__":
    sys.exit(main())
