"""What this machine can run: each backend's devices, or why it has none; for the command line and the tests."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _dispatch
from relu_xp._backends import array_api
from relu_xp._functions import RELU

NAMES = _dispatch.BACKENDS  # what is surveyed under the name of its package
# What pip calls a backend's library, where that is not its own name.
_INSTALL = {"cupy": "cupy-cuda13x ml_dtypes", "array_api_strict": "array-api-strict"}
_DISTRIBUTIONS = (
    "numpy", "array-api-compat", "ml_dtypes", "jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x",
    "torch", "tensorflow", "tensorflow-cpu",
    "dask", "xarray", "pandas", "polars", "scipy", "pint", "array-api-strict", "sparse", "ndonnx", "keras",
    "thinc", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One device of one library."""

    name: str  # the library's
    backend: Any
    device: str

    @property
    def where(self) -> str:
        """The device as a person would read it; the array API's libraries here all run on the host."""
        return "cpu" if self.device == self.name else self.device

    def put(self, array: Any) -> Any:
        """Hand a NumPy array over."""
        return self.backend.put(array, self.device)

    def get(self, x: Any) -> Any:
        """Take a NumPy array back."""
        return self.backend.get(x)

    def trouble(self) -> str:
        """Run a function there once; return what went wrong, or nothing."""
        try:
            result = self.get(
                getattr(relu_xp, RELU.name)(self.put(np.array([-1.0, 2.0], np.float32)))
            )
        except Exception as error:  # whatever an installed library breaks of its own
            return first_line(error)
        return "" if result.tolist() == [0.0, 2.0] else f"{RELU} of [-1, 2] gives {result.tolist()}"


@dataclass(frozen=True)
class Unavailable:
    """A backend that can't run here."""

    name: str
    reason: str


def survey() -> Iterator[Target | Unavailable]:
    """Find the devices of every backend, one after the other: this imports what is installed."""
    for name in NAMES:
        yield from of(name)
    yield from _devices("array_api", "relu_xp._backends.array_api")
    for package, backend in _dispatch.plugins().items():
        yield from _devices(package, backend)


def of(name: str) -> Iterator[Target | Unavailable]:
    """Find the devices of the backend so named, and import no other; nothing if there is none."""
    if name in (*NAMES, *array_api.LIBRARIES) and importlib.util.find_spec(name) is None:
        yield Unavailable(name, "not installed")
    elif name in NAMES:
        yield from _devices(name, f"relu_xp._backends.{name}")
    elif name in array_api.LIBRARIES:
        found = _devices("array_api", "relu_xp._backends.array_api")
        yield from (each for each in found if each.name == name)
    else:
        plugins = _dispatch.plugins()
        yield from _devices(name, plugins[name]) if name in plugins else ()


def names() -> list[str]:
    """Whatever `of` knows, installed or not."""
    return [*NAMES, *array_api.LIBRARIES, *_dispatch.plugins()]


def choose(
    console: Any, names: Sequence[str] | None = None, device: str | None = None
) -> list[Target]:
    """The targets of the backends named, or of all; none if one that was named is missing. Tells why others are not."""
    found = list(survey())
    present = [each for each in found if isinstance(each, Target)]
    here = list(dict.fromkeys(each.name for each in present))
    wanted = names or here
    # A device may be named by its kind: cpu is cpu:0 too.
    targets = [
        p
        for p in present
        if p.name in wanted and (not device or f"{p.where}:".startswith(f"{device}:"))
    ]
    reasons = {each.name: each.reason for each in found if isinstance(each, Unavailable)}
    for name in (name for name in wanted if name not in {target.name for target in targets}):
        devices = ", ".join(each.where for each in present if each.name == name)
        none = f"no such backend here; there are {', '.join(here)}"
        reasons[name] = f"is on {devices} here" if devices else reasons.get(name, none)
        known = (*NAMES, *array_api.LIBRARIES)
        if names and name in known and importlib.util.find_spec(name) is None:
            reasons[name] = (
                f"not installed; to have it: python3 -m pip install {_INSTALL.get(name, name)}"
            )
    for name, reason in reasons.items():
        style = "dim" if targets and name not in (names or ()) else "red"
        console.print(f"{name}: {reason}", style=style, markup=False, highlight=False)
    return [] if names and reasons.keys() & {*names} else targets


def info() -> dict[str, Any]:
    """What `relu_xp.info` documents."""
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
    """Of the distributions that compute here, as their metadata tell: none is imported for it."""
    found = {"relu-xp": relu_xp.__version__}  # of this copy, whichever is installed
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name) or "unknown"
        except importlib.metadata.PackageNotFoundError:
            continue
        except Exception:  # its metadata are damaged, in one way or another
            found[name] = "unknown"
    return found


def compiled_loops() -> str:
    """Whether NumPy's loops are compiled, and for which instruction set; or why they are not here."""
    from relu_xp._backends import numpy as backend

    if backend.missing:
        return f"no: {backend.missing}"
    chosen = getattr(vars(backend)["_ufuncs"], "cpu", None)
    return f"yes ({chosen})" if chosen else "yes"


def first_line(error: Exception) -> str:
    """An error's kind and its first line."""
    name = type(error).__name__
    try:
        message = str(error).strip()
    except BaseException:  # a caller's class, whose text is its own code
        message = ""
    return f"{name}: {message.splitlines()[0]}" if message else name


def _devices(name: str, backend: Any) -> Iterator[Target | Unavailable]:
    try:
        module = _dispatch.load(name, backend)
        devices = module.devices()
    except Exception as error:  # one broken framework must not hide the others
        yield Unavailable(name, first_line(error))
    else:
        for device in devices:  # of the array API's: libraries
            yield Target(device if name == "array_api" else name, module, device)
