"""The formulas in blocks that stay in cache, by NumPy's fast operations in place of its slow `where`.

A schedule of the formulas, tested bit-identical to them. It is worth its lines because `numpy.where` branches on the
data, at down to a hundredth of memory speed, a scalar operand slows `numpy.maximum` severalfold, and half precision
runs scalar loops; compare, cast, integer and maximum operations on contiguous blocks do none of that. Memory beyond the
output is a few blocks.

Each fast path is one function that gives a kernel of contiguous blocks (helpers, x, or x and g, then out, which may be
one of them), or None where it does not hold; then the formula itself runs on the block. No kernel raises a
floating-point warning that the definition would not, or keeps one back.
"""

import contextlib
import contextvars
import functools
import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from relu_xp import _formulas
from relu_xp._options import engine, processors, workers

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Array = Any
DType = np.dtype[Any]
Kernel = Callable[..., object]

BLOCK_BYTES = 1 << 18  # a block each of x, g, out and a helper or two fit the second-level cache
SHARED_BLOCK_BYTES = 1 << 20  # with several threads: to hand over the interpreter costs more than to leave that cache
FEW = 1 << 10  # elements, which a block of one value is not worth making for
SHARE = 1 << 20  # elements that are worth a thread: to wake one takes as long as some hundred thousand


def run(function: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array, *, fresh: bool) -> None:
    """Compute into out, fresh memory or not; all have one shape and, but for their byte order, one dtype."""
    signs = tuple(map(np.signbit, scalars)) if 0 in scalars else ()  # -0.0 and 0.0 are one key to a cache
    blocks = _flat((*arrays, out), fresh=fresh)
    compiled = None
    if loops := engine():
        streams = blocks is not None and not fresh and out.nbytes >= loops.STREAMED
        compiled = loops.kernel(function, out.dtype, scalars, signs, streams=streams)
    kernel = compiled or _numpy_kernel(function, out.dtype, scalars, signs)
    if blocks is None:
        _run_strided(kernel, (*arrays, out))
        return
    length = BLOCK_BYTES // out.itemsize
    if out.size <= length:
        helpers = _borrowed()
        kernel(helpers, *blocks)
        _spare.append(helpers)
        return
    threads = min(workers(), out.size // SHARE)
    if threads < 2:
        _run_flat(kernel, blocks, 0, out.size, out.size if compiled else length)
        return
    length = SHARED_BLOCK_BYTES // out.itemsize
    edges = [out.size * i // threads // length * length for i in range(threads)] + [out.size]
    if compiled:  # no thread comes back to the interpreter before its end
        length = out.size
    _share(threads, functools.partial(_run_flat, kernel, blocks, length=length), itertools.pairwise(edges))


def _share(threads: int, work: Callable[[int, int], None], pieces: Iterable[tuple[int, int]]) -> None:
    """Let this thread and others take pieces until none is left; once this returns or raises, nobody works."""
    ends = [None] * threads  # each thread takes pieces up to one of these
    left = deque([*pieces, *ends])

    def take() -> None:
        for piece in iter(left.popleft, None):
            work(*piece)

    others: list[Future[None]] = []
    try:
        with contextlib.suppress(RuntimeError):  # no thread is to be had, as where the interpreter ends: fewer will do
            for _ in range(threads - 1):
                context = contextvars.copy_context()
                others.append(_pool().submit(context.run, take))
        take()
    finally:
        left.extendleft(ends)
        _finish(others)
    for other in others:
        if not other.cancelled():
            other.result()


def _finish(others: "list[Future[None]]") -> None:
    """Wait for whoever works, even if Ctrl-C interrupts that; who has not begun need not."""
    begun = [other for other in others if not other.cancel()]
    try:
        for other in begun:
            other.exception()
    finally:
        if not all(other.done() for other in begun):
            _finish(begun)


@functools.cache
def _pool() -> "ThreadPoolExecutor":
    """Threads, each started when it is first needed, and kept."""
    # Late: where the main thread has ended, this can't be imported.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(processors(), "relu_xp")


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork leaves the threads behind


def _numpy_kernel(function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...]) -> Kernel:
    multiplies_early = function == "leaky_relu" or (function == "leaky_relu_vjp" and dtype.itemsize == 2)
    return _kernel(function, dtype, scalars, signs, not multiplies_early or is_ignored("under"))


def _run_flat(kernel: Kernel, arrays: list[Array], start: int, stop: int, length: int) -> None:
    helpers = _borrowed()
    for at in range(start, stop, length):
        kernel(helpers, *[a[at : min(at + length, stop)] for a in arrays])
    _spare.append(helpers)


def _flat(arrays: tuple[Array, ...], *, fresh: bool) -> list[Array] | None:
    """One-dimensional views, if all are contiguous in one order, native and aligned, and in place or apart."""
    out = arrays[-1]
    order = "C" if out.flags.c_contiguous else "F"
    for a in arrays:
        flags = a.flags
        contiguous = flags.c_contiguous if order == "C" else flags.f_contiguous
        if not (contiguous and flags.aligned and a.dtype.isnative):
            return None
        if not (fresh or a is out) and np.may_share_memory(a, out) and a.ctypes.data != out.ctypes.data:
            return None
    return list(arrays) if out.ndim == 1 else [a.reshape(-1, order=order) for a in arrays]


def _run_strided(kernel: Kernel, arrays: tuple[Array, ...]) -> None:
    """Any layout, through NumPy's own buffers of one block; what overlaps otherwise than in place is copied first."""
    each = ["nbo", "aligned", "contig", "overlap_assume_elementwise"]
    operands: Any = [["readonly", *each]] * (len(arrays) - 1) + [["writeonly", *each]]
    flags: Any = ["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"]
    dtype = arrays[-1].dtype
    length = BLOCK_BYTES // dtype.itemsize
    with np.nditer(arrays, flags, operands, [dtype] * len(arrays), order="K", buffersize=length) as blocks:
        helpers = _borrowed()
        for views in blocks:
            kernel(helpers, *views)
        _spare.append(helpers)


def _by_formula(function: str, scalars: tuple[Any, ...], *blocks: Array) -> None:
    """The formula as it stands; for the floats of ml_dtypes in binary32.

    Binary32 products of two 4- to 16-bit floats are exact, or lose bits only where the rounding back does not look; and
    ml_dtypes' own comparisons warn where they meet a NaN.
    """
    *arrays, out = blocks
    wide = np.dtype(np.float32) if is_extended(out.dtype) and "int" not in out.dtype.name else out.dtype
    out[...] = getattr(_formulas, function)(np, *(a.astype(wide, copy=False) for a in arrays), *scalars)


def is_extended(dtype: DType) -> bool:
    """Whether ml_dtypes made the dtype; then that library is imported."""
    return dtype.type.__module__ == "ml_dtypes"


class Helpers:
    """Two blocks for what a kernel has yet to combine."""

    def __init__(self) -> None:
        self._flags = np.empty(SHARED_BLOCK_BYTES // 2, np.bool_)  # for the shortest floats that have a fast path
        self._words = np.empty(2 * SHARED_BLOCK_BYTES, np.uint8)

    def flags(self, size: int) -> Array:
        """Room for a comparison."""
        return self._flags[:size]

    def words(self, dtype: Any, size: int) -> Array:
        """Room for numbers."""
        return self._words.view(dtype)[:size]


# Kept, so that no call waits for fresh pages, and lent, since a call may run in any thread, and in a signal's handler
# in the middle of another call. Who fails does not give back.
_spare = [Helpers()]


def _borrowed() -> Helpers:
    try:
        return _spare.pop()
    except IndexError:
        return Helpers()


@functools.lru_cache(maxsize=16)
def filled(value: Any, dtype: DType) -> Array:
    """A block of one value: a scalar operand would be several times slower."""
    block = np.full(SHARED_BLOCK_BYTES // dtype.itemsize, value, dtype)
    block.flags.writeable = False
    return block


@functools.cache
def maximum_gives_plus_zero(dtype: DType) -> bool:
    """Whether maximum(-0, +0) is +0 on this machine, at every length of a vector: IEEE 754 leaves it open."""
    minus, zeros = np.full(260, -0.0, dtype), filled(0, dtype)
    for view in (minus[:130], minus[::2], minus[::-2]):
        for n in (*range(1, 20), 31, 33, 63, 65, 127, 130):
            if np.signbit([np.maximum(view[:n], zeros[:n]), np.maximum(view[:n], zeros[0])]).any():
                return False  # pragma: no cover  # on some other machine
    return True


# What `np.errstate` sets, a new object each time. Where NumPy keeps it elsewhere, each look gives a new object too.
_state: Any = getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None)
_errstate: Callable[[], object] = _state.get if _state else object


def is_ignored(*kinds: str) -> bool:
    """Whether nobody would hear such warnings; to ask np.geterr takes as long as an operation on few elements."""
    return _is_ignored(_errstate(), kinds)


@functools.lru_cache(maxsize=16)
def _is_ignored(errstate: object, kinds: tuple[str, ...]) -> bool:
    states: dict[str, Any] = {**np.geterr()}
    return all(states[kind] == "ignore" for kind in kinds)


def _relu(dtype: DType, quiet: bool, z: float) -> Kernel:
    """One maximum with a block of zeros; where that may give -0, plus 0."""
    zeros = filled(0, dtype)

    def kernel(h: Helpers, x: Array, out: Array) -> None:
        np.maximum(x, zeros[: x.size], out=out)

    def careful(h: Helpers, x: Array, out: Array) -> None:
        np.add(np.maximum(x, zeros[: x.size], out=out), zeros[: x.size], out=out)

    return kernel if dtype.kind != "f" or maximum_gives_plus_zero(dtype) else careful


def _leaky_relu(dtype: DType, quiet: bool, s: float, z: float) -> Kernel:
    """max(x, s*x) for 0 < s <= 1, where that is the definition's; else x times s or 1, chosen in integers."""
    zeros, slope = filled(0, dtype), np.array(s, dtype)

    def maximum(h: Helpers, x: Array, out: Array) -> None:
        product = h.words(dtype, x.size)
        np.multiply(x, slope, out=product)
        np.maximum(x, product, out=out)

    def product(h: Helpers, x: Array, out: Array) -> None:
        factor = _choose(h, np.less(x, zeros[: x.size], out=h.flags(x.size)), slope, np.array(1, dtype))
        np.multiply(x, factor, out=out)

    # The product of a positive x is thrown away; it can't overflow, but its underflow would be an invented one.
    return maximum if 0 < s <= 1 and quiet else product


def _choose(h: Helpers, flags: Array, yes: Array, no: Array) -> Array:
    """A helper block with the bits of `yes` where flagged, else of `no`: an integer product and sum, modulo 2**n."""
    word = f"u{yes.dtype.itemsize}"
    chosen = h.words(word, flags.size)
    np.copyto(chosen, flags)
    np.multiply(chosen, yes.view(word) - no.view(word), out=chosen)
    np.add(chosen, no.view(word), out=chosen)
    return chosen.view(yes.dtype)


def _comparison(s: float, z: float) -> Any:
    """The one comparison with 0 that tells 1 from s, where z is either of them; None where it is neither."""
    if z == 1:
        return np.greater_equal
    return np.greater if z == s and np.signbit(z) == np.signbit(s) else None


def _leaky_relu_grad(dtype: DType, quiet: bool, s: float, z: float) -> Kernel | None:
    """A comparison, cast to 0 and 1, and for 0 < s <= 1 the maximum of that and s; else chosen in integers."""
    compare, zeros = _comparison(s, z), filled(0, dtype)
    if compare is None:
        return None
    if not 0 <= s <= 1 or np.signbit(s):
        one, slope = np.array(1, dtype), np.array(s, dtype)
        return lambda h, x, out: np.copyto(
            out, _choose(h, compare(x, zeros[: x.size], out=h.flags(x.size)), one, slope)
        )
    slope = np.array(s, dtype)

    def kernel(h: Helpers, x: Array, out: Array) -> None:
        np.copyto(out, compare(x, zeros[: x.size], out=h.flags(x.size)))
        if s > 0:
            np.maximum(out, slope if x.size <= FEW else filled(s, dtype)[: x.size], out=out)

    return kernel


def _relu_grad(dtype: DType, quiet: bool, z: float) -> Kernel | None:
    return _leaky_relu_grad(dtype, quiet, 0.0, z)


def _relu_vjp(dtype: DType, quiet: bool, z: float) -> Kernel | None:
    """The bits of g, and-ed with a mask of all ones or none."""
    compare, zeros, word = _comparison(0.0, z), filled(0, dtype), f"i{dtype.itemsize}"
    if compare is None:
        return None

    def kernel(h: Helpers, x: Array, g: Array, out: Array) -> None:
        mask = _widened(h, compare(x, zeros[: x.size], out=h.flags(x.size)), word)
        np.bitwise_and(g.view(word), mask, out=out.view(word))

    return kernel


def _widened(h: Helpers, flags: Array, word: str) -> Array:
    """A helper block of all ones where flagged, else zeros: -1 is as good in a wider integer."""
    narrow = flags.view(np.int8)
    np.negative(narrow, out=narrow)
    mask = h.words(word, flags.size)
    np.copyto(mask, narrow)
    return mask


def _leaky_relu_vjp(dtype: DType, quiet: bool, s: float, z: float) -> Kernel | None:
    """g times the derivative, unless z is 0, which selects."""
    derivative = _leaky_relu_grad(dtype, quiet, s, z) if z != 0 else None
    if derivative is None:
        return None

    def kernel(h: Helpers, x: Array, g: Array, out: Array) -> None:
        factor = h.words(dtype, x.size)
        derivative(h, x, factor)
        np.multiply(g, factor, out=out)

    return kernel


def _half_relu(dtype: DType, quiet: bool, z: float) -> Kernel:
    """On the bits as int16: what is above -inf is positive or NaN, of either sign, and stays; the rest is +0."""
    minus_infinity = filled(int(np.array(-np.inf, dtype).view(np.int16)), np.dtype(np.int16))

    def kernel(h: Helpers, x: Array, out: Array) -> None:
        bits = x.view(np.int16)
        mask = _widened(h, np.greater(bits, minus_infinity[: x.size], out=h.flags(x.size)), "i2")
        np.bitwise_and(bits, mask, out=out.view(np.int16))

    return kernel


def _half_table(function: str, dtype: DType, quiet: bool, *scalars: float) -> Kernel | None:
    """A function of 16 bits is a table of 65,536 entries, looked up without a rounding or a warning."""
    s = scalars[0]
    if function == "leaky_relu" and not (0 < abs(s) <= 1 and quiet):
        return None  # a product of the definition's may overflow, underflow or be invalid, and is to say so
    table = _table(function, dtype, tuple(float(scalar).hex() for scalar in scalars))
    return lambda h, x, out: np.take(table, x.view(np.uint16), out=out.view(np.uint16), mode="clip")


@functools.lru_cache(maxsize=64)
def _table(function: str, dtype: DType, scalars_in_hex: tuple[str, ...]) -> Array:
    """The formula's bits for every pattern of x, or of g where x is -1; hex tells -0.0 from 0.0 in a cache."""
    patterns = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    result = np.empty_like(patterns)
    arrays = (np.full_like(patterns, -1), patterns) if function.endswith("vjp") else (patterns,)
    with np.errstate(all="ignore"):
        _by_formula(function, tuple(map(float.fromhex, scalars_in_hex)), *arrays, result)
    return result.view(np.uint16)


@functools.cache
def _half_masks(dtype: DType, z_is_one: bool) -> Array:
    """For every pattern of x all ones where relu is active, else zeros."""
    active = _table("relu_grad", dtype, (float(z_is_one).hex(),)) != 0
    return np.where(active, np.uint16(0xFFFF), np.uint16(0))


def _half_relu_vjp(dtype: DType, quiet: bool, z: float) -> Kernel | None:
    """The bits of g, and-ed with a mask that is looked up."""
    if z not in (0, 1):
        return None
    masks = _half_masks(dtype, z == 1)

    def kernel(h: Helpers, x: Array, g: Array, out: Array) -> None:
        mask = np.take(masks, x.view(np.uint16), out=h.words(np.uint16, x.size), mode="clip")
        np.bitwise_and(g.view(np.uint16), mask, out=out.view(np.uint16))

    return kernel


def _half_leaky_relu_vjp(dtype: DType, quiet: bool, s: float, z: float) -> Kernel | None:
    """s*g looked up, and replaced by g where a mask, looked up too, says so."""
    if not (0 < abs(s) <= 1 and quiet) or z not in (1, s):
        return None
    masks, table = _half_masks(dtype, z == 1), _table("leaky_relu_vjp", dtype, (float(s).hex(), float(z).hex()))

    def kernel(h: Helpers, x: Array, g: Array, out: Array) -> None:
        mask, product = h.words(np.uint16, 2 * x.size)[: x.size], h.words(np.uint16, 2 * x.size)[x.size :]
        np.take(masks, x.view(np.uint16), out=mask, mode="clip")
        np.take(table, g.view(np.uint16), out=product, mode="clip")
        np.bitwise_xor(g.view(np.uint16), product, out=out.view(np.uint16))
        np.bitwise_and(out.view(np.uint16), mask, out=out.view(np.uint16))
        np.bitwise_xor(out.view(np.uint16), product, out=out.view(np.uint16))

    return kernel


_Paths = dict[str, Callable[..., Kernel | None]]
_WIDE: _Paths = {
    "relu": _relu,
    "relu_grad": _relu_grad,
    "relu_vjp": _relu_vjp,
    "leaky_relu": _leaky_relu,
    "leaky_relu_grad": _leaky_relu_grad,
    "leaky_relu_vjp": _leaky_relu_vjp,
}
_HALF: _Paths = {
    "relu": _half_relu,
    "relu_grad": functools.partial(_half_table, "relu_grad"),
    "relu_vjp": _half_relu_vjp,
    "leaky_relu": functools.partial(_half_table, "leaky_relu"),
    "leaky_relu_grad": functools.partial(_half_table, "leaky_relu_grad"),
    "leaky_relu_vjp": _half_leaky_relu_vjp,
}
_PATHS = {"float16": _HALF, "bfloat16": _HALF, "float32": _WIDE, "float64": _WIDE}


@functools.lru_cache
def _kernel(function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...], quiet: bool) -> Kernel:
    """Find the fast path, or else the formula; quiet says that underflow is ignored."""
    paths: _Paths = {"relu": _relu} if dtype.kind in "iu" else _PATHS.get(dtype.name, {})
    kernel = paths[function](dtype, quiet, *scalars) if function in paths else None
    return kernel or (lambda h, *blocks: _by_formula(function, scalars, *blocks))
