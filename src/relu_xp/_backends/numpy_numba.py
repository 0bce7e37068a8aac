"""Loops for NumPy arrays that Numba compiles from the scalar definition itself: a schedule at the speed of a copy.

It is worth its lines because NumPy's own operations need several passes where the definition needs one. The maths is
that of `relu_xp.reference`, whose functions are compiled as they stand, their literals in the dtype of the array;
16-bit floats are widened to binary32 in registers, as `numpy_blocks` does in memory. Large results are written past the
caches, as a copy writes them: a line that is not read first is a third of the traffic less.

Compiled products tell nobody of an overflow, and may include some that the definition never makes. So where a product
of the definition's could warn and `np.errstate` would have it heard, there is no loop, and NumPy's operations serve.
"""

import functools
import inspect
import platform
import sys
import types
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils
from numba.extending import intrinsic

from relu_xp import _checks, reference
from relu_xp._backends.numpy_blocks import is_ignored
from relu_xp._checks import DEFAULT_GRAD_AT_ZERO

Array = Any
DType = np.dtype[Any]
Loop = Callable[..., object]

FEW = 1 << 18  # elements, up to which a call on NumPy's floats has one thread, and may wait longest for its checks
STREAMED = 1 << 25  # bytes of a given `out`, from which a cache would hold little of it until it is read
_PIECE = 1 << 10  # bytes that are computed before they are written past the caches
_LINE = 64  # bytes, at multiples of which that begins
_WIDE = (np.dtype(np.float32), np.dtype(np.float64))
_UINT16 = np.dtype(np.uint16)
_NAMES = {"__name__": __name__}  # what a function made here needs to be this module's


@dataclass(frozen=True)
class _Plan:
    """How to run one function on one dtype with its scalars."""

    loop: Callable[[str], Loop]  # by where `out` is, as in _LOOPS
    scalars: tuple[Any, ...]
    owed: tuple[str, ...]  # the warnings that products of the definition's could cause
    halves: bool

    @functools.cached_property
    def apart(self) -> Loop:
        """The loop for most calls."""
        return self.loop("apart")

    def run(self, _: object, *blocks: Array) -> None:
        """Compute one block, of any length, without helpers."""
        onto = _onto(blocks)
        *arrays, out = self._words(blocks)
        if onto is None:
            self.apart(*arrays, out, *self.scalars)
        else:
            arrays[onto] = out  # the same memory, but this view can be written
            self.loop(_ONTO[onto])(*arrays, *self.scalars)

    def stream(self, _: object, *blocks: Array) -> None:
        """Compute one long block, and write it past the caches: no line of `out` is read to be overwritten."""
        if _onto(blocks) is not None:  # then it was read for its own sake
            self.run(None, *blocks)
            return
        *_, out = blocks
        length = _PIECE // out.itemsize
        head = -_address(out) % _LINE // out.itemsize
        tail = out.size - (out.size - head) % (2 * length)
        self.run(None, *[block[:head] for block in blocks])
        *arrays, out = self._words([block[head:tail] for block in blocks])
        self.loop("streamed")(*arrays, out, np.empty(length, out.dtype), *self.scalars)
        self.run(None, *[block[tail:] for block in blocks])

    def _words(self, blocks: Sequence[Array]) -> Sequence[Array]:
        return [block.view(_UINT16) for block in blocks] if self.halves else blocks


def _onto(blocks: Sequence[Array]) -> int | None:
    """Which of the arrays `out` is, if it is any: maybe by another view of the same memory."""
    *starts, start = map(_address, blocks)
    return starts.index(start) if start in starts else None


def _address(block: Array) -> int:
    return int(block.__array_interface__["data"][0])


def kernel(
    function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...], *, streams: bool
) -> Loop | None:
    """A loop over contiguous blocks (x, or x and g, then out); None where NumPy's operations are to serve."""
    plan = _plan(function, dtype, scalars, signs)
    if plan is None or (plan.owed and not is_ignored(*plan.owed)):
        return None
    return plan.stream if streams else plan.run


def quick(function: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array | None:
    """Compute what most calls on small arrays ask for, with the fewest checks; None for all other calls."""
    x, g, s = arrays[0], arrays[-1], scalars[0]
    if scalars[-1] is not DEFAULT_GRAD_AT_ZERO or type(s) is not float or not 0 < s <= 1:
        return None
    if type(x) is not np.ndarray or x.size > FEW or not x.flags.carray:
        return None
    dtype, shape = x.dtype, x.shape
    if g is not x and (type(g) is not np.ndarray or g.dtype is not dtype or g.shape != shape or not g.flags.carray):
        return None
    plan = _plan(function, dtype, scalars, ())
    if plan is None or (plan.owed and not is_ignored(*plan.owed)):
        return None
    loop = plan.apart
    if out is None:
        out = np.empty(shape, dtype)
        each = (*arrays, out)
    elif type(out) is not np.ndarray or out.dtype is not dtype or out.shape != shape or not out.flags.carray:
        return None
    elif out is x or out is g:
        each, loop = arrays, plan.loop(_ONTO[out is not x])
    elif np.may_share_memory(x, out) or np.may_share_memory(g, out):
        return None
    else:
        each = (*arrays, out)
    if len(shape) != 1:
        each = tuple([a.ravel() for a in each])
    if plan.halves:
        each = tuple([a.view(_UINT16) for a in each])
    loop(*each, *plan.scalars)
    return out


@functools.lru_cache
def _plan(function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...]) -> _Plan | None:
    """Find out what there is to do; None for the dtypes that are left to NumPy."""
    halves = dtype.name in _CONVERSIONS
    if dtype.name == "float16" and not _processor_converts_halves():
        return None
    if not dtype.isnative or (dtype.type.__module__ != "numpy" and not halves):
        return None
    if dtype.kind in "iu":
        return _Plan(functools.partial(_loop, function, dtype, False), (), (), False) if function == "relu" else None
    if not (halves or dtype in _WIDE):
        return None
    if halves:
        info = np.finfo(dtype) if dtype.kind == "f" else sys.modules["ml_dtypes"].finfo(dtype)
        scalars = tuple([_checks.rounded(function, "a scalar", value, dtype, info) for value in scalars])
    values = tuple(map(np.float32 if halves else dtype.type, scalars))
    factors = {"leaky_relu": values[:1], "leaky_relu_vjp": values, "relu_vjp": values}.get(function, ())
    if function.endswith("vjp") and values[-1] in (0, 1):
        factors = factors[:-1]
    if values[-1] == 1 or function.endswith("relu"):
        values = values[:-1]  # left to the definition's own default, which makes for a simpler loop
    owed = {
        "under": any(abs(f) not in (0, 1) for f in factors),
        "over": any(abs(f) > 1 for f in factors),
        "invalid": 0 in factors,
    }
    loop = functools.partial(_loop, function, dtype, bool(factors))
    return _Plan(loop, values, tuple([kind for kind in owed if owed[kind]]), halves)


@functools.cache
def _processor_converts_halves() -> bool:
    """Whether it converts float16 by itself; LLVM would call a function that Numba lacks, which ends the process."""
    if numba.config.CPU_NAME or numba.config.CPU_FEATURES:  # not what is here, but what Numba is told to compile for
        return False
    return platform.machine() in ("arm64", "aarch64") or bool(get_host_cpu_features().get("f16c"))


@functools.cache
def _loop(function: str, dtype: DType, rounds: bool, where: str) -> Loop:
    """The loop for one function and dtype, compiled at its first call or read from the disk."""
    load, store = _CONVERSIONS.get(dtype.name, (_same, _same))
    if store is _to_bfloat16 and not rounds:
        store = _cut
    wide = np.float32 if dtype.name in _CONVERSIONS else dtype.type
    names = {"define": _definition(function, wide), "load": numba.njit(load), "store": numba.njit(store)}
    names |= {"stream": _stream, "drain": _drain, "length": _PIECE // dtype.itemsize}
    body = _LOOPS[function.endswith("vjp"), where]
    loop = types.FunctionType(body.__code__, _NAMES | names, function)
    # By this name Numba finds its file on the disk. It notices itself when this source changes, not the definition's.
    source = zlib.crc32(_source().encode())
    loop.__qualname__ = "_".join(["relu_xp", function, dtype.name, body.__name__, store.__name__, f"{source:08x}"])
    try:
        return numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # there is no place on the disk to write to
        return numba.njit(nogil=True)(loop)


def _source() -> str:
    """The definition's; where programs are shipped without their sources, nothing is kept on the disk either."""
    try:
        return inspect.getsource(reference)
    except OSError:  # pragma: no cover  # tested in a copy of the package, which is not what is measured
        return ""


# Each loop is made with functions of its own, and those below, in their place.
define: Any = None
load: Any = None
store: Any = None
stream: Any = None
drain: Any = None
length: Any = None

# One loop for each array that `out` may be: given memory twice, the compiler has to expect the worst.


def _unary(x: Array, out: Array, *scalars: Any) -> None:
    for i in range(x.size):
        out[i] = store(define(load(x[i]), *scalars))


def _unary_onto_x(x: Array, *scalars: Any) -> None:
    for i in range(x.size):
        x[i] = store(define(load(x[i]), *scalars))


def _binary(x: Array, g: Array, out: Array, *scalars: Any) -> None:
    for i in range(x.size):
        out[i] = store(define(load(x[i]), load(g[i]), *scalars))


def _binary_onto_x(x: Array, g: Array, *scalars: Any) -> None:
    for i in range(x.size):
        x[i] = store(define(load(x[i]), load(g[i]), *scalars))


def _binary_onto_g(x: Array, g: Array, *scalars: Any) -> None:
    for i in range(x.size):
        g[i] = store(define(load(x[i]), load(g[i]), *scalars))


# Two halves at a time: processors fetch ahead no further than to the end of a page, and so twice as much.


def _unary_streamed(x: Array, out: Array, piece: Array, *scalars: Any) -> None:
    half = x.size // 2
    for at in range(0, half, length):
        for start in (at, at + half):
            part = x[start : start + length]
            for i in range(length):
                piece[i] = store(define(load(part[i]), *scalars))
            stream(piece, out, start)
    drain()


def _binary_streamed(x: Array, g: Array, out: Array, piece: Array, *scalars: Any) -> None:
    half = x.size // 2
    for at in range(0, half, length):
        for start in (at, at + half):
            part, factors = x[start : start + length], g[start : start + length]
            for i in range(length):
                piece[i] = store(define(load(part[i]), load(factors[i]), *scalars))
            stream(piece, out, start)
    drain()


_ONTO = ("onto x", "onto g")
_LOOPS = {
    (False, "apart"): _unary,
    (False, "streamed"): _unary_streamed,
    (False, "onto x"): _unary_onto_x,
    (True, "apart"): _binary,
    (True, "streamed"): _binary_streamed,
    (True, "onto x"): _binary_onto_x,
    (True, "onto g"): _binary_onto_g,
}


def _definition(name: str, kind: Any) -> Any:
    """Compile a function of `relu_xp.reference`, without what Numba has not: arguments that go by name or place only.

    Its float literals become those of the dtype, or all would be widened to binary64 and back.
    """
    function = getattr(reference, name)
    code = function.__code__
    in_kind = [kind(value) if type(value) is float else value for value in code.co_consts]
    code = code.replace(
        co_argcount=code.co_argcount + code.co_kwonlyargcount,
        co_posonlyargcount=0,
        co_kwonlyargcount=0,
        co_consts=tuple(in_kind),
    )
    names = _NAMES | ({"_share": _definition("_share", kind)} if name.endswith("vjp") else {})
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    return numba.njit(types.FunctionType(code, names, name, tuple(map(kind, defaults))))


def _same(value: Any) -> Any:
    return value


@intrinsic  # type: ignore[untyped-decorator]
def _half_to_float(context: Any, bits: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fpext(builder.bitcast(values[0], ir.HalfType()), ir.FloatType())

    return numba.float32(numba.uint16), code


@intrinsic  # type: ignore[untyped-decorator]
def _float_to_half(context: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(builder.fptrunc(values[0], ir.HalfType()), ir.IntType(16))

    return numba.uint16(numba.float32), code


@intrinsic  # type: ignore[untyped-decorator]
def _stream(context: Any, piece: Any, out: Any, start: Any) -> Any:
    """Copy a piece to out[start:], with the hint that no cache needs to hold it."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 16).as_pointer()
        source, target = (context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 1))
        read, write = builder.bitcast(source, vector), builder.bitcast(builder.gep(target, [values[2]]), vector)
        hint = builder.module.add_metadata([ir.IntType(32)(1)])
        with cgutils.for_range(builder, values[2].type(_PIECE // 16)) as each:
            stored = builder.store(builder.load(builder.gep(read, [each.index])), builder.gep(write, [each.index]), 16)
            stored.set_metadata("nontemporal", hint)
        return context.get_dummy_value()

    return numba.void(piece, out, start), code


@intrinsic  # type: ignore[untyped-decorator]
def _drain(context: Any) -> Any:
    """Let no thread see that all is done before it sees what was written past the caches."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return numba.void(), code


def _from_half(bits: Any) -> Any:
    return _half_to_float(bits)


def _to_half(value: Any) -> Any:
    return _float_to_half(value)


def _from_bfloat16(bits: Any) -> Any:
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


def _to_bfloat16(value: Any) -> Any:
    """Round half to even. A NaN is one that was loaded or the processor's own, whose lower bits are 0, and survives."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


def _cut(value: Any) -> Any:
    """Where nothing is multiplied, nothing is rounded."""
    return np.uint16(np.float32(value).view(np.uint32) >> np.uint32(16))


_CONVERSIONS = {"float16": (_from_half, _to_half), "bfloat16": (_from_bfloat16, _to_bfloat16)}
