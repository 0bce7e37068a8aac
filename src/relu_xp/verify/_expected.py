"""Expected values: the scalar definition, each operation rounded once, without a backend's code.

For types of 8 bits the definition is run value by value. For wider ones its paths are used: the
definition is run on symbols, which record what it compares and computes, once for each path through
its `if`s; then each path is evaluated for all elements at once. Elements are compared as integers,
by their bits. Products are binary64's, which are exact for narrower types; for types of 8 or 16
bits, a search among all their values rounds them. The tests compare both ways.
"""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from relu_xp import reference
from relu_xp._functions import Function

T = TypeVar("T")
Array = np.ndarray[Any, Any]
DType = np.dtype[Any]
Scalars = Mapping[str, Any]  # numbers by name, or arrays that broadcast to x
# ("input", name), ("constant", value in hex), or an operation: ("mul", one, other).
Expression = tuple[Any, ...]
Condition = tuple[str, Expression, Expression]
Run = dict[Condition, bool]  # the comparisons of one run, with their answers
Path = tuple[Run, Expression]  # a run and its result

_COMPARISONS = {
    each.__name__: each
    for each in (operator.lt, operator.le, operator.eq, operator.ne, operator.ge, operator.gt)
}
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
}


def expected(function: Function, arrays: tuple[Array, ...], scalars: Scalars) -> Array:
    """What the definition gives for these arrays, in their dtype; more scalars may be given."""
    dtype = arrays[0].dtype
    values = dict(zip(function.arrays, arrays, strict=True))
    with np.errstate(all="ignore"):
        values |= {each.name: rounded(scalars[each.name], dtype) for each in function.scalars}
        if dtype.kind in "iu" or dtype.itemsize > 1 or not _rounds_once(function):
            return _by_paths(function, values)
        return _by_definition(function, values)


def same_bits(got: Array, want: Array) -> Array:
    """Where elements are alike to the bit, zero signs included; NaN equals NaN."""
    return (bits(got) == bits(want)) | (isnan(got) & isnan(want))


def isnan(array: Array) -> Array:
    """Like numpy.isnan, for ml_dtypes and integers too, without a warning."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 1:
        return np.isnan(array)
    if array.dtype.kind in "iu":
        return np.zeros(array.shape, bool)
    return np.isnan(widened(array))


def widened(array: Array) -> Array:
    """In binary64, exactly; signalling NaNs without a warning."""
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64)


def patterns(dtype: DType) -> Array:
    """Every bit pattern of a type of 8 or 16 bits."""
    return np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}").view(dtype)


def rounded(values: Any, dtype: DType) -> Array:
    """Binary64 values to the nearest of dtype, ties to the even pattern."""
    values = np.asarray(values, np.float64)
    if dtype.itemsize > 2:
        return values.astype(dtype)  # to binary32 or binary64, by the processor
    known, pattern = _nonnegative(dtype)
    size = np.abs(values)
    above = np.clip(np.searchsorted(known, size), 1, len(known) - 1)
    low, high = known[above - 1], known[above]
    up = (size - low > high - size) | ((size - low == high - size) & (pattern[above] % 2 == 0))
    nearest = np.where(up, high, low)
    beyond = known[-1] + (known[-1] - known[-2]) / 2  # half a step past the largest number
    nearest = np.where(size >= beyond, np.inf, np.where(np.isnan(size), np.nan, nearest))
    return np.copysign(nearest, values).astype(dtype)


@functools.cache
def _nonnegative(dtype: DType) -> tuple[Array, Array]:
    """All finite values of a small type that are not negative, in order, and their patterns."""
    wide = widened(patterns(dtype))
    keep = np.flatnonzero(np.isfinite(wide) & ~np.signbit(wide))
    return wide[keep], keep


def bits(array: Array) -> Array:
    """The elements' bits, as unsigned integers."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def _by_definition(function: Function, values: dict[str, Array]) -> Array:
    """Run the definition on one element after the other."""
    x, scalars = values["x"], [each.name for each in function.scalars]
    fixed = {name: float(values[name]) for name in scalars if not values[name].ndim}
    varied = [name for name in scalars if name not in fixed]
    columns = [
        np.broadcast_to(widened(values[name]), x.shape).ravel().tolist()
        for name in (*function.arrays, *varied)
    ]
    define = functools.partial(getattr(reference, function.name), **fixed)
    count = len(function.arrays)
    rows = zip(*columns, strict=True)
    if varied:
        results = [
            define(*row[:count], **dict(zip(varied, row[count:], strict=True))) for row in rows
        ]
    else:
        results = [define(*row) for row in rows]
    return rounded(results, x.dtype).reshape(x.shape)


class Term:
    """A symbol in the place of a number; a comparison's answer is its run's, or else yes."""

    __slots__ = ("expression", "run")
    __hash__ = __bool__ = None  # type: ignore[assignment]

    def __init__(self, expression: Expression, run: Run) -> None:
        self.expression, self.run = expression, run


def _ask(symbol: str, a: Term, b: Any) -> bool:
    return a.run.setdefault((symbol, a.expression, expression_of(b)), True)


def _combine(symbol: str, a: Any, b: Any) -> Term:
    run = (a if isinstance(a, Term) else b).run
    return Term((symbol, expression_of(a), expression_of(b)), run)


def expression_of(value: Any) -> Expression:
    return value.expression if isinstance(value, Term) else ("constant", float(value).hex())


for _symbol in _COMPARISONS:
    setattr(
        Term,
        f"__{_symbol}__",
        functools.partialmethod(lambda a, symbol, b: _ask(symbol, a, b), _symbol),
    )
for _symbol in _OPERATIONS:
    setattr(
        Term,
        f"__{_symbol}__",
        functools.partialmethod(lambda a, symbol, b: _combine(symbol, a, b), _symbol),
    )
    setattr(
        Term,
        f"__r{_symbol}__",
        functools.partialmethod(lambda a, symbol, b: _combine(symbol, b, a), _symbol),
    )


def ways(follow: Callable[[Run], T]) -> list[tuple[Run, T]]:
    """Every way through a program that is run on terms: its run and its result."""
    found, scripts = list[tuple[Run, T]](), [Run()]
    while scripts:
        run = scripts.pop()
        given = len(run)
        found.append((run, follow(run)))
        answers = [*run.items()]
        # Still to be followed: the other answer to each comparison that this run met first.
        scripts += [
            dict([*answers[:i], (answers[i][0], False)]) for i in range(given, len(answers))
        ]
    return found


@functools.cache
def paths(function: Function) -> tuple[Path, ...]:
    """Every way through the definition."""
    define = getattr(reference, function.name)

    def follow(run: Run) -> Expression:
        arrays = [Term(("input", name), run) for name in function.arrays]
        scalars = {each.name: Term(("input", each.name), run) for each in function.scalars}
        return expression_of(define(*arrays, **scalars))

    return tuple(ways(follow))


def _rounds_once(function: Function) -> bool:
    """Whether no operation's result enters another: then rounding binary64's result is enough."""
    return all(
        part[0] in ("input", "constant")
        for _, result in paths(function)
        for part in result[1:]
        if isinstance(part, tuple)
    )


def _by_paths(function: Function, values: dict[str, Array]) -> Array:
    """Evaluate the path that each element takes."""
    x = values["x"]
    evaluation = _Evaluation(values, x.dtype)
    result = np.zeros(x.shape, f"u{x.dtype.itemsize}")
    for run, expression in paths(function):
        taken: Any = True
        for condition, answer in run.items():
            holds = evaluation.holds(condition)
            taken = taken & (holds if answer else ~holds)
        if np.any(taken):
            np.copyto(result, bits(evaluation.value(expression)), where=taken)
    return result.view(x.dtype)


class _Evaluation:
    """Expressions and conditions for all elements, each computed once.

    A class, not closures: closures that call each other are a reference cycle, which would keep the
    arrays until a garbage collection.
    """

    def __init__(self, inputs: Mapping[str, Array], dtype: DType) -> None:
        self._inputs, self._dtype = inputs, dtype
        self._values: dict[Expression, Array] = {}
        self._compared: dict[Expression, tuple[Array, Array]] = {}
        self._held: dict[Condition, Array] = {}

    def value(self, expression: Expression) -> Array:
        """The expression's values, in the dtype."""
        if expression not in self._values:
            self._values[expression] = self._computed(*expression)
        return self._values[expression]

    def _computed(self, kind: str, *of: Any) -> Array:
        if kind == "input":
            return self._inputs[of[0]]
        if kind == "constant":
            return np.array(float.fromhex(of[0])).astype(self._dtype)
        operands = (widened(self.value(each)) for each in of)
        return rounded(_OPERATIONS[kind](*operands), self._dtype)

    def holds(self, condition: Condition) -> Array:
        """Where the condition is true."""
        if condition not in self._held:
            symbol, *both = condition
            (a, a_is_nan), (b, b_is_nan) = map(self._as_ordered, both)
            unordered, result = a_is_nan | b_is_nan, _COMPARISONS[symbol](a, b)
            self._held[condition] = result | unordered if symbol == "ne" else result & ~unordered
        return self._held[condition]

    def _as_ordered(self, expression: Expression) -> tuple[Array, Array]:
        if expression not in self._compared:
            value = self.value(expression)
            self._compared[expression] = ordered(value), isnan(value)
        return self._compared[expression]


def ordered(array: Array) -> Array:
    """Integers in the order of the numbers, both zeros 0."""
    if array.dtype.kind in "iu":
        return array
    if array.dtype.itemsize == 1:  # not every such type has its sign in the first bit
        return widened(array)
    signed = bits(array).view(f"i{array.dtype.itemsize}")
    return np.where(signed < 0, np.iinfo(signed.dtype).min - signed, signed)
