"""What a call costs on what holds arrays, beside the holder's own functions: `python benchmarks/holders.py [WORD ...]`.

Contestants take turns in one process, and what is shown is ours over the library's own, of medians: relu beside its
`maximum`, relu_vjp beside its `x + g`, which reads and writes the same bytes. Words choose the rows that have one of
them in their names; libraries that are not installed are left out. Needs what `numpy_speed.py` needs.
"""

import argparse
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy_speed import measure
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import relu_xp

SIZES = {"16": 16, "2^20": 1 << 20}
SAMPLES = 15
Call = Callable[[Any], Any]
Held = Call  # of an array
Row = tuple[Any, ...]  # its name, what holds x, the library's own function, and what holds the cotangent where not as x


def maximum(x: Any) -> Any:
    """Call NumPy's function, as classes answer it."""
    return np.maximum(x, 0)


def in_pandas() -> Iterator[Row]:
    """Columns and frames of few columns."""
    import pandas as pd

    def halves(x: Any) -> Any:
        left, right = np.hsplit(x.reshape(-1, 8), 2)
        return pd.concat([pd.DataFrame(left), pd.DataFrame(right.astype("f4"))], axis=1, ignore_index=True)

    yield "Series", pd.Series, maximum
    for columns in (1, 8):
        yield f"frame, {columns} columns", lambda x, n=columns: pd.DataFrame(x.reshape(-1, n)), maximum
    yield "frame, 4 float64, 4 float32", halves, maximum


def in_nullable_pandas() -> Iterator[Row]:
    """The same with missing values."""
    import pandas as pd

    def column(dtype: str, x: Any, every: int = 7) -> Any:
        found = pd.Series(np.abs(np.trunc(x)) if "nt" in dtype else x).astype(dtype)
        found[::every] = pd.NA
        return found

    def frame(dtype: str, x: Any) -> Any:
        return pd.concat([column(dtype, each, 3) for each in x.reshape(8, -1)], axis=1)

    dtypes = ["Float64", "Float32", "Int64", "Int8", "UInt32"]
    try:
        import pyarrow as _
    except ImportError:
        arrow = []
    else:
        arrow = ["double[pyarrow]", "float[pyarrow]", "int64[pyarrow]"]
    for dtype in dtypes + arrow:
        yield dtype, functools.partial(column, dtype), maximum
    for dtype in dtypes[:1] + arrow[:1]:
        yield f"{dtype}, none missing", functools.partial(pd.Series, dtype=dtype), maximum
        yield f"frame, 8 {dtype}", functools.partial(frame, dtype), lambda x: x.clip(lower=0)


def in_xarray() -> Iterator[Row]:
    """With coordinates and without."""
    import xarray

    def labelled(x: Any) -> Any:
        return xarray.DataArray(x, {"t": np.arange(x.size)}, "t")

    yield "Variable", lambda x: xarray.Variable("t", x), maximum
    yield "DataArray", labelled, maximum
    yield "Dataset, 1 variable", lambda x: xarray.Dataset({"a": labelled(x)}), maximum
    yield (
        "Dataset, 4 variables",
        lambda x: xarray.Dataset({str(i): ("t", a) for i, a in enumerate(x.reshape(4, -1))}),
        maximum,
    )


def in_polars() -> Iterator[Row]:
    """With nulls and without."""
    import polars as pl

    def holed(x: Any) -> Any:
        return pl.Series(x).set(pl.Series(np.arange(x.size) % 7 == 0), None)

    yield "Series", pl.Series, lambda x: x.clip(0)
    yield "Series with nulls", holed, lambda x: x.clip(0)
    yield "frame, 8 columns", lambda x: pl.DataFrame(x.reshape(-1, 8)), lambda x: x.select(pl.all().clip(0))


def in_dask() -> Iterator[Row]:
    """Computed in this thread, since it is the call that is measured."""
    import dask.array as da

    yield "Array, 4 blocks", lambda x: da.from_array(x, chunks=x.size // 4), lambda x: da.maximum(x, 0)


def in_pint() -> Iterator[Row]:
    """Of one registry."""
    import pint

    units = pint.UnitRegistry()
    zero = units.Quantity(0.0, "m")
    yield "Quantity", lambda x: units.Quantity(x, "m"), lambda x: np.maximum(x, zero)


def in_masked() -> Iterator[Row]:
    """NumPy's own."""
    yield "MaskedArray", lambda x: np.ma.MaskedArray(x, np.arange(x.size) % 7 == 0), lambda x: np.ma.maximum(x, 0)
    yield "MaskedArray, no mask", np.ma.MaskedArray, lambda x: np.ma.maximum(x, 0)


def sparsely(x: Any, seed: int) -> tuple[Any, tuple[int, int]]:
    """Give the elements places in a matrix, sorted, 2% of all, and its shape."""
    side = math.isqrt(50 * x.size)
    places = np.random.default_rng(seed).permutation(side * side)[: x.size]
    return np.divmod(np.sort(places), side), (side, side)


def in_scipy() -> Iterator[Row]:
    """Of formats that have no `maximum`, `abs` reads and writes as much."""
    from scipy import sparse

    def held(kind: str, seed: int, x: Any) -> Any:
        where, shape = sparsely(x, seed)
        return sparse.coo_array((x, where), shape).asformat(kind)

    def unsorted(x: Any) -> Any:
        return held("csr", 0, x)[:, ::-1]

    def vector(seed: int, x: Any) -> Any:
        (rows, columns), (side, _) = sparsely(x, seed)
        return sparse.coo_array((x, (rows * side + columns,)), (side * side,))

    for kind in ("csr", "csc", "coo", "bsr"):
        own = (lambda x: abs(x.copy())) if kind == "coo" else lambda x: x.maximum(0)
        yield f"{kind}, the same places", functools.partial(held, kind, 0), own
        yield f"{kind}, other places", functools.partial(held, kind, 0), own, functools.partial(held, kind, 1)
    yield "coo of one axis", functools.partial(vector, 0), lambda x: abs(x.copy()), functools.partial(vector, 1)
    yield "csr, unsorted", unsorted, lambda x: x.maximum(0)
    yield "dia", lambda x: sparse.dia_array((x.reshape(4, -1), range(4)), (x.size // 4,) * 2), abs
    for kind in ("dok", "lil"):
        yield (
            f"{kind}, of 2^10",
            lambda x, kind=kind: held(kind, 0, x[:1024]),
            lambda x: abs(x.tocsr()).asformat(x.format),
        )


def in_sparse() -> Iterator[Row]:
    """pydata's."""
    import sparse

    def held(seed: int, x: Any) -> Any:
        where, shape = sparsely(x, seed)
        return sparse.COO(where, x, shape)

    yield "COO, the same places", functools.partial(held, 0), maximum
    yield "COO, other places", functools.partial(held, 0), maximum, functools.partial(held, 1)


def in_array_api_strict() -> Iterator[Row]:
    """Beside a select of its own, since its `maximum` does not say which zero it gives."""
    import array_api_strict as xp

    yield "Array", xp.asarray, lambda x: xp.where(x <= 0, xp.zeros_like(x), x)


LIBRARIES = {
    each.__name__.removeprefix("in_").replace("_", " "): each
    for each in (
        in_pandas,
        in_nullable_pandas,
        in_xarray,
        in_polars,
        in_dask,
        in_pint,
        in_masked,
        in_scipy,
        in_sparse,
        in_array_api_strict,
    )
}


def rows(words: list[str]) -> Iterator[Row]:
    """Those that are asked for, of what is installed."""
    for library, found in LIBRARIES.items():
        try:
            each = list(found())
        except ImportError:
            continue
        for name, *rest in each:
            if not words or any(word in f"{library} {name}" for word in words):
                yield f"{library} {name}", *rest


def ratios(held: Held, own: Call, cotangent: Held | None, n: int) -> list[str]:
    """Ours over the library's own, of the value and of the VJP, which integers have none of."""
    rng = np.random.default_rng(0)
    x, g = held(rng.normal(size=n)), (cotangent or held)(rng.normal(size=n))
    done = (lambda y: y.compute(scheduler="synchronous")) if hasattr(x, "dask") else (lambda y: y)
    pairs = [(lambda: relu_xp.relu(x), lambda: own(x)), (lambda: relu_xp.relu_vjp(x, g), lambda: x + g)]
    found = []
    for ours, theirs in pairs:
        try:
            seconds = measure({"ours": lambda ours=ours: done(ours()), "own": lambda t=theirs: done(t())}, SAMPLES)
        except TypeError:
            found.append("-")
        else:
            found.append(f"{seconds['ours'] / seconds['own']:.2f}")
    return found


def main() -> None:
    """Measure row by row, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    console = Console()
    headings = [f"{call}, {size}" for size in SIZES for call in ("relu", "relu_vjp")]
    table = Table("holder", *headings, title="time over the library's own")
    for name, held, own, *cotangent in track([*rows(options.words)], description="measuring", console=console):
        table.add_row(
            escape(name), *(cell for n in SIZES.values() for cell in ratios(held, own, *cotangent or [None], n))
        )
    console.print(table)


if __name__ == "__main__":
    main()
