"""JAX arrays and tracers: the formulas under jit(custom_jvp), compiled by XLA for CPU, GPU and TPU.

A schedule of the formulas in three respects, each tested bit-identical to them:

- The values are spelled as XLA's pattern matchers want them, a `maximum` and a `select`. XLA's maximum orders -0 < +0
  and keeps NaN, which the array API's need not.
- `jit` outside and `custom_jvp` inside, once per function and grad_at_zero: an eager call costs a twentieth of one
  the other way round, as in jax.nn.relu (jax#22513), and every transform still sees the rule.
- What waits for the backward pass is the sign of x, one byte an element, where autodiff on its own would keep a factor
  in the dtype of x: the rule recomputes that factor under `jax.checkpoint`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from relu_xp import _checks, _dtypes, _formulas
from relu_xp._functions import GRAD_AT_ZERO, LEAKY_RELU, LEAKY_RELU_VJP, NEGATIVE_SLOPE, RELU, RELU_VJP, Function

Array = Any  # a jax.Array or a tracer


def owns(x: object) -> bool:
    """Arrays and tracers: isinstance holds for both."""
    return isinstance(x, jax.Array)


def call(function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    x, (*slopes, z) = arrays[0], scalars
    _check(function, out, *arrays)
    z = _static(function, z, x.dtype)
    if function is RELU:
        return _relu(z)(x) if _kind(x.dtype) == "f" else _relu_integers(x)
    if slopes and slopes[0] is NEGATIVE_SLOPE.default:
        return _with_default_slope(function, z.hex())(*arrays)
    return _jitted(function, z.hex())(*arrays, *(_slope(function, s, x) for s in slopes))


def devices() -> list[str]:
    """List the devices of the default platform, such as cpu:0."""
    return [f"{device.platform}:{device.id}" for device in jax.devices()]


def put(array: Array, device: str) -> Array:
    """Hand a NumPy array to the device so named."""
    return jax.device_put(array, jax.devices()[devices().index(device)])


def get(x: Array) -> Array:
    """Copy the array to the host."""
    return np.asarray(x)


@functools.cache
def _relu(z: float) -> Callable[[Array], Array]:
    @jax.custom_jvp
    def relu(x: Array) -> Array:
        return jnp.maximum(x, 0)

    @relu.defjvp
    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (x,), (t,) = primals, tangents
        return relu(x), _pull(RELU_VJP, x, t, z)

    return jax.jit(relu)


def _leaky_relu(z: float) -> Callable[[Array, Array], Array]:
    @jax.custom_jvp
    def value(x: Array, s: Array) -> Array:
        return jnp.where(x >= 0, x, s * x)

    def rule(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
        (x, s), (t, dot_s) = primals, tangents
        # A constant slope has no tangent; a zero in its place would make NaN of an infinite x.
        terms = [] if type(t) is SymbolicZero else [_pull(LEAKY_RELU_VJP, x, t, s, z)]
        if type(dot_s) is not SymbolicZero:
            zero = jnp.zeros_like(x)  # selected on both sides, so that neither x nor a cotangent leaves a NaN in it
            terms.append(jnp.where(x < 0, dot_s * jnp.where(x < 0, x, zero), zero))
        return value(x, s), functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(x)

    value.defjvp(rule, symbolic_zeros=True)
    return lambda x, s: value(x, _rounded(s, x.dtype))


def _rounded(s: Any, dtype: Any) -> Any:
    """The slope in the dtype of x; without jit it may still be a Python float."""
    return s if jnp.result_type(s) == dtype else jnp.asarray(s, dtype)


def _pull(function: Function, x: Array, t: Array, *scalars: Any) -> Array:
    """Apply the VJP formula to a tangent, in which it is linear, and keep no more of x than its sign."""
    z = scalars[-1]
    sign = jnp.where(x >= 0, (x > 0).astype(jnp.int8), jnp.int8(-1))  # -1 for NaN too
    return jax.checkpoint(lambda *args: _vjp(function, *args, z), prevent_cse=False)(sign, t, *scalars[:-1])


def _vjp(function: Function, x: Array, g: Array, *scalars: Any) -> Array:
    """Run the VJP formula; for bfloat16 in float32, with a rounding that XLA may not leave out.

    Where it fuses, XLA keeps bfloat16 products in float32 unless told otherwise. The rounding stands on both sides of
    the product, since a transposition turns the one into the other; at one end it changes nothing.
    """
    formula = getattr(_formulas, function.name)
    if g.dtype != jnp.bfloat16:
        return formula(jnp, x, g, *scalars)
    wide = formula(jnp, x, lax.reduce_precision(g.astype(jnp.float32), 8, 7), *scalars)
    return lax.reduce_precision(wide, 8, 7).astype(g.dtype)


_relu_integers = jax.jit(lambda x: jnp.maximum(x, 0))


@functools.cache
def _jitted(function: Function, z_in_hex: str) -> Callable[..., Array]:
    """Jit a function of arrays and maybe a slope; hex tells -0.0 from 0.0 in a cache.

    A derivative or VJP differentiates as it stands.
    """
    z = float.fromhex(z_in_hex)
    if function is LEAKY_RELU:
        return _named(function.name, _leaky_relu(z))
    if function.role == "vjp":
        return _named(function.name, lambda x, g, *s: _vjp(function, x, g, *(_rounded(each, x.dtype) for each in s), z))
    formula = getattr(_formulas, function.name)
    return _named(function.name, lambda *args: formula(jnp, *args, z))


@functools.cache
def _with_default_slope(function: Function, z_in_hex: str) -> Callable[..., Array]:
    """Compile the default slope in, as jax.nn does: then no call moves it to the device."""
    call = _jitted(function, z_in_hex)
    return _named(function.name, lambda *args: call(*args, _slope(function, NEGATIVE_SLOPE.default, args[0])))


def _named(name: str, call: Callable[..., Array]) -> Callable[..., Array]:
    call.__name__ = name  # which profilers and HLO show
    return jax.jit(call)


def _check(function: Function, out: object, x: Array, *others: Array) -> None:
    _checks.no_out(function, out, "a JAX array")
    _checks.dtype(function, x.dtype, _kind(x.dtype), _LIBRARY.cast)
    for a in others:
        _checks.alike(function, x.dtype, x.shape, a.dtype, a.shape)


_kind = _dtypes.kind
_LIBRARY = _checks.Library("a JAX array", is_array=owns)


def _slope(function: Function, s: Any, x: Array) -> Any:
    """Round a number once to dtype; let a JAX array or tracer through, to be learned."""
    return _checks.scalar(_LIBRARY, function, NEGATIVE_SLOPE, s, x)


def _static(function: Function, z: Any, dtype: Any) -> float:
    """Round grad_at_zero once to dtype; it selects the compiled function, so it can't be traced."""
    if z is GRAD_AT_ZERO.default:
        return z
    if isinstance(z, jax.Array):
        msg = f"relu_xp.{function}: grad_at_zero must be a Python float, got a JAX array; it is static under jit"
        raise TypeError(msg)
    return _checks.number(function, "grad_at_zero", z, dtype)
