"""The command line: `relu-xp demo`, `info`, `verify`, `bench` and `vectors`."""

import argparse
import contextlib
import importlib.util
import inspect
import io
import itertools
import os
import re
import sys
from collections.abc import Sequence
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
        """Find out now whether it can be written, before the work is done that is to go there."""
        self.file = file
        self.failed = False
        self._stdout = sys.stdout if file == "-" else None
        path, is_new = Path(file), not os.path.lexists(file)
        try:
            # Not a pipe, whose reader would see its end, nor a device.
            if file != "-" and (is_new or path.is_file() or path.is_dir()):
                path.open("a", encoding="utf-8").close()
                if is_new:
                    path.unlink()
        except OSError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def write(self, text: str) -> None:
        """Write it all, or tell why not: what was found is still to be shown."""
        try:
            if self._stdout:
                self._stdout.write(text)
                self._stdout.flush()
            else:
                Path(self.file).write_text(text, encoding="utf-8")
        except OSError as error:
            self.failed = True
            print(f"relu-xp: cannot write {self.file}: {error.strerror}", file=sys.stderr)
            if self._stdout:
                _close(self._stdout)

    def is_file(self, other: str) -> bool:
        """Whether that is the same file, however it is spelled."""
        same = os.path.realpath(self.file) == os.path.realpath(other)
        with contextlib.suppress(OSError):  # one of them is not there
            same = same or os.path.samefile(self.file, other)
        return same


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line."""
        self.exit(BAD_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


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
        print(f"relu-xp: cannot write standard output: {error.strerror}", file=sys.stderr)
        _close(sys.stdout)
        return UNWRITTEN


def _run(arguments: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # pragma: no branch  # a notebook's is none
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a plus-minus sign
    parser = _Parser(
        prog="relu-xp",
        description="ReLU and its family for every array: see them, verify them, measure them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="functions of the Python package relu_xp, with their defaults; help(relu_xp.NAME) explains one:\n"
        + "".join(f"  {_signature(name)}\n" for name in FUNCTIONS),
    )
    parser.add_argument("--version", action="version", version=relu_xp.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser(
        "demo",
        help="run the functions on every backend here, and train a small classifier with them",
    )
    commands.add_parser(
        "info", help="list versions, backends and devices, and say why one is not usable"
    )
    verify = _verify_parser(commands)
    bench = _bench_parser(commands)
    _vectors_parser(commands)
    options = parser.parse_args(arguments)
    command = options.command
    try:
        _threads.workers()
    except ValueError as error:
        parser.error(str(error))
    if command == "verify":
        _check_verify(verify, options)
    if command == "bench":
        _check_bench(bench, options)
    if lacks := _missing(command, options):
        print(lacks, file=sys.stderr)
        return BAD_USAGE
    outputs = [
        each for each in (getattr(options, name, None) for name in ("json", "report")) if each
    ]
    command_of = {
        "demo": _demo,
        "info": _info,
        "verify": _verify,
        "bench": _bench,
        "vectors": _vectors,
    }[command]
    only = any(each.file == "-" for each in outputs)
    with contextlib.redirect_stdout(sys.stderr) if only else contextlib.nullcontext():
        status = command_of(_console(), options)
    return UNWRITTEN if any(each.failed for each in outputs) else status


def _signature(name: str) -> str:
    """How a function is called, without `out=`, which all have."""
    signature = inspect.signature(getattr(relu_xp, name))
    given = [
        each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name != "out"
    ]
    return name + str(signature.replace(parameters=given, return_annotation=signature.empty))


def _verify_parser(commands: "argparse._SubParsersAction[_Parser]") -> _Parser:
    verify = commands.add_parser(
        "verify", help="compare every backend here with the scalar definition, bit for bit"
    )
    verify.add_argument(
        "--backend",
        nargs="+",
        metavar="NAME",
        help="only these; exit status 2 if one is missing; default: all",
    )
    verify.add_argument(
        "--device",
        metavar="NAME",
        help="only this device, as `relu-xp info` names it; default: all",
    )
    verify.add_argument(
        "--dtype", nargs="+", choices=DTYPES, metavar="NAME", help=f"default: {', '.join(DTYPES)}"
    )
    verify.add_argument(
        "--function", nargs="+", choices=FUNCTIONS, metavar="NAME", help=f"default: {_NAMES}"
    )
    effort = verify.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", action="store_true", help="try fewer array lengths and memory layouts"
    )
    effort.add_argument(
        "--exhaustive",
        action="store_true",
        help="also run all 2**32 float32 values through each function: minutes",
    )
    effort.add_argument(
        "--peers",
        action="store_true",
        help="show instead how other libraries differ on the same cases",
    )
    verify.add_argument(
        "--json", type=Output, metavar="FILE", help="write the record; - for standard output"
    )
    kernel = verify.add_argument_group("instead of a backend, any function of arrays")
    kernel.add_argument(
        "--kernel",
        metavar="MODULE:FUNCTION",
        help="what to hold to the definition: f(x), or f(x, g)",
    )
    kernel.add_argument(
        "--as", dest="name", choices=FUNCTIONS, metavar="NAME", help="the function that it computes"
    )
    kernel.add_argument("--library", metavar="NAME", help="whose arrays it takes; default: numpy")
    kernel.add_argument(
        "--scalar",
        action="extend",
        nargs="+",
        type=scalar,
        metavar="NAME=NUMBER",
        help="what it computes with; default: the function's",
    )
    kernel.add_argument(
        "--layouts", action="store_true", help="give it strided, reversed and 0-d arrays too"
    )
    kernel.add_argument("--no-zero-signs", action="store_true", help="let signs of zeros pass")
    kernel.add_argument("--no-subnormals", action="store_true", help="leave out subnormal numbers")
    kernel.add_argument("--no-nan", action="store_true", help="leave out NaN")
    kernel.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="that a call may take; default: 60"
    )
    return verify


def _vectors_parser(commands: "argparse._SubParsersAction[_Parser]") -> _Parser:
    vectors = commands.add_parser(
        "vectors",
        help="write inputs and due results as files, for kernels in other languages and for ONNX runtimes",
    )
    vectors.add_argument(
        "--out", required=True, metavar="DIR", help="a folder, which is made if need be"
    )
    vectors.add_argument(
        "--functions", nargs="+", choices=FUNCTIONS, metavar="NAME", help=f"default: {_NAMES}"
    )
    vectors.add_argument(
        "--dtypes", nargs="+", choices=FLOATS, metavar="NAME", help=f"default: {', '.join(FLOATS)}"
    )
    vectors.add_argument(
        "--format",
        choices=("json", "onnx"),
        default="json",
        help="default: json, with .npy beside it",
    )
    vectors.add_argument(
        "--exhaustive",
        action="store_true",
        help="all values of the 16-bit types under every setting too: 25 MB in all",
    )
    return vectors


def _bench_parser(commands: "argparse._SubParsersAction[_Parser]") -> _Parser:
    bench = commands.add_parser(
        "bench",
        help="measure every backend here beside a copy of the same array and beside NumPy idioms",
    )
    bench.add_argument(
        "--backend",
        nargs="+",
        metavar="NAME",
        help="only these; exit status 2 if one is missing; default: all",
    )
    bench.add_argument(
        "--peers",
        action="store_true",
        help="also measure jax.nn, PyTorch, keras, thinc and onnxruntime, if here",
    )
    bench.add_argument(
        "--function", nargs="+", choices=FUNCTIONS, metavar="NAME", help=f"default: {_NAMES}"
    )
    bench.add_argument(
        "--dtype",
        nargs="+",
        choices=FLOATS,
        metavar="NAME",
        help=f"of {', '.join(FLOATS)}; default: float32",
    )
    bench.add_argument(
        "--sizes",
        type=sizes,
        metavar="FROM:TO",
        help="in elements, as a range or a list, 1000,2**20; default: 2**10:2**22, every fourth power of two",
    )
    bench.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help="to sample for; setting up comes on top; default: 60",
    )
    bench.add_argument(
        "--report", type=Output, metavar="FILE", help="write a page with plots, for any browser"
    )
    bench.add_argument(
        "--json", type=Output, metavar="FILE", help="write every sample; - for standard output"
    )
    bench.add_argument(
        "--compare",
        nargs="+",
        metavar="OLD",
        help="say what changed since that run; given two, between them",
    )
    return bench


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


def _check_kernel(verify: _Parser, options: argparse.Namespace) -> None:
    if not options.kernel:
        for name in (each for each in _OF_KERNELS if getattr(options, each)):
            verify.error(
                f"--{'as' if name == 'name' else name.replace('_', '-')} goes with --kernel"
            )
        return
    if not options.name:
        verify.error(f"--kernel needs --as: which function does it compute? There are {_NAMES}")
    for name in (
        each for each in ("backend", "function", "quick", "peers") if getattr(options, each)
    ):
        verify.error(f"--kernel takes no --{name}")


def _check_verify(verify: _Parser, options: argparse.Namespace) -> None:
    _check_kernel(verify, options)
    narrowed = [o for o in ("backend", "device", "dtype", "function") if getattr(options, o)]
    if options.peers and narrowed:
        verify.error(f"--peers takes no --{narrowed[0]}: it runs all that is installed")
    if options.exhaustive and options.dtype and "float32" not in options.dtype:
        verify.error("--exhaustive is about float32: name it in --dtype, or leave --dtype out")
    chosen = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
    if (
        options.dtype
        and not {*options.dtype} & {*FLOATS}
        and not any(each.takes_integers for each in chosen)
    ):
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
    measuring = [
        o for o in ("backend", "peers", "function", "dtype", "sizes", "json") if getattr(options, o)
    ]
    if len(options.compare or ()) == 2 and measuring:
        bench.error(f"--compare of two files takes no --{measuring[0]}: nothing is measured")
    if len(options.compare or ()) > 2:
        bench.error("--compare takes one file, to compare a new run with, or two")


def _missing(command: str, options: argparse.Namespace) -> str:
    """How to install what the command needs, if that is not here."""
    needs = {"rich": ("rich", "cli")}  # package -> its distribution, and our extra that has it
    if command == "demo":
        needs = {"rich": ("rich", "demo"), "sklearn": ("scikit-learn", "demo")}
    elif command == "bench" and options.report:
        needs = {each: (each, "bench") for each in ("rich", "matplotlib", "jinja2")}
    for package, (name, extra) in needs.items():
        if importlib.util.find_spec(package) is None:
            how = f'python3 -m pip install ".[{extra}]"'
            return f"relu-xp {command} needs {name}; in the project's folder run {how}"
    return ""


def _console() -> Console:
    from rich import console

    class Raising(console.Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would exit with verify's status of a mismatch

    return Raising()


def _close(output: Any) -> None:
    """Let nothing be written any more to what can't be written to: of what is left over Python would tell too."""
    try:
        output.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def sizes(text: str) -> list[int]:
    """Read `2**10:2**26`, every fourth power of two from one to the other, or `1000,2**20`, just these."""
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
    """A count of elements, or 0 if it is none, or of more than any memory holds."""
    found = re.fullmatch(r"\s*(\d{1,12})(?:\*\*(\d{1,2}))?\s*", text)
    size = int(found[1]) ** int(found[2] or 1) if found else 0
    return size if size < 1 << 40 else 0


def scalar(text: str) -> tuple[str, float]:
    """Read `negative_slope=0.2`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        msg = f"not a scalar: {text!r}; write negative_slope=0.2"
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
    versions.add_column("package")
    versions.add_column("version")
    versions.add_row("Python", f"{found['python']} on {found['platform']}")
    for distribution, version in found["versions"].items():
        versions.add_row(distribution, version)
    console.print(versions)

    backends = Table(title="Backends")
    for heading in ("backend", "device", "usable"):
        backends.add_column(heading)
    for each in found["backends"]:
        usable = Text("yes", "green") if each["usable"] else Text(f"no: {each['reason']}", "red")
        backends.add_row(each["backend"], each["device"] or "", usable)
    console.print(backends)
    console.print(f"compiled loops: {found['compiled_loops']}", highlight=False)
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
    # Read by what is imported only now: float64 in JAX, room for others on a GPU, and threads that
    # sleep while they wait, since otherwise they would spin through the next candidate's turn.
    if "float64" in (options.dtype or ()):
        os.environ.setdefault("JAX_ENABLE_X64", "1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from relu_xp.bench import _report

    return _report.run(console, options)


if __name__ == "__main__":
    sys.exit(main())
