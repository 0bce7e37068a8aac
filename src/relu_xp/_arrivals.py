"""Imports a module of ours as soon as another package is imported, but never that package."""

import contextlib
import importlib
import sys
from typing import Any


class _Finder:
    """Finds a package by the other finders, and makes its loader import our module at the end."""

    def __init__(self, package: str, module: str) -> None:
        self.package, self.module = package, module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the package; None for any other, which is left to the other finders."""
        if name != self.package:
            return None
        others = [each for each in sys.meta_path if each is not self and hasattr(each, "find_spec")]
        spec = next(
            (found for each in others if (found := each.find_spec(name, path, target))), None
        )
        # Loaders of namespace packages and of extensions may refuse the attribute.
        with contextlib.suppress(AttributeError, TypeError):
            _then(spec.loader, self)  # type: ignore[union-attr]
        return spec


def _then(loader: Any, finder: _Finder) -> None:
    """Make one loader import our module, once, after it has run the package."""

    def exec_module(module: Any) -> None:
        del loader.exec_module  # this function; the class has the loader's own
        loader.exec_module(module)
        with contextlib.suppress(ValueError):  # another thread has imported it too
            sys.meta_path.remove(finder)
        _import(finder.module)

    loader.exec_module = exec_module


def when_imported(package: str, module: str) -> None:
    """Import the module now if the package is there, else as soon as it is."""
    if package in sys.modules:
        _import(module)
    else:
        sys.meta_path.insert(0, _Finder(package, module))


def _import(module: str) -> None:
    with contextlib.suppress(Exception):  # the package is damaged, or another one of that name
        importlib.import_module(module)
