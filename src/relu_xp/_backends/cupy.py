"""CuPy arrays: one fused CUDA kernel for each function and dtype, on the array's own device and its current stream.

A schedule of the C++ text in `_native`, whose CUDA part says there why it works on bits. CuPy's own
elementwise kernel runs it on small arrays, where the call is what costs, and on any layout. It
loads one element a thread, a quarter of the bandwidth for the short types: large contiguous arrays
get a kernel that loads 16 bytes. Scalars are arguments, so a kernel is compiled once for a device,
and CuPy keeps it on disk.
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

_plans = Plans()  # the words of rounded scalars, by function, dtype and the bits of those given

LARGE = 1 << 18  # bytes of x
PACK = 16  # bytes of the widest load
IN_FLIGHT = 4  # packs a thread, as in the CUDA text
WIDE, NARROW = (
    512,
    128,
)  # threads of a block: where there is work for all processors, and where it must be spread
MANY_PACKS = 1 << 19


def owns(x: object) -> bool:
    """Arrays on a GPU; CuPy has no scalars."""
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
        out.__array_finalize__(
            x
        )  # as CuPy's own functions do, so that a subclass keeps what it holds
    elif x.nbytes >= LARGE or (x.ndim > 1 and not x.flags.c_contiguous):
        out = cupy.empty_like(x)  # in the memory order of x, which no elementwise kernel keeps
    if out is None:
        return _elementwise(function, x.dtype, len(arrays))(*arrays, *operands)
    if x.nbytes < LARGE or not _launch(function, arrays, operands, out):
        _elementwise(function, x.dtype, len(arrays))(*arrays, *operands, out)
    return out


def _is_like(x: Array, a: Array, device: int) -> bool:
    return a.dtype == x.dtype and a.shape == x.shape and a.data.device_id == device


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


_FLOATS = ("float16", "bfloat16", "float32", "float64")


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Those of the dtypes that the CUDA text has a type for."""
    has = dtype.isnative and dtype.name in (
        *_FLOATS,
        *(f"{u}int{8 << n}" for u in ("", "u") for n in range(4)),
    )
    return _dtypes.kind(dtype) if has else ""


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
    """Check every argument; give the arrays, a slope among them, and the bits of the other scalars."""
    x = arrays[0]
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, out)[: len(function.scalars)]
    if rounded and owns(rounded[0]):  # the first, if any: arrays stand before scalars
        return (*arrays, rounded[0].astype(x.dtype, copy=False)), _words(rounded[1:], x.dtype)
    operands = _words(rounded, x.dtype)
    if (numbers := bits(scalars)) is not None:
        _plans.keep((function, x.dtype, numbers), operands)
    return arrays, operands


def _words(scalars: Sequence[Any], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The bits of rounded scalars, as the kernels take them."""
    return tuple([int(np.array(each, dtype).view(f"u{dtype.itemsize}")) for each in scalars])


@functools.cache
def _elementwise(function: Function, dtype: np.dtype[Any], arrays: int) -> Any:
    """CuPy's own kernel around the text, built once."""
    scalars = len(function.arrays) + len(function.scalars) - arrays
    names, bits = "abc"[:arrays], "pqr"[:scalars]
    words = ", ".join(
        [
            *(f"relu_xp::bits({name})" for name in names),
            *(f"relu_xp::Word({name})" for name in bits),
        ]
    )
    return cupy.ElementwiseKernel(
        ", ".join([*(f"T {name}" for name in names), *(f"uint64 {name}" for name in bits)]),
        "T y",
        f"const relu_xp::Word w[] = {{{words}}}; relu_xp::rectify(w, y)",
        f"{function}_{dtype.name}",
        preamble=f"namespace relu_xp {{ {source()} }}",
        options=options(function, dtype.name, arrays),
    )


def _launch(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[int, ...], out: Array
) -> bool:
    """Launch the kernel for contiguous arrays; False if these are not, in one order."""
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
    blocks = max(-(-packs // (threads * IN_FLIGHT)), 1)  # one block has threads for the ends
    unused = [0] * (3 - len(inputs)), [0] * (3 - len(scalars))
    arguments = (*inputs, *unused[0], result, out.size, head, *scalars, *unused[1])
    _contiguous(function, out.dtype, len(arrays))((blocks,), (threads,), arguments)
    return True


@functools.cache
def _contiguous(function: Function, dtype: np.dtype[Any], arrays: int) -> Any:
    """The kernel for contiguous arrays, built once; CuPy compiles it at its first launch on each device."""
    name = f"{function}_{dtype.name}_contiguous"  # what profilers show
    return cupy.RawKernel(
        source(), name, (*options(function, dtype.name, arrays), f"-DCONTIGUOUS={name}")
    )


def source() -> str:
    """The C++ text and its CUDA part as one: NVRTC is given no folder to include from."""
    native = resources.files("relu_xp._native")
    return "".join(
        native.joinpath(f"rectifiers.{suffix}").read_text("utf-8") for suffix in ("hpp", "cu")
    )


def options(function: Function, dtype: str, arrays: int) -> tuple[str, ...]:
    """What the text is compiled for."""
    operands = len(function.arrays) + len(function.scalars)
    defined = {"FUNCTION": function, "TYPE": dtype, "ARRAYS": arrays, "OPERANDS": operands}
    return (
        "-DRELU_XP_DEVICE=__device__",
        *(f"-D{name}={value}" for name, value in defined.items()),
    )


def _copy_if_overlapping(a: Array, out: Array) -> Array:
    return a.copy() if _overlaps(out, a) else a


def _overlaps(out: Array, a: Array) -> bool:
    """Whether an element of a might be read after it is overwritten: not where each has its own result put over it."""
    if a.data.mem is not out.data.mem or (a.data.ptr == out.data.ptr and a.strides == out.strides):
        return False
    (start, stop), (out_start, out_stop) = _extent(a), _extent(out)
    return start < out_stop and out_start < stop


def _extent(a: Array) -> tuple[int, int]:
    """Address of the first byte of a, and of the byte after its last."""
    spans = (
        [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)] if a.size else []
    )
    start = a.data.ptr + sum(span for span in spans if span < 0)
    return start, a.data.ptr + sum(span for span in spans if span > 0) + a.itemsize
