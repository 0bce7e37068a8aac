"""Computes a function on PyTorch tensors, where torch need not differentiate what is done.

All ways to compute give the definition's bits. The first that can be taken is taken:

- One kernel of torch's, `Plan.torch_kernel`: for `relu`, and `leaky_relu` with a slope above 0.
  Torch runs it on several threads.
- A compiled loop of relu_xp's, `Plan.loop`: in one pass over the host's memory, with any numbers.
- A few kernels of torch's, `_KERNELS`: on other devices, and where operations are recorded. None of
  them is `where`, which takes sixty times as long on a CPU.
- The formula: for what is left, such as a derivative of 0.5 at zero on a GPU.

Torch's backward kernels compare x with 0, and differ from the definition at two points: at x = NaN
they let the cotangent pass, and x = 0 counts as negative. So they are never given x, but a mask in
the dtype of x: 1 where the cotangent passes, 0 elsewhere.
"""

import functools
import itertools
import math
import struct
from typing import Any

import torch

from relu_xp import _formulas, _threads
from relu_xp._backends import _torch_private as private
from relu_xp._functions import (
    CLIPPED_RELU,
    CLIPPED_RELU_VJP,
    LEAKY_RELU,
    LEAKY_RELU_VJP,
    RELU,
    RELU_GRAD,
    RELU_VJP,
    SQUARED_RELU,
    SQUARED_RELU_VJP,
    Function,
)

try:
    from relu_xp._native import _ufuncs  # type: ignore[attr-defined]
except ImportError:  # there was no compiler when this was installed
    _ufuncs = None

Array = Any  # a torch.Tensor
Arrays = tuple[Array, ...]

_aten = torch.ops.aten
leaky = torch.nn.functional.leaky_relu
# Each dtype, and the character by which the loops know it. All but "E" are formats of `struct`.
FLOATS = {torch.float16: "e", torch.bfloat16: "E", torch.float32: "f", torch.float64: "d"}
HOOKS_LIMIT = 1 << 14  # elements; for fewer, an autograd.Function takes longer than all the rest
ELEMENTS_PER_THREAD = 1 << 20  # a thread for fewer elements is not worth its start


class Plan:
    """How to compute a function with given numbers in a dtype.

    `numbers` are the scalars that are not arrays, rounded. With an array of slopes they are those
    after the slope.
    """

    torch_kernel: Any
    __slots__ = (
        "derivative_is_torchs",
        "function",
        "loop",
        "numbers",
        "packed_numbers",
        "saved_hooks",
        "slope_vjp",
        "torch_kernel",
        "vjp",
    )

    def __init__(
        self, function: Function, dtype: Any, numbers: tuple[float, ...], *, slopes: bool
    ) -> None:
        self.function, self.numbers = function, numbers
        self.vjp = self.slope_vjp = None
        if function.role == "value":
            self.vjp = Plan(function.vjp, dtype, numbers, slopes=slopes)
        if slopes and function.slope_vjp:
            self.slope_vjp = Plan(function.slope_vjp, dtype, (), slopes=False)
        loop_numbers = numbers[: len(function.scalars) - slopes]
        self.packed_numbers = b"".join(_packed(each, FLOATS[dtype]) for each in loop_numbers)
        self.loop = _ufuncs.loop(function.name, FLOATS[dtype]) if _ufuncs else None
        self.torch_kernel = None if slopes else _torch_kernel(function, numbers)
        has_kernel = self.torch_kernel is not None
        self.saved_hooks = _saved_hooks(function, dtype, numbers) if has_kernel else None
        # Torch multiplies g by the slope at x = 0 too, as the definition does with a grad_at_zero
        # equal to the slope. Zero is excepted: there the definition selects +0, and 0 * inf is NaN.
        self.derivative_is_torchs = (
            has_kernel and function is LEAKY_RELU and numbers[0] == numbers[1] != 0
        )


def _torch_kernel(function: Function, numbers: tuple[float, ...]) -> Any:
    """Give the one kernel of torch's that computes the definition's values, or None."""
    if function is RELU:
        return lambda x: torch.threshold(x, 0, 0)
    if function is LEAKY_RELU and math.copysign(1.0, numbers[0]) > 0:
        return functools.partial(leaky, negative_slope=numbers[0])
    return None


def _saved_hooks(function: Function, dtype: Any, numbers: tuple[float, ...]) -> Any:
    """Give hooks that make torch's own backward pass the definition's, or None if none can.

    They hand it the derivative of relu, 1 or 0, in place of the saved x.
    """
    z = numbers[-1]
    if z == 1 or (z == 0 and function is RELU):
        derivative = Plan(RELU_GRAD, dtype, (z,), slopes=False)
        return private.hooks(function, lambda x: compute(derivative, (x,)))
    return None


def _packed(number: float, character: str) -> bytes:
    """Give the bits of a number in eight bytes, as the loops read each scalar."""
    if character == "E":
        bits = struct.pack("H", struct.unpack("I", struct.pack("f", number))[0] >> 16)
    else:
        bits = struct.pack(character, number)
    return bits.ljust(8, b"\0")


def compute(plan: Plan, arrays: Arrays, slopes: Arrays = ()) -> Array:
    """Compute; torch must not differentiate what is done here."""
    if not private.records_operations():
        if plan.torch_kernel is not None:
            return plan.torch_kernel(arrays[0])
        if plan.loop is not None:
            loop = _loop_with_slopes if slopes else _loop
            result = loop(plan, arrays, *slopes)
            if result is not None:
                return result
    return in_kernels(plan.function, arrays, (*slopes, *plan.numbers))


def in_kernels(function: Function, arrays: Arrays, scalars: tuple[Any, ...]) -> Array:
    """Compute in torch's kernels, or by the formula where no kernels give its bits."""
    kernel = _kernels(arrays[-1]).get(function)
    result = kernel(*arrays, *scalars) if kernel else None
    return formula(function, arrays, scalars) if result is None else result


def _kernels(g: Array) -> dict[Function, Any]:
    """Give the kernels that suit whoever runs or records them."""
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return {}  # the compiler fuses all `where`s of the formula
    if private.is_batched_cotangent(g):
        return {}
    if not private.records_operations():
        return _KERNELS
    if torch.onnx.is_in_onnx_export():
        return _ONNX_KERNELS
    return _PROGRAM_KERNELS if private.makes_program() else _KERNELS


def _loop(plan: Plan, arrays: Arrays) -> Array | None:
    """Run the loop once over the memory of all arrays; None if they do not lie alike in it."""
    x, g = arrays[0], arrays[-1]  # with one array both are x
    if not (_is_memory(x) and _is_memory(g)):
        return None
    result, count, one_g = torch.empty_like(x), x.numel(), False
    if not (x.is_contiguous() and g.is_contiguous() and count):
        strides = result.stride()
        # The cotangent of a sum is one number, expanded to the shape of x: all its strides are 0.
        one_g = g.stride() != strides
        if x.stride() != strides or (one_g and any(g.stride())) or not count:
            return None
    try:
        addresses = [a.data_ptr() for a in (*arrays, result)]
    except RuntimeError:
        # A wrapper of torch.func has no address. If its transform has ended, look within.
        held = private.unwrapped(arrays)
        if all(a is b for a, b in zip(held, arrays, strict=True)):
            return None
        return _loop(plan, held)
    if not all(addresses):  # forward mode makes tensors of zeros that have no memory
        return None
    threads = 1
    if count >= 2 * ELEMENTS_PER_THREAD:
        threads = min(torch.get_num_threads(), count // ELEMENTS_PER_THREAD)
    if threads == 1:
        _ufuncs.run(plan.loop, plan.packed_numbers, count, one_g, *addresses)
    else:
        _loop_in_threads(threads, plan, count, x.itemsize, addresses, one_g)
    return result


def _loop_in_threads(
    threads: int, plan: Plan, count: int, itemsize: int, addresses: list[int], one_g: bool
) -> None:
    """Run the loop over a part of the elements in each thread."""
    edges = [count * i // threads for i in range(threads + 1)]

    def run_part(part: tuple[int, int]) -> None:
        begin, end = part
        starts = [each + begin * itemsize for each in addresses]
        if one_g:
            starts[1] = addresses[1]
        _ufuncs.run(plan.loop, plan.packed_numbers, end - begin, one_g, *starts)

    _threads.share(threads, run_part, itertools.pairwise(edges))


def _loop_with_slopes(plan: Plan, arrays: Arrays, slopes: Array) -> Array | None:
    """Run the loop with an array of slopes; None if it cannot take their shape or the memory."""
    x = arrays[0]
    joined = _joined_axes(x.shape, slopes.shape)
    if joined is None or not all(_is_memory(a) and a.is_contiguous() for a in (*arrays, slopes)):
        return None
    result = torch.empty_like(x)
    try:
        slopes_address, *addresses = [a.data_ptr() for a in (slopes, *arrays, result)]
    except RuntimeError:  # a wrapper of torch.func has no address
        return None
    if not (slopes_address and all(addresses)):
        return None
    _ufuncs.run_rows(plan.loop, plan.packed_numbers, slopes_address, joined, *addresses)
    return result


def _is_memory(a: Array) -> bool:
    """Whether the elements lie in the host's memory as they are: a negated view does not."""
    return type(a) in private.TENSOR_TYPES and a.is_cpu and not a.is_neg()


@functools.lru_cache(maxsize=256)
def _joined_axes(
    shape: tuple[int, ...], slopes_shape: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """View x as three axes (before, channels, after), where the slopes differ along channels only.

    For example a shape (8, 3, 4, 5) with slopes (3, 1, 1) gives (8, 3, 20). Slopes (8, 1, 1, 5)
    give None, since they differ along two axes apart.
    """
    sizes = _ufuncs.join_axes(shape, slopes_shape)
    return (*sizes, 1, 1)[:3] if len(sizes) <= 3 else None


class _Namespace:
    """The namespace that the formulas use; constants are 0-d, so they take no memory."""

    where = staticmethod(torch.where)
    full_like = staticmethod(lambda x, value: x.new_full((), value))
    ones_like = staticmethod(lambda x: x.new_full((), 1.0))
    zeros_like = staticmethod(lambda x: x.new_full((), 0.0))


def formula(function: Function, arrays: Arrays, scalars: tuple[Any, ...]) -> Array:
    """Compute by the formula; scalars that only autodiff needs may follow those it takes."""
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def relu_by_threshold(x: Array, z: float = 1.0) -> Array:
    """Give relu, of integers too: x = -0.0 gives +0, which torch.relu and clamp_min do not."""
    return torch.threshold(x, 0, 0) if x.dtype.is_signed else x.clone()


# The functions from here to `_KERNELS` compute in torch's kernels: (arrays, scalars) -> result, or
# None where the kernels cannot give the definition's bits.


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    return _selected(g, _mask(x, z)) if z in (0, 1) else None


def _leaky_relu(x: Array, s: Any, z: float) -> Array | None:
    if isinstance(s, torch.Tensor):
        return _prelu(x, s) if private.is_tracing() else None
    if math.copysign(1.0, s) > 0:
        return leaky(x, s)
    # With s < 0 or s = -0.0 torch's leaky_relu turns the sign of a zero. Its backward kernel,
    # given x as the cotangent, does not multiply where the mask is 1.
    return _scaled(x, _mask(x, 1), s)


def _leaky_relu_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if isinstance(s, torch.Tensor) or not (z == 1 or z == s != 0):
        return None
    return _scaled(g, _mask(x, int(z == 1)), s)


def _clipped_relu(x: Array, c: float, z: float, k: float) -> Array:
    return relu_by_threshold(x).clamp_max(c)


def _clipped_relu_vjp(x: Array, g: Array, c: float, z: float, k: float) -> Array | None:
    if z not in (0, 1) or k not in (0, 1):
        return None
    below = x <= c if k else x < c
    return _selected(g, _mask(x, z) * below.to(x.dtype))


def _squared_relu(x: Array) -> Array:
    active = relu_by_threshold(x)
    return active * active


def _squared_relu_vjp(x: Array, g: Array) -> Array:
    return _selected((x + x) * g, _mask(x, 0))


_KERNELS: dict[Function, Any] = {
    RELU: relu_by_threshold,
    RELU_VJP: _relu_vjp,
    LEAKY_RELU: _leaky_relu,
    LEAKY_RELU_VJP: _leaky_relu_vjp,
    CLIPPED_RELU: _clipped_relu,
    CLIPPED_RELU_VJP: _clipped_relu_vjp,
    SQUARED_RELU: _squared_relu,
    SQUARED_RELU_VJP: _squared_relu_vjp,
}
# Programs (make_fx, decomposed exports) get core operations of torch only. Decompositions turn
# `threshold` and the backward kernels into `where`. The sum makes +0 of a -0.
_PROGRAM_KERNELS: dict[Function, Any] = {
    RELU: lambda x, z: torch.clamp_min(x, 0.0) + 0.0,
    LEAKY_RELU: lambda x, s, z: (
        _prelu(x, s) if isinstance(s, torch.Tensor) else _leaky_relu_in_program(x, s)
    ),
    CLIPPED_RELU: lambda x, c, z, k: torch.clamp(x, 0.0, c) + 0.0,
    SQUARED_RELU: lambda x: torch.clamp_min(x, 0.0).square(),
}
# The ONNX exporters write these as Relu, LeakyRelu or PRelu, Clip, and Relu with Mul.
_ONNX_KERNELS: dict[Function, Any] = {
    RELU: lambda x, z: torch.relu(x),
    LEAKY_RELU: lambda x, s, z: (
        _prelu_in_onnx(x, s) if isinstance(s, torch.Tensor) else leaky(x, s)
    ),
    CLIPPED_RELU: lambda x, c, z, k: torch.clamp(x, 0.0, c),
    SQUARED_RELU: lambda x: torch.relu(x) * torch.relu(x),
}


def _leaky_relu_in_program(x: Array, s: float) -> Array:
    return leaky(x, s) if math.copysign(1.0, s) > 0 else torch.where(x < 0, x * s, x)


def _prelu(x: Array, s: Array) -> Array:
    """Apply torch's PReLU, for slopes of any shape.

    It multiplies zeros too: x = 0.0 gives -0.0 with a slope below 0, and NaN with an infinite one.
    """
    return private.prelu(x, s)


def _prelu_in_onnx(x: Array, s: Array) -> Array | None:
    """Apply torch's public PReLU, the one that exporters know; None if it cannot take the slopes.

    It takes one slope, or one for each index of axis 1.
    """
    axis = 1 - (x.ndim - s.ndim)  # of s: the axis that broadcasts along axis 1 of x
    if s.numel() == 1 or (x.ndim > 1 and axis >= 0 and s.shape[axis] == s.numel()):
        return torch.nn.functional.prelu(x, s.reshape(-1))
    return None


def _mask(x: Array, z: float) -> Array:
    """Give 1 where x > 0, and where x = 0 if z is not 0; else 0. NaN gives 0."""
    return (x >= 0 if z else x > 0).to(x.dtype)


def _selected(g: Array, mask: Array) -> Array:
    """Select g where the mask is 1, else +0."""
    return _aten.threshold_backward(g, mask, 0)


def _scaled(g: Array, mask: Array, s: float) -> Array:
    """Select g where the mask is 1, else s * g."""
    return _aten.leaky_relu_backward(g, mask, s, False)
