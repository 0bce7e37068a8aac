"""Which backend owns an array: found once per type, from the names its classes go by, then confirmed by the backend.

Backends load late and by name. A class says where it comes from (`__module__` of each class in its MRO); only that
framework's backend is asked, and only if the framework is imported already, since otherwise it cannot have made the
caller's array. Because names can lie (`numpy.dtype` is no array), the backend confirms with `isinstance`.
"""

import importlib
import sys
from typing import Any

from relu_xp import _checks

# The registry: top-level package of a class -> the module in `_backends` that may own its instances. First match
# wins, so numpy stands before builtins: numpy.float64 is a Python float too.
_REGISTRY = (
    ("numpy", "numpy"),
    ("cupy", "cupy"),
    ("jax", "jax"),
    ("jaxlib", "jax"),
    ("builtins", "python"),
)

# Filled once per type. Two threads may both find the owner of a new type; both store the same module.
_OWNERS: dict[type, Any] = {}


def owner(function: str, x: object, name: str = "x") -> Any:
    """Return the backend module that owns x; TypeError, in the name of `function`, if there is none."""
    backend = _OWNERS.get(type(x))
    if backend is None:
        backend = _OWNERS[type(x)] = _find(function, x, name)
    return backend


def _find(function: str, x: object, name: str) -> Any:
    packages = {str(cls.__module__).partition(".")[0] for cls in type(x).__mro__}
    for package, module in _REGISTRY:
        if package in packages and package in sys.modules:
            backend = importlib.import_module(f"relu_xp._backends.{module}")
            if backend.owns(x):
                return backend
    if not isinstance(x, type):  # a class of arrays is not an array
        backend = importlib.import_module("relu_xp._backends.array_api")
        if backend.owns(x):
            return backend
    raise _checks.not_an_array(function, name, x)
