"""scipy.sparse arrays and matrices stay sparse: the stored elements are computed, and a 0 that is not stored stays one.

Where a derivative at 0 is no 0, the call is refused: its result would be dense.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from relu_xp import _checks
from relu_xp._functions import GRAD_AT_ZERO, Function

in_parts = True  # so that no array can stand in the place of a scalar

Sparse = Any  # a scipy.sparse array or matrix, of any format

_HOLD_DATA = ("bsr", "csc", "csr", "coo")  # whose `data` are the stored elements, once duplicates are summed


def owns(x: object) -> bool:
    """Arrays and matrices of every format."""
    return sparse.issparse(x)


def devices() -> list[str]:
    """The host."""
    return ["cpu"]


def put(array: Any, device: str) -> Sparse:
    """Store every element of a NumPy array, also the zeros, whose sign would be lost else."""
    array = np.atleast_1d(array)
    x = sparse.coo_array((array.ravel(), np.indices(array.shape).reshape(array.ndim, -1)), array.shape)
    return x.tocsr() if array.ndim < 3 else x


def get(x: Sparse) -> Any:
    """Give the elements as a NumPy array, a stored -0 as it is: `toarray` adds to zeros."""
    x = _canonical(x.tocoo())
    dense = np.zeros(x.shape, x.dtype)
    dense[x.coords] = x.data
    return dense


def delegate(function: Function, inside: Callable[..., Any], arrays: tuple[Sparse, ...], out: None) -> Sparse:
    """Compute what is stored, in x or in the cotangent."""
    _checks.no_out(function, out, "a scipy.sparse array")
    x, g = arrays[0], arrays[-1]
    _checks.alike(function, x.dtype, x.shape, g.dtype, g.shape)
    like = x
    if len(arrays) == 2:
        x, *values = _together(*arrays)
    else:
        x = _canonical(x if x.format in _HOLD_DATA else x.tocoo())
        values = [x.data]
    result = inside(*values)
    if result.size < np.prod(x.shape, dtype=object):
        _check_stays_sparse(function, inside(*(np.zeros(1, a.dtype) for a in values))[0])
    return x._with_data(result).asformat(like.format)


def _check_stays_sparse(function: Function, at_zero: Any) -> None:
    if at_zero != 0:
        msg = (
            f"relu_xp.{function}: x is 0 where it stores no element, and there the result is {at_zero:g}; "
            f"pass {GRAD_AT_ZERO.name}=0.0, which keeps it sparse, or a dense array, for example x.toarray()"
        )
        raise TypeError(msg)


def _canonical(x: Sparse) -> Sparse:
    """The same with one element for each place; x itself is not changed."""
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    return x


def _together(x: Sparse, g: Sparse) -> tuple[Sparse, Any, Any]:
    """The places that either stores, as an array of x's kind, with the elements of x there and those of g."""
    if x.format in ("bsr", "csc", "csr") and x.ndim == 2:
        return _together_compressed(x, g, "csc" if x.format == "csc" else "csr")
    x, g = _canonical(x.tocoo()), _canonical(g.tocoo())
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


def _together_compressed(x: Sparse, g: Sparse, kind: str) -> tuple[Sparse, Any, Any]:
    """The same in SciPy's loops, which sorting would be slow beside: a sum of the numbers of both elements, in one."""
    x, g = _canonical(x.asformat(kind)), _canonical(type(x.asformat(kind))(g.asformat(kind)))
    radix = g.nnz + 1
    sums = x._with_data(np.arange(1, x.nnz + 1) * radix) + g._with_data(np.arange(1, radix))
    numbers = np.divmod(sums.data, radix)  # from 1 on; a 0, for none, takes the last, which is a 0
    values = [np.append(a.data, a.dtype.type(0))[n - 1] for a, n in zip((x, g), numbers, strict=True)]
    return sums, *values
