"""What can run on this machine: each backend's devices, or the reason why it has none.

`import relu_xp` imports this module, so that it imports late what takes long.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relu_xp import _dispatch
from relu_xp._functions import RELU
from relu_xp._registry import REGISTRY, SURVEYED

__version__ = "0.2.0"  # a test compares it with pyproject.toml

# The libraries of the array API standard are the devices of one backend.
_STANDARD = "array_api"
_ROWS = {row.name: row for row in SURVEYED}
_OTHER_DISTRIBUTIONS = ("array-api-compat", "ml_dtypes", "thinc", "onnxruntime")


@dataclass(frozen=True)
class Target:
    """One device of one library."""

    name: str  # the library's
    backend: Any
    device: str

    @property
    def where(self) -> str:
        """The device for a reader: the array API's libraries run on the host here."""
        return "cpu" if self.device == self.name else self.device

    def put(self, array: Any) -> Any:
        """Hand a NumPy array over."""
        return self.backend.put(array, self.device)

    def get(self, x: Any) -> Any:
        """Take a NumPy array back."""
        return self.backend.get(x)

    def trouble(self) -> str:
        """Run a function there once; return what went wrong, or nothing."""
        import numpy as np

        try:
            x = self.put(np.array([-1.0, 2.0], np.float32))
            result = self.get(_dispatch.call(RELU, (x,), RELU.defaults, None))
        except Exception as error:  # a library that is installed may be broken in any way
            return first_line(error)
        return "" if result.tolist() == [0.0, 2.0] else f"{RELU} of [-1, 2] gives {result.tolist()}"


@dataclass(frozen=True)
class Unavailable:
    """A backend that can't run here."""

    name: str
    reason: str


def survey() -> Iterator[Target | Unavailable]:
    """Find the devices of every backend, one after the other: this imports what is installed."""
    for row in SURVEYED:
        if not row.module:
            yield from of(row.name)
    yield from _standard()
    for package, backend in _dispatch.plugins().items():
        yield from _devices(package, backend)


def of(name: str) -> Iterator[Target | Unavailable]:
    """Find the devices of one backend, and import no other; nothing if there is none so named."""
    row, plugins = _ROWS.get(name), _dispatch.plugins()
    if row and not _is_installed(name):
        yield Unavailable(name, "not installed")
    elif row and row.module == _STANDARD:
        yield from (each for each in _standard() if each.name == name)
    elif row or name in plugins:
        yield from _devices(name, row.served_by if row else plugins[name])


def names() -> list[str]:
    """Name everything that `of` knows, installed or not."""
    return [*_ROWS, *_dispatch.plugins()]


def _is_installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def choose(
    console: Any, wanted: Sequence[str] | None = None, device: str | None = None
) -> list[Target]:
    """Return the targets of the backends that are wanted, or of all; print why others are missing.

    The list is empty if one that is wanted is missing.
    """
    with console.status("Importing the libraries that are installed"):
        found = (
            [each for name in dict.fromkeys(wanted) for each in of(name)]
            if wanted
            else list(survey())
        )
    present = [each for each in found if isinstance(each, Target)]
    # A device may be named by its kind: cpu is cpu:0 too.
    targets = [p for p in present if not device or f"{p.where}:".startswith(f"{device}:")]
    if present and not targets:
        wheres = ", ".join(dict.fromkeys(each.where for each in present))
        console.print(f"no device {device!r} here; devices: {wheres}", style="red", highlight=False)
        return []
    reasons = {each.name: each.reason for each in found if isinstance(each, Unavailable)}
    here = {each.name for each in targets}
    for name in (each for each in wanted or () if each not in here):
        reasons[name] = _absence(name, reasons.get(name), [p for p in present if p.name == name])
    for name, reason in reasons.items():
        style = "red" if wanted else "dim"
        console.print(f"{name}: {reason}", style=style, markup=False, highlight=False)
    return [] if wanted and reasons else targets


def _absence(name: str, reason: str | None, elsewhere: list[Target]) -> str:
    """Say why a backend that is wanted is not here, or how to install it."""
    if elsewhere:
        return f"is on {', '.join(each.where for each in elsewhere)} here"
    if name in _ROWS and not _is_installed(name):
        install = _ROWS[name].install or name
        return f"not installed; to have it: python3 -m pip install {install}"
    return reason or f"no such backend here; there are {', '.join(names())}"


def info() -> dict[str, Any]:
    """Tell what `relu-xp info` prints: what is installed, and which backends are usable here.

    Every framework that is installed is imported for it, and a function is run once on each device.

    Returns
    -------
    dict
        ``python`` and ``platform``, strings; ``versions``, by the name of the distribution;
        ``backends``, a list with a dict for each device: ``backend``, ``device``, ``usable``, and
        ``reason``, why it is not; and ``compiled_loops``, whether NumPy's loops were compiled, and
        for which processors. It can be written as JSON.

    Examples
    --------
    >>> import relu_xp
    >>> [each["backend"] for each in relu_xp.info()["backends"] if each["usable"]][0]
    'numpy'
    """
    import platform

    backends: list[dict[str, Any]] = []
    for found in survey():
        reason = found.trouble() if isinstance(found, Target) else found.reason
        device = found.where if isinstance(found, Target) else None
        backends.append(
            {
                "backend": found.name,
                "device": device,
                "usable": not reason,
                "reason": reason or None,
            }
        )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "backends": backends,
        "compiled_loops": compiled_loops(),
    }


def versions() -> dict[str, str]:
    """Read the versions of what computes here from the metadata: nothing is imported for it."""
    import importlib.metadata

    found = {"relu-xp": __version__}  # the metadata may be those of another copy
    listed = [name for row in REGISTRY for name in row.distributions or (row.name,)]
    for name in (*listed, *_OTHER_DISTRIBUTIONS):
        try:
            found[name] = importlib.metadata.version(name) or "unknown"
        except importlib.metadata.PackageNotFoundError:
            continue
        except Exception:  # its metadata may be damaged in any way
            found[name] = "unknown"
    return found


def compiled_loops() -> str:
    """Tell whether NumPy's loops are compiled and for which instruction set, or why not."""
    from relu_xp._backends import numpy as backend

    if backend.missing:
        return f"no: {backend.missing}"
    chosen = getattr(vars(backend)["_ufuncs"], "cpu", None)
    return f"yes ({chosen})" if chosen else "yes"


def first_line(error: Exception) -> str:
    """Return an error's kind and its first line."""
    name = type(error).__name__
    try:
        message = str(error).strip()
    except BaseException:  # a class of the caller's, whose `__str__` may do anything
        message = ""
    return f"{name}: {message.splitlines()[0]}" if message else name


def _devices(name: str, backend: Any) -> Iterator[Target | Unavailable]:
    try:
        module = _dispatch.load(name, backend)
        devices = module.devices()
    except Exception as error:  # one broken framework must not hide the others
        yield Unavailable(name, first_line(error))
    else:
        for device in devices:
            yield Target(device if name == _STANDARD else name, module, device)


def _standard() -> Iterator[Target | Unavailable]:
    return _devices(_STANDARD, next(r.served_by for r in SURVEYED if r.module == _STANDARD))
