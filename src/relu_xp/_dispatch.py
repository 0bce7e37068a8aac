"""Which backend owns an array: found once per type, from the names its classes go by, then confirmed by the backend.

Backends load late and by name. A class says where it comes from (`__module__` of each class in its MRO); only that
package's backend is asked, and only if the package is imported already, since otherwise it cannot have made the
caller's array. Because names can lie (`numpy.dtype` is no array), the backend confirms with `isinstance`.
"""

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from relu_xp import _checks

# The registry: packages whose arrays the module of the same name in `_backends` may own, in the order of every list.
BACKENDS = ("numpy", "jax", "cupy", "torch", "dask", "xarray", "pandas", "pint")
# From the top-level package of a class to that module.
_MODULES = {**{name: name for name in BACKENDS}, "jaxlib": "jax", "builtins": "python"}
ENTRY_POINTS = "relu_xp.backends"  # the group in which an installed plug-in names its package and its module
_INTERFACE = (
    *("relu", "relu_grad", "relu_vjp", "leaky_relu", "leaky_relu_grad", "leaky_relu_vjp"),
    *("owns", "devices", "put", "get"),
)

_registered: dict[str, str | ModuleType] = {}
MOST_TYPES = 64  # so that classes made again and again, as each registry of units makes its own, are not kept for ever
# Filled once per type. Two threads may both find the owner of a new type; both store the same module.
_OWNERS: dict[type, Any] = {}


def owner(function: str, x: object, name: str = "x") -> Any:
    """Return the backend module that owns x; TypeError, in the name of `function`, if there is none."""
    backend = _OWNERS.get(type(x))
    if backend is None:
        backend = _find(function, x, name)
        if len(_OWNERS) > MOST_TYPES:
            _OWNERS.clear()
        _OWNERS[type(x)] = backend
    return backend


def register_backend(package: str, backend: str | ModuleType) -> None:
    """Let a module of yours own the arrays of a package.

    Where several could own an array, the package of its most derived class decides; for one package a registered
    backend comes before relu_xp's own, and that before an installed plug-in's. An installed plug-in needs no call: it
    names its module in the entry-point group ``relu_xp.backends``.

    Parameters
    ----------
    package : str
        The top-level package that the arrays' class is defined in, such as ``"awkward"``.
    backend : str or module
        The module, or its full name: then it is imported when the first array of that package arrives. It has the
        six functions, each with all arguments by position (``relu(x, z, out)``, ``leaky_relu_vjp(x, g, s, z, out)``),
        ``owns(x)`` to confirm, and ``devices()``, ``put(array, device)`` and ``get(x)`` for `relu_xp.verify`.

    Raises
    ------
    TypeError
        If package is no string, or backend neither a string nor a module with all of these.
    ValueError
        If package is not the name of a top-level package.

    See Also
    --------
    relu_xp.verify.assert_conforms : Whether a backend computes the definition, in one line.

    Examples
    --------
    >>> import relu_xp
    >>> relu_xp.register_backend("awkward", "my_library.rectifiers_for_awkward")
    """
    if not isinstance(package, str):
        msg = f"relu_xp.register_backend: package must be a string, got {_checks.type_name(package)}"
        raise TypeError(msg)
    if not package.isidentifier():
        msg = f"relu_xp.register_backend: package must be the name of a top-level package, got {package!r}"
        raise ValueError(msg)
    if not isinstance(backend, str):
        missing = [name for name in _INTERFACE if not callable(getattr(backend, name, None))]
        if missing:
            msg = f"relu_xp.register_backend: backend must have {', '.join(_INTERFACE)}; it lacks {', '.join(missing)}"
            raise TypeError(msg)
    _registered[package] = backend
    _OWNERS.clear()


def plugins() -> dict[str, str | ModuleType]:
    """All backends from elsewhere, by the package they serve: installed ones, and over them those registered."""
    return {**_installed(), **_registered}


@functools.cache
def _installed() -> dict[str, str]:
    import importlib.metadata  # late: reading every distribution's metadata takes longer than to import relu_xp

    return {each.name: each.value for each in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _find(function: str, x: object, name: str) -> Any:
    for package, found in _candidates(type(x)):
        load(package, found)
        backend = sys.modules[found] if isinstance(found, str) else found  # torch.compile takes no module from `load`
        if backend.owns(x):
            return backend
    raise _checks.not_an_array(function, name, x)


def _candidates(cls: type) -> list[tuple[str, str | ModuleType]]:
    """List the packages that the class goes by, each with a backend to be asked, in turn, whether it owns the array."""
    found: list[tuple[str, str | ModuleType]] = []
    for package in dict.fromkeys(str(base.__module__).partition(".")[0] for base in cls.__mro__):
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


def load(package: str, backend: str | ModuleType) -> Any:
    """Import a backend from elsewhere, unless it is there already."""
    if not isinstance(backend, str):
        return backend
    try:
        return importlib.import_module(backend)
    except ImportError as error:
        error.add_note(f"relu_xp: {backend} is the backend of {package}")
        raise


# torch.compile can trace neither: it runs them while it traces, and takes what they return as it stands.
_candidates._dynamo_marked_constant = True  # type: ignore[attr-defined]
load._dynamo_marked_constant = True  # type: ignore[attr-defined]
