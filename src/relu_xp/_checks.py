"""What a call's arguments must be, and the words of every error: each starts with the function and says what to do."""

import math
import numbers
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relu_xp import _dtypes
from relu_xp._functions import Function, Scalar

Array = Any


@dataclass(frozen=True)
class Library:
    """How a library tells what its arrays are: all that the check of a call needs to know of it."""

    array: str  # what one is called: "a cupy.ndarray"
    is_array: Callable[[object], bool]
    dtype: Callable[[Array], Any] = lambda a: (
        a.dtype
    )  # not attrgetter, which torch.compile cannot trace
    shape: Callable[[Array], Any] = lambda a: a.shape
    device: Callable[[Array], Any] = lambda _: None
    kind: Callable[[Any], str] = _dtypes.kind
    is_writeable: Callable[[Array], bool] | None = (
        None  # None where no array of the library can be written
    )
    cast: str = "cast it first, for example x.astype('float32')"
    make: str = (
        ""  # what makes an array of a list by name, in the dtype of x; none where it is not known
    )


def call(
    library: Library,
    function: Function,
    arrays: tuple[Array, ...],
    scalars: tuple[Any, ...],
    out: Array,
) -> tuple[Any, ...]:
    """Check every argument of a call; return the scalars, rounded to the dtype of x, but for arrays among them."""
    x, *others = arrays
    x_dtype, shape = library.dtype(x), library.shape(x)
    dtype(function, x_dtype, library.kind(x_dtype), library.cast)
    for a in others:
        alike(function, x_dtype, shape, library.dtype(a), library.shape(a))
        same_device(function, "cotangent", library.device(x), library.device(a))
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = tuple([scalar(library, function, each, value, x) for each, value in pairs])
    if out is not None:
        _out(library, function, x_dtype, x, out)
    return rounded


def not_an_array(function: Function, name: str, x: object) -> TypeError:
    """For a list, str, None, bool, or any type that no backend owns."""
    try:
        advice = _conversion(function, name, x)
    except Exception:  # whatever its attributes raise
        advice = "pass an array or a number in its place"
    msg = f"relu_xp.{function}: {name} must be an array or a real number, got {type_name(x)}; {advice}"
    return TypeError(msg)


def _conversion(function: Function, name: str, x: Any) -> str:
    """Say what makes an array or a number of it: its own library's backend knows best."""
    package = module_of(type(x)).partition(".")[0]
    # What is not imported cannot have been asked whether x is its own, and has nothing to say.
    backend = sys.modules.get(f"relu_xp._backends.{package}")
    found: str | None = getattr(backend, "advice", lambda *_: None)(function, name, x)
    if found:
        return found
    if hasattr(type(x), "__jax_array__"):
        return f"convert it first, for example jax.numpy.asarray({name})"
    if package in ("zarr", "h5py") and hasattr(x, "dtype"):
        lazily = "from_zarr" if package == "zarr" else "from_array"
        lines = f"{name}[...], or go through Dask, for example dask.array.{lazily}({name})"
        return f"read it first, for example {lines}"
    if hasattr(type(x), "toarray"):  # of cupyx.scipy.sparse
        return f"convert it first, for example {name}.toarray()"
    return _numpy_conversion(function, name, x)


def _numpy_conversion(function: Function, name: str, x: Any) -> str:
    """Try what NumPy makes of it, where the type alone does not tell."""
    if isinstance(x, numbers.Number):
        return (
            _OTHER_CASTS["complex"]
            if isinstance(x, complex)
            else f"convert it first, for example float({name})"
        )
    import numpy as np  # late: for what is refused alone

    for dtype in (None, "float64"):
        try:
            kind = _dtypes.kind(np.asarray(x, dtype).dtype)
        except Exception:  # whatever its class or its elements raise
            continue
        if x is not None and (kind == "f" or (kind and function.takes_integers)):
            return f"convert it first, for example numpy.asarray({name}{', ' + repr(dtype) if dtype else ''})"
    return "pass an array or a number in its place"


def not_computed(function: Function, x: object, error: Exception) -> TypeError:
    """For what says that it is an array, and then does not compute as one."""
    return TypeError(
        f"relu_xp.{function}: {type_name(x)} does not compute as the array API standard says, "
        f"{type(error).__name__}: {error}; pass the array that it holds"
    )


def same_library(
    function: Function, x: object, other: object, name: str = "cotangent"
) -> TypeError:
    """For a cotangent or a slope that another library owns."""
    return TypeError(
        f"relu_xp.{function}: x and {name} must come from one library, got {type_name(x)} and "
        f"{type_name(other)}; convert one of them first"
    )


_OTHER_CASTS = {  # by what stands in the dtype's name
    "|V": "view it as numbers, for example x.view('float32')",
    "[('": "take one of its fields, for example x[x.dtype.names[0]]",
    "complex": "take x.real, or x.imag",
    "Y]": "take seconds for its unit first, for example x.astype(x.dtype.kind + '8[s]')",
    "M]": "take seconds for its unit first, for example x.astype(x.dtype.kind + '8[s]')",
    "datetime64": "take the number of what passed since, for example (x - x.min()) / numpy.timedelta64(1, 's')",
    "timedelta64": "take its number, for example x / numpy.timedelta64(1, 's')",
    "torch.q": "take its numbers, for example x.dequantize()",
    "key<": "it is a key, with which jax.random.normal draws numbers",
}
NO_NUMBERS = "some of it is no number; pass numbers in its place"


def dtype(function: Function, given: object, kind: str, cast: str) -> None:
    """Let pass the real floating dtypes (kind "f") and, where the function takes them, the integers ("i", "u")."""
    if kind == "f" or (kind and function.takes_integers):
        return
    if cast.startswith("cast"):  # as most can be
        cast = next((other for word, other in _OTHER_CASTS.items() if word in str(given)), cast)
    takes = (
        "real floating and integer dtypes" if function.takes_integers else "real floating dtypes"
    )
    msg = f"relu_xp.{function}: takes {takes}, got {given}; {cast}"
    raise TypeError(msg)


def alike(
    function: Function, x_dtype: object, x_shape: object, dtype: object, shape: object
) -> None:
    """A cotangent has the dtype and the shape of x: nothing is promoted, nothing broadcast."""
    if dtype != x_dtype:
        msg = f"relu_xp.{function}: x and cotangent must have one dtype, got {x_dtype} and {dtype}; cast one of them"
        raise TypeError(msg)
    if shape != x_shape:
        msg = (
            f"relu_xp.{function}: x and cotangent must have one shape, got {x_shape} and {shape}; "
            "broadcast one of them first"
        )
        raise ValueError(msg)


def same_labels(function: Function, what: str, x_labels: Any, labels: Any) -> None:
    """A cotangent has the labels of x, in the same order: nothing is aligned behind the caller's back."""
    equal = x_labels.equals(labels) if hasattr(x_labels, "equals") else x_labels == labels
    if not equal:
        msg = f"relu_xp.{function}: x and cotangent must have the same {what}; align one of them first"
        raise ValueError(msg)


def same_device(function: Function, name: str, x_device: object, device: object) -> None:
    """Nothing is copied between devices behind the caller's back."""
    if device != x_device:
        msg = f"relu_xp.{function}: x and {name} must be on one device, got {x_device} and {device}; move one of them"
        raise ValueError(msg)


def scalar(library: Library, function: Function, parameter: Scalar, value: Any, x: Array) -> Any:
    """Round a number once to the dtype of x; let pass an array that may stand in its place."""
    if parameter.may_be_array and type(value) is not float:
        if library.is_array(value):
            return _array_scalar(library, function, parameter.name, value, x)
        if attribute(value, "shape") and attribute(value, "dtype") is not None:
            raise _no_number(function, parameter.name, value, _or_an_array(library, parameter.name))
        if isinstance(value, list | tuple) and library.make:
            raise _no_number(function, parameter.name, value, _or_an_array(library, parameter.name))
    return number(function, parameter, value, library.dtype(x))


def _or_an_array(library: Library, name: str) -> str:
    made = f", for example {library.make.format(name)}" if library.make else ""
    return f", or an array of x's own library, {library.array}{made}"


def _array_scalar(library: Library, function: Function, name: str, value: Array, x: Array) -> Array:
    """An array's values are not looked at: that would wait for a device, and read all of it once more."""
    dtype = library.dtype(value)
    if library.kind(dtype) != "f":
        msg = f"relu_xp.{function}: {name} must be real floating, got {dtype}; cast it first"
        raise TypeError(msg)
    broadcasts(function, name, tuple(library.shape(value)), tuple(library.shape(x)))
    same_device(function, name, library.device(x), library.device(value))
    return value


def broadcasts(
    function: Function, name: str, shape: tuple[Any, ...], x_shape: tuple[Any, ...]
) -> None:
    """An array in the place of a scalar broadcasts to x, and does not enlarge it."""
    aligned = x_shape[len(x_shape) - len(shape) :]
    if len(shape) > len(x_shape) or any(
        n not in (1, of_x) for n, of_x in zip(shape, aligned, strict=True)
    ):
        msg = (
            f"relu_xp.{function}: {name} must broadcast to the shape of x, {x_shape}, got {shape}; "
            "reshape it, for example to (channels, 1, 1)"
        )
        raise ValueError(msg)


def number(function: Function, parameter: Scalar, value: Any, dtype: Any) -> Any:
    """Round a finite real number once to a dtype; for integers, which need none, only check it."""
    name = parameter.name
    value = real(function, name, value)
    if _dtypes.kind(dtype) != "f":
        return value
    result = _dtypes.rounded(value, dtype)
    if result is None:
        exact = _dtypes.exact(value)
        long = exact.numerator.bit_length() + exact.denominator.bit_length() > 256
        shown = (
            f"about 2**{_dtypes.exponent(exact)}"
            if long and isinstance(value, numbers.Rational)
            else value
        )
        msg = f"relu_xp.{function}: {name} must be finite in {dtype}, got {shown}"
        raise ValueError(msg)
    if parameter.above_zero and not result > 0:
        msg = f"relu_xp.{function}: {name} must be above 0 in {dtype}, got {value}"
        raise ValueError(msg)
    return result


def real(function: Function, name: str, value: Any) -> Any:
    """Let pass a finite real number, of whatever type."""
    if (
        type(value) is float and -math.inf < value < math.inf
    ):  # as most are: a call should not wait for the rest
        return value
    if module_of(type(value)) == "ml_dtypes":  # whose scalars are registered as no kind of number
        value = float(value)
    # Of NumPy's scalars, a span of time counts as an integer.
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or "timedelta64" in _dtype_of(value)
    ):
        raise _no_number(function, name, value)
    if not isinstance(value, numbers.Rational) and not hasattr(value, "as_integer_ratio"):
        value = float(value)  # of such a number no other value can be had exactly
    if not -math.inf < value < math.inf:
        msg = f"relu_xp.{function}: {name} must be finite, got {value}"
        raise ValueError(msg)
    return value


def no_array_scalars(
    function: Function,
    x: object,
    scalars: tuple[Any, ...],
    slope_like: Callable[[Any, str], str | None] | None,
) -> None:
    """Refuse an array of slopes where x is computed in parts, with which it can't be cut; x takes its own kind's."""
    for each, value in zip(function.parameters, scalars, strict=True):
        if each.may_be_array and (isinstance(value, list | tuple) or attribute(value, "shape")):
            like = slope_like and slope_like(x, each.name)
            reason = f", or {like}" if like else f", since {type_name(x)} is computed in parts"
            raise _no_number(function, each.name, value, reason)


def inside(function: Function, where: str, error: Exception, part: str = "") -> Exception:
    """The same error, which also says in which column or variable; and takes that part of x in its advice."""
    if type(error) not in (TypeError, ValueError):
        return error
    name = f"relu_xp.{function}: "
    said, semicolon, advice = str(error).replace(name, f"{name}{where}: ", 1).partition("; ")
    return type(error)(
        said + semicolon + (re.sub(r"(?<!')\bx\b(?!')", lambda _: part, advice) if part else advice)
    )


def has_unit(function: Function, name: str, unit: str, numbers: str) -> TypeError:
    """For what is compared with a number, or is one itself."""
    return TypeError(
        f"relu_xp.{function}: {name} must have no unit, got {unit}; convert it, or pass {numbers}"
    )


def no_out(function: Function, out: object, library: str) -> None:
    """Refuse `out` where results can't be written into what the caller holds."""
    if out is not None:
        msg = f"relu_xp.{function}: {library} cannot be written to; leave out=None and use the returned value"
        raise TypeError(msg)


def out_type(function: Function, out: object, expected: str) -> TypeError:
    """For an `out` of the wrong library."""
    return TypeError(f"relu_xp.{function}: out must be {expected}, got {type_name(out)}")


def type_name(x: object) -> str:
    """The type's name as its users write it: `list`, `torch.Tensor`."""
    cls = type(x)
    module = module_of(cls)
    name = attribute(cls, "__qualname__") or "object"  # a metaclass may raise too
    return name if module in ("", "builtins") else f"{module}.{name}"


def attribute(x: object, name: str) -> Any:
    """An attribute, or None: a class may raise anything at all when it is asked."""
    try:
        return getattr(x, name, None)
    except Exception:
        return None


def module_of(cls: type) -> str:
    """Name the module that a class says it is of; a class made by `exec` or in C may say nothing, or no string."""
    found: object = attribute(cls, "__module__")
    return found if isinstance(found, str) else ""


def _dtype_of(value: object) -> str:
    return str(attribute(value, "dtype"))


def _no_number(function: Function, name: str, value: Any, alternative: str = "") -> TypeError:
    if "timedelta64" in _dtype_of(value):
        alternative = f", for example {name} / numpy.timedelta64(1, 's')"
    elif isinstance(value, numbers.Number) and not isinstance(value, complex):
        alternative = f", for example float({name})"
    if (
        module_of(type(value)).partition(".")[0] == "keras"
        and attribute(value, "value") is not None
    ):
        alternative = f", or what the variable holds, for example {name}.value"
    elif (
        attribute(value, "aval") is not None
    ):  # of JAX, whose slope is learned where the array is not
        alternative = ", or make x a JAX array too"
    return TypeError(
        f"relu_xp.{function}: {name} must be a real number, got {type_name(value)}; pass a Python float{alternative}"
    )


def _out(library: Library, function: Function, dtype: Any, x: Array, out: Array) -> None:
    """An `out` is of the library, dtype, shape and device of the result, and can be written."""
    if library.is_writeable is None:
        no_out(function, out, library.array)
        return
    if not library.is_array(out):
        raise out_type(function, out, library.array)
    if out.dtype != dtype:
        msg = f"relu_xp.{function}: out must have the result's dtype {dtype}, got {out.dtype}"
        raise TypeError(msg)
    if library.shape(out) != library.shape(x):
        msg = f"relu_xp.{function}: out must have the result's shape {library.shape(x)}, got {library.shape(out)}"
        raise ValueError(msg)
    device, out_device = library.device(x), library.device(out)
    if device != out_device:
        msg = f"relu_xp.{function}: out must be on the device of x, {device}, got {out_device}"
        raise ValueError(msg)
    if not library.is_writeable(out):
        msg = f"relu_xp.{function}: out is read-only; pass a writeable array or leave out=None"
        raise ValueError(msg)


def warn(message: str) -> None:
    """Warn at the line, outside of relu_xp, that called it."""
    level = depth = 1
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("relu_xp."):
            level = depth + 1
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)
