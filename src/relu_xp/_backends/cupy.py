"""CuPy arrays: one fused CUDA kernel for each function and dtype, on the array's own device and its current stream.

A schedule of the formulas, whose CUDA text stands in `cupy_kernels.cu` and says there why it works on bits. CuPy's own
elementwise kernels load one element a thread, a quarter of the bandwidth for the short types; these load 16 bytes
wherever the arrays are contiguous, and walk any other layout without a copy. Slope and grad_at_zero are arguments, so a
kernel is compiled once for a device, and CuPy keeps it on disk.
"""

import functools
import math
from importlib import resources
from typing import Any

import cupy
import numpy as np

from relu_xp import _checks

Array = Any  # a cupy.ndarray

BLOCK = 256  # threads
BLOCKS_PER_PROCESSOR = 8  # of that size fill a multiprocessor's 2048 threads; a kernel's threads then loop
PACK = 16  # bytes of the widest load
ANY_SLOPE = 1.0  # for relu's kernels, which take one like the others, and do not look at it

_LAYOUT = np.dtype([("size", "i8"), ("dimensions", "i8")] + [(name, "i8", 64) for name in ("shape", "x", "g", "out")])


def owns(x: object) -> bool:
    """Arrays on a GPU; CuPy has no scalars."""
    return isinstance(x, cupy.ndarray)


def relu(x: Array, z: Any, out: Array) -> Array:
    """Rectify."""
    return _run("relu", x, x, ANY_SLOPE, z, out)


def relu_grad(x: Array, z: Any, out: Array) -> Array:
    """Differentiate relu."""
    return _run("relu_grad", x, x, ANY_SLOPE, z, out)


def relu_vjp(x: Array, g: Array, z: Any, out: Array) -> Array:
    """Pull g back through relu."""
    return _run("relu_vjp", x, g, ANY_SLOPE, z, out)


def leaky_relu(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Rectify with a leak."""
    return _run("leaky_relu", x, x, s, z, out)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Differentiate leaky_relu."""
    return _run("leaky_relu_grad", x, x, s, z, out)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Pull g back through leaky_relu."""
    return _run("leaky_relu_vjp", x, g, s, z, out)


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


def _run(function: str, x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Check every argument, and launch without waiting for the result; a function of x alone is given x for g."""
    device, is_unary = x.device, g is x
    if device.id != cupy.cuda.runtime.getDevice():
        with device:
            return _run(function, x, g, s, z, out)
    _check(function, x, g, out)
    s_bits = _bits(function, "negative_slope", s, x.dtype)
    z_bits = _bits(function, "grad_at_zero", z, x.dtype)
    if out is None:
        # In the memory order of x, which empty_like takes longer to find.
        out = cupy.empty(x.shape, x.dtype) if x.flags.c_contiguous else cupy.empty_like(x)
        if type(x) is not cupy.ndarray:
            out = out.view(type(x))
            out.__array_finalize__(x)  # as CuPy's own functions do, so that a subclass keeps what it holds
    else:
        g = _apart(g, out)
        x = g if is_unary else _apart(x, out)
    if x.size:
        pointers = xp, gp, outp = x.data.ptr, g.data.ptr, out.data.ptr
        strides, starts = (x.strides, g.strides, out.strides), (xp % PACK, gp % PACK, outp % PACK)
        way, grid, layout = _plan(x.shape, x.itemsize, strides, starts, _processors(device.id))
        _kernel(function, x.dtype, way)(grid, (BLOCK,), (*pointers, *layout, s_bits, z_bits))
    return out


@functools.lru_cache(maxsize=1024)
def _plan(
    shape: tuple[int, ...],
    itemsize: int,
    strides: tuple[tuple[int, ...], ...],
    starts: tuple[int, int, int],
    processors: int,
) -> tuple[str, tuple[int], tuple[Any, ...]]:
    """Choose the kernel by the layout, the number of blocks, and give the arguments that describe the layout.

    Strides and starts are those of x, g and the result; a start is how far beyond a 16-byte boundary.
    """
    size, dimensions = math.prod(shape), _merged(shape, *strides)
    if len({*starts}) == 1 and dimensions in ([], [(size, itemsize, itemsize, itemsize)]):
        head = min(-starts[0] % PACK // itemsize, size)
        packs = (size - head) * itemsize // PACK
        return "contiguous", _grid(max(packs, 1), processors), (size, head)  # one block has threads for the ends
    layout = np.zeros((), _LAYOUT)
    layout["size"], layout["dimensions"] = size, len(dimensions)
    for i, name in enumerate(("shape", "x", "g", "out")):
        layout[name][: len(dimensions)] = [dimension[i] for dimension in dimensions]
    return "strided", _grid(size, processors), (layout,)


def _grid(threads: int, processors: int) -> tuple[int]:
    return (min(-(-threads // BLOCK), processors * BLOCKS_PER_PROCESSOR),)


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
def _kernel(function: str, dtype: np.dtype[Any], way: str) -> Any:
    """Give one kernel, built once; CuPy compiles it at its first launch on each device."""
    source = resources.files(__package__).joinpath("cupy_kernels.cu").read_text("utf-8")
    options = (f"-DFUNCTION={function}", f"-DTYPE={dtype.name}")
    return cupy.RawKernel(source, f"{function}_{dtype.name}_{way}", options)


@functools.cache
def _processors(device: int) -> int:
    return int(cupy.cuda.Device(device).attributes["MultiProcessorCount"])


def _apart(a: Array, out: Array) -> Array:
    return a.copy() if _spoils(out, a) else a


def _spoils(out: Array, a: Array) -> bool:
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


def _check(function: str, x: Array, g: Array, out: Array) -> None:
    dtype = x.dtype
    _checks.dtype(function, dtype, _kind(dtype))
    if g is not x:
        _checks.cotangent(function, dtype, x.shape, g.dtype, g.shape)
        _checks.cotangent_device(function, x.device, g.device)
    if out is not None:
        if not isinstance(out, cupy.ndarray):
            raise _checks.out_type(function, out, "a cupy.ndarray")
        _checks.out(function, dtype, x.shape, out.dtype, out.shape)
        _checks.out_device(function, x.device, out.device)


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") integer dtypes from all others ("")."""
    if dtype.name in ("float16", "bfloat16", "float32", "float64"):
        return "f" if dtype.isnative else ""
    return dtype.kind if dtype.kind in "iu" and dtype.isnative else ""


def _bits(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Round a scalar once to the dtype of x, and give its bits; for integers, whose value needs none, only check it."""
    if type(value) is float and value != 0:
        return _bits_of(function, name, value, dtype)
    return _bits_of.__wrapped__(function, name, value, dtype)  # not cached, where equal values may have other bits


@functools.lru_cache
def _bits_of(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    rounded = 0
    if _kind(dtype) == "f":
        rounded = _checks.rounded(function, name, value, dtype, _finfo(dtype))
    else:
        _checks.real(function, name, value)
    return np.array(rounded, dtype).view(f"u{dtype.itemsize}")[()]


@functools.cache
def _finfo(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.finfo(dtype)
    import ml_dtypes  # bfloat16's home

    return ml_dtypes.finfo(dtype)
