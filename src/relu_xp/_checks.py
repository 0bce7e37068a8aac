"""What an argument must be, in words backends share: an error starts with the function and ends with what to do."""

import functools
import math
import numbers
from fractions import Fraction
from typing import Any

DEFAULT_SLOPE = 0.01
DEFAULT_GRAD_AT_ZERO = 1.0


def not_an_array(function: str, name: str, x: object) -> TypeError:
    """For a list, str, None, bool, or any type that no backend owns."""
    return TypeError(
        f"relu_xp.{function}: {name} must be an array or a real number, got {type_name(x)}; "
        f"convert it first, for example numpy.asarray({name})"
    )


def dtype(
    function: str, given: object, kind: str, *, cast: str = "cast it first, for example x.astype('float32')"
) -> None:
    """Let pass the real floating dtypes (kind "f") and, for relu, the integers ("i", "u"); TypeError for others."""
    if kind == "f" or (kind and function == "relu"):
        return
    if "complex" in str(given):
        cast = "take x.real, or x.imag"
    takes = "real floating and integer dtypes" if function == "relu" else "real floating dtypes"
    msg = f"relu_xp.{function}: takes {takes}, got {given}; {cast}"
    raise TypeError(msg)


def real(function: str, name: str, value: Any) -> Any:
    """Let pass a finite real number, of whatever type."""
    if type(value) is float and -math.inf < value < math.inf:  # as most are: a call should not wait for the rest
        return value
    if type(value).__module__ == "ml_dtypes":  # whose scalars are registered as no kind of number
        value = float(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        learned = ", or an x that is a JAX array too" if name == "negative_slope" and "jax" in type_name(value) else ""
        msg = f"relu_xp.{function}: {name} must be a real number, got {type_name(value)}; pass a Python float{learned}"
        raise TypeError(msg)
    if not isinstance(value, numbers.Rational) and not hasattr(value, "as_integer_ratio"):
        value = float(value)  # of such a number no other value can be had exactly
    if not -math.inf < value < math.inf:
        msg = f"relu_xp.{function}: {name} must be finite, got {value}"
        raise ValueError(msg)
    return value


def rounded(function: str, name: str, value: Any, dtype: object, info: Any, number: Any = float) -> Any:
    """Round a finite real number once, half to even, to the dtype that the finfo describes, which `number` can hold."""
    value = real(function, name, value)
    if value == 0:
        return number(value)  # a zero keeps its sign
    # Other types are no keys for a cache: they may equal a float and yet be something else.
    exact = value if type(value) is float else _exact(value)
    result = _nearest(exact, number, number(info.eps), number(info.smallest_normal), number(info.max))
    if result is None:
        size = _exponent(exact := Fraction(exact))
        long = exact.numerator.bit_length() + exact.denominator.bit_length() > 256
        shown = f"about 2**{size}" if long and isinstance(value, numbers.Rational) else value
        msg = f"relu_xp.{function}: {name} must be finite in {dtype}, got {shown}"
        raise ValueError(msg)
    return result


@functools.lru_cache
def _nearest(value: float | Fraction, number: Any, eps: Any, smallest_normal: Any, largest: Any) -> Any:
    """Round to a multiple of the format's quantum there, exactly: casts may round twice, as by way of binary32."""
    exact = Fraction(value)
    quantum = max(Fraction(2) ** _exponent(exact), _exact(smallest_normal)) * _exact(eps)  # a power of two
    multiple = round(exact / quantum)
    if abs(multiple) * quantum > _exact(largest):
        return None
    size = number(abs(multiple)) * number(2) ** _exponent(quantum)
    return -size if exact < 0 else size


def _exact(value: Any) -> Fraction:
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    return Fraction(*value.as_integer_ratio())


def _exponent(exact: Fraction) -> int:
    """The number is at least 2 to this, and less than twice that."""
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    return exponent if abs(exact) >= Fraction(2) ** exponent else exponent - 1


def same_library(function: str, x: object, cotangent: object) -> TypeError:
    """For a cotangent that another library owns."""
    return TypeError(
        f"relu_xp.{function}: x and cotangent must come from one library, got {type_name(x)} and "
        f"{type_name(cotangent)}; convert one of them first"
    )


def cotangent(function: str, x_dtype: object, x_shape: object, dtype: object, shape: object) -> None:
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


def cotangent_labels(function: str, what: str, x_labels: Any, labels: Any) -> None:
    """A cotangent has the labels of x, in the same order: nothing is aligned behind the caller's back."""
    alike = x_labels.equals(labels) if hasattr(x_labels, "equals") else x_labels == labels
    if not alike:
        msg = f"relu_xp.{function}: x and cotangent must have the same {what}; align one of them first"
        raise ValueError(msg)


def cotangent_device(function: str, x_device: object, device: object) -> None:
    """A cotangent lies on the device of x: nothing is copied between devices behind the caller's back."""
    if device != x_device:
        msg = (
            f"relu_xp.{function}: x and cotangent must be on one device, got {x_device} and {device}; move one of them"
        )
        raise ValueError(msg)


def no_out(function: str, out: object, library: str) -> None:
    """Refuse `out` where results can't be written into what the caller holds."""
    if out is not None:
        msg = f"relu_xp.{function}: {library} cannot be written to; leave out=None and use the returned value"
        raise TypeError(msg)


def out_type(function: str, out: object, expected: str) -> TypeError:
    """For an `out` of the wrong library."""
    return TypeError(f"relu_xp.{function}: out must be {expected}, got {type_name(out)}")


def out(function: str, dtype: object, shape: object, out_dtype: object, out_shape: object) -> None:
    """An `out` has the dtype and the shape of the result."""
    if out_dtype != dtype:
        msg = f"relu_xp.{function}: out must have the result's dtype {dtype}, got {out_dtype}"
        raise TypeError(msg)
    if out_shape != shape:
        msg = f"relu_xp.{function}: out must have the result's shape {shape}, got {out_shape}"
        raise ValueError(msg)


def out_device(function: str, device: object, out_device: object) -> None:
    """An `out` lies on the device of x."""
    if out_device != device:
        msg = f"relu_xp.{function}: out must be on the device of x, {device}, got {out_device}"
        raise ValueError(msg)


def out_readonly(function: str) -> ValueError:
    """For an `out` that is an array of the right kind but marked read-only."""
    return ValueError(f"relu_xp.{function}: out is read-only; pass a writeable array or leave out=None")


def type_name(x: object) -> str:
    """The type's name as its users write it: `list`, `torch.Tensor`."""
    cls = type(x)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
