"""The command line: `relu-xp demo` and `relu-xp info`."""

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Sequence

# The distributions whose versions `info` reports, from their metadata: none is imported for it.
_DISTRIBUTIONS = (
    "relu-xp",
    "numpy",
    "array-api-compat",
    "ml_dtypes",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "torch",
    "dask",
    "array-api-strict",
    "sparse",
    "ndonnx",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the process's exit status."""
    parser = argparse.ArgumentParser(prog="relu-xp", description="Rectifiers for every array.")
    parser.add_argument("--version", action="version", version=importlib.metadata.version("relu-xp"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("demo", help="run the functions on every backend here, and train a small classifier with them")
    commands.add_parser("info", help="list versions, backends and devices, and why one is not usable")
    command = parser.parse_args(arguments).command
    needs = {"rich": "cli"} if command == "info" else {"rich": "demo", "sklearn": "demo"}
    for package, extra in needs.items():
        if importlib.util.find_spec(package) is None:
            print(
                f"relu-xp {command} needs {package}, which the extra [{extra}] installs",
                file=sys.stderr,
            )
            return 2
    return _demo() if command == "demo" else _info()


def _demo() -> int:
    from rich.console import Console

    from relu_xp import demo

    return 0 if demo.run(Console()) else 1


def _info() -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from relu_xp import _machine

    versions = Table(title="Versions")
    versions.add_column("package")
    versions.add_column("version")
    versions.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    for distribution in _DISTRIBUTIONS:
        try:
            versions.add_row(distribution, importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            versions.add_row(distribution, "[dim]not installed[/]")
    console = Console()
    console.print(versions)

    backends = Table(title="Backends")
    for heading in ("backend", "device", "usable"):
        backends.add_column(heading)
    for found in _machine.survey():
        device = found.where if isinstance(found, _machine.Place) else ""
        trouble = found.trouble() if isinstance(found, _machine.Place) else found.reason
        backends.add_row(found.name, device, Text(f"no: {trouble}", "red") if trouble else Text("yes", "green"))
    console.print(backends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
