"""Runs the cases on a backend's device and compares bits: the engine of the verifier, and of the tests."""

import functools
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
from relu_xp.verify._autodiff import derivatives
from relu_xp.verify._cases import Case
from relu_xp.verify._exceptions import deviations
from relu_xp.verify._expected import Array, DType, Scalars, expected, same_bits
from relu_xp.verify._refusals import accepted

SHOWN = 5  # mismatches a tally keeps


@dataclass(frozen=True)
class Mismatch:
    """One wrong element: what leads back to it, bits in hex."""

    case: str
    index: int
    inputs: tuple[str, ...]
    got: str
    want: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.case}, element {self.index}: of {', '.join(self.inputs)} got {self.got}, want {self.want}"


@dataclass
class Tally:
    """What was found at one target."""

    cases: int = 0
    values: int = 0
    seconds: float = 0.0
    mismatches: int = 0
    excepted: dict[str, int] = field(default_factory=dict)
    examples: list[Mismatch] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One call: the arrays it is given, as NumPy sees them, its scalars, and how to make it at a target."""

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
    """Make every check of what a library takes for the derivatives, if it takes any."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library about its own older modes
        for case, arrays, want, call in derivatives(target, dtype, functions):
            _make(target, case, [Check(arrays, case.scalars, want, call)], tally)
    tally.seconds += time.perf_counter() - begin


def _make(target: Target, case: Case, checks: Iterable[Check], tally: Tally) -> None:
    tally.cases += 1
    for check in checks:
        try:
            with np.errstate(all="ignore"):
                got = check.call(target)
        except (
            Exception
        ) as error:  # a backend may break in any way; none is the definition's result
            tally.values += check.want.size
            tally.mismatches += max(check.want.size, 1)
            _keep(tally, Mismatch(str(case), 0, (), first_line(error), "a result"))
        else:
            compare(target, case, check, got, tally)


def checks(case: Case, *, few: bool = False) -> Iterator[Check]:
    """The calls that a case consists of."""
    kind, _, name = case.kind.partition(": ")
    count = len(case.function.arrays)
    if kind == "values":
        yield _on_values(case, str(case))
    elif kind == "lengths":
        lengths = data.FEW_LENGTHS if few else data.LENGTHS
        memory = data.signs(case.dtype, max(lengths) + 2)
        for n in lengths:
            yield _plain(
                case, (memory[1 : n + 1], memory[2 : n + 2])[:count]
            )  # not where an allocation begins
    elif kind == "layout":
        view = data.LAYOUTS[name]
        whole = _square(case.dtype)
        both = (whole, whole[::-1])[:count]
        arrays = tuple(np.asarray(view(a)) for a in both)
        want = expected(case.function, arrays, case.scalars)
        yield Check(
            arrays,
            case.scalars,
            want,
            lambda target: call(target, case, *(view(target.put(a)) for a in both)),
        )
    elif kind == "out":
        shift, margin = data.OVERLAPS[name], data.MARGIN
        memory = data.signs(case.dtype, 1000 + 2 * margin)
        x = memory[margin:-margin]
        others = (x[::-1],)[: count - 1]
        want = expected(case.function, (x, *others), case.scalars)

        def into(target: Target) -> Array:
            held = target.put(memory.copy())
            given, out = held[margin:-margin], held[margin + shift : len(memory) - margin + shift]
            result = call(
                target, case, given, *map(target.put, others), out=given if shift == 0 else out
            )
            written = target.get(given if shift == 0 else out)
            return result if same_bits(result, written).all() else written

        yield Check((x, *others), case.scalars, want, into)
    else:  # an array in the place of the scalar of that name
        values = data.sample(case.dtype)
        shape = data.SHAPES[name.removeprefix("one a ")]
        mixed = np.random.default_rng(1).permutation(values)
        whole, array = np.resize(values, (data.ROWS, data.COLUMNS)), np.resize(mixed, shape)
        yield _plain(case, (whole, _square(case.dtype))[:count], {kind: array})


def _square(dtype: DType) -> Array:
    return data.signs(dtype, data.ROWS * data.COLUMNS).reshape(data.ROWS, data.COLUMNS)


@functools.cache
def _on_values(case: Case, words: str) -> Check:
    """Inputs and expected values, computed once for all backends: the definition is slow, value by value.

    The words tell -0.0 from 0.0, which are one key to a cache.
    """
    return _plain(case, data.values(case))


def _plain(case: Case, arrays: tuple[Array, ...], changed: Scalars | None = None) -> Check:
    """A call on arrays as they are, some scalars changed for arrays."""
    changed = changed or {}
    scalars = {**case.scalars, **changed}

    def make(target: Target) -> Array:
        return call(
            target,
            case,
            *map(target.put, arrays),
            **{name: target.put(a) for name, a in changed.items()},
        )

    return Check(arrays, scalars, expected(case.function, arrays, scalars), make)


def call(target: Target, case: Case, *arrays: Any, **options: Any) -> Array:
    """Call the public function at a target, on its own arrays, and bring the result to the host."""
    return np.asarray(
        target.get(getattr(relu_xp, case.function.name)(*arrays, **case.scalars | options))
    )


def compare(target: Target, case: Case, check: Check, got: Array, tally: Tally) -> None:
    """Enter the elements that differ, those that a known deviation explains apart."""
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

    arrays, scalars = (
        tuple(map(some, check.arrays)),
        {name: some(value) for name, value in check.scalars.items()},
    )
    got, want = some(got), some(want)
    left = np.ones(wrong.size, bool)
    for each in deviations(target, case.dtype.name, case.kind):
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
    return "" if back.dtype == dtype else f"is held as {back.dtype}"


def lacks_view(target: Target, name: str, dtype: DType) -> str:
    """Say why the library has no such view of an array, or another one by that name; nothing if it has it."""
    whole, view = _square(dtype), data.LAYOUTS[name]
    try:
        got, want = np.asarray(target.get(view(target.put(whole)))), np.asarray(view(whole))
    except Exception as error:  # each library has an error of its own
        return first_line(error)
    same = got.dtype == dtype and got.shape == want.shape and same_bits(got, want).all()
    return "" if same else "its indices mean something else"


def refuses(target: Target, functions: Iterable[Function]) -> dict[tuple[Function, str], str]:
    """Kinds of cases that the library's arrays are not made for, with the reason: where it refuses them on purpose."""
    found = {}
    x, row = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)
    for function in functions:
        given = [target.put(x) for _ in function.arrays]
        options = {"out": given[0]} | {
            each.name: target.put(row) for each in function.scalars if each.may_be_array
        }
        for kind, value in options.items():
            try:
                getattr(relu_xp, function.name)(*given, **{kind: value})
            except (TypeError, NotImplementedError) as error:
                found[function, kind] = (
                    "its arrays can't be written to" if kind == "out" else first_line(error)
                )
            except Exception:  # it does not refuse: the cases will tell
                continue
    return found


def verify(
    target: Target,
    dtypes: Iterable[DType],
    functions: Iterable[Function] = FUNCTIONS.values(),
    *,
    quick: bool = False,
) -> Iterator[dict[str, Tally]]:
    """Yield one growing record, a tally for each dtype, after each case."""
    functions = [*functions]
    few = quick or data.is_slow(target.name)
    refused = refuses(target, functions)
    record = {}
    for dtype in dtypes:
        tally = record[dtype.name] = Tally()
        if lacking := lacks(target, dtype):
            tally.left_out["all"] = lacking
            continue
        views = {
            f"layout: {name}": lacks_view(target, name, dtype)
            for name in data.LAYOUTS
            if dtype.kind not in "iu"
        }
        for case in data.cases(dtype, functions, few=few):
            what = case.kind.partition(": ")[0]
            if reason := refused.get((case.function, what)):
                tally.left_out["out=" if what == "out" else f"{what}: an array"] = reason
            elif reason := views.get(case.kind, ""):
                tally.left_out[case.kind] = reason
            else:
                run(target, case, tally, few=few)
            yield record
        if dtype.kind not in "iu":
            differentiate(target, dtype, functions, tally)
            yield record
    yield record


def assert_conforms(backend: Any) -> dict[str, dict[str, Tally]]:
    """Hold a backend to the definition, on every device, dtype and layout that its arrays have: one line in its tests.

    Arguments that every backend must refuse are tried too.

    Parameters
    ----------
    backend : str, module or object
        As given to `relu_xp.register_backend`, or named in the entry-point group
        ``relu_xp.backends``.

    Returns
    -------
    dict of dict of Tally
        By device and dtype: how many values were compared, and what was left out, with the reason.

    Raises
    ------
    AssertionError
        If a value differs from `relu_xp.reference`, if no value was compared, if the dispatcher
        does not find the backend from its arrays, or if bad input is not refused.

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
    raise AssertionError(message)  # which, unlike an assert statement, also runs under python -O


def sweep(
    target: Target, function: Function, tally: Tally, *, chunk: int = 1 << 22
) -> Iterator[int]:
    """All 2**32 float32 patterns, a chunk at a time; yields how many are done.

    The cotangents are all patterns too, in another order: an odd multiplier permutes the integers
    modulo 2**32.
    """
    case = Case(function, np.dtype(np.float32), function.defaults, "all 2**32 values")
    tally.cases += 1
    for start in range(0, 1 << 32, chunk):  # pragma: no branch  # its end comes after minutes
        begin = time.perf_counter()
        pattern = np.arange(start, start + chunk, dtype=np.uint64).astype(np.uint32)
        both = (pattern.view(np.float32), (pattern * np.uint32(2654435761)).view(np.float32))
        check = _plain(case, both[: len(function.arrays)])
        with np.errstate(all="ignore"):
            got = check.call(target)
        compare(target, case, check, got, tally)
        tally.seconds += time.perf_counter() - begin
        yield start + chunk


def _keep(tally: Tally, mismatch: Mismatch) -> None:
    if (
        len(tally.examples) < SHOWN
        and sum(each.case == mismatch.case for each in tally.examples) < 2
    ):
        tally.examples.append(mismatch)


def shown(element: Any) -> str:
    """Show an element with its bits."""
    bits = int(np.asarray(element).view(f"u{element.dtype.itemsize}"))
    return f"{element!s} (0x{bits:0{2 * element.dtype.itemsize}x})"
