"""Checks the arguments of a call, and words every error.

Each message starts with the function and says what to do.
"""

import math
import numbers
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relu_xp import _dtypes
from relu_xp._functions import Function, Scalar

Array = Any


@dataclass(frozen=True)
class Library:
    """All that the check of a call needs to know of a library."""

    array: str  # the name of its arrays: "a cupy.ndarray"
    is_array: Callable[[object], bool]
    # No attrgetter: torch.compile cannot trace it.
    dtype: Callable[[Array], Any] = lambda a: a.dtype
    shape: Callable[[Array], Any] = lambda a: a.shape
    device: Callable[[Array], Any] = lambda _: None
    kind: Callable[[Any], str] = _dtypes.kind
    is_writeable: Callable[[Array], bool] | None = None  # None: no array of it can be written
    cast: str = "cast it first, for example x.astype('float32')"
    # Further advice for single dtypes, by a part of their names.
    casts: Mapping[str, str] = field(default_factory=dict)
    # The code that makes an array in the dtype of x from the list named {}; or nothing.
    make: str = ""


def call(
    library: Library,
    function: Function,
    arrays: tuple[Array, ...],
    scalars: tuple[Any, ...],
    out: Array,
) -> tuple[Any, ...]:
    """Check every argument of a call.

    Returns the scalars in their order: numbers rounded to the dtype of x, arrays as they are.
    """
    x, *others = arrays
    x_dtype, shape = library.dtype(x), library.shape(x)
    dtype(function, x_dtype, library.kind(x_dtype), library.cast, library.casts)
    for a in others:
        alike(function, x_dtype, shape, library.dtype(a), library.shape(a))
        same_device(function, "cotangent", library.device(x), library.device(a))
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = tuple([scalar(library, function, each, value, x) for each, value in pairs])
    if out is not None:
        _out(library, function, x_dtype, x, out)
    return rounded


_NO_ADVICE = "pass an array or a number instead"


def not_an_array(
    function: Function,
    name: str,
    x: object,
    advisers: Iterable[Callable[[Function, str, Any], str | None]] = (),
) -> TypeError:
    """Return the error for a list, str, None, bool, or any type that no backend owns.

    The advisers are the `advice` of the backends that were asked whether it is theirs.
    """
    try:
        found = (adviser(function, name, x) for adviser in advisers)
        advice = next((each for each in found if each), _NO_ADVICE)
    except Exception:  # an attribute of x may raise anything
        advice = _NO_ADVICE
    got = f"{name} must be an array or a real number, got {type_name(x)}"
    return TypeError(f"relu_xp.{function}: {got}; {advice}")


def not_computed(function: Function, x: object, error: Exception) -> TypeError:
    """Return the error for a class that claims to be an array, but does not compute as one."""
    return TypeError(
        f"relu_xp.{function}: {type_name(x)} does not compute as the array API standard says, "
        f"{type(error).__name__}: {error}; pass the array that it holds"
    )


def same_library(
    function: Function, x: object, other: object, name: str = "cotangent"
) -> TypeError:
    """Return the error for a cotangent or a slope that another library owns."""
    advice = "convert one of them first"
    if isinstance(other, int | float):
        advice = f"make {name} an array of the shape of x"
    elif isinstance(x, int | float):
        advice = f"make x an array of the shape of {name}"
    return TypeError(
        f"relu_xp.{function}: x and {name} must come from the same library, got {type_name(x)} and "
        f"{type_name(other)}; {advice}"
    )


IMAGINARY = "take x.real, or x.imag"
NO_NUMBERS = "some elements are not numbers; pass numbers instead"
_SECONDS = "convert it to seconds first, for example x.astype(x.dtype.kind + '8[s]')"
# Keys are parts of dtypes' names, as NumPy and the libraries that use its dtypes spell them.
_NUMPY_CASTS = {
    "|V": "view it as numbers, for example x.view('float32')",
    "[('": "pass one of its fields, for example x[x.dtype.names[0]]",
    "complex": IMAGINARY,
    "Y]": _SECONDS,
    "M]": _SECONDS,
    "datetime64": "subtract a first date, for example (x - x.min()) / numpy.timedelta64(1, 's')",
    "timedelta64": "divide it by a unit, for example x / numpy.timedelta64(1, 's')",
}


def dtype(
    function: Function, given: object, kind: str, cast: str, casts: Mapping[str, str] | None = None
) -> None:
    """Refuse a dtype that the function does not take; it takes real floating ones ("f").

    The error says `cast`, the library's own code. If that is a mere cast, and the dtype's name
    contains a key of `casts`, or of those for NumPy's dtypes, the error says what stands there.
    """
    if kind == "f" or (kind and function.takes_integers):
        return
    if cast.startswith("cast"):  # other advice is for this very array, so it is better
        known = {**(casts or {}), **_NUMPY_CASTS}
        cast = next((other for word, other in known.items() if word in str(given)), cast)
    takes = (
        "real floating and integer dtypes" if function.takes_integers else "real floating dtypes"
    )
    msg = f"relu_xp.{function}: takes {takes}, got {given}; {cast}"
    raise TypeError(msg)


def alike(
    function: Function, x_dtype: object, x_shape: object, dtype: object, shape: object
) -> None:
    """Refuse a cotangent that has not the dtype and the shape of x: no promotion, no broadcast."""
    if dtype != x_dtype:
        msg = (
            f"relu_xp.{function}: x and cotangent must have the same dtype, got {x_dtype} and "
            f"{dtype}; cast one of them"
        )
        raise TypeError(msg)
    if shape != x_shape:
        msg = (
            f"relu_xp.{function}: x and cotangent must have the same shape, got {x_shape} and "
            f"{shape}; broadcast one of them first"
        )
        raise ValueError(msg)


def same_labels(function: Function, what: str, x_labels: Any, labels: Any) -> None:
    """Refuse a cotangent without the labels of x in their order: no data is aligned unasked."""
    equal = x_labels.equals(labels) if hasattr(x_labels, "equals") else x_labels == labels
    if not equal:
        msg = (
            f"relu_xp.{function}: x and cotangent must have the same {what}; "
            "align one of them first"
        )
        raise ValueError(msg)


def same_device(function: Function, name: str, x_device: object, device: object) -> None:
    """Refuse arrays on different devices: no data is copied between them unasked."""
    if device != x_device:
        msg = (
            f"relu_xp.{function}: x and {name} must be on the same device, got {x_device} and "
            f"{device}; move one of them"
        )
        raise ValueError(msg)


def scalar(library: Library, function: Function, parameter: Scalar, value: Any, x: Array) -> Any:
    """Round a number once to the dtype of x; let pass an array that may stand in its place."""
    if parameter.may_be_array and type(value) is not float:
        if library.is_array(value):
            return _array_scalar(library, function, parameter.name, value, x)
        is_other_array = attribute(value, "shape") and attribute(value, "dtype") is not None
        if is_other_array or (isinstance(value, list | tuple) and library.make):
            made = f", for example {library.make.format(parameter.name)}" if library.make else ""
            advice = f", or {library.array}{made}"
            raise no_number(function, parameter.name, value, advice)
    return number(function, parameter, value, library.dtype(x))


def _array_scalar(library: Library, function: Function, name: str, value: Array, x: Array) -> Array:
    """Check all but its values: to read them would wait for a device, and cost a pass more."""
    dtype = library.dtype(value)
    if library.kind(dtype) != "f":
        msg = (
            f"relu_xp.{function}: {name} must have a real floating dtype, got {dtype}; "
            "cast it first"
        )
        raise TypeError(msg)
    broadcasts(function, name, tuple(library.shape(value)), tuple(library.shape(x)))
    same_device(function, name, library.device(x), library.device(value))
    return value


def fits(shape: tuple[Any, ...], x_shape: tuple[Any, ...]) -> bool:
    """Whether a shape broadcasts to that of x, and does not enlarge it."""
    if len(shape) > len(x_shape):
        return False
    aligned = x_shape[len(x_shape) - len(shape) :]
    return all(n in (1, of_x) for n, of_x in zip(shape, aligned, strict=True))


def broadcasts(
    function: Function, name: str, shape: tuple[Any, ...], x_shape: tuple[Any, ...]
) -> None:
    """Refuse an array in the place of a scalar whose shape does not fit x."""
    if not fits(shape, x_shape):
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
    # The common case first: no call should wait for the other checks.
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if module_of(type(value)) == "ml_dtypes":  # its scalars are not registered as numbers
        value = float(value)
    # NumPy registers a span of time as an integer.
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or "timedelta64" in _dtype_of(value)
    ):
        raise no_number(function, name, value)
    if not isinstance(value, numbers.Rational) and not hasattr(value, "as_integer_ratio"):
        value = float(value)  # no exact value is available
    if not -math.inf < value < math.inf:
        msg = f"relu_xp.{function}: {name} must be finite, got {value}"
        raise ValueError(msg)
    return value


def one_slope(function: Function, x: object, slope: object, elsewhere: str = "") -> TypeError:
    """Return the error for an array of slopes where x takes only a number.

    `elsewhere` is the code for the elements of x as an array that takes more.
    """
    name = next(each.name for each in function.parameters if each.may_be_array)
    advice = f", or call it on {elsewhere}, which takes an array of slopes" if elsewhere else ""
    return no_number(function, name, slope, advice or f", since {type_name(x)} takes no array")


def in_part(function: Function, where: str, error: Exception, part: str = "") -> Exception:
    """Return the same error with the column or variable in it; `part` replaces x in its advice."""
    if type(error) not in (TypeError, ValueError):
        return error
    name = f"relu_xp.{function}: "
    said, semicolon, advice = str(error).replace(name, f"{name}{where}: ", 1).partition("; ")
    return type(error)(
        said + semicolon + (re.sub(r"(?<!')\bx\b(?!')", lambda _: part, advice) if part else advice)
    )


def has_unit(function: Function, name: str, unit: str, numbers: str) -> TypeError:
    """Return the error for an array with a unit that meets a number, or stands for one."""
    return TypeError(
        f"relu_xp.{function}: {name} must have no unit, got {unit}; convert it, or pass {numbers}"
    )


def no_out(function: Function, out: object, library: str) -> None:
    """Refuse `out` where results can't be written into what the caller holds."""
    if out is not None:
        msg = (
            f"relu_xp.{function}: {library} cannot be written to; "
            "leave out=None and use the returned value"
        )
        raise TypeError(msg)


def out_type(function: Function, out: object, expected: str) -> TypeError:
    """Return the error for an `out` of the wrong library."""
    return TypeError(f"relu_xp.{function}: out must be {expected}, got {type_name(out)}")


def type_name(x: object) -> str:
    """Name a type as its users write it: `list`, `numpy.ndarray`."""
    cls = type(x)
    module = module_of(cls)
    name = attribute(cls, "__qualname__") or "object"  # a metaclass may raise too
    return name if module in ("", "builtins") else f"{module}.{name}"


def attribute(x: object, name: str) -> Any:
    """Return an attribute, or None: a class may raise anything when it is asked."""
    try:
        return getattr(x, name, None)
    except Exception:
        return None


def module_of(cls: type) -> str:
    """Name the module of a class; classes made by `exec` or in C may have none, or no string."""
    found: object = attribute(cls, "__module__")
    return found if isinstance(found, str) else ""


def _dtype_of(value: object) -> str:
    return str(attribute(value, "dtype"))


def no_number(function: Function, name: str, value: Any, alternative: str = "") -> TypeError:
    """Return the error for a scalar that is no real number.

    It advises to pass a Python float, or what the alternative says.
    """
    if advice := _number_of(name, value):
        alternative = f", for example {advice}"
    elif attribute(attribute(value, "value"), "shape") is not None:  # a variable, as Keras has them
        alternative = f", or the array that it holds, for example {name}.value"
    elif _is_slope(function, name) and _is_one_number(value):
        alternative = f", or make x an array of the library of {name} too"
    return TypeError(
        f"relu_xp.{function}: {name} must be a real number, got {type_name(value)}; "
        f"pass a Python float{alternative}"
    )


def _number_of(name: str, value: Any) -> str:
    """Return the code that makes a real number of a scalar, or nothing if none is known."""
    if "timedelta64" in _dtype_of(value):
        return f"{name} / numpy.timedelta64(1, 's')"
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        return f"{name}.real"
    if not _is_one_number(value) and not isinstance(value, numbers.Number):
        return ""
    try:
        float(value)
    except Exception:  # JAX's tracers have no value yet
        return ""
    return f"float({name})"


def _is_one_number(value: Any) -> bool:
    """Whether it is an array without axes that holds a real number."""
    dtype = attribute(value, "dtype") if attribute(value, "shape") == () else None
    return dtype is not None and bool(_dtypes.kind(dtype))


def _is_slope(function: Function, name: str) -> bool:
    return any(each.name == name and each.may_be_array for each in function.parameters)


def _out(library: Library, function: Function, dtype: Any, x: Array, out: Array) -> None:
    """Check that `out` has the library, dtype, shape and device of the result, and is writeable."""
    if library.is_writeable is None:
        no_out(function, out, library.array)
        return
    if not library.is_array(out):
        raise out_type(function, out, library.array)
    if out.dtype != dtype:
        msg = f"relu_xp.{function}: out must have the result's dtype {dtype}, got {out.dtype}"
        raise TypeError(msg)
    if library.shape(out) != library.shape(x):
        msg = (
            f"relu_xp.{function}: out must have the result's shape {library.shape(x)}, "
            f"got {library.shape(out)}"
        )
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
