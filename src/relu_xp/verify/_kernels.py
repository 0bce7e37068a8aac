"""Checks any function of arrays, of any library, against the definition."""

import math
import numbers
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

import relu_xp
from relu_xp import _checks, _dtypes, _survey
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._survey import Target
from relu_xp.verify import _cases as data
from relu_xp.verify._calls import POISON, WIDEST, Outcome, Pair, Trouble, View, Worker, call
from relu_xp.verify._cases import Case
from relu_xp.verify._engine import lacks, lacks_view, shown
from relu_xp.verify._exceptions import deviations
from relu_xp.verify._expected import (
    Array,
    DType,
    bits,
    expected,
    isnan,
    rounded,
    same_bits,
    widened,
)
from relu_xp.verify._faults import KINDS, Cause, Wrong, causes, smallest_normal, subnormal

ALL, CHUNK = 1 << 32, data.CHUNK  # float32 patterns: how many there are, and how many a call has
LONG = (1 << 20) + 3  # elements of one long call: a grid may be too small for it
FIRST = (1, 100)  # arrays begin at these elements of `signs`: a negative number, and 3
SOME = 256  # so many wrong values are tried again in place of many more
SHOWN = 3  # so many faults, and notes, are printed in full
WIDTH = 80  # columns of a report

_SELF = "relu_xp.verify.check"
_PROMISES = {
    "zero_signs": "zeros of the other sign were accepted",
    "subnormals": "values with a subnormal left out",
    "nan": "values with a NaN left out",
}
_WRITE_ALL = "write every element: is a tail left out, the grid too small, or one written twice?"
_STRIDES = "read x by its strides, or copy it first"


@dataclass(frozen=True)
class Fault:
    """One kind of fault of a kernel, over all that was compared.

    Attributes
    ----------
    kind : str
        Such as ``"nan_lost"``: see :doc:`kernels`.
    count : int
        How many values show it.
    example : str
        The smallest input that shows it, its result and the expected result, with their bits.
    advice : str
        What to do about it.
    name : str
        What the kernel does in most of these values.
    """

    kind: str
    count: int
    example: str
    advice: str
    name: str


@dataclass(frozen=True)
class Report:
    """The result of `check`. Printed, it fits a screen.

    Its property ``passed`` says whether values were compared, and none differed.

    Attributes
    ----------
    values : int
        How many results were compared.
    faults : list of Fault
        One for each kind. Faults that can hide others come first.
    left_out : dict of str
        What was not compared, with the reason.
    excepted : dict of int
        Known exceptions of the library itself. They are not faults of the kernel.
    """

    function: str
    scalars: dict[str, float]
    library: str
    device: str
    dtypes: list[str]
    values: int
    faults: list[Fault] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    excepted: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether values were compared, and none differed."""
        return self.values > 0 and not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dicts, lists, strings and numbers, ready for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def __str__(self) -> str:
        lines = textwrap.wrap(f"{self._title()}: {self._verdict()}", WIDTH)
        for fault in self.faults[:SHOWN]:
            lines.append(_line(f"{fault.kind}, {fault.count:,} values: {fault.name}"))
            lines += [*_indented(fault.example), *_indented(fault.advice)]
        if more := self.faults[SHOWN:]:
            lines += textwrap.wrap(
                f"and {', '.join(f'{each.kind} ({each.count:,})' for each in more)}", WIDTH
            )
        notes = self.left_out | {
            name: f"{count:,} values, a known exception" for name, count in self.excepted.items()
        }
        told = [_line(f"{name}: {reason}") for name, reason in notes.items()]
        cut = [f"and {len(told) - SHOWN} more notes"] if len(told) > SHOWN else []
        return "\n".join([*lines, *told[:SHOWN], *cut])

    def _title(self) -> str:
        scalars = ", ".join(f"{name}={value!r}" for name, value in self.scalars.items())
        where = f"{self.library} on {self.device}" if self.device else self.library
        return f"{self.function}({scalars}), {where}, {', '.join(self.dtypes) or 'no dtype'}"

    def _verdict(self) -> str:
        if self.faults:
            kinds = (
                f"{len(self.faults)} kinds of faults"
                if len(self.faults) > 1
                else "one kind of fault"
            )
            return f"{kinds}, {self.values:,} values compared."
        return (
            f"{self.values:,} values equal the definition."
            if self.values
            else "nothing was compared."
        )


def _line(text: str) -> str:
    return textwrap.shorten(text, WIDTH, placeholder=" ...")


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", max_lines=2, placeholder=" ..."
    )


def check(
    f: Callable[..., Any],
    function: str,
    *,
    library: Any = "numpy",
    device: str | None = None,
    dtypes: Any = None,
    layouts: bool = False,
    exhaustive: bool = False,
    zero_signs: bool = True,
    subnormals: bool = True,
    nan: bool = True,
    timeout: float | None = 60.0,
    **scalars: float,
) -> Report:
    """Compare any function of arrays with the definition, and name its faults.

    Parameters
    ----------
    f : callable
        ``f(x)``, or ``f(x, g)`` with the cotangent g for a VJP. It must return a new array with the
        library, dtype and shape of x.
    function : str
        The function of `relu_xp` that f should compute, such as ``"leaky_relu_vjp"``.
    library : str or pair of callables
        The library whose arrays f takes, such as ``"torch"``. Or two functions: the first makes
        such an array from a NumPy array, and the second makes a NumPy array from it.
    device : str, optional
        One of the library's devices. The default is its first.
    dtypes : str or sequence of str, optional
        The default is float16, bfloat16, float32 and float64, as far as the library has them.
    layouts : bool
        Also pass strided, reversed, transposed and 0-d arrays.
    exhaustive : bool
        Also pass all 2**32 values of float32. This takes minutes.
    zero_signs, subnormals, nan : bool
        False accepts zeros of either sign, or skips subnormal numbers, or NaN, if the kernel does
        not promise them.
    timeout : float or None
        How many seconds a call may take. The call runs in a thread of its own, which is abandoned
        if f hangs. With None it runs in the thread of the caller, without a limit.
    **scalars : float
        The numbers that f uses, such as ``negative_slope=0.2``. The others are the defaults of the
        function.

    Returns
    -------
    Report
        Whether f passed, and its faults. If f raises an error, or returns nonsense, this is a fault
        too.

    Raises
    ------
    ValueError, TypeError
        If there is no such function, library, device, dtype or scalar.

    Examples
    --------
    >>> import numpy as np
    >>> from relu_xp.verify import check
    >>> report = check(lambda x: np.where(x > 0, x, x.dtype.type(0)), "relu", dtypes="float32")
    >>> report.passed
    False
    >>> print(report)
    relu(grad_at_zero=1.0), numpy on cpu, float32: one kind of fault, 2,673,077
    values compared.
    nan_lost, 85,024 values: a NaN gives 0
      float32: f(nan (0x7fc00000)) gives 0.0 (0x00000000), expected nan
      test with isnan, or select so that NaN falls to x: max and comparisons lose it
    """
    options = {"dtypes": dtypes, "layouts": layouts, "exhaustive": exhaustive, "timeout": timeout}
    promised = {"zero_signs": zero_signs, "subnormals": subnormals, "nan": nan}
    checking = Checking(f, function, library, device, scalars, promised, **options)
    for _ in checking.steps():
        pass
    return checking.report()


def assert_computes(f: Callable[..., Any], function: str, **options: Any) -> Report:
    """Do what `check` does, and raise an error if there is a fault: for a test.

    Parameters
    ----------
    f, function, **options
        As for `check`.

    Returns
    -------
    Report
        The report of a kernel that passed.

    Raises
    ------
    AssertionError
        If there is a fault. The message is the report.

    Examples
    --------
    >>> import numpy as np
    >>> from relu_xp.verify import assert_computes
    >>> assert_computes(lambda x: np.where(x <= 0, x.dtype.type(0), x), "relu").passed
    True
    """
    report = check(f, function, **options)
    if not report.passed:
        raise AssertionError(str(report))  # also under python -O
    return report


class Checking:
    """A check in progress: `steps` runs it, `report` says what has been found so far."""

    def __init__(
        self,
        f: Callable[..., Any],
        function: str,
        library: Any,
        device: str | None,
        scalars: dict[str, Any],
        promised: dict[str, bool],
        *,
        dtypes: Any,
        layouts: bool,
        exhaustive: bool,
        timeout: float | None,
    ) -> None:
        if not callable(f):
            raise _error(TypeError, f"f must be a function of arrays, got {type(f).__name__}")
        if timeout is not None and not isinstance(timeout, numbers.Real):
            raise _error(
                TypeError,
                f"timeout must be a number of seconds, or None, got {type(timeout).__name__}",
            )
        if timeout is not None and not timeout > 0:
            raise _error(ValueError, f"timeout must be above 0, or None, got {timeout}")
        self.f, self.function, self.timeout = f, _function(function), timeout
        self.target = _target(library, device)
        self.scalars = _scalars(self.function, scalars)
        self.few = data.is_slow(self.target.name)
        self.lengths = data.FEW_LENGTHS if self.few else data.LENGTHS
        self.layouts = data.LAYOUTS if layouts else ()
        self.unpromised = [name for name, kept in promised.items() if not kept]
        self.dismissed = Counter(dict.fromkeys(self.unpromised, 0))
        self.values, self.left_out, self.excepted = 0, dict[str, str](), Counter[str]()
        self.found: dict[str, _Found] = {}
        self._earlier: Outcome | None = None
        self.dtypes = list(self._usable(dtypes))
        self.chunks = range(0, ALL * exhaustive, CHUNK)
        if exhaustive and "float32" not in [dtype.name for dtype in self.dtypes]:
            raise _error(
                ValueError, "exhaustive is about float32: name it in dtypes, or leave dtypes out"
            )

    def _usable(self, names: Any) -> Iterator[DType]:
        """The dtypes asked for; or all floats that the library has and the scalars fit into."""
        known = {dtype.name: dtype for dtype in data.dtypes()}
        wanted = _dtype_names(names)
        for name in wanted or data.FLOATS:
            reason = (
                lacks(self.target, known[name]) if name in known else "ml_dtypes is not installed"
            )
            if reason and wanted:
                raise _error(ValueError, f"{self.target.name} has no {name}: {reason}")
            try:
                if not reason:
                    one = np.ones(1, known[name])
                    getattr(relu_xp, self.function.name)(
                        *(one for _ in self.function.arrays), **self.scalars
                    )
            except (TypeError, ValueError) as error:  # a scalar does not fit, as its message says
                if wanted:
                    raise
                reason = str(error)
            if reason:
                self.left_out[name] = reason
            else:
                yield known[name]

    @property
    def total(self) -> int:
        """How many steps there are."""
        return sum(
            1 + len(self._lengths(dtype)) + len(self.layouts) for dtype in self.dtypes
        ) + len(self.chunks)

    def steps(self) -> Iterator[None]:
        """Make one call after the other."""
        self._worker = Worker()
        try:
            for dtype in self.dtypes:
                yield from self._of(dtype)
            for start in self.chunks:
                self._sweep(start)
                yield
        except TimeoutError:
            self.left_out["the rest"] = "it did not return"
        finally:
            self._worker.close()

    def report(self) -> Report:
        """What has been found."""
        return Report(
            function=self.function.name,
            scalars=self.scalars,
            library=self.target.name,
            device=self.target.where,
            dtypes=[dtype.name for dtype in self.dtypes],
            values=self.values,
            faults=[self.found[kind].fault(kind) for kind in KINDS if kind in self.found],
            left_out=self.left_out
            | {
                f"{name}=False": f"{count:,} {_PROMISES[name]}"
                for name, count in self.dismissed.items()
            },
            excepted=dict(+self.excepted),
        )

    def _of(self, dtype: DType) -> Iterator[None]:
        given = tuple(self.scalars[each.name] for each in self.function.parameters)
        arrays = data.values(Case(self.function, dtype, given, data.VALUES))
        known = np.empty(0, int)
        for shift in (False, True)[: 1 + (not self.few)]:
            if (wrong := self._hold(arrays, shift=shift)) is not None:
                new = wrong.of(np.isin(wrong.places, known, invert=True))
                known = wrong.places
                self._name(arrays, new, shift)
        yield
        if dtype.kind in "iu":
            return
        same, count = (_SameInputs(), _SameInputs()), len(self.function.arrays)
        yield from self._of_lengths(dtype, same)
        for layout in self.layouts:
            if reason := lacks_view(self.target, layout, dtype):
                self.left_out[str(layout)] = reason
            else:
                whole = data.signs(dtype, data.ROWS * data.COLUMNS).reshape(data.ROWS, data.COLUMNS)
                both = (whole, whole[::-1])[:count]
                seen = tuple(np.asarray(layout.view(a)) for a in both)
                same[0].enter(seen, self._hold(both, layout.view, layout.name))
            yield
        for each in same:
            for wrong in each.misplaced():
                self._enter_misplaced(wrong)
            for wrong, counts in each.others():
                self._enter(wrong, counts)

    def _of_lengths(self, dtype: DType, same: "tuple[_SameInputs, _SameInputs]") -> Iterator[None]:
        """Two arrays of each length: other values come first, and the alignment is another."""
        lengths, count = self._lengths(dtype), len(self.function.arrays)
        memory = data.signs(dtype, lengths[-1] + max(FIRST) + 1)
        for n in lengths:
            for odd, first in enumerate(FIRST[: 1 if n in (0, LONG) else None]):
                some = (memory[first : first + n], memory[first + 1 : first + 1 + n])[:count]
                shift = not self.few and (n + odd) % 2 > 0
                same[shift].enter(some, self._hold(some, shift=shift))
            yield

    def _lengths(self, dtype: DType) -> tuple[int, ...]:
        """The lengths of arrays, the longest last."""
        return (*self.lengths, LONG) if dtype == np.float32 and not self.few else self.lengths

    def _name(self, arrays: tuple[Array, ...], wrong: "_Misses", shift: bool) -> None:
        """Enter wrong values, those apart whose inputs come right elsewhere in the array."""
        if wrong.places.size:
            misplaced = self._misplaced(arrays, wrong, shift)
            self._enter_misplaced(wrong.of(misplaced))
            self._enter(wrong.of(~misplaced))

    def _sweep(self, start: int) -> None:
        """Some of all 2**32 float32."""
        arrays = data.patterns32(self.function, start, CHUNK)
        if (wrong := self._hold(arrays)) is not None:
            self._enter(wrong)

    def _hold(
        self,
        arrays: tuple[Array, ...],
        view: View | None = None,
        layout: str = "",
        *,
        shift: bool = False,
    ) -> "_Misses | None":
        """Make a call and compare; return the wrong values, which are not named yet."""
        outcome, self._earlier = self._call(arrays, view, shift=shift), None
        seen = arrays if view is None else tuple(np.asarray(view(a)) for a in arrays)
        due = expected(self.function, seen, self.scalars)
        self.values += due.size
        where = layout or _elements(due.shape)
        if isinstance(outcome, Trouble):
            self._add_trouble(outcome, due, where)
            return None
        self._see_inputs(arrays, outcome, where)
        if trouble := _unlike(outcome.got, due):
            self._add_trouble(trouble, due, where)
            return None
        self._earlier = outcome
        return self._misses(seen, outcome.got, due, layout)

    def _call(
        self,
        arrays: tuple[Array, ...],
        view: View | None = None,
        *,
        shift: bool = False,
    ) -> Outcome | Trouble:
        def job() -> Outcome | Trouble:
            return call(self.target, self.f, arrays, view, shift=shift, earlier=self._earlier)

        try:
            return job() if self.timeout is None else self._worker.run(job, self.timeout)
        except TimeoutError:
            what, how = (
                f"no result in {self.timeout:g} seconds",
                "pass timeout=... if it takes longer",
            )
            self._add_trouble(Trouble("raised", what, how), arrays[0], _elements(arrays[0].shape))
            raise

    def _add_trouble(self, trouble: Trouble, due: Array, where: str) -> None:
        size = float(due.size or math.inf)  # an example with an empty array tells the least
        example = f"{due.dtype}, {where}: {trouble.name}"
        self._add(
            Cause(trouble.kind, trouble.name, trouble.advice, due),
            max(due.size, 1),
            (size,),
            example,
        )

    def _see_inputs(self, arrays: tuple[Array, ...], outcome: Outcome, where: str) -> None:
        """Enter writes to inputs or to an earlier result, and a result that is an input."""
        if outcome.overwrote:
            later = Trouble(
                "input_written",
                "a later call writes to its result",
                "give a new array in each call",
            )
            self._add_trouble(later, outcome.got, where)
        advice = "leave the inputs as they are, and give a new array"
        for name, before, after in zip(self.function.arrays, arrays, outcome.written, strict=True):
            if (
                before.shape == after.shape
                and (changed := np.flatnonzero(~same_bits(after, before))).size
            ):
                was, is_ = (shown(a.ravel()[changed[0]]) for a in (before, after))
                told = (
                    f"{before.dtype}, {where}: element {changed[0]} of {name} was {was}, is {is_}"
                )
                cause = Cause("input_written", f"{name} is written to", advice, before)
                self._add(cause, changed.size, (float(before.size),), told)
                return
        if outcome.shares and outcome.got.size:
            trouble = Trouble("input_written", "the result shares memory with an input", advice)
            self._add_trouble(trouble, outcome.got, where)

    def _misses(
        self, arrays: tuple[Array, ...], got: Array, due: Array, layout: str
    ) -> "_Misses | None":
        """The values that differ, except those not promised and known exceptions."""
        flat = tuple(a.ravel() for a in arrays)
        every = Wrong(
            self.function, flat, self.scalars, _untouched(got.ravel(), due.ravel()), due.ravel()
        )
        same = same_bits(every.got, every.due)
        places = np.flatnonzero(~same & ~self._not_promised(every, ~same))
        if not places.size:
            return None
        some = every.of(places)
        left = np.ones(places.size, bool)
        for each in deviations(self.target, due.dtype.name):
            explained = left & each.explains(
                self.function, some.arrays, self.scalars, some.got, some.due
            )
            self.excepted[each.name] += int(explained.sum())
            left &= ~explained
        return (
            _Misses(some.of(left), places[left], every.of(same), due.shape, layout)
            if left.any()
            else None
        )

    def _not_promised(self, every: Wrong, wrong: Array) -> Array:
        """Where the kernel promises nothing; such values do not count as compared, except zeros."""
        arrays, due = every.arrays, every.due
        none = np.zeros(due.shape, bool)
        for name in self.unpromised if due.dtype.kind not in "iu" else ():
            if name == "zero_signs":
                new = wrong & every.only_sign
            elif name == "nan":
                new = _any(isnan, (*arrays, due))
            else:
                scalars = (
                    np.asarray(self.scalars[each.name]).astype(due.dtype)
                    for each in self.function.scalars
                )
                new = _any(subnormal, (*arrays, due, *scalars)) | _rounded_up(arrays, due)
            new &= ~none
            self.dismissed[name] += int(new.sum())
            self.values -= int(new.sum()) * (name != "zero_signs")
            none |= new
        return none

    def _misplaced(self, arrays: tuple[Array, ...], wrong: "_Misses", shift: bool) -> Array:
        """Which wrong values come right at another place: then their place is at fault."""
        rest = np.setdiff1d(np.arange(arrays[0].size), wrong.places)
        right = np.zeros(wrong.places.size, bool)
        for before in (rest[:0], rest[: rest.size // 2]):
            order = np.concatenate([before, wrong.places, rest[before.size :]])
            here = slice(before.size, before.size + wrong.places.size)
            right |= self._right_in(arrays, order, shift)[here]
        left = wrong.places[~right]
        if right.any() and left.size:  # most may be unwritten: try some in place of all
            some = np.resize(left[:: -(-left.size // SOME)], 4 * SOME)
            right |= 2 * self._right_in(arrays, some, shift)[:SOME].sum() > SOME
        return right

    def _right_in(self, arrays: tuple[Array, ...], order: Array, shift: bool) -> Array:
        """Which elements come right in an array that has them in this order."""
        given = tuple(a[order] for a in arrays)
        outcome, due = self._call(given, shift=shift), expected(self.function, given, self.scalars)
        if isinstance(outcome, Trouble) or _unlike(outcome.got, due):
            return np.zeros(order.size, bool)
        return same_bits(outcome.got, due)

    def _enter_misplaced(self, wrong: "_Misses") -> None:
        """Enter values whose inputs came right elsewhere."""
        if wrong.places.size:
            kind, advice = ("other", _STRIDES) if wrong.layout else ("unwritten", _WRITE_ALL)
            every = np.ones(wrong.places.size, bool)
            cause = Cause(kind, "the same input comes right elsewhere in the array", advice, every)
            self._add(cause, wrong.places.size, *wrong.smallest(every, in_place=True))

    def _enter(self, wrong: "_Misses", counts: Array | None = None) -> None:
        """Name the faults of wrong values, and keep the smallest input of each kind."""
        for cause in causes(wrong.values, wrong.right):
            count = int(cause.where.sum() if counts is None else counts[cause.where].sum())
            self._add(cause, count, *wrong.smallest(cause.where, in_place=False))

    def _add(self, cause: Cause, count: int, size: tuple[float, ...], example: str) -> None:
        found = self.found.setdefault(cause.kind, _Found())
        found.count += count
        found.reasons[cause.name, cause.advice] += count
        if size < found.size:
            found.size, found.example = size, example


@dataclass
class _Found:
    """What has been found of one kind of fault."""

    count: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # name and advice
    size: tuple[float, ...] = (math.inf, math.inf)  # of the smallest input
    example: str = ""

    def fault(self, kind: str) -> Fault:
        ((name, advice), _), *_ = self.reasons.most_common(1)
        return Fault(kind, self.count, self.example, advice, name)


@dataclass(frozen=True)
class _Misses:
    """The values of one call that differ, with their places in the array."""

    values: Wrong
    places: Array
    right: Wrong  # the values of the call that do not differ
    shape: tuple[int, ...]
    layout: str  # the layout's name, if it is a special one

    def of(self, some: Array) -> "_Misses":
        """Choose some by a mask."""
        return replace(self, values=self.values.of(some), places=self.places[some])

    def smallest(self, where: Array, *, in_place: bool) -> tuple[tuple[float, ...], str]:
        """The simplest input of some; or the first place in the shortest array."""
        w, chosen = self.values, np.flatnonzero(where)
        simple = np.sum([_simplicity(a[chosen]) for a in w.arrays], axis=0)
        negative = np.sum([np.signbit(widened(a[chosen])) for a in w.arrays], axis=0)
        keys = (self.places[chosen],) if in_place else (simple, negative)
        best = np.lexsort(keys[::-1])[0]
        size = (float(math.prod(self.shape)),) if in_place else ()
        index = chosen[best]
        inputs = ", ".join(shown(a[index]) for a in w.arrays)
        told = f"f({inputs}) gives {_result(w.got[index])}, expected {_result(w.due[index])}"
        place = f", {self.layout or _elements(self.shape)}, element {self.places[index]}"
        return (
            *size,
            *(float(key[best]) for key in keys),
        ), f"{w.due.dtype}{place if in_place else ''}: {told}"


class _SameInputs:
    """Tells values that are wrong at any place from those that are wrong at their place only."""

    def __init__(self) -> None:
        self._wrong: list[_Misses] = []
        self._right: Array = np.empty(0, np.uint64)
        self._in_place: list[Array] = []

    def enter(self, arrays: tuple[Array, ...], wrong: _Misses | None) -> None:
        """Keep the inputs that came right, and the wrong values."""
        if wrong is None and arrays[0].size == LONG:  # shorter arrays have the same inputs
            return
        keys = _keys(arrays)
        if wrong is not None:
            self._wrong.append(wrong)
            keys = np.delete(keys, wrong.places)
        self._right = np.union1d(self._right, keys)

    def misplaced(self) -> Iterator[_Misses]:
        """Values that were wrong though the same inputs came right elsewhere, call by call."""
        self._in_place = [np.isin(_keys(each.values.arrays), self._right) for each in self._wrong]
        count = sum(int(each.sum()) for each in self._in_place)
        # If most are, the inputs of the others may just never have been at a right place.
        if 2 * count > sum(each.places.size for each in self._wrong):
            self._in_place = [np.ones_like(each) for each in self._in_place]
        for each, where in zip(self._wrong, self._in_place, strict=True):
            yield each.of(where)

    def others(self) -> Iterator[tuple[_Misses, Array]]:
        """The other wrong values: each input once, with a count."""
        parts = [
            each.of(~where).values for each, where in zip(self._wrong, self._in_place, strict=True)
        ]
        if parts:
            values = Wrong.joined(parts)
            _, first, counts = np.unique(
                _keys(values.arrays), return_index=True, return_counts=True
            )
            longest = max(self._wrong, key=lambda each: each.right.due.size)
            yield replace(longest, values=values.of(first), places=first), counts


def _keys(arrays: tuple[Array, ...]) -> Array:
    """A hash of each element's input."""
    keys: Array = np.zeros(arrays[0].size, np.uint64)
    for a in arrays:
        keys = (keys ^ bits(a).ravel().astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        keys = (keys ^ (keys >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(29)
    return keys


def _result(element: Any) -> str:
    """An element with its bits; a NaN without, since its bits are not promised."""
    return "nan" if element != element else shown(element)


def _simplicity(array: Array) -> Array:
    """The bits that a number needs plus its exponent's distance; zeros 3, infinities 4, NaN 5."""
    wide = widened(array)
    usual = np.isfinite(wide) & (wide != 0)
    mantissa, exponent = np.frexp(np.where(usual, wide, 1.0))
    whole = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    needed = 54 - np.frexp((whole & -whole).astype(np.float64))[1]
    unusual = (
        5 + (bits(array) != bits(rounded(np.nan, array.dtype)))
        if array.dtype.kind not in "iu"
        else 0
    )
    return np.where(
        usual,
        needed + np.abs(exponent - 1),
        np.where(wide == 0, 3, np.where(np.isnan(wide), unusual, 4)),
    )


def _rounded_up(arrays: tuple[Array, ...], due: Array) -> Array:
    """Where a product may have been rounded up to the smallest normal number."""
    at = np.abs(widened(due)) == smallest_normal(due.dtype)
    return at & ~_any(lambda a: np.abs(widened(a)) == np.abs(widened(due)), arrays)


def _any(test: Callable[[Array], Array], arrays: tuple[Array, ...]) -> Array:
    result: Array = np.logical_or.reduce(
        [np.broadcast_to(test(a), arrays[0].shape) for a in arrays]
    )
    return result


def _untouched(got: Array, due: Array) -> Array:
    """Put the poison back where an allocator wrote its own pointers over unwritten memory."""
    if got.dtype.kind in "iu":
        return got
    poison = rounded(POISON, got.dtype)
    if 2 * np.count_nonzero(bits(got) == bits(poison)) <= got.size:
        return got
    pointers = (np.arange(got.size) < WIDEST // got.dtype.itemsize) & ~same_bits(got, due)
    return np.where(pointers, poison, got)


def _unlike(got: Array, due: Array) -> Trouble | None:
    """What is wrong with a result's shape or dtype, if anything."""
    if got.shape != due.shape:
        return Trouble(
            "wrong_shape", f"of shape {due.shape} it gives {got.shape}", "give the shape of x"
        )
    if got.dtype != due.dtype:
        return Trouble("wrong_dtype", f"of {due.dtype} it gives {got.dtype}", "give the dtype of x")
    return None


def _elements(shape: tuple[int, ...]) -> str:
    n = math.prod(shape)
    return f"{n:,} element{'s' * (n != 1)}" if n else "an empty array"


def _error(kind: type[Exception], message: str) -> Exception:
    return kind(f"{_SELF}: {message}")


def _function(name: Any) -> Function:
    if isinstance(name, str) and name in FUNCTIONS:
        return FUNCTIONS[name]
    raise _error(ValueError, f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}")


def _scalars(function: Function, given: dict[str, Any]) -> dict[str, float]:
    """All scalars of the function, as floats."""
    known = {each.name: each.default for each in function.parameters}
    if unknown := given.keys() - known.keys():
        takes = ", ".join(known) or "no scalars"
        raise _error(TypeError, f"{function} takes {takes}, got {', '.join(sorted(unknown))}")
    return known | {
        name: float(_checks.real(function, name, value)) for name, value in given.items()
    }


def _dtype_names(names: Any) -> list[str]:
    """The names of the dtypes asked for, each once."""
    each = (
        [*names]
        if isinstance(names, list | tuple | set | frozenset)
        else [names] * (names is not None)
    )
    found = [np.dtype(name).name if isinstance(name, type) else _dtypes.name(name) for name in each]
    if unknown := [name for name in found if name not in data.DTYPES]:
        raise _error(
            ValueError, f"there is no dtype {unknown[0]!r}; there are {', '.join(data.DTYPES)}"
        )
    return list(dict.fromkeys(found))


def _target(library: Any, device: str | None) -> Target:
    """Where the arrays come from: a backend, on a device; or two functions."""
    if isinstance(library, tuple | list) and len(library) == 2 and all(map(callable, library)):
        return Target("a pair of functions", Pair(*library), "")
    if not isinstance(library, str):
        raise _error(
            TypeError, f"library must be a name, or two functions (put, get), got {library!r}"
        )
    found = list(_survey.of(library))
    here = [each for each in found if isinstance(each, Target)]
    reasons = [each.reason for each in found if not isinstance(each, Target)]
    for each in here:
        if device is None or f"{each.where}:".lower().startswith(f"{device}:".lower()):
            return each
    if here:
        raise _error(
            ValueError,
            f"{library} is on {', '.join(each.where for each in here)} here, not on {device!r}",
        )
    none = f"no such library; there are {', '.join(_survey.names())}"
    raise _error(ValueError, f"library {library!r}: {', '.join(reasons) or none}")
