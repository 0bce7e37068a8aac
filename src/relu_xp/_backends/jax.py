"""JAX arrays and tracers: the formulas under jit(custom_jvp), compiled by XLA for CPU, GPU and TPU.

A schedule of the formulas in four respects, each tested bit-identical to them:

- The values are spelled as XLA's pattern matchers want them, a `maximum` and a `select`. XLA's maximum orders -0 < +0
  and keeps NaN, which the array API's need not.
- `jit` outside and `custom_jvp` inside, once per function and its numbers: an eager call costs a twentieth of one
  the other way round, as in jax.nn.relu (jax#22513), and every transform still sees the rule. What cannot fail for
  arguments that were checked before is checked while tracing, so it costs an eager call nothing.
- A VJP is linear in the cotangent, and is written so that JAX's transpose of it is the same expression again: that is
  how `grad` and forward mode get the same bits. See `_linear`.
- What waits for the backward pass is the sign of x, one byte an element, where autodiff on its own would keep a factor
  in the dtype of x: the rule recomputes that factor under `jax.checkpoint`.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from relu_xp import _checks, _dtypes, _formulas
from relu_xp._functions import CEILING, CLIPPED_RELU, LEAKY_RELU, RELU, Function

Array = Any  # a jax.Array or a tracer
Call = Callable[..., Array]


def owns(x: object) -> bool:
    """Arrays and tracers: isinstance holds for both."""
    return isinstance(x, jax.Array)


def devices() -> list[str]:
    """List the devices of the default platform, such as cpu:0."""
    return [f"{device.platform}:{device.id}" for device in jax.devices()]


def put(array: Array, device: str) -> Array:
    """Hand a NumPy array to the device so named."""
    return jax.device_put(array, jax.devices()[devices().index(device)])


def get(x: Array) -> Array:
    """Copy the array to the host."""
    return np.asarray(x)


# What computes a call that was made before: by function and numbers, none of them a zero, whose sign no key would tell;
# and by dtype too where a slope is an argument, which then stands beside it.
_ready: dict[tuple[Any, ...], tuple[Call, list[Array]]] = {}
_eager: set[type] = set()  # the types of arrays that are no tracers
_MOST_READY = 256


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    if out is None and type(arrays[0]) in _eager:
        for s in scalars:
            if type(s) is not float:
                break
        else:
            if ready := _ready.get((function, scalars)):
                return ready[0](*arrays)  # which checks the arrays, and the numbers, where it is traced
            if ready := _ready.get((function, scalars, arrays[0].dtype)):
                return ready[0](*arrays, *ready[1])
    return _call(function, arrays, scalars, out)


def _call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None) -> Array:
    x = arrays[0]
    traced = isinstance(x, jax.core.Tracer)
    given = tuple(_unwrapped(s) for s in scalars)
    for parameter, s in zip(function.parameters, given, strict=True):
        if owns(s) and not parameter.may_be_array:  # it selects the compiled function, so it can't be traced
            msg = f"relu_xp.{function}: {parameter.name} must be a Python float, got a JAX array; it is static in jit"
            raise TypeError(msg)
    rounded = _checks.call(_LIBRARY, function, arrays, given, out)
    # Where nothing else is compiled, a slope other than the default is an argument: a new one compiles nothing.
    weak = bool(getattr(x, "weak_type", False))  # and to stay so: an argument has a strong type
    numbers, slopes = list[str | None](), list[Array]()
    for p, s, r in zip(function.parameters, given, rounded, strict=True):
        if owns(s) or (p.may_be_array and not (traced or weak or (type(s) is float and s == p.default))):
            numbers.append(None)
            with jax.ensure_compile_time_eval():  # jit, and jnp of a number, may take a float64 for float32
                slopes.append(s if owns(s) else jnp.asarray(np.asarray(r), x.dtype))
        else:  # as hex, which tells -0.0 from 0.0 in a cache; a float for every dtype, rounded where it is traced
            numbers.append(float(s if type(s) is float else r).hex())
    learned = any(isinstance(s, jax.core.Tracer) for s in slopes)
    compute = _program(function, tuple(numbers), learned, traced and _in_kernel())
    if not (traced or weak) and all(type(s) is float and s for s in given):
        if len(_ready) >= _MOST_READY:
            _ready.clear()
        _ready[(function, given, x.dtype) if slopes else (function, given)] = compute, slopes
        _eager.add(type(x))
    return compute(*arrays, *slopes)


_LIBRARY = _checks.Library("a JAX array", is_array=owns)


def _unwrapped(s: Any) -> Any:
    """What a parameter of flax.nnx or the like holds."""
    return s.__jax_array__() if not owns(s) and callable(getattr(s, "__jax_array__", None)) else s


def _in_kernel() -> bool:
    """Whether a Pallas kernel is being traced: there is no checkpoint for TPU, and residuals are the kernel's own."""
    pallas = sys.modules.get("jax.experimental.pallas")
    if pallas is None:
        return False
    try:
        pallas.num_programs(0)
    except ValueError:  # a kernel without a grid
        return True
    except Exception:  # whatever it is that JAX raises elsewhere
        return False
    return True


@functools.lru_cache(maxsize=_MOST_READY)
def _program(function: Function, numbers: tuple[str | None, ...], learned: bool, in_kernel: bool) -> Call:
    """Build a function of arrays, and of a slope for None among the numbers."""

    def run(*given: Array) -> Array:
        x, *others = arrays = given[: len(function.arrays)]
        slopes = tuple(_rounded(s, x.dtype) for s in given[len(arrays) :])
        scalars = _checks.call(_LIBRARY, function, arrays, _filled(numbers, slopes), None)
        others = [_sharded_as(x, a) for a in others]
        if function.role == "value":
            rounded = tuple(None if n is None else float(s).hex() for n, s in zip(numbers, scalars, strict=True))
            return _value(function, x, rounded, slopes, learned, in_kernel)
        return _linear(function, x, others[0], scalars) if others else _formula(function)(jnp, x, *scalars)

    run.__name__ = run.__qualname__ = function.name  # which profilers, errors and HLO show
    return run if in_kernel else jax.jit(run)


def _filled(numbers: tuple[str | None, ...], slopes: Sequence[Array]) -> tuple[Any, ...]:
    remaining = iter(slopes)
    return tuple(next(remaining) if n is None else float.fromhex(n) for n in numbers)


def _formula(function: Function) -> Call:
    return getattr(_formulas, function.name)


def _sharded_as(x: Array, a: Array) -> Array:
    """The array as the result lies on an explicit mesh: a select wants one sharding, where a product would find it."""
    sharding = jax.typeof(x).sharding
    return a if jax.typeof(a).sharding.spec == sharding.spec else jax.sharding.reshard(a, sharding)


def _rounded(s: Array, dtype: Any) -> Array:
    """The slope in the dtype of x."""
    return s if owns(s) and s.dtype == dtype else jnp.asarray(s, dtype)


def _value(
    function: Function, x: Array, numbers: tuple[str | None, ...], slopes: Sequence[Array], learned: bool, kernel: bool
) -> Array:
    """Compute the value; its derivative is the VJP of the same rectifier, which is linear and its own transpose."""
    if _dtypes.kind(x.dtype) != "f":
        return _spelled(function, x)

    @jax.custom_jvp
    def value(x: Array, *slopes: Array) -> Array:
        return _spelled(function, x, *_filled(numbers, slopes)[: len(function.scalars)])

    def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        (x, *slopes), (t, *dots) = primals, tangents
        # What is constant has no tangent; a zero in its place would make NaN of an infinite x.
        x = jnp.asarray(x)  # without jit, a number of Python's
        terms = [] if type(t) is SymbolicZero else [_pull(function.vjp, x, jnp.asarray(t), numbers, slopes, kernel)]
        if learned and type(dots[0]) is not SymbolicZero:
            terms.append(_by_slope(x, dots[0]))
        return value(*primals), functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(x)

    value.defjvp(rule, symbolic_zeros=learned and not kernel)
    return value(x, *slopes)


def _spelled(function: Function, x: Array, *scalars: Any) -> Array:
    """The value as XLA's pattern matchers want it."""
    if function is RELU:
        return jnp.maximum(x, 0)
    if function is CLIPPED_RELU:
        return jnp.minimum(jnp.maximum(x, 0), *scalars)
    if function is LEAKY_RELU and type(scalars[0]) is float and scalars[0] != 0:
        return jnp.where(x >= 0, x, scalars[0] * x)
    return _formula(function)(jnp, x, *scalars)  # which multiplies no infinity by a slope that may be 0


def _pull(
    vjp: Function, x: Array, t: Array, numbers: tuple[str | None, ...], slopes: Sequence[Array], kernel: bool
) -> Array:
    """Apply the VJP to a tangent, and keep no more of x than how it compares, where that is enough."""

    def linear(x: Array, t: Array, *slopes: Array) -> Array:
        return _linear(vjp, x.astype(t.dtype) if vjp.compares else x, t, _filled(numbers, slopes))

    if kernel:
        return linear(x, t, *slopes)
    if vjp.compares:
        order = (x > 0).astype(jnp.int8)
        if CEILING in vjp.scalars:  # which 2 stands for
            ceiling = _filled(numbers, slopes)[0]
            order += (x >= ceiling).astype(jnp.int8) + (x > ceiling).astype(jnp.int8)
            numbers = ((2.0).hex(), *numbers[1:])
        x = jnp.where(x >= 0, order, jnp.int8(-1))  # -1 for NaN too
    return jax.checkpoint(linear, prevent_cse=False)(x, t, *slopes)


def _linear(vjp: Function, x: Array, t: Array, scalars: tuple[Any, ...]) -> Array:
    """Run a VJP's formula as a function linear in t that is its own transpose, to the bit.

    The formula says what becomes of ones: 0 where t is dropped, 1 where it passes whole, else the factor. A select
    stands on either side of the product, since a transposition turns the one into the other: so the product is rounded
    before a sum that follows (no FMA; and no bfloat16 left in float32, as XLA does where it fuses), and no infinity
    meets a zero that the definition selects. Where transposition adds the two parts, the other one is a zero; negated
    on either side that is -0, which leaves every number as it is, -0 too.
    """

    def only(where: Array, a: Array) -> Array:
        return jnp.where(where, a, jnp.zeros_like(a))

    formula, one = _formula(vjp), jnp.ones_like(t)
    if not vjp.compares:  # its factor is itself a function of x, with a derivative of its own
        factor = formula(jnp, x, one, *scalars)
        kept = factor != 0
        return only(kept, factor * only(kept, t))
    # A slope is a factor whatever its value, be it 0 or 1; so it is told from both by another.
    probe = formula(jnp, x, one, *(2.0 if p.may_be_array else s for p, s in zip(vjp.scalars, scalars, strict=True)))
    kept, whole = probe != 0, probe == 1
    factors = [s for p, s in zip(vjp.scalars, scalars, strict=True) if p is not CEILING]
    if not any(p.may_be_array for p in vjp.scalars) and all(s in (0, 1) for s in factors):
        return only(kept, t)
    factor = formula(jnp, x, one, *scalars)
    t = only(kept, t)
    return only(kept, -only(whole, -t) - only(~whole, factor * only(~whole, -t)))


def _by_slope(x: Array, dot: Array) -> Array:
    """The part of a tangent that is the slope's: selected on both sides, so neither x nor a cotangent leaves a NaN."""
    zero, negative = jnp.zeros_like(x), x < 0
    return jnp.where(negative, jnp.where(negative, dot, zero) * jnp.where(negative, x, zero), zero)
