"""The case list, as data: which function, dtype, scalars and inputs a backend is held to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from relu_xp.verify._expected import Array, DType, patterns

FUNCTIONS = ("relu", "leaky_relu", "relu_grad", "leaky_relu_grad", "relu_vjp", "leaky_relu_vjp")
FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")  # for relu alone
DTYPES = FLOATS + INTEGERS
SLOPES = (0.01, 0.0, -0.0, 1.0, 2.0, -0.5)
GRADS_AT_ZERO = (1.0, 0.0, -0.0, 0.5)
# Around the widths of vectors, and of the blocks and tiles that powers of two make.
LENGTHS = (*range(131), *(2**k + d for k in range(8, 18) for d in (-1, 0, 1)))
FEW_LENGTHS = (0, 1, 2, 3, 7, 8, 15, 17, 31, 33, 63, 65, 127, 129, 1025)
# A dtype that a library, a device of the array API's backend, takes from NumPy but can't compute with.
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
# Where x and out lie in one piece of memory: slices of n elements; None is x itself.
OVERLAPS = {"in place": 0, "one ahead": 1, "one behind": -1, "seven ahead": 7, "seven behind": -7}
MARGIN = 8


@dataclass(frozen=True)
class Case:
    """One function with its scalars on one kind of input."""

    function: str
    dtype: DType
    slope: float
    grad_at_zero: float
    kind: str  # "values", "lengths", "layout: ...", "out: ..."

    @property
    def scalars(self) -> dict[str, float]:
        """The keyword arguments of the call."""
        scalars = {"grad_at_zero": self.grad_at_zero}
        if self.function.startswith("leaky"):
            scalars["negative_slope"] = self.slope
        return scalars

    def __str__(self) -> str:
        """One line that leads back to the case."""
        scalars = ", ".join(f"{name}={value:g}" for name, value in self.scalars.items())
        return f"{self.function}({self.dtype}, {scalars}), {self.kind}"


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


def cases(dtype: DType, functions: tuple[str, ...] = FUNCTIONS, *, quick: bool = False) -> Iterator[Case]:
    """All cases of one dtype."""
    if dtype.kind in "iu":
        if "relu" in functions:
            yield Case("relu", dtype, 0.01, 1.0, "values")
        return
    for function in functions:
        for slope in SLOPES if function.startswith("leaky") else (0.01,):
            for grad_at_zero in GRADS_AT_ZERO if function.endswith(("grad", "vjp")) else (1.0,):
                if (
                    "-0.0" not in f"{slope} {grad_at_zero}" or slope == 0.01 or grad_at_zero == 1
                ):  # no need of every pair
                    yield Case(function, dtype, slope, grad_at_zero, "values")
        yield Case(function, dtype, 0.01, 1.0, "lengths")
        for name in LAYOUTS if not quick else ("strided",):
            yield Case(function, dtype, -0.5, 1.0, f"layout: {name}")
        for name in OVERLAPS:
            yield Case(function, dtype, -0.5, 0.0, f"out: {name}")


def values(case: Case) -> Iterator[tuple[Array, ...]]:
    """Inputs that hold every value of a small dtype, or a dense sample of a wide one: x, or pairs x and cotangent."""
    x = patterns(case.dtype) if case.dtype.itemsize <= 2 else sample(case.dtype)
    if not case.function.endswith("vjp"):
        yield (x,)
        return
    specials = np.array([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3], case.dtype)
    tiled = np.resize(specials, x.shape)
    yield x, np.random.default_rng(1).permutation(x)
    yield tiled, x
    yield x, tiled


def sample(dtype: DType, size: int = 1 << 14) -> Array:
    """Specials, every power of two with its neighbours, and random bits, subnormals among all of them."""
    word = f"u{dtype.itemsize}"
    noise = np.frombuffer(np.random.default_rng(0).bytes(size * dtype.itemsize), word).view(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.concatenate([np.array([limits.min, limits.max, 0, 1], dtype), noise])
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp)
    powers = np.ldexp(np.ones(1, dtype), exponents).astype(dtype)
    special = np.array([0, 1, 3, 0.01, np.pi, info.max, info.smallest_normal, np.inf, np.nan], dtype)
    near = [special, powers, np.nextafter(powers, dtype.type(0)), np.nextafter(powers, dtype.type(np.inf))]
    positive = np.concatenate(near)
    quiet = np.where(np.isnan(noise), dtype.type(np.nan), noise)  # a signalling NaN may change on its way
    return np.concatenate([positive, -positive, quiet])


def signs(dtype: DType, size: int) -> Array:
    """Distinct enough values of both signs, zeros and a NaN among them, to show an element out of target."""
    x = (np.arange(size) * 37 % 255 - 127).astype(dtype)
    x[::31] = np.nan
    return x
