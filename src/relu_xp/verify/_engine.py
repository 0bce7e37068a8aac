"""Runs the cases on a backend's device and compares bits: for the verifier, and for the tests."""

import importlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

import relu_xp
from relu_xp._dispatch import owner
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._survey import Target, first_line
from relu_xp.verify import _cases as data
from relu_xp.verify._autodiff import Mode, derivatives
from relu_xp.verify._cases import Case
from relu_xp.verify._exceptions import deviations
from relu_xp.verify._expected import Array, DType, Scalars, expected, same_bits
from relu_xp.verify._refusals import accepted

SHOWN = 5  # examples that a tally keeps


@dataclass(frozen=True)
class Mismatch:
    """One wrong element: its case, its place, its inputs and its bits."""

    case: str
    index: int
    inputs: tuple[str, ...]
    got: str
    want: str

    def __str__(self) -> str:
        """One line."""
        where = f"{self.case}, element {self.index}: of {', '.join(self.inputs)}"
        return f"{where} got {self.got}, want {self.want}"


@dataclass
class Tally:
    """The result of `assert_conforms` for one device and one dtype."""

    cases: int = 0
    values: int = 0
    seconds: float = 0.0
    mismatches: int = 0
    excepted: dict[str, int] = field(default_factory=dict)
    examples: list[Mismatch] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One call: its arrays as NumPy's, its scalars, the expected result, and how to make it."""

    arrays: tuple[Array, ...]
    scalars: Scalars
    want: Array
    call: Callable[[Target], Array]


def run(target: Target, case: Case, tally: Tally, *, few: bool = False) -> None:
    """Make every check of a case, and enter what differs."""
    begin = time.perf_counter()
    _make(target, case, checks(case, few=few), tally)
    tally.seconds += time.perf_counter() - begin


def differentiate(
    target: Target, dtype: DType, functions: Iterable[Function], tally: Tally
) -> None:
    """Make every check of the derivatives and programs that a library makes, if any."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some libraries warn of their own older modes
        for case, arrays, want, call in derivatives(target, dtype, functions):
            _make(target, case, [Check(arrays, case.scalars, want, call)], tally)
    tally.seconds += time.perf_counter() - begin


def _make(target: Target, case: Case, checks: Iterable[Check], tally: Tally) -> None:
    tally.cases += 1
    for check in checks:
        try:
            with np.errstate(all="ignore"):
                got = check.call(target)
        except Exception as error:  # a backend may break in any way
            tally.values += check.want.size
            tally.mismatches += max(check.want.size, 1)
            _keep(tally, Mismatch(str(case), 0, (), first_line(error), "a result"))
        else:
            compare(target, case, check, got, tally)


def checks(case: Case, *, few: bool = False) -> Iterator[Check]:
    """The calls that a case consists of."""
    if case.kind == data.VALUES:
        yield _check(case, data.values(case))
    elif case.kind == data.EACH_LENGTH:
        yield from _of_lengths(case, data.FEW_LENGTHS if few else data.LENGTHS)
    elif isinstance(case.kind, data.Layout):
        yield _of_layout(case, case.kind.view)
    elif isinstance(case.kind, data.Overlap):
        yield _of_overlap(case, case.kind.distance)
    elif isinstance(case.kind, data.InPlaceOfScalar):
        yield _of_array_for_scalar(case, case.kind)


def _of_lengths(case: Case, lengths: Iterable[int]) -> Iterator[Check]:
    """Arrays of each length, which do not begin where an allocation begins."""
    memory = data.signs(case.dtype, max(lengths) + 2)
    arrays = (memory[1:-1], memory[2:])[: len(case.function.arrays)]
    want = expected(case.function, arrays, case.scalars)
    for n in lengths:
        yield _check(case, tuple(a[:n] for a in arrays), want=want[:n])


def _of_layout(case: Case, view: Callable[[Any], Any]) -> Check:
    """The library's own view of its array."""
    whole = _square(case.dtype)
    both = (whole, whole[::-1])[: len(case.function.arrays)]
    arrays = tuple(np.asarray(view(a)) for a in both)

    def make(target: Target) -> Array:
        return call(target, case, *(view(target.put(a)) for a in both))

    return Check(arrays, case.scalars, expected(case.function, arrays, case.scalars), make)


def _of_overlap(case: Case, distance: int) -> Check:
    """The result is written so many elements from where x begins."""
    margin = data.MARGIN
    memory = data.signs(case.dtype, 1000 + 2 * margin)
    x = memory[margin:-margin]
    arrays = (x, x[::-1])[: len(case.function.arrays)]

    def make(target: Target) -> Array:
        held = target.put(memory.copy())
        given, begin = held[margin:-margin], margin + distance
        out = given if distance == 0 else held[begin : begin + len(x)]
        result = call(target, case, given, *map(target.put, arrays[1:]), out=out)
        written = target.get(out)
        return result if same_bits(result, written).all() else written

    return Check(arrays, case.scalars, expected(case.function, arrays, case.scalars), make)


def _of_array_for_scalar(case: Case, kind: data.InPlaceOfScalar) -> Check:
    values = data.sample(case.dtype)
    mixed = np.random.default_rng(1).permutation(values)
    whole = np.resize(values, (data.ROWS, data.COLUMNS))
    arrays = (whole, _square(case.dtype))[: len(case.function.arrays)]
    return _check(case, arrays, {kind.scalar.name: np.resize(mixed, kind.shape)})


def _square(dtype: DType) -> Array:
    return data.signs(dtype, data.ROWS * data.COLUMNS).reshape(data.ROWS, data.COLUMNS)


def _check(
    case: Case,
    arrays: tuple[Array, ...],
    changed: Scalars | None = None,
    *,
    want: Array | None = None,
) -> Check:
    """A call on arrays as they are, with arrays for some scalars."""
    changed = changed or {}
    scalars = {**case.scalars, **changed}

    def make(target: Target) -> Array:
        held = {name: target.put(a) for name, a in changed.items()}
        return call(target, case, *map(target.put, arrays), **held)

    if want is None:
        want = expected(case.function, arrays, scalars)
    return Check(arrays, scalars, want, make)


def call(target: Target, case: Case, *arrays: Any, **options: Any) -> Array:
    """Call the public function at a target, on its own arrays, and bring the result to the host."""
    return np.asarray(
        target.get(getattr(relu_xp, case.function.name)(*arrays, **case.scalars | options))
    )


def compare(target: Target, case: Case, check: Check, got: Array, tally: Tally) -> None:
    """Count the elements that differ; apart from them, those that a known deviation explains."""
    want = check.want
    tally.values += want.size
    if got.dtype != want.dtype or got.shape != want.shape:
        tally.mismatches += max(want.size, 1)
        given, wanted = (f"{a.dtype}{list(a.shape)}" for a in (got, want))
        _keep(tally, Mismatch(str(case), 0, (), given, wanted))
        return
    wrong = np.flatnonzero(~same_bits(got, want))
    if not wrong.size:
        return

    def some(a: Any) -> Any:
        return np.broadcast_to(a, want.shape).ravel()[wrong] if isinstance(a, np.ndarray) else a

    arrays = tuple(map(some, check.arrays))
    scalars = {name: some(value) for name, value in check.scalars.items()}
    got, want = some(got), some(want)
    left = np.ones(wrong.size, bool)
    runtime = case.kind.runtime if isinstance(case.kind, Mode) else ""
    for each in deviations(target, case.dtype.name, runtime):
        explained = left & each.explains(case.function, arrays, scalars, got, want)
        tally.excepted[each.name] = tally.excepted.get(each.name, 0) + int(explained.sum())
        left &= ~explained
    tally.mismatches += int(left.sum())
    inputs = (*arrays, *(value for value in scalars.values() if isinstance(value, np.ndarray)))
    for i in np.flatnonzero(left)[:SHOWN]:
        elements = tuple(shown(a[i]) for a in inputs)
        _keep(tally, Mismatch(str(case), int(wrong[i]), elements, shown(got[i]), shown(want[i])))


def lacks(target: Target, dtype: DType) -> str:
    """Say why the library can't compute with the dtype; nothing if it can."""
    if reason := data.LACKING.get((target.device, dtype.name)):
        return reason
    try:
        back = target.get(target.put(np.zeros(2, dtype)))
    except Exception as error:  # each library has an error of its own
        return first_line(error)
    return "" if back.dtype == dtype else f"becomes {back.dtype}"


def lacks_view(target: Target, layout: data.Layout, dtype: DType) -> str:
    """Say why the library has no such view of an array; nothing if it has it."""
    whole, view = _square(dtype), layout.view
    try:
        got, want = np.asarray(target.get(view(target.put(whole)))), np.asarray(view(whole))
    except Exception as error:  # each library has an error of its own
        return first_line(error)
    same = got.dtype == dtype and got.shape == want.shape and same_bits(got, want).all()
    return "" if same else "its indices mean something else"


def refuses(target: Target, functions: Iterable[Function]) -> dict[tuple[Function, str], str]:
    """By function and keyword argument: why the library refuses such an argument on purpose."""
    found = {}
    x, row = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)
    for function in functions:
        given = [target.put(x) for _ in function.arrays]
        options = {"out": given[0]} | {
            each.name: target.put(row) for each in function.scalars if each.may_be_array
        }
        for name, value in options.items():
            try:
                getattr(relu_xp, function.name)(*given, **{name: value})
            except (TypeError, NotImplementedError) as error:
                found[function, name] = (
                    "its arrays can't be written to" if name == "out" else first_line(error)
                )
            except Exception:  # an error of another type is no refusal: the cases will report it
                continue
    return found


def verify(
    target: Target,
    dtypes: Iterable[DType],
    functions: Iterable[Function] = FUNCTIONS.values(),
    *,
    quick: bool = False,
) -> Iterator[dict[str, Tally]]:
    """Yield one growing record, a tally for each dtype, after each case and each function."""
    functions = [*functions]
    few = quick or data.is_slow(target.name)
    refused = refuses(target, functions)
    record = {}
    for dtype in dtypes:
        tally = record[dtype.name] = Tally()
        if lacking := lacks(target, dtype):
            tally.left_out["all"] = lacking
            continue
        lacking_views: dict[data.Kind, str] = {
            layout: lacks_view(target, layout, dtype)
            for layout in data.LAYOUTS
            if dtype.kind not in "iu"
        }
        for function in functions:
            for case in data.cases(dtype, (function,), few=few):
                kind = case.kind
                reason = refused.get((function, kind.refusable)) or lacking_views.get(kind)
                if reason:
                    tally.left_out[kind.left_out_as] = reason
                else:
                    run(target, case, tally, few=few)
                yield record
            if dtype.kind not in "iu":
                differentiate(target, dtype, (function,), tally)
            _forget(target)
            yield record
    yield record


def _forget(target: Target) -> None:
    """Drop compiled programs: they take memory, and the next cases need others."""
    if forget := getattr(target.backend, "forget", None):
        forget()


def assert_conforms(backend: Any) -> dict[str, dict[str, Tally]]:
    """Compare a backend with the definition, on each device, dtype and layout that its arrays have.

    Use it in the backend's tests. It also tries bad arguments, which every backend must refuse.

    Parameters
    ----------
    backend : str, module or object
        As for `relu_xp.register_backend`, or as named in the entry-point group
        ``relu_xp.backends``.

    Returns
    -------
    dict of dict of Tally
        By device and dtype: how many values were compared, and what was left out, with the reason.

    Raises
    ------
    AssertionError
        If a value differs from `relu_xp.reference`; if no value was compared; if another backend
        owns its arrays; or if it does not refuse bad input.

    Examples
    --------
    >>> from relu_xp.verify import assert_conforms
    >>> found = assert_conforms("relu_xp._backends.numpy")
    >>> found["cpu"]["float16"].mismatches
    0
    """
    module = importlib.import_module(backend) if isinstance(backend, str) else backend
    name = getattr(module, "__name__", type(module).__qualname__)
    return {
        device: _conforming(Target(name.rpartition(".")[2], module, device), name)
        for device in module.devices()
    }


def _conforming(target: Target, name: str) -> dict[str, Tally]:
    function, *_ = FUNCTIONS.values()
    found = owner(function, function.arrays[0], target.put(np.ones(2, np.float32)))
    if found is not target.backend:
        _fail(f"{name} does not own what its put() gives: {getattr(found, '__name__', found)} does")
    name += f" on {target.device}"
    if taken := list(
        accepted(target, [dtype.name for dtype in data.dtypes() if not lacks(target, dtype)])
    ):
        _fail(f"{name} does not refuse {'; '.join(taken)}")
    *_, record = verify(target, data.dtypes())
    if wrong := sum(tally.mismatches for tally in record.values()):
        examples = [str(each) for tally in record.values() for each in tally.examples]
        _fail(f"{name}: {wrong:,} values differ, such as\n" + "\n".join(examples))
    if not any(tally.values for tally in record.values()):
        _fail(f"{name}: no dtype could be put there")
    return record


def _fail(message: str) -> NoReturn:
    raise AssertionError(message)  # an assert statement would not run under python -O


def sweep(
    target: Target, function: Function, tally: Tally, *, chunk: int = data.CHUNK
) -> Iterator[int]:
    """Go through all 2**32 float32 patterns, a chunk at a time; yield how many are done."""
    case = Case(function, np.dtype(np.float32), function.defaults, data.SWEEP)
    tally.cases += 1
    for start in range(0, 1 << 32, chunk):  # pragma: no branch  # its end comes after minutes
        begin = time.perf_counter()
        check = _check(case, data.patterns32(function, start, chunk))
        with np.errstate(all="ignore"):
            got = check.call(target)
        compare(target, case, check, got, tally)
        tally.seconds += time.perf_counter() - begin
        yield start + chunk


def _keep(tally: Tally, mismatch: Mismatch) -> None:
    """Keep an example, if there are few, and at most one more of the same case."""
    if (
        len(tally.examples) < SHOWN
        and sum(each.case == mismatch.case for each in tally.examples) < 2
    ):
        tally.examples.append(mismatch)


def shown(element: Any) -> str:
    """Show an element with its bits."""
    bits = int(np.asarray(element).view(f"u{element.dtype.itemsize}"))
    return f"{element!s} (0x{bits:0{2 * element.dtype.itemsize}x})"
