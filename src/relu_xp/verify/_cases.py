"""The cases that a backend is verified with, as data: function, dtype, scalars, kind of input."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from relu_xp._functions import FUNCTIONS, Function, Scalar
from relu_xp.verify._expected import Array, DType, patterns, rounded

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + INTEGERS
# The values of each scalar, the default first. Cases about shapes and memory use the last.
SCALARS = {
    "negative_slope": (0.01, 0.0, -0.0, 1.0, 2.0, -0.5),
    "grad_at_zero": (1.0, 0.0, -0.0, 0.5),
    "ceiling": (6.0, 6.1, 0.25),
    "grad_at_ceiling": (0.0, -0.0, 1.0, 0.5),
}
# Lengths around the widths of vectors, and around blocks and tiles, which are powers of two.
LENGTHS = (*range(131), *(2**k + d for k in range(8, 18) for d in (-1, 0, 1)))
FEW_LENGTHS = (0, 1, 2, 3, 129)
CHUNK = 1 << 18  # elements of a call where all 2**32 are swept: of use to caches, and to memory
# Dtypes that a library takes from NumPy but cannot compute with. Its name stands where a device's
# does: for the array API's backend they are the same.
LACKING = {
    ("sparse", "bfloat16"): "its namespace takes NumPy's own dtypes only",
}

ROWS, COLUMNS = 48, 40  # the shape of an array that views are taken of


@dataclass(frozen=True)
class Kind:
    """What kind of arguments a case has."""

    name: str

    @property
    def refusable(self) -> str:
        """The keyword argument that a library may refuse to take; none for most kinds."""
        return ""

    @property
    def left_out_as(self) -> str:
        """What a report calls such cases where they were left out."""
        return str(self)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Layout(Kind):
    """A view of an array, by the array API's own indexing."""

    view: Callable[[Any], Any]
    in_few: bool = False  # whether it is tried where each new shape costs much

    def __str__(self) -> str:
        return f"layout: {self.name}"


@dataclass(frozen=True)
class Overlap(Kind):
    """x and out are slices of one piece of memory."""

    distance: int  # in elements, from x to out

    @property
    def refusable(self) -> str:
        """A library whose arrays cannot be written to refuses out."""
        return "out"

    @property
    def left_out_as(self) -> str:
        """One entry for all distances."""
        return "out="

    def __str__(self) -> str:
        return f"out: {self.name}"


@dataclass(frozen=True)
class InPlaceOfScalar(Kind):
    """An array stands for a scalar."""

    shape: tuple[int, ...]
    scalar: Scalar

    @property
    def refusable(self) -> str:
        """Not every library broadcasts."""
        return self.scalar.name

    @property
    def left_out_as(self) -> str:
        """One entry for all shapes."""
        return f"{self.scalar.name}: an array"

    def __str__(self) -> str:
        return f"{self.scalar.name}: one a {self.name}"


VALUES = Kind("values")  # every value of a small dtype, or a dense sample of a wide one
EACH_LENGTH = Kind("lengths")  # one-dimensional arrays of many lengths
SWEEP = Kind("all 2**32 values")
LAYOUTS = (
    Layout("transposed", lambda a: a.T),
    Layout("strided", lambda a: a[::2, ::3], in_few=True),
    Layout("reversed", lambda a: a[::-1, ::-1]),
    Layout("column", lambda a: a[:, 1]),
    Layout("row from an odd address", lambda a: a[3, 1:]),
    Layout("0-d", lambda a: a[1, 1], in_few=True),
)
OVERLAPS = (
    Overlap("in place", 0),
    Overlap("one ahead", 1),
    Overlap("one behind", -1),
    Overlap("seven ahead", 7),
    Overlap("seven behind", -7),
)
MARGIN = 8  # elements before x, and after it: more than any distance
SHAPES = {
    "column": (COLUMNS,),
    "row": (ROWS, 1),
    "element": (ROWS, COLUMNS),
}  # of arrays for scalars


@dataclass(frozen=True)
class Case:
    """One function with its scalars on one kind of input."""

    function: Function
    dtype: DType
    given: tuple[float, ...]  # the scalars, in the order of the function's parameters
    kind: Kind

    @property
    def scalars(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return self.function.named(self.given)

    def __str__(self) -> str:
        """One line that leads back to the case."""
        scalars = ", ".join(f"{name}={value:g}" for name, value in self.scalars.items())
        return f"{self.function}({self.dtype}, {scalars}), {self.kind}"


def is_slow(library: str) -> bool:
    """Whether a new shape is compiled, or any call takes milliseconds: then shapes are few."""
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
                yield Case(function, dtype, function.defaults, VALUES)
            continue
        for given in _settings(function):
            yield Case(function, dtype, given, VALUES)
        yield Case(function, dtype, function.defaults, EACH_LENGTH)
        last = tuple(SCALARS[each.name][-1] for each in function.parameters)
        for kind in _kinds(function, few):
            yield Case(function, dtype, last, kind)


def _kinds(function: Function, few: bool) -> Iterator[Kind]:
    """The kinds of cases about shapes and memory."""
    for scalar in function.scalars:
        if scalar.may_be_array:
            yield from (InPlaceOfScalar(name, shape, scalar) for name, shape in SHAPES.items())
    yield from (each for each in LAYOUTS if each.in_few or not few)
    yield from OVERLAPS


def _settings(function: Function) -> Iterator[tuple[float, ...]]:
    """Choices of scalars, of which few differ from the default.

    At most two do; one if there are three scalars, or if it is -0.0.
    """
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
    """Every value of a small dtype, or a dense sample of a wide one: x, or x and the cotangent."""
    x = sample(case.dtype, case.given)
    if len(case.function.arrays) == 1:
        return (x,)
    specials = rounded([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3, *case.given], case.dtype)
    tiled, count = np.resize(specials, x.shape), len(specials)
    mixed = np.random.default_rng(1).permutation(x)
    first = [np.repeat(specials, count), x, tiled, x]
    second = [np.tile(specials, count), mixed, x, tiled]
    # One call for all of them, since some libraries compile each shape anew.
    return np.concatenate(first), np.concatenate(second)


def patterns32(function: Function, start: int, count: int) -> tuple[Array, ...]:
    """Some of all 2**32 float32: x, or x and the cotangent.

    Over the whole range the cotangents are all patterns too, in another order: an odd factor
    permutes the integers modulo 2**32.
    """
    pattern = np.arange(start, start + count, dtype=np.uint64).astype(np.uint32)
    both = (pattern.view(np.float32), (pattern * np.uint32(2654435761)).view(np.float32))
    return both[: len(function.arrays)]


def sample(dtype: DType, near: tuple[float, ...] = (), size: int = 1 << 14) -> Array:
    """All values of a small dtype; else specials, powers of two, given numbers, and random bits.

    Powers of two and given numbers come with their neighbors.
    """
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
    # Not every library hands a signalling NaN on as it is.
    quiet = np.where(np.isnan(noise), dtype.type(np.nan), noise)
    return np.concatenate([positive, -positive, quiet])


def signs(dtype: DType, size: int) -> Array:
    """Values of both signs, zeros and NaNs, so that an element out of place shows."""
    x = (np.arange(size) * 37 % 255 - 127).astype(dtype)
    x[::31] = np.nan
    return x
