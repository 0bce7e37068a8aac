"""CuPy arrays: the formulas as one fused CUDA kernel each, on the array's own device and its current stream.

A schedule of the formulas, needed because CuPy hands every kernel to the compiler with `-ftz=true`, which nothing
overrides: float32 comparisons and products would take subnormals for zeros. So the sign of x is read from its bits,
and the product is the one PTX instruction that does not flush. A float32 product of two 16-bit floats is exact, or
loses bits only where the rounding to 16 bits does not look, so rounding it once more is rounding once.
"""

import functools
from typing import Any

import cupy
import numpy as np

from relu_xp import _checks

Array = Any  # a cupy.ndarray

_PREAMBLE = r"""
// The sign of a float from its bits, those of infinity being given: 1, 0, -1, or -2 for NaN.
template <typename U> __device__ int sign_of(U bits, U infinity) {
    const U magnitude = bits & (U(~U(0)) >> 1);
    return magnitude > infinity ? -2 : magnitude == 0 ? 0 : bits > magnitude ? -1 : 1;
}
__device__ float multiply(float a, float b) {
    float product;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(product) : "f"(a), "f"(b));
    return product;
}
__device__ double multiply(double a, double b) { return __dmul_rn(a, b); }
__device__ int sign(float x) { return sign_of<unsigned int>(__float_as_uint(x), 0x7f800000); }
__device__ int sign(double x) {
    return sign_of<unsigned long long>(__double_as_longlong(x), 0x7ff0000000000000);
}
"""
# CuPy declares these classes only to kernels that have an array of them.
_HALVES = {
    "float16": r"""
__device__ int sign(float16 x) { return sign_of<unsigned short>(x.to_bits(), 0x7c00); }
__device__ float16 multiply(float16 a, float16 b) { return float16(multiply(float(a), float(b))); }
""",
    "bfloat16": r"""
__device__ int sign(bfloat16 x) { return sign_of<unsigned short>(x.to_bits(), 0x7f80); }
__device__ float widen(bfloat16 x) { return __uint_as_float((unsigned int)x.to_bits() << 16); }
__device__ bfloat16 multiply(bfloat16 a, bfloat16 b) { return bfloat16(multiply(widen(a), widen(b))); }
""",
}
# Each kernel reads its inputs before it writes y, so y may be x itself. `share` says what z does to a cotangent at
# zero: 0 selects +0, 1 keeps it, 2 multiplies.
_KERNELS = {
    "relu": ("T x", "const int sx = sign(x); y = sx == 0 || sx == -1 ? T(0) : T(x);"),
    "leaky_relu": ("T x, T s", "y = sign(x) == -1 ? multiply(s, x) : T(x);"),
    "relu_grad": ("T x, T z", "const int sx = sign(x); y = sx > 0 ? T(1) : sx == 0 ? T(z) : T(0);"),
    "leaky_relu_grad": (
        "T x, T s, T z",
        "const int sx = sign(x); y = sx > 0 ? T(1) : sx == 0 ? T(z) : T(s);",
    ),
    "relu_vjp": (
        "T x, T g, T z, int8 share",
        """const int sx = sign(x);
        y = sx > 0 ? T(g) : sx != 0 || share == 0 ? T(0) : share == 1 ? T(g) : multiply(z, g);""",
    ),
    "leaky_relu_vjp": (
        "T x, T g, T s, T z, int8 share",
        """const int sx = sign(x);
        y = sx > 0 ? T(g) : sx != 0 ? multiply(s, g) : share == 0 ? T(0) : share == 1 ? T(g) : multiply(z, g);""",
    ),
    "relu of integers": ("T x", "y = x > 0 ? T(x) : T(0);"),
}


def owns(x: object) -> bool:
    """Arrays on a GPU; CuPy has no scalars."""
    return isinstance(x, cupy.ndarray)


def relu(x: Array, z: Any, out: Array) -> Array:
    """Rectify."""
    kind = _check("relu", x, out)
    if kind != "f":
        _checks.real("relu", "grad_at_zero", z)
        return _launch("relu of integers", "", (x,), (), out)
    _rounded("relu", "grad_at_zero", z, x.dtype)
    return _launch("relu", x.dtype.name, (x,), (), out)


def relu_grad(x: Array, z: Any, out: Array) -> Array:
    """Differentiate relu."""
    _check("relu_grad", x, out)
    z = _rounded("relu_grad", "grad_at_zero", z, x.dtype)
    return _launch("relu_grad", x.dtype.name, (x,), (z,), out)


def relu_vjp(x: Array, g: Array, z: Any, out: Array) -> Array:
    """Pull g back through relu."""
    _check("relu_vjp", x, out, g)
    z = _rounded("relu_vjp", "grad_at_zero", z, x.dtype)
    return _launch("relu_vjp", x.dtype.name, (x, g), (z, _share(z)), out)


def leaky_relu(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Rectify with a leak."""
    _check("leaky_relu", x, out)
    s = _rounded("leaky_relu", "negative_slope", s, x.dtype)
    _rounded("leaky_relu", "grad_at_zero", z, x.dtype)
    return _launch("leaky_relu", x.dtype.name, (x,), (s,), out)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: Array) -> Array:
    """Differentiate leaky_relu."""
    _check("leaky_relu_grad", x, out)
    s = _rounded("leaky_relu_grad", "negative_slope", s, x.dtype)
    z = _rounded("leaky_relu_grad", "grad_at_zero", z, x.dtype)
    return _launch("leaky_relu_grad", x.dtype.name, (x,), (s, z), out)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: Array) -> Array:
    """Pull g back through leaky_relu."""
    _check("leaky_relu_vjp", x, out, g)
    s = _rounded("leaky_relu_vjp", "negative_slope", s, x.dtype)
    z = _rounded("leaky_relu_vjp", "grad_at_zero", z, x.dtype)
    return _launch("leaky_relu_vjp", x.dtype.name, (x, g), (s, z, _share(z)), out)


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


@functools.cache
def _kernel(name: str, dtype: str) -> Any:
    """Give the kernel of one function, built once; CuPy compiles it at its first launch for each dtype and device."""
    parameters, operation = _KERNELS[name]
    preamble = _PREAMBLE + _HALVES.get(dtype, "")
    label = f"relu_xp_{name.replace(' ', '_')}_{dtype}"
    return cupy.ElementwiseKernel(parameters, "T y", operation, label, preamble=preamble, no_return=True)


def _launch(name: str, dtype: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: Array) -> Array:
    """Launch on the device of x, in its current stream, without waiting for it."""
    x = arrays[0]
    with x.device:
        if out is None:
            result = cupy.empty_like(x)  # keeps the memory order; a kernel's own output would be in C order
            result = result if type(x) is cupy.ndarray else result.view(type(x))
        else:
            result = out
            arrays = tuple(a if _same_view(a, out) else _apart(a, out) for a in arrays)
        _kernel(name, dtype)(*arrays, *scalars, result)
    return result


def _same_view(a: Array, out: Array) -> bool:
    """Whether every element of a has its result written over itself, which is safe."""
    return bool(a.data.ptr == out.data.ptr and a.strides == out.strides)


def _apart(a: Array, out: Array) -> Array:
    """Give a, or a copy of it if the two occupy overlapping addresses."""
    (start, stop), (out_start, out_stop) = (_extent(each) for each in (a, out))
    return a.copy() if start < out_stop and out_start < stop else a


def _extent(a: Array) -> tuple[int, int]:
    """Address of the first byte of a, and of the byte after its last."""
    spans = [(n - 1) * stride for n, stride in zip(a.shape, a.strides, strict=True)] if a.size else []
    start = a.data.ptr + sum(span for span in spans if span < 0)
    return start, a.data.ptr + sum(span for span in spans if span > 0) + a.itemsize


def _check(function: str, x: Array, out: Array, g: Array | None = None) -> str:
    kind = _kind(x.dtype)
    _checks.dtype(function, x.dtype, kind)
    if g is not None:
        _checks.cotangent(function, x.dtype, x.shape, g.dtype, g.shape)
        _checks.cotangent_device(function, x.device, g.device)
    if out is not None:
        if not isinstance(out, cupy.ndarray):
            raise _checks.out_type(function, out, "a cupy.ndarray")
        _checks.out(function, x.dtype, x.shape, out.dtype, out.shape)
        _checks.out_device(function, x.device, out.device)
    return kind


@functools.cache
def _kind(dtype: np.dtype[Any]) -> str:
    """Tell real floating ("f"), signed ("i") and unsigned ("u") integer dtypes from all others ("")."""
    if dtype.name in ("float16", "bfloat16", "float32", "float64"):
        return "f" if dtype.isnative else ""
    return dtype.kind if dtype.kind in "iu" and dtype.isnative else ""


def _rounded(function: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Round a scalar once to the dtype of x, as a scalar of that dtype, which CuPy passes on as it is."""
    return dtype.type(_checks.rounded(function, name, value, dtype, _finfo(dtype)))


@functools.cache
def _finfo(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.finfo(dtype)
    import ml_dtypes  # bfloat16's home

    return ml_dtypes.finfo(dtype)


def _share(z: Any) -> int:
    """Tell the kernel what z does to a cotangent at zero; it could not compare a subnormal z with 0 itself."""
    return 0 if z == 0 else 1 if z == 1 else 2
