"""scipy.sparse arrays and matrices stay sparse: only the stored elements are computed.

A derivative that is not 0 at x = 0 is refused, since its result would be dense.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from relu_xp import _checks
from relu_xp._backends import _numpy_errors
from relu_xp._backends._host import devices as devices
from relu_xp._functions import GRAD_AT_ZERO, Function

Sparse = Any  # a scipy.sparse array or matrix, of any format

_COMPRESSED = ("bsr", "csc", "csr")
PART = 1 << 14  # elements or blocks that are computed at once: so many fit the caches


def owns(x: object) -> bool:
    """Own arrays and matrices of every format."""
    return sparse.issparse(x)


def put(array: Any, device: str) -> Sparse:
    """Store every element of a NumPy array, also the zeros, so that -0.0 keeps its sign."""
    array = np.atleast_1d(array)
    x = sparse.coo_array(
        (array.ravel(), np.indices(array.shape).reshape(array.ndim, -1)), array.shape
    )
    return x.tocsr() if array.ndim < 3 else x


def get(x: Sparse) -> Any:
    """Give the elements as a NumPy array; `toarray` would add to zeros, and lose a stored -0.0."""
    x = _canonical(x.tocoo()).tocoo()
    dense = np.zeros(x.shape, x.dtype)
    dense[x.coords] = x.data
    return dense


def delegate(
    function: Function,
    inside: Callable[..., Any],
    arrays: tuple[Sparse, ...],
    slope: Any,
    out: None,
) -> Sparse:
    """Compute the places that x or the cotangent stores."""
    _checks.no_out(function, out, "a scipy.sparse array")
    x, g = arrays[0], arrays[-1]
    if slope is not None:
        raise _checks.one_slope(function, x, slope, "x.toarray()")
    _checks.alike(function, x.dtype, x.shape, g.dtype, g.shape)
    if len(arrays) == 2:
        places, result = _together(function, inside, *(_canonical(_as_table(a)) for a in arrays))
    else:
        places = _canonical(_as_table(x) if x.ndim == 1 else x)
        result = _dia(inside, arrays) if places.format == "dia" else inside(places.data)
    if function.role == "grad" and places.nnz < math.prod(x.shape):
        _check_stays_sparse(function, inside(np.zeros(1, x.dtype))[0])
    if places is x:
        return x._with_data(result)
    places.data = result
    return _with_axes(places, x.shape).asformat(x.format)


def _check_stays_sparse(function: Function, at_zero: Any) -> None:
    if at_zero != 0:
        msg = (
            f"relu_xp.{function}: x is 0 where it stores no element, and there the result is "
            f"{at_zero:g}; pass {GRAD_AT_ZERO.name}=0.0, which keeps it sparse, or a dense array, "
            "for example x.toarray()"
        )
        raise TypeError(msg)


def _canonical(x: Sparse) -> Sparse:
    """Return the same array with each place stored once in `data`; x itself is not changed."""
    if x.format == "dia":
        return x
    if x.format not in _COMPRESSED:
        x = x.tocsr() if x.format == "lil" else x.tocoo()
    if x.format == "coo" and not x.has_canonical_format and _has_few_rows(x):
        return x.tocsr()  # SciPy's loops bring places in order faster than sorting does
    if x.format in _COMPRESSED and x.indptr[-1] < len(x.data):
        x = x.copy()  # a copy leaves out the room that is not in use
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    return x


def _has_few_rows(x: Sparse) -> bool:
    """Whether an index of the rows takes no more memory than the elements."""
    return x.ndim == 2 and x.shape[0] <= x.nnz


def _as_table(x: Sparse) -> Sparse:
    """Join all axes but the last, so that there are two, unless their product overflows."""
    if x.ndim == 2 or math.prod(x.shape) >= 1 << 62:
        return x
    x = x.tocoo()
    if x.ndim == 1:
        return sparse.csr_array((x.data, x.coords[0].copy(), [0, x.nnz]), (1, *x.shape))
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _with_axes(x: Sparse, shape: tuple[int, ...]) -> Sparse:
    """Undo `_as_table`."""
    if x.ndim == len(shape):
        return x
    return sparse.coo_array((x.data, (x.indices,)), shape) if len(shape) == 1 else x.reshape(shape)


def _together(
    function: Function, inside: Callable[..., Any], x: Sparse, g: Sparse
) -> tuple[Sparse, Any]:
    """Return an array of all places that x or g stores, in the format of x, and the results."""
    if (
        x.format == g.format == "dia"
        and np.array_equal(x.offsets, g.offsets)
        and x.data.shape == g.data.shape
    ):
        return x, _dia(inside, (x, g))
    if x.format == g.format == "dia":
        offsets, width = np.union1d(x.offsets, g.offsets), max(x.data.shape[1], g.data.shape[1])
        values = [_diagonals(a, offsets, width) for a in (x, g)]
        return type(x)((values[0], offsets), x.shape), inside(*values)
    if x.format in _COMPRESSED:
        g = g.tobsr(x.blocksize) if x.format == "bsr" else g.asformat(x.format)
    if x.format == g.format and all(map(np.array_equal, _places(x), _places(g))):
        return x, inside(x.data, g.data)
    if x.format == "dia":
        return _together(function, inside, _canonical(x.tocoo()), g)
    if x.format == "coo" and _has_few_rows(x):
        return _together(function, inside, x.tocsr(), g)
    if x.format in _COMPRESSED:
        return _together_compressed(function, inside, x, _canonical(g))
    places, *values = _together_by_sorting(x, g.tocoo())
    return places, inside(*values)


def _places(x: Sparse) -> tuple[Any, ...]:
    return x.coords if x.format == "coo" else (x.indptr, x.indices)


def _together_compressed(
    function: Function, inside: Callable[..., Any], x: Sparse, g: Sparse
) -> tuple[Sparse, Any]:
    """Do what `_together` does, by SciPy's addition.

    Marks are added: 1 where x stores an element, 2 where g does. The sum has the places in order.
    That is faster than to sort them.
    """
    both = _marked(x, 1) + _marked(g, 2)
    result, done = np.empty((both.nnz, *x.data.shape[1:]), x.dtype), [0, 0]
    with _numpy_errors.told_once(function):
        for start in range(0, len(result), PART):
            part = slice(start, start + PART)
            values = []
            for i, data in enumerate((x.data, g.data)):
                # `!= 0` makes truths of bytes, for which flatnonzero is far slower.
                at = np.flatnonzero((both.data[part] & (i + 1)) != 0)
                spread = np.zeros(result[part].shape, result.dtype)
                spread[at] = data[done[i] : done[i] + len(at)]
                done[i] += len(at)
                values.append(spread)
            result[part] = inside(*values)
    if x.format == "bsr":
        both = type(x)((result, both.indices, both.indptr), x.shape)
    return both, result


def _marked(x: Sparse, mark: int) -> Sparse:
    """The places, or blocks, that x stores, with a mark at each."""
    marks = np.full(len(x.data), mark, np.int8)
    if x.format == "bsr":
        shape = [n // size for n, size in zip(x.shape, x.blocksize, strict=True)]
        return sparse.csr_array((marks, x.indices, x.indptr), shape)
    x = copy.copy(x)  # its places are shared
    x.data = marks
    return x


def _dia(inside: Callable[..., Any], arrays: Sequence[Sparse]) -> Any:
    """Compute diagonals that all arrays store in the same order."""
    data = [a.data for a in arrays]
    return _numpy_errors.without(
        inside, data, lambda: [_diagonals(a, a.offsets, a.data.shape[1]) for a in arrays]
    )


def _diagonals(x: Sparse, offsets: Any, width: int) -> Any:
    """The elements on diagonals, with zeros where x has none, as past its edges."""
    rows, columns = x.shape
    diagonals = np.zeros((len(offsets), min(width, columns)), x.dtype)
    places = {offset: place for place, offset in enumerate(offsets.tolist())}
    for offset, data in zip(x.offsets.tolist(), x.data, strict=True):
        inner = slice(max(offset, 0), max(min(columns, len(data), rows + offset), 0))
        diagonals[places[offset], inner] = data[inner]
    return diagonals


def _together_by_sorting(x: Sparse, g: Sparse) -> tuple[Sparse, Any, Any]:
    """Bring places in order by sorting: an index cannot hold more axes, or so many rows."""
    coords = np.concatenate([x.coords, g.coords], axis=1)
    order = np.lexsort(coords[::-1])
    is_first = np.ones(order.shape, bool)
    is_first[1:] = (np.diff(coords[:, order]) != 0).any(axis=0)
    place = np.empty_like(order)
    place[order] = np.cumsum(is_first) - 1
    values = np.zeros((2, is_first.sum()), x.dtype)
    values[0, place[: x.nnz]] = x.data
    values[1, place[x.nnz :]] = g.data
    return type(x)((values[0], (*coords[:, order[is_first]],)), x.shape), *values
