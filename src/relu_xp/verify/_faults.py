"""Finds what kind of fault a wrong value is, by rival definitions computed for the same input.

A rival is a record: its kind, its name for users, its advice, and what it gives where another
result is due. The rival that gives the most of a kernel's wrong values comes first, then the one
that gives the most of the others. Values that no rival gives are told apart by their input.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relu_xp._functions import (
    CEILING,
    FUNCTIONS,
    GRAD_AT_CEILING,
    GRAD_AT_ZERO,
    NEGATIVE_SLOPE,
    RELU,
    Function,
)
from relu_xp.verify._calls import POISON
from relu_xp.verify._expected import (
    Array,
    DType,
    Scalars,
    bits,
    expected,
    isnan,
    ordered,
    rounded,
    same_bits,
    widened,
)

# Every kind, in the order of a report: what hides other faults comes first.
KINDS = (
    "raised", "wrong_dtype", "wrong_shape", "unwritten", "input_written", "nan_lost",
    "nan_cotangent", "masked_product", "infinity", "kink", "ceiling_kink", "slope_rounding",
    "double_rounding", "subnormal_flush", "zero_sign", "other",
)  # fmt: skip
CONVENTIONS = ("kink", "ceiling_kink", "slope_rounding")  # choices as good as ours
SAMPLE = 1 << 13  # all rivals are tried on so many wrong values, the best of them on all
MOST_RIGHT = 1 << 18  # a rival is tried on so many right values


@dataclass(frozen=True)
class Wrong:
    """Values that differ, with their inputs and the values that are due."""

    function: Function
    arrays: tuple[Array, ...]
    scalars: Scalars  # numbers, before they are rounded
    got: Array
    due: Array

    @property
    def x(self) -> Array:
        """The first array."""
        return self.arrays[0]

    @property
    def g(self) -> Array:
        """The cotangent; ones where the function takes none."""
        return (
            self.arrays[1]
            if len(self.arrays) > 1
            else rounded(np.ones(self.x.shape), self.due.dtype)
        )

    @property
    def derives(self) -> bool:
        """Whether a derivative is computed."""
        return self.function.role != "value"

    @functools.cached_property
    def only_sign(self) -> Array:
        """Where a zero has the other sign, and that is all."""
        return _is_zero(self.got) & _is_zero(self.due)

    def of(self, some: Array | slice) -> "Wrong":
        """Those of them that are chosen, by a mask, by indices or by a slice."""
        return replace(
            self, arrays=tuple(a[some] for a in self.arrays), got=self.got[some], due=self.due[some]
        )

    @classmethod
    def joined(cls, parts: "list[Wrong]") -> "Wrong":
        """Those of several calls."""
        columns = zip(*((*part.arrays, part.got, part.due) for part in parts), strict=True)
        *arrays, got, due = map(np.concatenate, columns)
        return replace(parts[0], arrays=tuple(arrays), got=got, due=due)

    def under(self, **scalars: float) -> "Wrong":
        """The same, with what is due for other scalars."""
        given = {**self.scalars, **scalars}
        return replace(self, scalars=given, due=expected(self.function, self.arrays, given))


Gives = Callable[[Wrong], Array]


@dataclass(frozen=True, eq=False)
class Rival:
    """Another definition. Its advice may name scalars in braces."""

    kind: str
    name: str
    advice: str
    gives: Gives
    convention: bool = False  # a choice as good as ours
    changed: Mapping[str, Any] = field(default_factory=dict)  # the scalars, if only they differ


@dataclass(frozen=True)
class Cause:
    """An explanation of some wrong values, which a mask gives."""

    kind: str
    name: str
    advice: str
    where: Array


def causes(wrong: Wrong, right: Wrong) -> list[Cause]:
    """Explain each wrong value by one cause that the right values do not refute."""
    left, found = np.ones(wrong.due.shape, bool), list[Cause]()
    if wrong.due.dtype.kind in "iu":  # integers have no such kinds
        return [Cause("other", "", _OTHER, left)]
    right = right.of(slice(None, None, _step(right, MOST_RIGHT)))
    rivals, more = [*RIVALS, *_seen(wrong)], True
    while left.any():
        rest = wrong.of(left)
        sample = rest.of(slice(None, None, _step(rest, SAMPLE)))
        # A rival may explain some of many random values by chance.
        least = sample.due.size // 50 if _is_plain(sample) else 0
        best = _best(sample, least, right, _step(rest, SAMPLE), rivals)
        if best:
            claimed = left.copy()
            claimed[left] = _explains(rest, best)
            left &= ~claimed
            found += _by_rival(wrong, best, claimed)
            if best.changed and best.convention:  # other faults may follow that convention
                rivals[:0] = _under(best)
        elif more and not least:
            rivals, more = (
                [
                    pair
                    for each in RIVALS
                    if each.changed and each.convention
                    for pair in _under(each)
                ],
                False,
            )
        else:
            break
    return [*found, *_by_input(wrong, left)]


def _seen(wrong: Wrong) -> Iterator[Rival]:
    """Conventions with the derivatives that were seen at a kink: got / cotangent, the commonest."""
    for kind, scalar, at in (
        ("kink", GRAD_AT_ZERO, _at_zero),
        ("ceiling_kink", GRAD_AT_CEILING, _at_ceiling),
    ):
        with np.errstate(all="ignore"):
            ratios = (widened(wrong.got) / widened(wrong.g))[at(wrong)]
            numbers, counts = np.unique(
                rounded(ratios[np.isfinite(ratios)], wrong.due.dtype), return_counts=True
            )
        if numbers.size:
            yield _convention(kind, scalar, _short(numbers[counts.argmax()]))


def _short(number: Any) -> float:
    """The number with the fewest digits that is rounded to this one."""
    value = float(number)
    every = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return next(short for short in every if rounded(short, number.dtype) == number)


def _step(values: Wrong, most: int) -> int:
    """The step of a slice that takes about so many of the values."""
    return -(-max(values.due.size, 1) // most)


def _best(sample: Wrong, least: int, right: Wrong, step: int, rivals: list[Rival]) -> Rival | None:
    """The rival that explains most of a sample; those that right values refute are dropped."""
    counts = {rival: int(_explains(sample, rival).sum()) for rival in rivals}
    for rival in sorted(rivals, key=lambda rival: -counts[rival]):
        if counts[rival] <= least:
            return None
        with np.errstate(all="ignore"):
            against = int((~same_bits(rival.gives(right), right.due)).sum())
        if against < counts[rival] * step:
            return rival
        rivals.remove(rival)
    return None


def _explains(wrong: Wrong, rival: Rival) -> Array:
    """Where the rival gives what was got; a zero of the other sign is enough if more is wrong."""
    with np.errstate(all="ignore"):
        gives = rival.gives(wrong)
    if rival.kind == "zero_sign":
        return same_bits(wrong.got, gives) & wrong.only_sign
    return same_bits(wrong.got, gives) | (_is_zero(gives) & _is_zero(wrong.got) & ~wrong.only_sign)


def _by_rival(wrong: Wrong, rival: Rival, claimed: Array) -> Iterator[Cause]:
    """The cause; apart from it zeros' signs, if a mask makes them or no other value is wrong."""
    alone = rival.kind == "other" and not (claimed & ~wrong.only_sign).any()
    sign = claimed & wrong.only_sign & (alone or rival.kind == "masked_product")
    rest = claimed & ~sign
    if rest.any():
        yield Cause(rival.kind, rival.name, rival.advice.format(**wrong.scalars), rest)
    if sign.any():
        yield Cause("zero_sign", "a zero has the other sign" if alone else rival.name, _SIGN, sign)


@functools.lru_cache(maxsize=64)
def _under(convention: Rival) -> tuple[Rival, ...]:
    """The other rivals, under another convention at a kink."""

    def both(other: Rival) -> Gives:
        return lambda w: other.gives(w.under(**_numbers(convention.changed, w)))

    return tuple(replace(each, gives=both(each)) for each in RIVALS if not each.changed)


def _is_plain(wrong: Wrong) -> bool:
    """Whether most inputs and results are plain numbers, and not special in some way."""
    with np.errstate(all="ignore"):
        special = np.logical_or.reduce([where(wrong) for *_, where in _FALLBACKS[:-1]])
    return 2 * int(special.sum()) < special.size


def _by_input(wrong: Wrong, left: Array) -> Iterator[Cause]:
    """The causes of values that no rival explains."""
    if left.any() and _is_plain(wrong.of(left)):
        yield Cause("other", "", _OTHER, left)
        return
    for kind, name, advice, where in _FALLBACKS:
        with np.errstate(all="ignore"):
            claimed = left & where(wrong)
        if claimed.any():
            yield Cause(kind, name, advice, claimed)
        left = left & ~claimed


def _is_zero(array: Array) -> Array:
    return widened(array) == 0


def smallest_normal(dtype: DType) -> float:
    """The least positive number of a dtype that is no subnormal."""
    return float(_finfo(dtype).smallest_normal)


def subnormal(array: Array) -> Array:
    """Where a number is subnormal."""
    size = np.abs(widened(array))
    return (size > 0) & (size < smallest_normal(array.dtype))


def _finfo(dtype: DType) -> Any:
    if dtype.kind == "f":
        return np.finfo(dtype)
    import ml_dtypes  # it is there, since it has made this dtype

    return ml_dtypes.finfo(dtype)


# Below, each function makes or is a rival's `gives`: from wrong values, what the rival gives.


def _instead(where: Callable[[Wrong], Array], value: Callable[[Wrong], Any]) -> Gives:
    """The due value, but another value in some places."""
    return lambda w: np.where(where(w), rounded(_wide(value(w)), w.due.dtype), w.due)


def _wide(value: Any) -> Any:
    return widened(value) if isinstance(value, np.ndarray) else value


def _changed(**scalars: Any) -> dict[str, Any]:
    """Arguments of a rival whose scalars alone differ; a name stands for that scalar's number."""
    return {"gives": lambda w: w.under(**_numbers(scalars, w)).due, "changed": scalars}


def _numbers(changed: Mapping[str, Any], w: Wrong) -> dict[str, float]:
    return {
        name: w.scalars.get(value, 0.0) if isinstance(value, str) else value
        for name, value in changed.items()
    }


def _in(name: str, *, scalars: bool, wider: bool) -> Gives:
    """All is computed in another format, then rounded: of functions with scalars, or without."""

    def gives(w: Wrong) -> Array:
        other, own = _dtype(name), w.due.dtype
        if other is None or other == own or (other.itemsize > own.itemsize) != wider:
            return w.due
        if bool(w.function.scalars) != scalars:
            return w.due
        arrays = tuple(rounded(widened(a), other) for a in w.arrays)
        return rounded(widened(expected(w.function, arrays, w.scalars)), own)

    return gives


def _scalars_in(name: str) -> Gives:
    """The scalars rounded to another format, every product rounded once."""

    def gives(w: Wrong) -> Array:
        if (other := _dtype(name)) is None or other == w.due.dtype or not w.function.scalars:
            return w.due
        wide = expected(w.function, tuple(map(widened, w.arrays)), _rounded_scalars(w, other))
        return rounded(wide, w.due.dtype)

    return gives


def _rounded_scalars(w: Wrong, dtype: DType) -> dict[str, float]:
    return {each.name: float(rounded(w.scalars[each.name], dtype)) for each in w.function.scalars}


def _rounded_twice(w: Wrong) -> Array:
    """Computed in float64, rounded to float32 and then to the dtype."""
    wide = expected(w.function, tuple(map(widened, w.arrays)), w.scalars)
    return rounded(widened(wide.astype(np.float32)), w.due.dtype)


def _by_way_of(name: str) -> Gives:
    """A computed result, not one that is an input, is first rounded to a narrower format."""

    def gives(w: Wrong) -> Array:
        other = _dtype(name)
        if other is None or other.itemsize >= w.due.dtype.itemsize:
            return w.due
        twice = rounded(widened(rounded(widened(w.due), other)), w.due.dtype)
        return np.where(_handed_on(w), w.due, twice)

    return gives


def _truncated(*, late: bool) -> Gives:
    """Products are cut off, not rounded; late: the scalars are not rounded before."""

    def gives(w: Wrong) -> Array:
        scalars = w.scalars if late else _rounded_scalars(w, w.due.dtype)
        wide = expected(w.function, tuple(map(widened, w.arrays)), scalars)
        near = rounded(wide, w.due.dtype)
        away = np.abs(widened(near)) > np.abs(wide)
        return (bits(near) - away.astype(bits(near).dtype)).view(w.due.dtype)

    return gives


def _extended(w: Wrong) -> Array:
    """Products have the 80 bits of an x87, and are then rounded to float64."""
    if w.due.dtype != np.float64 or np.finfo(np.longdouble).nmant < 60:
        return w.due
    s, x = np.longdouble(w.scalars.get(NEGATIVE_SLOPE.name, 0)), w.x.astype(np.longdouble)
    factor = w.g.astype(np.longdouble) if w.function.role in ("vjp", "slope_vjp") else x
    product = x * factor if NEGATIVE_SLOPE not in w.function.scalars else s * factor
    return np.where(w.x < 0, product.astype(np.float64), w.due)


def _divided(w: Wrong) -> Array:
    """x divided by the reciprocal of the slope."""
    s = w.scalars.get(NEGATIVE_SLOPE.name, 0.0)
    if not s or w.function.role == "grad":
        return w.due
    by = widened(rounded(1 / s, w.due.dtype))
    factor = w.g if w.derives else w.x
    return np.where(widened(w.x) < 0, rounded(widened(factor) / by, w.due.dtype), w.due)


def _other_order(w: Wrong) -> Array:
    """2 * (x * g), in the place of (x + x) * g."""
    if not w.function.curvature or w.function.role != "vjp":
        return w.due
    once = rounded(widened(w.x) * widened(w.g), w.due.dtype)
    return np.where(widened(w.x) > 0, rounded(2 * widened(once), w.due.dtype), w.due)


def _flushed_x(w: Wrong) -> Array:
    """Only subnormals of x are read as zeros, as a comparison may do."""
    x = np.where(subnormal(w.x), np.copysign(0.0, widened(w.x)).astype(w.x.dtype), w.x)
    return expected(w.function, (x, *w.arrays[1:]), w.scalars)


def _flushed(read: bool, write: bool, *, late: bool = False) -> Gives:
    """Subnormals are read or written as zeros; late: products that are subnormal unrounded."""

    def flush(array: Array, tiny: Array) -> Array:
        return np.where(tiny, np.copysign(0.0, widened(array)).astype(array.dtype), array)

    def gives(w: Wrong) -> Array:
        arrays, dtype = w.arrays, w.due.dtype
        scalars = {each.name: rounded(w.scalars[each.name], dtype) for each in w.function.scalars}
        if read:
            arrays = tuple(flush(a, subnormal(a)) for a in arrays)
            scalars = {name: flush(value, subnormal(value)) for name, value in scalars.items()}
        given = {name: float(value) for name, value in scalars.items()}
        due = expected(w.function, arrays, given)
        if not write:
            return due
        if not late:
            return flush(due, subnormal(due))
        exact = np.abs(expected(w.function, tuple(map(widened, arrays)), given))
        return flush(due, (exact > 0) & (exact < smallest_normal(dtype)) & ~_handed_on(w))

    return gives


def _handed_on(w: Wrong) -> Array:
    """Where x or the cotangent itself is due."""
    return same_bits(w.due, w.x) | same_bits(w.due, w.g)


def _by_mask(w: Wrong) -> Array:
    """The product that is right where x is active, made everywhere and multiplied by a mask."""
    dtype, x, g = w.due.dtype, widened(w.x), widened(w.g)

    def product(a: Array, b: Array) -> Array:
        return widened(rounded(a * b, dtype))

    if w.function.role == "slope_vjp":
        return rounded(product(x, g) * (x < 0), dtype)
    if w.function.curvature:
        twice = widened(rounded(x + x, dtype))
        whole = {"value": product(x, x), "grad": twice}.get(w.function.role, product(twice, g))
        return rounded(whole * (x > 0), dtype)
    if w.function.role == "grad":
        return w.due
    mask = widened(expected(w.function.grad, (w.x,), w.scalars))
    whole = (g if w.derives else x) * mask
    if not w.derives and CEILING in w.function.scalars:
        whole = whole + (x >= widened(rounded(w.scalars[CEILING.name], dtype))) * widened(w.due)
    return rounded(whole, dtype)


def _products_at_zero(w: Wrong) -> Array:
    """The cotangent of a slope, but selected where x <= 0."""
    if w.function.role != "slope_vjp":
        return w.due
    return np.where(_is_zero(w.x), rounded(widened(w.x) * widened(w.g), w.due.dtype), w.due)


def _at_one_zero(slope: Any, *, negative: bool) -> Gives:
    """Another derivative at the zero of one sign only."""

    def gives(w: Wrong) -> Array:
        other = w.under(**_numbers({GRAD_AT_ZERO.name: slope}, w)).due
        return np.where(_at_zero(w) & (np.signbit(widened(w.x)) == negative), other, w.due)

    return gives


def _unclipped(w: Wrong) -> Array:
    """What is due without a ceiling."""
    if CEILING not in w.function.scalars:
        return w.due
    (plain,) = (
        f for f in FUNCTIONS.values() if f.rectifier == RELU.name and f.role == w.function.role
    )
    return expected(plain, w.arrays, w.scalars)


def _swapped(w: Wrong) -> Array:
    return expected(w.function, w.arrays[::-1], w.scalars)


def _of_ones(w: Wrong) -> Array:
    """What is due for a cotangent of 1."""
    return expected(w.function, (w.x, *map(np.ones_like, w.arrays[1:])), w.scalars)


def _by_halves(w: Wrong) -> Array:
    """0.5 * (x + |x|)."""
    if w.derives or NEGATIVE_SLOPE.name in w.scalars:
        return w.due
    half = widened(rounded(widened(w.x) + np.abs(widened(w.x)), w.due.dtype)) / 2
    return np.where(np.isfinite(half), w.due, rounded(half, w.due.dtype))


def _larger(w: Wrong) -> Array:
    """maximum(x, s * x)."""
    if w.derives or NEGATIVE_SLOPE not in w.function.scalars:
        return w.due
    s = widened(rounded(w.scalars[NEGATIVE_SLOPE.name], w.due.dtype))
    return np.maximum(widened(w.x), widened(rounded(s * widened(w.x), w.due.dtype))).astype(
        w.due.dtype
    )


def _dtype(name: str) -> DType | None:
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def _nan_in(w: Wrong) -> Array:
    return functools.reduce(np.logical_or, map(isnan, w.arrays))


def _nan_x(w: Wrong) -> Array:
    return isnan(w.x) & w.derives


def _nan_lost(w: Wrong) -> Array:
    return isnan(w.due) & _nan_in(w)


def _unbounded_g(w: Wrong) -> Array:
    return ~np.isfinite(widened(w.g)) & w.derives


def _infinite(array: Array) -> Array:
    return np.isinf(widened(array))


def _largest(w: Wrong) -> Array:
    return np.copysign(float(_finfo(w.due.dtype).max), widened(w.due))


def _all_are(w: Wrong, value: float) -> Array:
    return rounded(np.full(w.due.shape, value), w.due.dtype)


def _negative_zero(w: Wrong) -> Array:
    return np.where(_is_zero(w.due) & (widened(w.x) < 0), -0.0, widened(w.due))


_NAN = "test with isnan, or select so that NaN falls to x: max and comparisons lose it"
_AT_NAN = "select where x > 0, and let NaN fall to the branch of x < 0"
_SIGN = "select 0.0 or x itself; or pass zero_signs=False to accept zeros of either sign"
_CONVENTION = "to check with this convention"
_SLOPE = "round the slope to the dtype of x first, then multiply"
_UNROUNDED = "the slope is not rounded to the dtype of x"
_ONCE = "round each product once, from its exact value, to nearest even"
_FLUSH = "compile without flush-to-zero (-ftz, fast-math), or pass subnormals=False"
_MASK = "select with where, instead of multiplying by a mask of 0 and 1"
_INF = "avoid x - x, 0 * x and clamps to the largest number: infinities are inputs too"
_BY_ZERO = "the product with a slope of 0 is IEEE's, like any other"
_EQUAL_ZEROS = "compare x with 0 by its value: -0 and 0 are equal"
_SCALAR = "check that it gets this number"
_OTHER = "compare what it computes with relu_xp.reference"


def _at(scalar: Any, value: Callable[[Wrong], Any]) -> Callable[[Wrong], Array]:
    """Where x is a kink of the derivative."""

    def where(w: Wrong) -> Array:
        if scalar not in w.function.scalars or not w.derives:
            return np.zeros(w.due.shape, bool)
        return widened(w.x) == widened(rounded(value(w), w.due.dtype))

    return where


_at_zero = _at(GRAD_AT_ZERO, lambda w: 0.0)
_at_ceiling = _at(GRAD_AT_CEILING, lambda w: w.scalars[CEILING.name])


def _convention(kind: str, scalar: Any, value: float | str) -> Rival:
    """Another derivative at a kink: a number, or the slope, by its name."""
    told, says = (value, value) if isinstance(value, float) else ("the slope", f"{{{value}}}")
    where = "0" if scalar is GRAD_AT_ZERO else "the ceiling"
    return Rival(
        kind,
        f"its derivative at {where} is {told}",
        f"pass {scalar.name}={says} {_CONVENTION}",
        convention=True,
        **_changed(**{scalar.name: value}),
    )


def _rivals(kind: str, advice: str, by_name: dict[str, Gives]) -> tuple[Rival, ...]:
    """Rivals of one kind, with one advice."""
    return tuple(Rival(kind, name, advice, gives) for name, gives in by_name.items())


def _kinks_of_one_zero() -> Iterator[Rival]:
    """Another derivative at the zero of one sign only."""
    for zero, other in (("-0", "0"), ("0", "-0")):
        for z in (0.0, 1.0, NEGATIVE_SLOPE.name):
            told = z if isinstance(z, float) else "the slope"
            name = f"its derivative at {zero} is {told}, at {other} another"
            yield Rival("kink", name, _EQUAL_ZEROS, _at_one_zero(z, negative=zero == "-0"))


# Where two rivals explain as many values, the first one counts.
RIVALS = (
    *_rivals("zero_sign", _SIGN, {
        "-0 is made of a negative x": _negative_zero,
        "-0 is kept": _instead(lambda w: _is_zero(w.x), lambda w: w.x),
        "the sign of -0 is lost": _instead(lambda w: _is_zero(w.due), lambda w: 0.0),
    }),
    *_rivals("nan_lost", _NAN, {
        "a NaN gives 0": _instead(_nan_lost, lambda w: 0.0),
        "a NaN gives the ceiling": _instead(_nan_lost, lambda w: w.scalars.get(CEILING.name, 0.0)),
    }),
    *_rivals("nan_cotangent", _AT_NAN, {
        "the cotangent passes where x is NaN": _instead(_nan_x, lambda w: w.g),
        "a derivative is NaN where x is NaN": _instead(_nan_x, lambda w: np.nan),
        "a derivative is 0 where x is NaN": _instead(_nan_x, lambda w: 0.0),
    }),
    *_rivals("masked_product", _MASK, {
        "0 * inf, or 0 * NaN, in a product with a mask": _instead(_unbounded_g, lambda w: np.nan),
    }),
    *_rivals("infinity", _INF, {
        "an infinite x gives NaN": _instead(lambda w: _infinite(w.x), lambda w: np.nan),
        "x + |x|, which overflows, and is NaN at -inf": _by_halves,
        "an infinity becomes the largest number": _instead(lambda w: _infinite(w.due), _largest),
    }),
    *_rivals("infinity", _BY_ZERO, {
        "0 * inf is not NaN": _instead(lambda w: isnan(w.due) & ~_nan_in(w), lambda w: 0.0),
    }),
    *_rivals("masked_product", _MASK, {"a product with a mask of 0 and 1": _by_mask}),
    *(_convention("kink", GRAD_AT_ZERO, z) for z in (0.0, 1.0, 0.5, NEGATIVE_SLOPE.name)),
    *_kinks_of_one_zero(),
    *_rivals("kink", "select where x < 0", {"x * g where x is 0": _products_at_zero}),
    *(_convention("ceiling_kink", GRAD_AT_CEILING, k) for k in (0.0, 1.0, 0.5)),
    *_rivals("subnormal_flush", _FLUSH, {
        "subnormals of x are read as zeros": _flushed_x,
        "subnormals are read as zeros": _flushed(True, False),
        "subnormals are written as zeros": _flushed(False, True),
        "subnormals are read and written as zeros": _flushed(True, True),
    }),
    *(
        Rival("subnormal_flush", "products are flushed before rounding", _FLUSH, gives)
        for gives in (_flushed(False, True, late=True), _flushed(True, True, late=True))
    ),
    Rival(
        "slope_rounding", _UNROUNDED, _SLOPE, _in("float64", scalars=True, wider=True),
        convention=True,
    ),
    *_rivals("slope_rounding", _SLOPE, {
        _UNROUNDED: _in("float32", scalars=True, wider=True),
        **{
            f"a slope rounded to {name}": _scalars_in(name)
            for name in ("float32", "float16", "bfloat16")
        },
        "a division by the slope's reciprocal": _divided,
    }),
    *_rivals("double_rounding", _ONCE, {"a product rounded to float32 on its way": _rounded_twice}),
    *(
        Rival("double_rounding", f"computed in {name}", _ONCE, _in(name, **how))
        for how in (
            {"scalars": False, "wider": True},
            {"scalars": False, "wider": False},
            {"scalars": True, "wider": False},
        )
        for name in ("float64", "float32", "float16", "bfloat16")
    ),
    *_rivals("double_rounding", _ONCE, {
        **{
            f"a product rounded to {name} on its way": _by_way_of(name)
            for name in ("float32", "float16", "bfloat16")
        },
        "a product cut off, not rounded": _truncated(late=False),
        "a product cut off, its slope not rounded first": _truncated(late=True),
        "a product rounded to 80 bits on its way": _extended,
        "2 * (x * g), where (x + x) * g is due": _other_order,
    }),
    *_rivals("other", "select by the sign of x", {
        "maximum(x, s*x), which is right for 0 < s <= 1 alone": _larger,
    }),
    *_rivals("unwritten", "check that it writes each element of its result", {
        "all it gives is 0": lambda w: np.zeros_like(w.due),
        "it gives what its memory held before": lambda w: _all_are(w, POISON),
    }),
    *_rivals("other", _OTHER, {"all it gives is NaN": lambda w: _all_are(w, np.nan)}),
    *_rivals("other", "give min(x, ceiling), and the derivative 0 beyond it", {
        "its ceiling is not applied": _unclipped,
    }),
    *_rivals("other", "x comes first: f(x, g)", {
        "x and the cotangent are swapped": _swapped,
    }),
    *_rivals("other", "give the derivative times g, the second argument", {
        "the cotangent is not multiplied": _of_ones,
    }),
    *_rivals("other", _OTHER, {
        "it gives x": lambda w: w.x,
        "it gives the cotangent": lambda w: w.g,
    }),
    *(
        Rival("other", f"its {each.name} is {number}", _SCALAR, **_changed(**{each.name: number}))
        for each, numbers in ((NEGATIVE_SLOPE, (0.0, 0.01, 0.1, 0.2)), (CEILING, (1.0, 6.0)))
        for number in numbers
    ),
)  # fmt: skip


def _any(test: Callable[[Array], Array], w: Wrong, *more: Array) -> Array:
    return functools.reduce(np.logical_or, map(test, (*w.arrays, w.due, *more)))


def _nearly(w: Wrong) -> Array:
    """Whether a result is at most two units in the last place off."""
    got, due = (
        ordered(a).astype(object if a.dtype.itemsize > 4 else np.int64) for a in (w.got, w.due)
    )
    return ((abs(got - due) <= 2).astype(bool)) & ~_nan_in(w) & ~isnan(w.got) & ~isnan(w.due)


# The kind of a value that no rival explains is the first that fits its input and result.
_FALLBACKS: tuple[tuple[str, str, str, Callable[[Wrong], Array]], ...] = (
    ("zero_sign", "a zero has the other sign", _SIGN, lambda w: w.only_sign),
    ("nan_lost", "a NaN is lost", _NAN, lambda w: _nan_lost(w) & ~isnan(w.got)),
    ("nan_cotangent", "a derivative where x is NaN is another number", _AT_NAN, _nan_x),
    (
        "kink", "its derivative at 0 is another number",
        f"pass {GRAD_AT_ZERO.name}=... {_CONVENTION}", _at_zero,
    ),
    (
        "ceiling_kink", "its derivative at the ceiling is another number",
        f"pass {GRAD_AT_CEILING.name}=... {_CONVENTION}", _at_ceiling,
    ),
    (
        "infinity", "an infinity is not computed right", _INF,
        lambda w: _any(_infinite, w, w.got) | isnan(w.got),
    ),
    ("subnormal_flush", "a subnormal is not computed right", _FLUSH, lambda w: _any(subnormal, w)),
    ("double_rounding", "a result is off in its last places", _ONCE, _nearly),
    ("other", "", _OTHER, lambda w: np.ones(w.due.shape, bool)),
)  # fmt: skip
