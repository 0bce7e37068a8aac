"""The command line: `relu-xp demo`, `info`, `verify` and `bench`."""

import argparse
import importlib.metadata
import importlib.util
import io
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from relu_xp._functions import FUNCTIONS
from relu_xp.verify import DTYPES, FLOATS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the process's exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # pragma: no branch  # a notebook's is none
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a plus-minus sign
    parser = argparse.ArgumentParser(prog="relu-xp", description="Rectifiers for every array.")
    parser.add_argument("--version", action="version", version=_version())
    names = ", ".join(FUNCTIONS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("demo", help="run the functions on every backend here, and train a small classifier with them")
    commands.add_parser("info", help="list versions, backends and devices, and why one is not usable")
    verify = commands.add_parser("verify", help="hold every backend here against the scalar definition, bit for bit")
    verify.add_argument("--backend", nargs="+", metavar="NAME", help="these only; exit status 2 if one is missing")
    verify.add_argument("--device", metavar="NAME", help="this device only, as `relu-xp info` names it")
    verify.add_argument("--dtype", nargs="+", choices=DTYPES, metavar="NAME", help=f"of {', '.join(DTYPES)}")
    verify.add_argument("--function", nargs="+", choices=FUNCTIONS, metavar="NAME", help=f"of {names}")
    effort = verify.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="fewer lengths and layouts")
    effort.add_argument("--exhaustive", action="store_true", help="then all 2**32 float32 values through each function")
    effort.add_argument("--peers", action="store_true", help="instead, how other libraries differ on the same cases")
    verify.add_argument("--json", type=_writeable, metavar="FILE", help="write what was found")
    bench = commands.add_parser("bench", help="measure every backend here against the hardware's limit and the idioms")
    bench.add_argument("--backend", nargs="+", metavar="NAME", help="these only; exit status 2 if one is missing")
    bench.add_argument(
        "--peers", action="store_true", help="and jax.nn, PyTorch, keras, thinc and onnxruntime, if here"
    )
    bench.add_argument("--function", nargs="+", choices=FUNCTIONS, metavar="NAME", help=f"of {names}")
    bench.add_argument("--dtype", nargs="+", choices=FLOATS, metavar="NAME", help=f"of {', '.join(FLOATS)}; float32")
    bench.add_argument(
        "--sizes", type=sizes, metavar="FROM:TO", help="in elements, such as 2**10:2**24, or a list, 1000,2**20"
    )
    bench.add_argument("--seconds", type=float, default=60.0, help="to sample for, about; to set up comes on top")
    bench.add_argument("--report", type=_writeable, metavar="FILE", help="write a page with plots, for any browser")
    bench.add_argument("--json", type=_writeable, metavar="FILE", help="write every sample")
    bench.add_argument("--compare", nargs="+", metavar="OLD", help="say what changed since; of two files, between them")
    options = parser.parse_args(arguments)
    command = options.command
    if command == "verify":
        narrowed = [o for o in ("backend", "device", "dtype", "function") if getattr(options, o)]
        if options.peers and narrowed:
            verify.error(f"--peers takes no --{narrowed[0]}: it runs all that is installed")
        if options.exhaustive and options.dtype and "float32" not in options.dtype:
            verify.error("--exhaustive is about float32: name it in --dtype, or leave --dtype out")
        chosen = [FUNCTIONS[name] for name in options.function or FUNCTIONS]
        if options.dtype and not {*options.dtype} & {*FLOATS} and not any(each.takes_integers for each in chosen):
            takers = ", ".join(each.name for each in FUNCTIONS.values() if each.takes_integers)
            verify.error(f"no such cases: only {takers} takes integers")
    if command == "bench":
        if not 0 <= options.seconds < float("inf"):
            bench.error(f"--seconds must be a number, zero or more, got {options.seconds}")
        if options.report and options.report == options.json:
            bench.error("--report and --json must be two files")
        measuring = [o for o in ("backend", "peers", "function", "dtype", "sizes", "json") if getattr(options, o)]
        if len(options.compare or ()) == 2 and measuring:
            bench.error(f"--compare of two files takes no --{measuring[0]}: nothing is measured")
    needs = {"rich": ("rich", "cli")}  # package -> its distribution, and our extra that has it
    if command == "demo":
        needs = {"rich": ("rich", "demo"), "sklearn": ("scikit-learn", "demo")}
    elif command == "bench" and options.report:
        needs = {"rich": ("rich", "bench"), "matplotlib": ("matplotlib", "bench")}
    for package, (name, extra) in needs.items():
        if importlib.util.find_spec(package) is None:
            how = f'python3 -m pip install ".[{extra}]"'
            print(f"relu-xp {command} needs {name}; in the project's folder run {how}", file=sys.stderr)
            return 2
    try:
        return {"demo": _demo, "info": _info, "verify": _verify, "bench": _bench}[command](options)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _version() -> str:
    try:
        return importlib.metadata.version("relu-xp")
    except importlib.metadata.PackageNotFoundError:  # from a checkout that is not installed
        return "unknown"


def _writeable(file: str) -> str:
    """Find out before the work is done that is to go there."""
    is_new = not Path(file).exists()
    try:
        Path(file).open("a", encoding="utf-8").close()
        if is_new:
            Path(file).unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return file


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


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from relu_xp import demo

    return 0 if demo.run(Console()) else 1


def _info(options: argparse.Namespace) -> int:
    from rich.console import Console
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
    console = Console()
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


def _verify(options: argparse.Namespace) -> int:
    # JAX reads this when it is imported; without it, it holds no float64.
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    from rich.console import Console

    from relu_xp.verify import _report

    return _report.run(Console(), options)


def _bench(options: argparse.Namespace) -> int:
    # Read by what is imported only now: float64 in JAX, room for others on a GPU, and threads that sleep while they
    # wait, since otherwise they would spin through the next candidate's turn.
    if "float64" in (options.dtype or ()):
        os.environ.setdefault("JAX_ENABLE_X64", "1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rich.console import Console

    from relu_xp.bench import _report

    return _report.run(Console(), options)


if __name__ == "__main__":
    sys.exit(main())
