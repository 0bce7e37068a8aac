"""Loops for NumPy arrays that Numba compiles from the scalar definition itself: a schedule at the speed of a copy.

It is worth its lines because NumPy's own operations need several passes where the definition needs one. The maths is
that of `relu_xp.reference`, whose functions are compiled as they stand, their literals in the dtype of the array;
16-bit floats are widened to binary32 in registers, as `numpy_blocks` does in memory.

Compiled products tell nobody of an overflow, and may include some that the definition never makes. So where a product
of the definition's could warn and `np.errstate` would have it heard, there is no loop, and NumPy's operations serve.
"""

import functools
import inspect
import types
import zlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from relu_xp import reference
from relu_xp._checks import DEFAULT_GRAD_AT_ZERO

Array = Any
DType = np.dtype[Any]
Loop = Callable[..., object]

FEW = 1 << 18  # elements, up to which a call waits for the checks rather than for the memory, and has one thread
_HALVES = ("float16", "bfloat16")
_UINT16 = np.dtype(np.uint16)
_NAMES = {"__name__": __name__}  # a function made here is this module's


def kernel(function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...]) -> Loop | None:
    """A loop over contiguous blocks of any length (x, or x and g, then out); None where there is none."""
    found = _plan(function, dtype, scalars, signs)
    if found is None:
        return None
    loop, values, kinds = found
    if kinds and any(np.geterr()[kind] != "ignore" for kind in kinds):
        return None
    if dtype.name in _HALVES:
        return lambda *blocks: loop(*[block.view(_UINT16) for block in blocks], *values)
    return lambda *blocks: loop(*blocks, *values)


def quick(function: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array | None:
    """Compute what nearly all calls on small arrays ask for with the fewest checks; None for all other calls."""
    x, s = arrays[0], scalars[0]
    if scalars[-1] is not DEFAULT_GRAD_AT_ZERO or not (s is DEFAULT_GRAD_AT_ZERO or (type(s) is float and 0 < s <= 1)):
        return None
    if type(x) is not np.ndarray or x.size > FEW or x.dtype.name in _HALVES:
        return None
    found = _plan(function, x.dtype, scalars, ())
    if found is None or (found[2] and (found[2] != ("under",) or np.geterr()["under"] != "ignore")):
        return None
    for a in (*arrays[1:], out):
        if a is not None and (type(a) is not np.ndarray or a.dtype is not x.dtype or a.shape != x.shape):
            return None
        if out is not None and a is not out and np.may_share_memory(a, out):
            return None
    result = np.empty_like(x) if out is None else out
    each = (*arrays, result)
    if not all([a.flags.carray for a in each]) or (out is not None and out is not x and np.may_share_memory(x, out)):
        return None
    found[0](*(each if x.ndim == 1 else [a.ravel() for a in each]), *found[1])
    return result


@functools.lru_cache
def _plan(
    function: str, dtype: DType, scalars: tuple[Any, ...], signs: tuple[Any, ...]
) -> tuple[Loop, tuple[Any, ...], tuple[str, ...]] | None:
    """The loop, the scalars to give it, and which warnings its products could owe."""
    if dtype.kind in "iu" and dtype.isnative and dtype.type.__module__ == "numpy":
        return _loop(function, dtype, False), (), ()
    if dtype.name not in (*_HALVES, "float32", "float64") or not dtype.isnative:
        return None
    wide = np.dtype(np.float32) if dtype.name in _HALVES else dtype
    values = tuple(map(wide.type, scalars))
    factors = () if function in ("relu", "relu_grad", "leaky_relu_grad") else values
    if function == "leaky_relu":
        factors = values[:1]
    elif values[-1] in (0, 1):
        factors = factors[:-1]
    if values[-1] == 1 or function.endswith("relu"):
        values = values[:-1]  # left to the definition's own default, which the compiler can fold
    kinds = {
        "under": any(f not in (-1, 0, 1) for f in factors),
        "over": any(abs(f) > 1 for f in factors),
        "invalid": 0 in factors,
    }
    return _loop(function, dtype, bool(factors)), values, tuple(kind for kind, owed in kinds.items() if owed)


@functools.cache
def _loop(function: str, dtype: DType, rounds: bool) -> Loop:
    """The loop over one function of the definition, compiled at its first call, or read from the disk."""
    wide = np.float32 if dtype.name in _HALVES else dtype.type
    load, store = _CONVERSIONS.get(dtype.name, (_same, _same))
    if dtype.name == "bfloat16" and not rounds:
        store = _cut
    names = _NAMES | {"define": _definition(function, wide), "load": numba.njit(load), "store": numba.njit(store)}
    body = _binary if function.endswith("vjp") else _unary
    loop = types.FunctionType(body.__code__, names, function)
    # Numba looks for its file on the disk by this name; it watches this source by itself, but not the definition's.
    loop.__qualname__ = f"{function}_{dtype.name}_{store.__name__}_{zlib.crc32(inspect.getsource(reference).encode()):x}"
    try:
        return numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no place on the disk can be written
        return numba.njit(nogil=True)(loop)


def _unary(x: Array, out: Array, *scalars: Any) -> None:
    for i in range(x.size):
        out[i] = store(define(load(x[i]), *scalars))  # noqa: F821


def _binary(x: Array, g: Array, out: Array, *scalars: Any) -> None:
    for i in range(x.size):
        out[i] = store(define(load(x[i]), load(g[i]), *scalars))  # noqa: F821


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
