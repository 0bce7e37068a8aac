"""CuPy arrays: one fused CUDA kernel for each function and dtype, on the current stream.

It compiles the C++ text in `_native`, whose CUDA part says there why it works on bits. There are
two kernels around that text. Small arrays, where the launch is the cost, and arrays of any layout
take CuPy's own elementwise kernel. It loads one element a thread, and so reaches a quarter of the
bandwidth with short types. Large contiguous arrays take a kernel that loads 16 bytes at once.
Scalars are arguments, so a kernel is compiled once for a device, and CuPy keeps it on disk.
"""

import functools
from collections.abc import Sequence
from importlib import resources
from typing import Any

import cupy
import numpy as np

from relu_xp import _checks, _dtypes
from relu_xp._functions import Function
from relu_xp._plans import Plans, bits

Array = Any  # a cupy.ndarray

# The rounded scalars of earlier calls, as the kernels take them. Key: (function, dtype, bits).
_plans = Plans()

LARGE = 1 << 18  # bytes of x; from there on the kernel for contiguous arrays is worth its launch
PACK = 16  # bytes of the widest load
IN_FLIGHT = 4  # packs that a thread loads before it stores, as in the CUDA text
# Threads of a block. Few packs are spread over all processors in narrow blocks.
WIDE, NARROW = 512, 128
MANY_PACKS = 1 << 19  # above this, blocks are wide


def owns(x: object) -> bool:
    """Whether x is a CuPy array; CuPy has no scalars."""
    return isinstance(x, cupy.ndarray)


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> Array:
    """Check every argument, and launch without waiting for the result."""
    x = arrays[0]
    device = x.data.device_id
    if device != cupy.cuda.runtime.getDevice():
        with x.device:
            return call(function, arrays, scalars, out)
    operands = _plans.get((function, x.dtype, bits(scalars)))
    if (
        operands is None
        or (len(arrays) > 1 and not _is_like(x, arrays[1], device))
        or (out is not None and not (type(out) is cupy.ndarray and _is_like(x, out, device)))
    ):
        arrays, operands = _checked(function, arrays, scalars, out)
    if out is not None:
        arrays = tuple([_copy_if_overlapping(a, out) for a in arrays])
    elif type(x) is not cupy.ndarray:
        out = cupy.empty_like(x).view(type(x))
        out.__array_finalize__(x)  # lets a subclass copy its attributes, as CuPy's functions do
    elif x.nbytes >= LARGE or (x.ndim > 1 and not x.flags.c_contiguous):
        out = cupy.empty_like(x)  # an elementwise kernel would not keep the memory order of x
    if out is None:
        return _elementwise(function, x.dtype, len(arrays))(*arrays, *operands)
    if x.nbytes < LARGE or not _launch(function, arrays, operands, out):
        _elementwise(function, x.dtype, len(arrays))(*arrays, *operands, out)
    return out


def _is_like(x: Array, a: Array, device: int) -> bool:
    return a.dtype == x.dtype and a.shape == x.shape and a.data.device_id == device


def devices() -> list[str]:
    """List the GPUs; raise the driver's own error if there is none."""
    return [f"cuda:{i}" for i in range(cupy.cuda.runtime.getDeviceCount())]


def put(array: Array, device: str) -> Array:
    """Copy a NumPy array to the GPU so named."""
    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array)


def get(x: Array) -> Array:
    """Copy the array to the host."""
    return cupy.asnumpy(x)


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Give the kind of a dtype that the CUDA text has a type for, else ""."""
    return _dtypes.COMMON.get(dtype.name, "") if dtype.isnative else ""


_LIBRARY = _checks.Library(
    "a cupy.ndarray",
    is_array=owns,
    device=lambda a: a.device,
    kind=_kind,
    is_writeable=lambda out: True,
    make="cupy.asarray({}, x.dtype)",
)


def _checked(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array
) -> tuple[tuple[Array, ...], tuple[int, ...]]:
    """Check every argument; give the arrays, slopes among them, and the words of the scalars."""
    x = arrays[0]
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)[: len(function.scalars)]
    if rounded and owns(rounded[0]):  # only the first scalar may be an array
        return (*arrays, rounded[0].astype(x.dtype, copy=False)), _words(rounded[1:], x.dtype)
    operands = _words(rounded, x.dtype)
    if (numbers := bits(scalars)) is not None:
        _plans.keep((function, x.dtype, numbers), operands)
    return arrays, operands


def _words(scalars: Sequence[Any], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Give the bits of rounded scalars as integers, which the kernels take."""
    return tuple([int(np.array(each, dtype).view(f"u{dtype.itemsize}")) for each in scalars])


@functools.cache
def _elementwise(function: Function, dtype: np.dtype[Any], arrays: int) -> Any:
    """Build CuPy's elementwise kernel around the text, once for each count of arrays.

    An array of slopes counts as an array, and leaves one scalar fewer.
    """
    scalars = len(function.arrays) + len(function.scalars) - arrays
    array_names, scalar_names = "abc"[:arrays], "pqr"[:scalars]
    words = ", ".join(
        [
            *(f"relu_xp::bits({name})" for name in array_names),
            *(f"relu_xp::Word({name})" for name in scalar_names),
        ]
    )
    return cupy.ElementwiseKernel(
        ", ".join([*(f"T {a}" for a in array_names), *(f"uint64 {s}" for s in scalar_names)]),
        "T y",
        f"const relu_xp::Word w[] = {{{words}}}; relu_xp::rectify(w, y)",
        f"{function}_{dtype.name}",
        preamble=f"namespace relu_xp {{ {source()} }}",
        options=options(function, dtype.name, arrays),
    )


def _launch(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[int, ...], out: Array
) -> bool:
    """Launch the kernel for contiguous arrays; False if it cannot take them.

    All arrays must be contiguous in one order, and equally far from a boundary of 16 bytes.
    """
    if not all(a.strides == out.strides and a.shape == out.shape for a in arrays):
        return False
    if not (out.flags.c_contiguous or out.flags.f_contiguous):
        return False
    inputs, result = [a.data.ptr for a in arrays], out.data.ptr
    if any((pointer - result) % PACK for pointer in inputs):
        return False
    head = min(-result % PACK // out.itemsize, out.size)
    packs = (out.size - head) * out.itemsize // PACK
    threads = WIDE if packs > MANY_PACKS else NARROW
    # The elements before the first pack and after the last are left to threads of one block.
    blocks = max(-(-packs // (threads * IN_FLIGHT)), 1)
    no_inputs, no_scalars = [0] * (3 - len(inputs)), [0] * (3 - len(scalars))
    arguments = (*inputs, *no_inputs, result, out.size, head, *scalars, *no_scalars)
    _contiguous(function, out.dtype, len(arrays))((blocks,), (threads,), arguments)
    return True


@functools.cache
def _contiguous(function: Function, dtype: np.dtype[Any], arrays: int) -> Any:
    """Build the kernel for contiguous arrays; CuPy compiles it at the first launch on a device."""
    name = f"{function}_{dtype.name}_contiguous"  # profilers show it
    return cupy.RawKernel(
        source(), name, (*options(function, dtype.name, arrays), f"-DCONTIGUOUS={name}")
    )


def source() -> str:
    """Join the C++ text and its CUDA part, since NVRTC has no folder to include from."""
    native = resources.files("relu_xp._native")
    return "".join(
        native.joinpath(f"rectifiers.{suffix}").read_text("utf-8") for suffix in ("hpp", "cu")
    )


def options(function: Function, dtype: str, arrays: int) -> tuple[str, ...]:
    """Give the compiler's options, which say what the text is compiled for."""
    operands = len(function.arrays) + len(function.scalars)
    defined = {"FUNCTION": function, "TYPE": dtype, "ARRAYS": arrays, "OPERANDS": operands}
    return (
        "-DRELU_XP_DEVICE=__device__",
        *(f"-D{name}={value}" for name, value in defined.items()),
    )


def _copy_if_overlapping(a: Array, out: Array) -> Array:
    return a.copy() if _overlaps(out, a) else a


def _overlaps(out: Array, a: Array) -> bool:
    """Whether an element of a may be read after it was overwritten.

    If a and out are one view, each element is only overwritten with its own result.
    """
    if a.data.mem is not out.data.mem or (a.data.ptr == out.data.ptr and a.strides == out.strides):
        return False
    (start, stop), (out_start, out_stop) = _extent(a), _extent(out)
    return start < out_stop and out_start < stop


def _extent(a: Array) -> tuple[int, int]:
    """Give the address of the first byte of a, and of the byte after its last."""
    spans = (
        [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)] if a.size else []
    )
    start = a.data.ptr + sum(span for span in spans if span < 0)
    return start, a.data.ptr + sum(span for span in spans if span > 0) + a.itemsize
