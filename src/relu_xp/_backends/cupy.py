"""CuPy arrays: one fused CUDA kernel for each function and dtype, on the array's own device and its current stream.

A schedule of the C++ text in `_native`, whose CUDA part says there why it works on bits. CuPy's own elementwise kernels
load one element a thread, a quarter of the bandwidth for the short types; these load 16 bytes wherever the arrays are
contiguous, and walk any other layout without a copy. Scalars are arguments, so a kernel is compiled once for a device,
and CuPy keeps it on disk.
"""

import functools
import math
import operator
from importlib import resources
from typing import Any

import cupy
import numpy as np

from relu_xp import _checks, _dtypes
from relu_xp._functions import Function

Array = Any  # a cupy.ndarray

PACK = 16  # bytes of the widest load
IN_FLIGHT = 4  # packs a thread, as in the CUDA text
WIDE, NARROW = 512, 128  # threads of a block: where there is work for all processors, and where it must be spread
MANY_PACKS = 1 << 19
NO_ARRAY = NO_SCALAR = 0  # for what a function does not take: kernels do not look at it

_LAYOUT = np.dtype([("size", "i8"), ("dimensions", "i8"), ("shape", "i8", 64), ("strides", "i8", (4, 64))])


def owns(x: object) -> bool:
    """Arrays on a GPU; CuPy has no scalars."""
    return isinstance(x, cupy.ndarray)


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Check every argument, and launch without waiting for the result."""
    x, g = arrays[0], arrays[-1]
    device = x.data.device_id
    if device != cupy.cuda.runtime.getDevice():
        with x.device:
            return call(function, arrays, scalars, out)
    operands = _default_bits(function, x.dtype)
    if (
        operands is None
        or out is not None
        or not all(map(operator.is_, scalars, function.defaults))
        or g.dtype != x.dtype
        or g.shape != x.shape
        or g.data.device_id != device
    ):
        arrays, operands = _checked(function, arrays, scalars, out)
    if out is None:
        # In the memory order of x, which empty_like takes longer to find.
        out = cupy.ndarray(x.shape, x.dtype) if x.flags.c_contiguous else cupy.empty_like(x)
        if type(x) is not cupy.ndarray:
            out = out.view(type(x))
            out.__array_finalize__(x)  # as CuPy's own functions do, so that a subclass keeps what it holds
    else:
        arrays = tuple(_copy_if_overlapping(a, out) for a in arrays)
    if x.size:
        _launch(function, arrays, operands, out)
    return out


def devices() -> list[str]:
    """List the GPUs; the driver's own error if there is none."""
    return [f"cuda:{i}" for i in range(cupy.cuda.runtime.getDeviceCount())]


def put(array: Array, device: str) -> Array:
    """Copy a NumPy array to the GPU so named."""
    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array)


def get(x: Array) -> Array:
    """Copy the array to the host."""
    return cupy.asnumpy(x)


_LIBRARY = _checks.Library(
    "a cupy.ndarray",
    is_array=owns,
    device=lambda a: a.device,
    kind=lambda dtype: _kind(dtype),
    is_writeable=lambda out: True,
)


_FLOATS = ("float16", "bfloat16", "float32", "float64")


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Those of the dtypes that the CUDA text has a type for."""
    has = dtype.isnative and dtype.name in (*_FLOATS, *(f"{u}int{8 << n}" for u in ("", "u") for n in range(4)))
    return _dtypes.kind(dtype) if has else ""


def _checked(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> tuple[tuple[Array, ...], tuple[int, ...]]:
    """Check every argument; give the arrays, a slope among them, and the bits of the other scalars."""
    x = arrays[0]
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)[: len(function.scalars)]
    if rounded and owns(rounded[0]):  # the first, if any: arrays stand before scalars
        slope = cupy.broadcast_to(rounded[0].astype(x.dtype, copy=False), x.shape)
        arrays, rounded = (*arrays, slope), rounded[1:]
    return arrays, tuple(_bits(scalar, x.dtype) for scalar in rounded)


def _bits(scalar: Any, dtype: np.dtype[Any]) -> int:
    return int(np.array(scalar, dtype).view(f"u{dtype.itemsize}"))


@functools.cache
def _default_bits(function: Function, dtype: np.dtype[Any]) -> tuple[int, ...] | None:
    """The bits of the default scalars; None for a dtype that the function does not take."""
    kind = _kind(dtype)
    if kind == "f":
        return tuple(_bits(scalar.default, dtype) for scalar in function.scalars)
    return () if kind and function.takes_integers else None


def _launch(function: Function, arrays: tuple[Array, ...], scalars: tuple[int, ...], out: Array) -> None:
    pointers = [a.data.ptr for a in (*arrays, out)]
    starts = tuple([pointer % PACK for pointer in pointers])
    way, grid, block, layout = _plan(out.shape, out.itemsize, tuple([a.strides for a in (*arrays, out)]), starts)
    *inputs, result = pointers
    inputs += [NO_ARRAY] * (3 - len(inputs))
    arguments = (*inputs, result, *layout, *scalars, *[NO_SCALAR] * (3 - len(scalars)))
    _kernel(function, out.dtype, len(arrays), way)(grid, block, arguments)


@functools.lru_cache(maxsize=1024)
def _plan(
    shape: tuple[int, ...], itemsize: int, strides: tuple[tuple[int, ...], ...], starts: tuple[int, ...]
) -> tuple[str, tuple[int], tuple[int], tuple[Any, ...]]:
    """Choose the kernel by the layout, the blocks and their threads, and give the arguments that describe the layout.

    Strides and starts are those of the arrays and the result; a start is how far beyond a 16-byte boundary.
    """
    size, dimensions = math.prod(shape), _merged(shape, *strides)
    if len({*starts}) == 1 and dimensions in ([], [(size, *[itemsize] * len(strides))]):
        head = min(-starts[0] % PACK // itemsize, size)
        packs = (size - head) * itemsize // PACK
        threads = WIDE if packs > MANY_PACKS else NARROW
        blocks = max(-(-packs // (threads * IN_FLIGHT)), 1)  # one block has threads for the ends
        return "contiguous", (blocks,), (threads,), (size, head)
    layout = np.zeros((), _LAYOUT)
    layout["size"], layout["dimensions"] = size, len(dimensions)
    for d, (length, *steps) in enumerate(dimensions):
        layout["shape"][d] = length
        layout["strides"][[*range(len(steps) - 1), 3], d] = steps
    return "strided", (-(-size // WIDE),), (WIDE,), (layout,)


def _merged(shape: tuple[int, ...], *strides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """List (length, stride of each array) by dimension, as few as will do, the innermost of the last array first."""
    dimensions = [d for d in zip(shape, *strides, strict=True) if d[0] != 1]
    dimensions.sort(key=lambda dimension: abs(dimension[-1]))
    merged: list[tuple[int, ...]] = []
    for length, *steps in dimensions:
        if merged and all(step == merged[-1][0] * inner for step, inner in zip(steps, merged[-1][1:], strict=True)):
            merged[-1] = (length * merged[-1][0], *merged[-1][1:])
        else:
            merged.append((length, *steps))
    return merged


@functools.cache
def _kernel(function: Function, dtype: np.dtype[Any], arrays: int, way: str) -> Any:
    """Give one kernel, built once; CuPy compiles it at its first launch on each device."""
    return cupy.RawKernel(source(), f"{function}_{dtype.name}_{way}", options(function, dtype.name, arrays))


def source() -> str:
    """The C++ text and its CUDA part as one: NVRTC is given no folder to include from."""
    native = resources.files("relu_xp._native")
    return "".join(native.joinpath(f"rectifiers.{suffix}").read_text("utf-8") for suffix in ("hpp", "cu"))


def options(function: Function, dtype: str, arrays: int) -> tuple[str, ...]:
    """What the text is compiled for."""
    operands = len(function.arrays) + len(function.scalars)
    defined = {"FUNCTION": function, "TYPE": dtype, "ARRAYS": arrays, "OPERANDS": operands}
    return ("-DRELU_XP_DEVICE=__device__", *(f"-D{name}={value}" for name, value in defined.items()))


def _copy_if_overlapping(a: Array, out: Array) -> Array:
    return a.copy() if _overlaps(out, a) else a


def _overlaps(out: Array, a: Array) -> bool:
    """Whether an element of a might be read after it is overwritten: not where each has its own result put over it."""
    if a.data.ptr == out.data.ptr and a.strides == out.strides:
        return False
    (start, stop), (out_start, out_stop) = _extent(a), _extent(out)
    return start < out_stop and out_start < stop


def _extent(a: Array) -> tuple[int, int]:
    """Address of the first byte of a, and of the byte after its last."""
    spans = [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)] if a.size else []
    start = a.data.ptr + sum(span for span in spans if span < 0)
    return start, a.data.ptr + sum(span for span in spans if span > 0) + a.itemsize
