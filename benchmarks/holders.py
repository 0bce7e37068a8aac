"""Times calls on holders of arrays, such as data frames, beside the holders' own functions.

    python benchmarks/holders.py [WORD ...]

All take turns in one process, and a cell shows our time over the library's own, of medians: relu
beside its `maximum`, and relu_vjp beside its `x + g`, which reads and writes the same bytes, or
beside its select. With words, only rows with one of them in their names are measured. Libraries
that are not installed are left out. Needs NumPy and rich.
"""

import argparse
import functools
import importlib.util
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import relu_xp
from relu_xp.bench._measuring import ratio

SIZES = {"16": 16, "2^20": 1 << 20}
ROUNDS = 15
Held = Callable[[Any], Any]  # what holds an array


class Row(NamedTuple):
    """A way to hold x, and the library's own functions."""

    name: str
    held: Held
    own: Callable[[Any], Any] = lambda x: np.maximum(x, 0)
    cotangent: Held | None = None  # where it is held in another way
    vjp: Callable[[Any, Any], Any] = operator.add


def in_pandas() -> Iterator[Row]:
    """Columns, and frames of few columns."""
    import pandas as pd

    def halves(x: Any) -> Any:
        left, right = map(pd.DataFrame, np.hsplit(x.reshape(-1, 8), 2))
        return pd.concat([left, right.astype("float32")], axis=1, ignore_index=True)

    yield Row("Series", pd.Series)
    yield Row("frame, 1 column", pd.DataFrame)
    yield Row("frame, 8 columns", lambda x: pd.DataFrame(x.reshape(-1, 8)))
    yield Row("frame, 4 float64, 4 float32", halves)


def in_nullable_pandas() -> Iterator[Row]:
    """Columns and frames with missing values."""
    import pandas as pd

    def column(dtype: str, x: Any) -> Any:
        found = pd.Series(np.abs(np.trunc(x)) if "nt" in dtype else x).astype(dtype)
        found[::2] = pd.NA
        return found

    def frame(dtype: str, x: Any) -> Any:
        return pd.concat([column(dtype, each) for each in x.reshape(8, -1)], axis=1)

    masked, arrow = ["Float64", "Float32", "Int64", "Int8", "UInt32"], ["double", "float", "int64"]
    arrow = [f"{each}[pyarrow]" for each in arrow if importlib.util.find_spec("pyarrow")]
    for dtype in masked + arrow:
        yield Row(dtype, functools.partial(column, dtype))
    for dtype in masked[:1] + arrow[:1]:
        yield Row(f"{dtype}, none missing", functools.partial(pd.Series, dtype=dtype))
        yield Row(f"frame, 8 {dtype}", functools.partial(frame, dtype), lambda x: x.clip(lower=0))


def in_xarray() -> Iterator[Row]:
    """Arrays with and without coordinates."""
    import xarray

    def array(x: Any) -> Any:
        return xarray.DataArray(x, {"t": np.arange(x.size)}, "t")

    def several(x: Any) -> Any:
        return xarray.Dataset({str(i): ("t", each) for i, each in enumerate(x.reshape(4, -1))})

    yield Row("Variable", functools.partial(xarray.Variable, "t"))
    yield Row("DataArray", array)
    yield Row("Dataset, 1 variable", lambda x: array(x).to_dataset(name="a"))
    yield Row("Dataset, 4 variables", several)


def in_polars() -> Iterator[Row]:
    """Columns with and without nulls."""
    import polars as pl

    def holed(x: Any) -> Any:
        return pl.Series(x).set(pl.Series(np.arange(x.size) % 2 == 0), None)

    def select(x: Any, g: Any) -> Any:
        return pl.select(pl.when(x >= 0).then(g).when(x < 0).then(0 * g))  # null where either is

    for name, held in (("Series", pl.Series), ("Series with nulls", holed)):
        yield Row(name, held, lambda x: x.clip(0), vjp=select)
    frame = lambda x: pl.DataFrame(x.reshape(-1, 8))  # noqa: E731
    yield Row("frame, 8 columns", frame, lambda x: x.select(pl.all().clip(0)))


def in_dask() -> Iterator[Row]:
    """Arrays, computed in this thread: the call is measured, not the scheduler."""
    import dask.array as da

    blocks = lambda x: da.from_array(x, chunks=x.size // 4)  # noqa: E731
    yield Row("Array, 4 blocks", blocks, lambda x: da.maximum(x, 0))


def in_pint() -> Iterator[Row]:
    """Quantities of one registry."""
    import pint

    units = pint.UnitRegistry()
    zero = units.Quantity(0.0, "m")
    yield Row("Quantity", lambda x: units.Quantity(x, "m"), lambda x: np.maximum(x, zero))


def in_numpy() -> Iterator[Row]:
    """Masked arrays."""
    masked, own = np.ma.MaskedArray, lambda x: np.ma.maximum(x, 0)
    yield Row("MaskedArray", lambda x: masked(x, np.arange(x.size) % 2 == 0), own)
    yield Row("MaskedArray, no mask", masked, own)


def sparsely(x: Any, seed: int) -> tuple[Any, tuple[int, int]]:
    """Give the elements sorted places, 1% of a matrix, and the matrix's shape."""
    side = math.isqrt(100 * x.size)
    places = np.random.default_rng(seed).choice(side * side, x.size, replace=False, shuffle=False)
    return np.divmod(np.sort(places), side), (side, side)


def in_scipy() -> Iterator[Row]:
    """Matrices; a format without `maximum` has `abs`, which reads and writes as much."""
    from scipy import sparse

    def maximum(x: Any) -> Any:
        # A copy: `abs` sorts the indices of what it is given.
        return x.maximum(0) if hasattr(x, "maximum") else abs(x.copy())

    def held(kind: str, seed: int, x: Any) -> Any:
        where, shape = sparsely(x, seed)
        return sparse.coo_array((x, where), shape).asformat(kind)

    def vector(seed: int, x: Any) -> Any:
        (rows, columns), (side, _) = sparsely(x, seed)
        return sparse.coo_array((x, (rows * side + columns,)), (side * side,))

    def diagonals(first: int, x: Any) -> Any:
        return sparse.dia_array((x.reshape(4, -1), range(first, first + 4)), (x.size // 4,) * 2)

    of = functools.partial
    for kind in ("csr", "csc", "coo", "bsr"):
        yield Row(f"{kind}, the same places", of(held, kind, 0), maximum)
        yield Row(f"{kind}, other places", of(held, kind, 0), maximum, of(held, kind, 1))
    empty = lambda x: held("csr", 0, x) * 0  # noqa: E731
    yield Row("csr, unsorted", lambda x: held("csr", 0, x)[:, ::-1], maximum)
    yield Row("csr, an empty cotangent", of(held, "csr", 0), maximum, empty)
    yield Row("coo of one axis, other places", of(vector, 0), maximum, of(vector, 1))
    yield Row("dia, the same places", of(diagonals, 0), maximum)
    yield Row("dia, other places", of(diagonals, 0), maximum, of(diagonals, 2))
    for kind in ("dok", "lil"):
        yield Row(
            f"{kind}, at most 2^10",
            lambda x, kind=kind: held(kind, 0, x[:1024]),
            lambda x: abs(x.tocsr()).asformat(x.format),
            vjp=lambda x, g: (x.tocsr() + g.tocsr()).asformat(x.format),
        )


def in_sparse() -> Iterator[Row]:
    """Arrays of pydata/sparse."""
    import sparse

    def held(seed: int, x: Any) -> Any:
        where, shape = sparsely(x, seed)
        return sparse.COO(where, x, shape)

    yield Row("COO, the same places", functools.partial(held, 0))
    yield Row("COO, other places", functools.partial(held, 0), cotangent=functools.partial(held, 1))


def in_array_api_strict() -> Iterator[Row]:
    """Arrays, beside a select: `maximum` does not say which zero it gives."""
    import array_api_strict as xp

    def select(x: Any, g: Any) -> Any:
        return xp.where(x >= 0, g, xp.zeros_like(g))

    yield Row("Array", xp.asarray, lambda x: xp.where(x <= 0, xp.zeros_like(x), x), vjp=select)


LIBRARIES = [each for name, each in [*globals().items()] if name.startswith("in_")]


def rows(words: list[str]) -> Iterator[Row]:
    """Give the rows that are asked for and whose library is installed."""
    for library in LIBRARIES:
        try:
            found = list(library())
        except ImportError:
            continue
        for row in found:
            name = f"{library.__name__.removeprefix('in_').replace('_', ' ')} {row.name}"
            if not words or any(word in name for word in words):
                yield row._replace(name=name)


def ratios(row: Row, n: int) -> list[str]:
    """Compare the value and the VJP with the library's own; integers have no VJP."""
    rng = np.random.default_rng(0)
    x, g = row.held(rng.normal(size=n)), (row.cotangent or row.held)(rng.normal(size=n))
    found = []
    for ours, own, arrays in ((relu_xp.relu, row.own, (x,)), (relu_xp.relu_vjp, row.vjp, (x, g))):
        calls = (functools.partial(done, each, *arrays) for each in (ours, own))
        found.append(f"{ratio(*calls, ROUNDS):.2f}".replace("nan", "-"))
    return found


def done(function: Callable[..., Any], *arrays: Any) -> Any:
    """Compute a lazy result."""
    result = function(*arrays)
    return result.compute(scheduler="synchronous") if hasattr(result, "dask") else result


def main() -> None:
    """Measure row by row, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    console = Console()
    headings = [f"{call}, {size}" for size in SIZES for call in ("relu", "vjp")]
    table = Table("holder", *headings, title="time over the library's own")
    for row in track([*rows(options.words)], description="measuring", console=Console(stderr=True)):
        table.add_row(escape(row.name), *(cell for n in SIZES.values() for cell in ratios(row, n)))
    console.print(table)


if __name__ == "__main__":
    main()
