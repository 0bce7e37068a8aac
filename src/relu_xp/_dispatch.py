"""Finds the backend that owns an array, once for each type, and hands the call over.

Backends load late and by name. Each class in a type's MRO says where it comes from (`__module__`).
Only the backend of that package is asked, and only if the package is imported already: otherwise it
cannot have made the array. The backend confirms with `isinstance`, because names can lie
(`numpy.dtype` is no array).
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from relu_xp import _checks, _dtypes, _plans
from relu_xp._functions import Function
from relu_xp._registry import REGISTRY

Run = Callable[[Function, tuple[Any, ...], tuple[Any, ...], Any], Any]

# From the top-level package of a class to the module of the backend that may own its instances. The
# libraries of the array API standard are left out: their backend is asked last, about any type.
_MODULES = {
    package: row.served_by
    for row in REGISTRY
    if not row.module
    for package in (row.name, *row.packages)
}
# The group of entry points in which an installed plug-in names its package and its module.
ENTRY_POINTS = "relu_xp.backends"
_INTERFACE = ("owns", "devices", "put", "get")

_registered: dict[str, Any] = {}
_loaded: dict[str, Any] = {}  # modules of backends, by name
# A limit, because some libraries make classes again and again, as each registry of units does: they
# must not be kept for ever.
MOST_TYPES = 64
# For each type its backend, and the function that runs a call there. If two threads meet a new type
# at once, both store the same.
_OWNERS: dict[type, tuple[Any, Run]] = {}


def call(function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
    """Hand a call over to the backend that owns x and the cotangent."""
    x = arrays[0]
    try:
        _, run = _OWNERS[type(x)]
    except KeyError:
        _, run = _remember(function, "x", x)
    if len(arrays) > 1 and type(arrays[1]) is not type(x):
        _check_owner(function, x, arrays[1])
    return run(function, arrays, scalars, out)


vars(call)["autograph_info__"] = {}  # TensorFlow's AutoGraph leaves such a function as it is


def _check_owner(function: Function, x: object, cotangent: object) -> None:
    if owner(function, "cotangent", cotangent) is not owner(function, "x", x):
        raise _checks.same_library(function, x, cotangent)


def owner(function: Function, name: str, x: object) -> Any:
    """Return the backend that owns x; TypeError, in the name of `function`, if there is none."""
    backend, _ = _OWNERS.get(type(x)) or _remember(function, name, x)
    return backend


def _remember(function: Function, name: str, x: object) -> tuple[Any, Run]:
    """Find the owner of a new type.

    The caller uses what is returned: another thread may empty the table at once.
    """
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

    def run(function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any) -> Any:
        slope = _array_slope(function, backend, scalars)
        if slope is None:
            inside = functools.partial(_inside, function, scalars)
        else:
            pairs = zip(function.parameters, scalars, strict=True)
            numbers = tuple([value for each, value in pairs if not each.may_be_array])
            refusal = str(_checks.one_slope(function, arrays[0], slope))
            inside = functools.partial(_inside_with_slope, function, numbers, refusal)
        return backend.delegate(function, inside, arrays, slope, out)

    return run


def _array_slope(function: Function, backend: Any, scalars: tuple[Any, ...]) -> Any:
    """Return the scalar that is an array or a list, where one is allowed; else None."""
    for each, value in zip(function.parameters, scalars, strict=True):
        if each.may_be_array and type(value) is not float:
            is_array = backend.owns(value) or _checks.attribute(value, "shape")
            return value if is_array or isinstance(value, list | tuple) else None
    return None


def _inside(function: Function, scalars: tuple[Any, ...], *arrays: Any, slope: None = None) -> Any:
    """Call the function on what the arrays of a delegating backend hold."""
    return call(function, arrays, scalars, None)


def _inside_with_slope(
    function: Function,
    numbers: tuple[Any, ...],
    refusal: str,
    *arrays: Any,
    slope: Any = None,
) -> Any:
    """Call it with a part of an array slope; the other scalars are numbers.

    The whole slope is not an argument: a lazy backend may store this function in each of its tasks.
    """
    if slope is None:
        raise TypeError(refusal)
    rest = iter(numbers)
    scalars = tuple([slope if each.may_be_array else next(rest) for each in function.parameters])
    return call(function, arrays, scalars, None)


def register_backend(package: str, backend: Any) -> None:
    """Use your own backend for the arrays of a package.

    If several backends serve one package, a registered one comes first, then relu_xp's own, then an
    installed plug-in. If an array's class has bases from several packages, the most derived class
    decides. An installed plug-in needs no call: it names its backend in the entry-point group
    ``relu_xp.backends``.

    Parameters
    ----------
    package : str
        The top-level package that the arrays' class is defined in, such as ``"awkward"``.
    backend : str, module or object
        The backend, or the full name of a module. The module is imported when the first array of
        that package is passed. A backend has ``owns(x)``, and either
        ``call(function, arrays, scalars, out)`` or, if its arrays contain other arrays,
        ``delegate(function, inside, arrays, slope, out)``. It also has ``devices()``,
        ``put(array, device)`` and ``get(x)``, which `relu_xp.verify` uses. The protocols in
        ``relu_xp.backends`` say more.

    Raises
    ------
    TypeError
        If package is not a string, or backend is neither a string nor an object with all of these.
    ValueError
        If package is not the name of a top-level package.

    See Also
    --------
    unregister_backend : Undo it.
    relu_xp.verify.assert_conforms : Check a backend against the definition.

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
    """Undo `register_backend`: the arrays of the package get the backend that they had before.

    Parameters
    ----------
    package : str
        The package whose backend was registered.

    Raises
    ------
    TypeError
        If package is not a string.
    ValueError
        If no backend is registered for the package.
    """
    _check_package("unregister_backend", package)
    if package not in _registered:
        msg = (
            f"relu_xp.unregister_backend: no backend is registered for {package}; "
            f"there are {[*_registered]}"
        )
        raise ValueError(msg)
    del _registered[package]
    _forget()


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
    if not callable(getattr(backend, "call", None)) and not _has_delegate(backend):
        lacks.append(
            "call(function, arrays, scalars, out), "
            "or delegate(function, inside, arrays, slope, out)"
        )
    if lacks:
        msg = (
            f"{name} must have {', '.join(_INTERFACE)}, and call or delegate; "
            f"it lacks {', '.join(lacks)}"
        )
        raise TypeError(msg)


def _has_delegate(backend: Any) -> bool:
    """Whether it can be called with the five arguments; older plug-ins have no `slope`."""
    delegate = getattr(backend, "delegate", None)
    if not callable(delegate):
        return False
    try:
        inspect.signature(delegate).bind(*range(5))
    except TypeError:
        return False
    except ValueError:  # a function written in C may have no signature
        pass
    return True


def plugins() -> dict[str, Any]:
    """Return all backends from elsewhere by the package they serve; registered ones come first."""
    return {**_installed(), **_registered}


@functools.cache
def _installed() -> dict[str, str]:
    import importlib.metadata  # late: reading all metadata takes longer than to import relu_xp

    try:
        return {
            each.name: each.value for each in importlib.metadata.entry_points(group=ENTRY_POINTS)
        }
    except Exception:  # a distribution that has nothing to do with us may be damaged in any way
        return _found_one_by_one(importlib.metadata.distributions())


def _found_one_by_one(distributions: Iterable[Any]) -> dict[str, str]:
    """Read the entry points, but skip what is damaged; the first one on the path wins."""
    found: dict[str, str] = {}
    for distribution in distributions:
        try:
            ours = [each for each in distribution.entry_points if each.group == ENTRY_POINTS]
        except Exception as error:
            # The path names it, since its name may be the very thing that can't be read.
            name = getattr(distribution, "_path", distribution)
            _checks.warn(
                f"relu_xp: the entry points of {name} cannot be read, {error!r}; "
                "reinstall or remove it"
            )
        else:
            found = {each.name: each.value for each in ours} | found
    return found


def _find(function: Function, name: str, x: object) -> Any:
    for package, found in _candidates(type(x)):
        load(package, found)
        # Read the module from the dict: torch.compile cannot trace a function that returns one.
        backend = _loaded[found] if isinstance(found, str) else found
        if backend.owns(x):
            return backend
    raise _checks.not_an_array(function, name, x, _advisers(type(x)))


def _advisers(cls: type) -> Iterator[Any]:
    """Give the `advice` of each backend that has some and was asked whether it owns x."""
    for package, found in _candidates(cls):
        advice = getattr(load(package, found), "advice", None)
        if advice is not None:
            yield advice


def _candidates(cls: type) -> list[tuple[str, Any]]:
    """List the backends that may own an instance of the class, each with its package, in order."""
    found: list[tuple[str, Any]] = []
    for package in dict.fromkeys(_checks.module_of(base).partition(".")[0] for base in cls.__mro__):
        if package in sys.modules:
            if package in _registered:
                found.append((package, _registered[package]))
            if package in _MODULES:
                found.append((package, _MODULES[package]))
            elif package in _installed():
                found.append((package, _installed()[package]))
    if not issubclass(cls, type):  # a class of arrays is not an array
        found.append(("array_api_compat", "relu_xp._backends.array_api"))
    return found


def load(package: str, backend: Any) -> Any:
    """Return a backend; import it if it is the name of a module."""
    if isinstance(backend, str):
        name = backend
        try:
            backend = _loaded[name] = importlib.import_module(name)
        except Exception as error:
            error.add_note(f"relu_xp: {name} is the backend of {package}")
            raise
        _check_interface(f"relu_xp: {name}, the backend of {package},", backend)
    return backend


# torch.compile does not trace these functions, but takes their results as constants: they import
# modules, or compute with fractions. The public torch.compiler.assume_constant_result sets the same
# mark, but would import all of torch.
for _each in (_candidates, load, _checks.module_of, _dtypes.rounded, _dtypes.kind):
    vars(_each)["_dynamo_marked_constant"] = True
