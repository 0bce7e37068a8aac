"""Computes a rectifier on PyTorch tensors, undifferentiated: in our own loops, or in the fewest kernels that torch has.

- Our loops run on the host's memory in one pass, at any numbers. Torch has a kernel of its own for two of the values,
  which it runs on several threads.
- On few elements torch's own backward pass is given 1 or 0 in place of x, where it then is ours.
- Elsewhere, and in whatever records operations, torch's kernels give the definition's values. None is `where`, which
  takes a CPU sixty times as long as they do. Backward kernels get 1 or 0 in place of x: they would
  let the cotangent of a NaN pass, and count a zero as negative.
- What is left, such as a derivative of 0.5 at zero on a GPU, the formulas compute.
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
# The dtypes, with the character by which our loops know each, which is Python's format of it but
# for bfloat16.
FLOATS = {torch.float16: "e", torch.bfloat16: "E", torch.float32: "f", torch.float64: "d"}
FEW = 1 << 14  # elements, up to which a Function of ours would cost more than all else
SHARE = 1 << 20  # elements that are worth a thread of ours


class Plan:
    """A function with its numbers, rounded to a dtype, and the loop for both.

    Where the slope is an array, `numbers` are the scalars after it.
    """

    own: Any
    __slots__ = (
        "function",
        "hooks",
        "is_torchs",
        "loop",
        "numbers",
        "own",
        "packed",
        "slope_vjp",
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
        taken = numbers[: len(function.scalars) - slopes]
        self.packed = b"".join(_packed(each, FLOATS[dtype]) for each in taken)
        self.loop = _ufuncs.loop(function.name, FLOATS[dtype]) if _ufuncs else None
        self.own = None if slopes else _own(function, numbers)
        self.hooks = None if self.own is None else _hooks(function, dtype, numbers)
        # Where z is the slope, the derivative of torch's own kernel is ours too, at 0 and at NaN.
        self.is_torchs = (
            function is LEAKY_RELU and self.own is not None and numbers[0] == numbers[1] != 0
        )


def _own(function: Function, numbers: tuple[float, ...]) -> Any:
    """The one kernel of torch's that gives the definition's values, and runs on several threads; or None."""
    if function is RELU:
        return lambda x: torch.threshold(x, 0, 0)
    if function is LEAKY_RELU and math.copysign(1.0, numbers[0]) > 0:
        return functools.partial(leaky, negative_slope=numbers[0])
    return None


def _hooks(function: Function, dtype: Any, numbers: tuple[float, ...]) -> Any:
    """What has torch's own backward pass differentiate at a substitute for x, so that it is ours; or None."""
    z = numbers[-1]
    if z == 1 or (z == 0 and function is RELU):
        derivative = Plan(RELU_GRAD, dtype, (z,), slopes=False)  # 1 or 0
        return private.hooks(function, lambda x: compute(derivative, (x,)))
    return None


def _packed(number: float, character: str) -> bytes:
    """The number's bits, in the eight bytes that each scalar of a loop takes."""
    if character == "E":
        bits = struct.pack("H", struct.unpack("I", struct.pack("f", number))[0] >> 16)
    else:
        bits = struct.pack(character, number)
    return bits.ljust(8, b"\0")


def compute(plan: Plan, arrays: Arrays, slopes: Arrays = ()) -> Array:
    """Compute, and let nobody differentiate it."""
    if not private.is_recorded():
        if plan.own is not None:
            return plan.own(arrays[0])
        if plan.loop is not None:
            compute_rows = _by_rows if slopes else _by_loop
            result = compute_rows(plan, arrays, *slopes)
            if result is not None:
                return result
    return in_kernels(plan.function, arrays, (*slopes, *plan.numbers))


def in_kernels(function: Function, arrays: Arrays, scalars: tuple[Any, ...]) -> Array:
    """Compute in torch's kernels; by the formula where there are none, or a compiler fuses what it finds."""
    kernel = _kernels(arrays[-1]).get(function)
    result = kernel(*arrays, *scalars) if kernel else None
    return formula(function, arrays, scalars) if result is None else result


def _kernels(g: Array) -> dict[Function, Any]:
    """Those that suit whoever runs or records them; none for a compiler, which fuses the formula's `where`s."""
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return {}
    if private.is_batched(g):
        return {}
    if not private.is_recorded():
        return _KERNELS
    if torch.onnx.is_in_onnx_export():
        return _OF_ONNX
    return _OF_PROGRAMS if private.is_program() else _KERNELS


def _by_loop(plan: Plan, arrays: Arrays) -> Array | None:
    """Compute in one pass; None for arrays that do not lie in the host's memory as the result will."""
    x, g = arrays[0], arrays[-1]
    if not (_is_memory(x) and _is_memory(g)):
        return None
    result, count, spread = torch.empty_like(x), x.numel(), False
    if not (x.is_contiguous() and g.is_contiguous() and count):
        strides = result.stride()
        spread = g.stride() != strides  # as the cotangent that a sum has: one number for all
        if x.stride() != strides or (spread and any(g.stride())) or not count:
            return None
    try:
        addresses = [a.data_ptr() for a in (*arrays, result)]
    except (
        RuntimeError
    ):  # a wrapper has none: of a batch, or what is left of a transform that has ended
        held = private.unwrapped(arrays)
        return (
            None if all(a is b for a, b in zip(held, arrays, strict=True)) else _by_loop(plan, held)
        )
    if not all(addresses):  # a tensor of zeros that has no memory, as forward mode makes
        return None
    threads = 1 if count < 2 * SHARE else min(torch.get_num_threads(), count // SHARE)
    if threads == 1:
        _ufuncs.run(plan.loop, plan.packed, count, spread, *addresses)
    else:
        _on_threads(threads, plan, count, x.itemsize, addresses, spread)
    return result


def _on_threads(
    threads: int, plan: Plan, count: int, size: int, addresses: list[int], spread: bool
) -> None:
    edges = [count * i // threads for i in range(threads + 1)]

    def work(piece: tuple[int, int]) -> None:
        begin, end = piece
        at = [each + begin * size for each in addresses]
        if spread:
            at[1] = addresses[1]
        _ufuncs.run(plan.loop, plan.packed, end - begin, spread, *at)

    _threads.share(threads, work, itertools.pairwise(edges))


def _by_rows(plan: Plan, arrays: Arrays, slopes: Array) -> Array | None:
    """The same with a slope a channel, a row or an element; None where slopes differ along axes apart."""
    x = arrays[0]
    shape = in_rows(x.shape, slopes.shape)
    if shape is None or not all(_is_memory(a) and a.is_contiguous() for a in (*arrays, slopes)):
        return None
    result = torch.empty_like(x)
    try:
        at, *addresses = [a.data_ptr() for a in (slopes, *arrays, result)]
    except RuntimeError:
        return None
    if not (at and all(addresses)):
        return None
    _ufuncs.run_rows(plan.loop, plan.packed, at, shape, *addresses)
    return result


def _is_memory(a: Array) -> bool:
    """Whether a tensor is elements in the host's memory: neither a subclass nor a view that negates."""
    return type(a) in private.PLAIN_TYPES and a.is_cpu and not a.is_neg()


@functools.lru_cache(maxsize=256)
def in_rows(shape: tuple[int, ...], slopes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The axes of x before those along which slopes differ, these, and those after, each joined to one.

    None where these do not lie side by side; ValueError where slopes do not broadcast.
    """
    first = len(shape) - len(slopes)
    if first < 0 or any(n not in (1, of) for n, of in zip(slopes, shape[first:], strict=True)):
        raise ValueError
    joined, part = [1, 1, 1], 0
    for i, size in enumerate(shape):
        if size == 1:
            continue
        if i >= first and slopes[i - first] != 1:
            if part == 2:
                return None
            part = 1
        elif part == 1:
            part = 2
        joined[part] *= size
    return joined[0], joined[1], joined[2]


class _Namespace:
    """What the formulas call; constants are 0-d tensors, since full ones would cost memory and a pass over it."""

    where = staticmethod(torch.where)
    full_like = staticmethod(lambda x, value: x.new_full((), value))
    ones_like = staticmethod(lambda x: x.new_full((), 1.0))
    zeros_like = staticmethod(lambda x: x.new_full((), 0.0))


def formula(function: Function, arrays: Arrays, scalars: tuple[Any, ...]) -> Array:
    """Run the maths; there may be more scalars than it takes."""
    return getattr(_formulas, function.name)(_Namespace, *arrays, *scalars[: len(function.scalars)])


def rectified(x: Array, z: float = 1.0) -> Array:
    """Give relu, of integers too; `torch.relu` and `clamp_min` keep -0."""
    return torch.threshold(x, 0, 0) if x.dtype.is_signed else x.clone()


def _relu_vjp(x: Array, g: Array, z: float) -> Array | None:
    return _selected(g, _active(x, z)) if z in (0, 1) else None


def _leaky_relu(x: Array, s: Any, z: float) -> Array:
    if isinstance(s, torch.Tensor):
        return _prelu(x, s) if private.is_tracing() else None
    if math.copysign(1.0, s) > 0:
        return leaky(x, s)
    return _scaled(
        x, _active(x, 1), s
    )  # of a slope with a sign torch's own would turn the sign of a zero


def _leaky_relu_vjp(x: Array, g: Array, s: Any, z: float) -> Array | None:
    if isinstance(s, torch.Tensor) or not (z == 1 or z == s != 0):
        return None
    return _scaled(g, _active(x, int(z == 1)), s)


def _clipped_relu(x: Array, c: float, z: float, k: float) -> Array:
    return rectified(x).clamp_max(c)


def _clipped_relu_vjp(x: Array, g: Array, c: float, z: float, k: float) -> Array | None:
    if z not in (0, 1) or k not in (0, 1):
        return None
    below = x <= c if k else x < c
    return _selected(g, _active(x, z) * below.to(x.dtype))


def _squared_relu(x: Array) -> Array:
    active = rectified(x)
    return active * active


def _squared_relu_vjp(x: Array, g: Array) -> Array:
    return _selected((x + x) * g, _active(x, 0))


_KERNELS: dict[Function, Any] = {
    RELU: rectified,
    RELU_VJP: _relu_vjp,
    LEAKY_RELU: _leaky_relu,
    LEAKY_RELU_VJP: _leaky_relu_vjp,
    CLIPPED_RELU: _clipped_relu,
    CLIPPED_RELU_VJP: _clipped_relu_vjp,
    SQUARED_RELU: _squared_relu,
    SQUARED_RELU_VJP: _squared_relu_vjp,
}
_OF_PROGRAMS: dict[
    Function, Any
] = {  # in torch's core operations, to which the above would be taken apart as `where`s
    RELU: lambda x, z: torch.clamp_min(x, 0.0) + 0.0,  # the sum is no -0
    LEAKY_RELU: lambda x, s, z: (
        _prelu(x, s) if isinstance(s, torch.Tensor) else _leaky_of_programs(x, s)
    ),
    CLIPPED_RELU: lambda x, c, z, k: torch.clamp(x, 0.0, c) + 0.0,
    SQUARED_RELU: lambda x: torch.clamp_min(x, 0.0).square(),
}
_OF_ONNX: dict[
    Function, Any
] = {  # as its exporters write Relu, LeakyRelu or PRelu, Clip, and Relu with Mul
    RELU: lambda x, z: torch.relu(x),
    LEAKY_RELU: lambda x, s, z: (
        _prelu_of_channels(x, s) if isinstance(s, torch.Tensor) else leaky(x, s)
    ),
    CLIPPED_RELU: lambda x, c, z, k: torch.clamp(x, 0.0, c),
    SQUARED_RELU: lambda x: torch.relu(x) * torch.relu(x),
}


def _leaky_of_programs(x: Array, s: float) -> Array:
    return leaky(x, s) if math.copysign(1.0, s) > 0 else torch.where(x < 0, x * s, x)


def _prelu(x: Array, s: Array) -> Array:
    """Torch's own, for slopes of any shape: one below 0 turns the sign of a zero, an infinite one makes NaN of it."""
    return private.prelu(x, s)


def _prelu_of_channels(x: Array, s: Array) -> Array | None:
    """The same by its public function, which the exporters know: for one slope, or one for each index of axis 1."""
    before = x.ndim - s.ndim
    axis = 1 - before
    if s.numel() == 1 or (x.ndim > 1 and axis >= 0 and s.shape[axis] == s.numel()):
        return torch.nn.functional.prelu(x, s.reshape(-1))
    return None


def _active(x: Array, z: float) -> Array:
    """1 where x is positive, or 0 if z is not 0; else 0."""
    return (x >= 0 if z else x > 0).to(x.dtype)


def _selected(g: Array, active: Array) -> Array:
    """Select g where `active` is 1, else +0."""
    return _aten.threshold_backward(g, active, 0)


def _scaled(g: Array, active: Array, s: float) -> Array:
    """Select g where `active` is 1, else s times g."""
    return _aten.leaky_relu_backward(g, active, s, False)
