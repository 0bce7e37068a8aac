"""The case list, as data: which function, dtype, scalars and inputs a backend is held to."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from relu_xp._functions import FUNCTIONS, Function
from relu_xp.verify._expected import Array, DType, patterns, rounded

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + INTEGERS
# What each scalar is set to, its default first; the last of each in the cases about shapes and
# memory.
SCALARS = {
    "negative_slope": (0.01, 0.0, -0.0, 1.0, 2.0, -0.5),
    "grad_at_zero": (1.0, 0.0, -0.0, 0.5),
    "ceiling": (6.0, 6.1, 0.25),
    "grad_at_ceiling": (0.0, -0.0, 1.0, 0.5),
}
# Around the widths of vectors, and of the blocks and tiles that powers of two make.
LENGTHS = (*range(131), *(2**k + d for k in range(8, 18) for d in (-1, 0, 1)))
FEW_LENGTHS = (0, 1, 2, 3, 129)
FEW_LAYOUTS = ("strided", "0-d")
# A dtype that a library, a device of the array API's backend, takes from NumPy but can't compute
# with.
LACKING = {
    ("sparse", "bfloat16"): "its namespace takes NumPy's own dtypes only",
}

# Views of one array of shape (ROWS, COLUMNS), by the array API's own indexing.
ROWS, COLUMNS = 48, 40
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda a: a.T,
    "strided": lambda a: a[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1],
    "column": lambda a: a[:, 1],
    "row from an odd address": lambda a: a[3, 1:],
    "0-d": lambda a: a[1, 1],
}
# Arrays of such shapes in the place of a scalar.
SHAPES = {"column": (COLUMNS,), "row": (ROWS, 1), "element": (ROWS, COLUMNS)}
# Where x and out lie in one piece of memory: slices of n elements, so far apart.
OVERLAPS = {"in place": 0, "one ahead": 1, "one behind": -1, "seven ahead": 7, "seven behind": -7}
MARGIN = 8


@dataclass(frozen=True)
class Case:
    """One function with its scalars on one kind of input."""

    function: Function
    dtype: DType
    given: tuple[float, ...]  # the scalars, in the order of the function's parameters
    kind: str  # "values", "lengths", "layout: ...", "out: ...", "negative_slope: one a ..."

    @property
    def scalars(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return self.function.named(self.given)

    def __str__(self) -> str:
        """One line that leads back to the case."""
        scalars = ", ".join(f"{name}={value:g}" for name, value in self.scalars.items())
        return f"{self.function}({self.dtype}, {scalars}), {self.kind}"


def is_slow(library: str) -> bool:
    """Whether a new shape costs a compilation, or any call milliseconds: then lengths and views are few."""
    return library in ("jax", "sparse", "ndonnx", "dask")


def dtypes() -> Iterator[DType]:
    """Every dtype that NumPy can name here: bfloat16 only where ml_dtypes is installed."""
    for name in DTYPES:
        if name != "bfloat16":
            yield np.dtype(name)
            continue
        try:
            import ml_dtypes
        except ImportError:
            continue
        yield np.dtype(ml_dtypes.bfloat16)


def cases(
    dtype: DType, functions: Iterable[Function] = FUNCTIONS.values(), *, few: bool = False
) -> Iterator[Case]:
    """All cases of one dtype."""
    for function in functions:
        if dtype.kind in "iu":
            if function.takes_integers:
                yield Case(function, dtype, function.defaults, "values")
            continue
        for given in _settings(function):
            yield Case(function, dtype, given, "values")
        yield Case(function, dtype, function.defaults, "lengths")
        last = tuple(SCALARS[each.name][-1] for each in function.parameters)
        for each in function.scalars:
            if each.may_be_array:
                yield from (
                    Case(function, dtype, last, f"{each.name}: one a {name}") for name in SHAPES
                )
        for name in FEW_LAYOUTS if few else LAYOUTS:
            yield Case(function, dtype, last, f"layout: {name}")
        for name in OVERLAPS:
            yield Case(function, dtype, last, f"out: {name}")


def _settings(function: Function) -> Iterator[tuple[float, ...]]:
    """Scalars of which at most two differ from their defaults, or one of three, and no other where one is -0.0."""
    choices = [SCALARS[each.name] for each in function.scalars]
    most = 2 if len(choices) < 3 else 1
    for chosen in itertools.product(*choices):
        changed = [
            repr(value)
            for value, (default, *_) in zip(chosen, choices, strict=True)
            if repr(value) != repr(default)
        ]
        if len(changed) <= (1 if "-0.0" in changed else most):
            yield (*chosen, *(each.default for each in function.for_autodiff))


def values(case: Case) -> tuple[Array, ...]:
    """Inputs that hold every value of a small dtype, or a dense sample of a wide one: x, or x and the cotangent."""
    x = sample(case.dtype, case.given)
    if len(case.function.arrays) == 1:
        return (x,)
    specials = rounded([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3, *case.given], case.dtype)
    tiled, count = np.resize(specials, x.shape), len(specials)
    mixed = np.random.default_rng(1).permutation(x)
    first = [np.repeat(specials, count), x, tiled, x]
    second = [np.tile(specials, count), mixed, x, tiled]
    return np.concatenate(first), np.concatenate(
        second
    )  # in one call, as some libraries compile each shape anew


def sample(dtype: DType, near: tuple[float, ...] = (), size: int = 1 << 14) -> Array:
    """All of a small dtype; else specials, every power of two, the numbers given, with neighbours, and random bits."""
    if dtype.itemsize <= 2:
        return patterns(dtype)
    word = f"u{dtype.itemsize}"
    noise = np.frombuffer(np.random.default_rng(0).bytes(size * dtype.itemsize), word).view(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.concatenate([np.array([limits.min, limits.max, 0, 1], dtype), noise])
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    powers = np.concatenate(
        [np.ldexp(np.ones(1, dtype), exponents).astype(dtype), np.abs(rounded(near, dtype))]
    )
    special = np.array(
        [0, 1, 3, 0.01, np.pi, info.max, info.smallest_normal, np.inf, np.nan], dtype
    )
    around = [
        special,
        powers,
        np.nextafter(powers, dtype.type(0)),
        np.nextafter(powers, dtype.type(np.inf)),
    ]
    positive = np.concatenate(around)
    quiet = np.where(
        np.isnan(noise), dtype.type(np.nan), noise
    )  # a signalling NaN may change on its way
    return np.concatenate([positive, -positive, quiet])


def signs(dtype: DType, size: int) -> Array:
    """Distinct enough values of both signs, zeros and a NaN among them, to show an element out of place."""
    x = (np.arange(size) * 37 % 255 - 127).astype(dtype)
    x[::31] = np.nan
    return x
