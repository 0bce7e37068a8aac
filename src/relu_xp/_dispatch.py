"""Which backend owns an array: found once per type, from the names its classes go by, then confirmed by the backend.

Backends load late and by name. A class says where it comes from (`__module__` of each class in its
MRO); only that package's backend is asked, and only if the package is imported already, since
otherwise it cannot have made the caller's array. Because names can lie (`numpy.dtype` is no array),
the backend confirms with `isinstance`.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from relu_xp import _checks, _dtypes, _plans
from relu_xp._functions import Function

Run = Callable[[Function, tuple[Any, ...], tuple[Any, ...], Any], Any]


class Holder(Protocol):
    """What every backend has: a module, or any object."""

    def owns(self, x: object, /) -> bool:
        """Whether it is an array of the backend's."""

    def devices(self) -> list[str]:
        """Name the devices that arrays can be put on here; raise if its library is not usable."""

    def put(self, array: Any, device: str, /) -> Any:
        """Hand a NumPy array over to one of them."""

    def get(self, x: Any, /) -> Any:
        """Give an array's elements as a NumPy array."""


class Backend(Holder, Protocol):
    """One that computes."""

    def call(
        self, function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any, /
    ) -> Any:
        """Check the arguments and compute; the scalars are those of `function.parameters`, in their order."""


class Delegating(Holder, Protocol):
    """One whose arrays hold others, which have backends of their own."""

    def delegate(
        self, function: Function, inside: Callable[..., Any], arrays: tuple[Any, ...], out: Any, /
    ) -> Any:
        """Compute by inside(*arrays) on what is held, which has the scalars already; wrap the result again."""


# The registry: packages whose arrays the module of the same name in `_backends` may own, in the
# order of every list.
BACKENDS = (
    "numpy",
    "jax",
    "cupy",
    "torch",
    "tensorflow",
    "dask",
    "xarray",
    "pandas",
    "polars",
    "scipy",
    "pint",
)
# From the top-level package of a class to that module. Keras' symbolic tensors hold no values: no
# list has them.
_MODULES = {
    **{name: name for name in BACKENDS},
    "jaxlib": "jax",
    "builtins": "python",
    "keras": "keras",
}
ENTRY_POINTS = (
    "relu_xp.backends"  # the group in which an installed plug-in names its package and its module
)
_INTERFACE = ("owns", "devices", "put", "get")

_registered: dict[str, Any] = {}
_loaded: dict[str, Any] = {}  # by the names of their modules
MOST_TYPES = 64  # so that classes made again and again, as each registry of units makes its own, are not kept for ever
# By type, its backend and what runs a call there. Two threads may both find a new type's: both
# store the same.
_OWNERS: dict[type, tuple[Any, Run]] = {}


def call(function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
    """Hand over to the backend that owns x, and the cotangent too."""
    x = arrays[0]
    try:
        _, run = _OWNERS[type(x)]
    except KeyError:
        _, run = _remember(function, "x", x)
    if len(arrays) > 1 and type(arrays[1]) is not type(x):
        _check_owner(function, x, arrays[1])
    return run(function, arrays, scalars, out)


vars(call)["autograph_info__"] = {}  # by which TensorFlow's AutoGraph knows what not to rewrite


def _check_owner(function: Function, x: object, cotangent: object) -> None:
    if owner(function, "cotangent", cotangent) is not owner(function, "x", x):
        raise _checks.same_library(function, x, cotangent)


def owner(function: Function, name: str, x: object) -> Any:
    """Return the backend that owns x; TypeError, in the name of `function`, if there is none."""
    backend, _ = _OWNERS.get(type(x)) or _remember(function, name, x)
    return backend


def _remember(function: Function, name: str, x: object) -> tuple[Any, Run]:
    """Find the owner of a new type. What was found is returned: another thread may forget it at once."""
    backend = _find(function, name, x)
    if len(_OWNERS) > MOST_TYPES:
        _OWNERS.clear()
    found = _OWNERS[type(x)] = backend, _run(backend)
    return found


def _forget() -> None:
    _OWNERS.clear()
    _plans.forget()


def _run(backend: Any) -> Run:
    if not hasattr(backend, "delegate"):
        return backend.call

    in_parts, slope_like = getattr(backend, "in_parts", False), getattr(backend, "slope_like", None)

    def run(function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
        if slope_like and any(map(backend.owns, scalars)):
            arrays += tuple(filter(backend.owns, scalars))
            scalars = tuple([_HELD if backend.owns(s) else s for s in scalars])
        if in_parts or slope_like:
            _checks.no_array_scalars(function, arrays[0], scalars, slope_like)
        return backend.delegate(
            function, functools.partial(_inside, function, scalars), arrays, out
        )

    return run


_HELD = "a scalar that comes as an array, after the others"


def _inside(function: Function, scalars: tuple[Any, ...], *arrays: Any) -> Any:
    arrays, held = arrays[: len(function.arrays)], iter(arrays[len(function.arrays) :])
    return call(function, arrays, tuple([next(held) if s is _HELD else s for s in scalars]), None)


def register_backend(package: str, backend: Any) -> None:
    """Let a backend of yours own the arrays of a package.

    Where several could own an array, the package of its most derived class decides; for one package
    a registered backend comes before relu_xp's own, and that before an installed plug-in's. An
    installed plug-in needs no call: it names its backend in the entry-point group
    ``relu_xp.backends``.

    Parameters
    ----------
    package : str
        The top-level package that the arrays' class is defined in, such as ``"awkward"``.
    backend : str, module or object
        The backend, or the full name of a module that is imported when the first array of that
        package arrives. It has ``owns(x)`` to confirm; ``call(function, arrays, scalars, out)``,
        or, where its arrays hold others, ``delegate(function, inside, arrays, out)``; and
        ``devices()``, ``put(array, device)`` and ``get(x)`` for `relu_xp.verify`.

    Raises
    ------
    TypeError
        If package is no string, or backend neither a string nor an object with all of these.
    ValueError
        If package is not the name of a top-level package.

    See Also
    --------
    unregister_backend : Undo it.
    relu_xp.verify.assert_conforms : Whether a backend computes the definition, in one line.

    Examples
    --------
    >>> import relu_xp
    >>> relu_xp.register_backend("awkward", "my_library.rectifiers_for_awkward")
    """
    _check_package("register_backend", package)
    if not isinstance(backend, str):
        _check_interface("relu_xp.register_backend: backend", backend)
    _registered[package] = backend
    _forget()


def unregister_backend(package: str) -> None:
    """Undo `register_backend`: the arrays of the package are again whoever's they were before.

    Parameters
    ----------
    package : str
        The package whose backend was registered.

    Raises
    ------
    TypeError
        If package is no string.
    ValueError
        If no backend is registered for the package.
    """
    _check_package("unregister_backend", package)
    if package not in _registered:
        msg = f"relu_xp.unregister_backend: no backend is registered for {package}; there are {[*_registered]}"
        raise ValueError(msg)
    del _registered[package]
    _forget()


def info() -> dict[str, Any]:
    """Tell what `relu-xp info` prints: what is installed, and which backends are usable on this machine.

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
    return importlib.import_module(
        "relu_xp._machine"
    ).info()  # late, and by name: it stands on top of all the rest


def _check_package(function: str, package: object) -> None:
    if not isinstance(package, str):
        msg = f"relu_xp.{function}: package must be a string, got {_checks.type_name(package)}"
        raise TypeError(msg)
    if not package.isidentifier():
        msg = (
            f"relu_xp.{function}: package must be the name of a top-level package, got {package!r}"
        )
        raise ValueError(msg)


def _check_interface(name: str, backend: Any) -> None:
    lacks = [each for each in _INTERFACE if not callable(getattr(backend, each, None))]
    if not any(callable(getattr(backend, each, None)) for each in ("call", "delegate")):
        lacks.append(
            "call(function, arrays, scalars, out), or delegate(function, inside, arrays, out)"
        )
    if lacks:
        msg = f"{name} must have {', '.join(_INTERFACE)}, and call or delegate; it lacks {', '.join(lacks)}"
        raise TypeError(msg)


def plugins() -> dict[str, Any]:
    """All backends from elsewhere, by the package they serve: installed ones, and over them those registered."""
    return {**_installed(), **_registered}


@functools.cache
def _installed() -> dict[str, str]:
    import importlib.metadata  # late: reading every distribution's metadata takes longer than to import relu_xp

    try:
        return {
            each.name: each.value for each in importlib.metadata.entry_points(group=ENTRY_POINTS)
        }
    except Exception:  # of whatever kind: a distribution that has nothing to do with us is damaged
        return _found_one_by_one(importlib.metadata.distributions())


def _found_one_by_one(distributions: Iterable[Any]) -> dict[str, str]:
    """The same, past damaged ones; of two that serve a package, the first on the path."""
    found: dict[str, str] = {}
    for distribution in distributions:
        try:
            ours = [each for each in distribution.entry_points if each.group == ENTRY_POINTS]
        except Exception as error:
            name = getattr(
                distribution, "_path", distribution
            )  # the name may be what can't be read
            _checks.warn(
                f"relu_xp: the entry points of {name} cannot be read, {error!r}; reinstall or remove it"
            )
        else:
            found = {each.name: each.value for each in ours} | found
    return found


def _find(function: Function, name: str, x: object) -> Any:
    for package, found in _candidates(type(x)):
        load(package, found)
        backend = (
            _loaded[found] if isinstance(found, str) else found
        )  # torch.compile takes no module from `load`
        if backend.owns(x):
            return backend
    raise _checks.not_an_array(function, name, x)


def _candidates(cls: type) -> list[tuple[str, Any]]:
    """List the packages that the class goes by, each with a backend to be asked, in turn, whether it owns the array."""
    found: list[tuple[str, Any]] = []
    for package in dict.fromkeys(_checks.module_of(base).partition(".")[0] for base in cls.__mro__):
        if package in sys.modules:
            if package in _registered:
                found.append((package, _registered[package]))
            if package in _MODULES:
                found.append((package, f"relu_xp._backends.{_MODULES[package]}"))
            elif package in _installed():
                found.append((package, _installed()[package]))
    if not issubclass(cls, type):  # a class of arrays is not an array
        found.append(("array_api_compat", "relu_xp._backends.array_api"))
    return found


def load(package: str, backend: Any) -> Any:
    """Import a backend from elsewhere, unless it is there already."""
    if isinstance(backend, str):
        name = backend
        try:
            backend = _loaded[name] = importlib.import_module(name)
        except Exception as error:
            error.add_note(f"relu_xp: {name} is the backend of {package}")
            raise
        _check_interface(f"relu_xp: {name}, the backend of {package},", backend)
    return backend


# torch.compile takes the result of these as it stands, and does not trace them: they import
# modules, or compute with fractions. Torch's public name for it,
# torch.compiler.assume_constant_result, would import all of torch.
for _each in (_candidates, load, _checks.module_of, _dtypes.rounded, _dtypes.kind):
    vars(_each)["_dynamo_marked_constant"] = True
