"""Keeps the masks, units and the like of NumPy's subclasses, or refuses the call."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from relu_xp import _checks
from relu_xp._functions import Function

Array = Any  # a numpy.ndarray, one of its subclasses, or a numpy.generic

# Implementations that a subclass inherits unchanged: such a class adds no meaning to results.
_UFUNC_PROTOCOLS = {np.ndarray.__array_ufunc__}
_WRAP_PROTOCOLS = {np.ndarray.__array_wrap__, np.memmap.__array_wrap__}


def check(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> None:
    """Refuse a mask or a unit that would be lost: of an array, of `out`, or of an array slope."""
    slopes = [
        (each.name, value)
        for each, value in zip(function.parameters, scalars, strict=True)
        if isinstance(value, np.ndarray)
    ]
    for name, a in (*zip(function.arrays, arrays, strict=True), *slopes, ("out", out)):
        _check_class(function, name, a)
    masked = any(isinstance(a, np.ma.MaskedArray) for a in arrays)
    if masked and any(map(_carries, arrays)):
        names = " and ".join(map(_checks.type_name, arrays))
        msg = (
            f"relu_xp.{function}: no array has both a mask and a unit, got {names}; "
            "pass numpy.asarray of one of them"
        )
        raise TypeError(msg)
    for name, value in slopes:
        _check_slope(function, name, value)
    if not function.takes_units:
        _check_has_no_unit(function, "x", arrays[0])
    if out is not None:
        _check_out(function, arrays, out, masked=masked)


def _check_out(function: Function, arrays: tuple[Array, ...], out: Array, *, masked: bool) -> None:
    """Refuse an `out` that is no array, that could not keep a mask, or that may have a unit."""
    if isinstance(arrays[0], np.generic):
        _checks.no_out(function, out, "a NumPy scalar")
    if not isinstance(out, np.ndarray):
        raise _checks.out_type(function, out, "a numpy.ndarray")
    if masked != isinstance(out, np.ma.MaskedArray):
        raise _checks.out_type(
            function, out, "a numpy.ma.MaskedArray" if masked else "no masked array, as x is none"
        )
    for a in (*arrays, out):
        if _carries(a):
            more = f"None, since {_checks.type_name(a)} may carry more than its numbers"
            raise _checks.out_type(function, out, more)


def wrap(function: Function, arrays: tuple[Array, ...], result: Array) -> Array:
    """Give a new plain array the class of x, or that of the cotangent if x is plain."""
    for like in arrays:
        if isinstance(like, np.ma.MaskedArray):
            return like if like is np.ma.masked else _masked(result, like, arrays)
    wrapped = [
        (a, power) for a, power in zip(arrays, function.powers, strict=False) if not _is_plain(a)
    ]
    if any(_carries(a) for a in arrays):
        return _with_unit(function, arrays, wrapped, result)
    if wrapped:
        return wrapped[0][0].__array_wrap__(result)
    # An ml_dtypes scalar comes here too, and gives a scalar.
    return result[()] if isinstance(arrays[0], np.generic) else result


def set_mask(a: Array, arrays: Iterable[Array]) -> None:
    """Give a masked array the union of the arrays' masks, in memory of its own.

    Its present mask may be shared, with an input or with an array that the caller holds. The
    property `mask` would write into it, so it is replaced here. A hard mask stays masked.
    """
    masks = [np.ma.getmask(each) for each in (*arrays, *([a] if a.hardmask else []))]
    a._mask = functools.reduce(functools.partial(np.ma.mask_or, shrink=False), masks).copy()
    a._sharedmask = False


def _check_class(function: Function, name: str, a: Array) -> None:
    """Refuse the classes whose extra meaning cannot be kept."""
    if not isinstance(a, np.ndarray):
        return
    per_element = _carries(a) and [each for each in ("mask", "uncertainty") if hasattr(a, each)]
    advice = f"numpy.asarray({name})"
    if hasattr(a, "unmasked"):  # an astropy class, of which asarray drops the mask
        advice = f"{name}.unmasked, and mask the result again"
    elif isinstance(a, np.ma.MaskedArray) and _has_protocols(a.baseclass):
        advice = f"numpy.ma.array({advice}, mask=numpy.ma.getmask({name}))"
    elif not per_element and not isinstance(a, np.matrix):
        return
    msg = (
        f"relu_xp.{function}: {_checks.type_name(a)} is not supported; "
        f"convert it first, for example {advice}"
    )
    raise TypeError(msg)


def _check_slope(function: Function, name: str, value: Array) -> None:
    """Refuse a slope with a mask or a unit."""
    if isinstance(value, np.ma.MaskedArray):
        fill = f"fill it first, for example {name}.filled(0.01)"
        msg = f"relu_xp.{function}: {name} must not be masked; {fill}"
        raise TypeError(msg)
    if _has_unit(value):  # the result would drop it, whatever its class
        raise _has_a_unit(function, name, value)
    _check_has_no_unit(function, name, value)


def _check_has_no_unit(function: Function, name: str, a: Array) -> None:
    if not _carries(a):
        return
    if not _adds_to_numbers(a) or (_has_unit(a) and not _computes_units(a)):
        raise _has_a_unit(function, name, a)


def _adds_to_numbers(a: Array) -> bool:
    """Tell whether 1 in the class of a, plus the number 1, is 2: it is not if a has a unit."""
    one = _one(a, (1,) * a.ndim)  # with axes: some classes drop the unit of a 0-d result
    try:
        return bool((np.asarray(np.add(one, np.ones(one.shape, a.dtype))) == 2).all())
    except Exception:  # each class refuses in its own way
        return False


def _has_a_unit(function: Function, name: str, a: Array) -> TypeError:
    unit = next(filter(None, map(str, _units(a))), _checks.type_name(a))
    return _checks.has_unit(function, name, unit, f"numpy.asarray({name})")


def _with_unit(
    function: Function, arrays: tuple[Array, ...], wrapped: list[tuple[Array, int]], result: Array
) -> Array:
    """Multiply by 1 with the units of the result, in the arrays' classes, which is exact."""
    ones = [_one(a, result.shape) for a, power in wrapped for _ in range(power)]
    for name, a in zip(function.arrays, arrays, strict=True):
        # A class that does not compute units would give a derivative, or a product, the unit of x.
        has_fixed_unit = _carries(a) and _has_unit(a) and not _computes_units(a)
        if has_fixed_unit and (len(ones) > 1 or not any(power for _, power in wrapped)):
            raise _has_a_unit(function, name, a)
    try:
        if not ones:
            one = _one_without_unit(next(a for a, _ in wrapped if _carries(a)), result.shape)
            return result if one is None else np.multiply(result, one)
        return np.multiply(result, functools.reduce(np.multiply, ones))
    except Exception as error:  # astropy's logarithmic units raise here, for example
        names = " and ".join(_checks.type_name(a) for a, _ in wrapped)
        msg = f"relu_xp.{function}: {names} has no such product, {error}; pass numpy.asarray of it"
        raise TypeError(msg) from error


def _one(a: Array, shape: tuple[int, ...]) -> Array:
    """Give ones with all that an array carries, in the result's shape: a class may ask for that."""
    one = np.broadcast_to(np.ones((), a.dtype), shape).view(type(a))
    one.__array_finalize__(a)
    return one


def _one_without_unit(a: Array, shape: tuple[int, ...]) -> Array | None:
    """Give ones with all that an array carries but its unit; None if it carries only a unit."""
    one = _one(a, shape)
    if _units(one) and _computes_units(one):
        return None
    # Only a class that carries a unit needs a quotient; another class may not have one.
    return one if _adds_to_numbers(one) else np.divide(one, one)


def _units(a: Array) -> list[Any]:
    """Find the units of an array, under the attributes that packages use for them."""
    found = [getattr(a, name, None) for name in ("unit", "dimensionality", "units")]
    return [each for each in found if each is not None]


def _has_unit(a: Array) -> bool:
    return any(str(unit) not in ("", "dimensionless") for unit in _units(a)[:1])


def _computes_units(a: Array) -> bool:
    """Tell whether the class computes the unit of a quotient; else it hands on that of an array."""
    if type(a).__array_ufunc__ not in _UFUNC_PROTOCOLS:
        return True
    one = _one(a, (1,) * a.ndim)
    return [*map(str, _units(np.divide(one, one)))] != [*map(str, _units(one))]


def _masked(result: Array, like: Array, arrays: tuple[Array, ...]) -> Array:
    """Give a masked array of the class and fill value of `like`."""
    masked = result.view(type(like))
    masked._update_from(like)  # as numpy.ma's own operations do
    if masked._fill_value is not None:
        masked._fill_value = masked._fill_value.copy()  # the setter of `fill_value` writes into it
    set_mask(masked, arrays)
    return masked


def _is_plain(a: Array) -> bool:
    return type(a) is np.ndarray or isinstance(a, np.generic)


def _carries(a: Array) -> bool:
    """Tell whether the class itself decides what its results are, as quantities with units do."""
    return isinstance(a, np.ndarray) and _has_protocols(type(a))


def _has_protocols(cls: type) -> bool:
    silent: Any = cls.__array_ufunc__ in _UFUNC_PROTOCOLS and cls.__array_wrap__ in _WRAP_PROTOCOLS  # type: ignore[attr-defined]
    return not (silent or issubclass(cls, np.ma.MaskedArray))
