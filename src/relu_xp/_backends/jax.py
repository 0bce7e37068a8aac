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

from relu_xp import _checks, _formulas

Array = Any  # a jax.Array or a tracer


def owns(x: object) -> bool:
    """Arrays and tracers: isinstance holds for both."""
    return isinstance(x, jax.Array)


def relu(x: Array, z: Any, out: None) -> Array:
    """Rectify."""
    _check("relu", x, out)
    z = _static("relu", z, x.dtype)
    return _relu(z)(x) if _kind(x.dtype) == "f" else _relu_integers(x)


def relu_grad(x: Array, z: Any, out: None) -> Array:
    """Differentiate relu."""
    _check("relu_grad", x, out)
    return _jitted("relu_grad", _static("relu_grad", z, x.dtype).hex())(x)


def relu_vjp(x: Array, g: Array, z: Any, out: None) -> Array:
    """Pull g back through relu."""
    _check("relu_vjp", x, out, g)
    return _jitted("relu_vjp", _static("relu_vjp", z, x.dtype).hex())(x, g)


def leaky_relu(x: Array, s: Any, z: Any, out: None) -> Array:
    """Rectify with a leak."""
    _check("leaky_relu", x, out)
    return _leaky("leaky_relu", (x,), s, z)


def leaky_relu_grad(x: Array, s: Any, z: Any, out: None) -> Array:
    """Differentiate leaky_relu."""
    _check("leaky_relu_grad", x, out)
    return _leaky("leaky_relu_grad", (x,), s, z)


def leaky_relu_vjp(x: Array, g: Array, s: Any, z: Any, out: None) -> Array:
    """Pull g back through leaky_relu."""
    _check("leaky_relu_vjp", x, out, g)
    return _leaky("leaky_relu_vjp", (x, g), s, z)


def _leaky(function: str, arrays: tuple[Array, ...], s: Any, z: Any) -> Array:
    z = _static(function, z, arrays[0].dtype).hex()
    if s is _checks.DEFAULT_SLOPE:
        return _with_default_slope(function, z)(*arrays)
    return _jitted(function, z)(*arrays, _slope(function, s, arrays[0].dtype))


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
        return relu(x), _pull("relu_vjp", x, t, z)

    return jax.jit(relu)


def _leaky_relu(z: float) -> Callable[[Array, Array], Array]:
    @jax.custom_jvp
    def value(x: Array, s: Array) -> Array:
        return jnp.where(x >= 0, x, s * x)

    def rule(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
        (x, s), (t, dot_s) = primals, tangents
        # A constant slope has no tangent; a zero in its place would make NaN of an infinite x.
        terms = [] if type(t) is SymbolicZero else [_pull("leaky_relu_vjp", x, t, s, z)]
        if type(dot_s) is not SymbolicZero:
            zero = jnp.zeros_like(x)  # selected on both sides, so that neither x nor a cotangent leaves a NaN in it
            terms.append(jnp.where(x < 0, dot_s * jnp.where(x < 0, x, zero), zero))
        return value(x, s), functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(x)

    value.defjvp(rule, symbolic_zeros=True)
    return lambda x, s: value(x, _rounded(s, x.dtype))


def _rounded(s: Any, dtype: Any) -> Any:
    """The slope in the dtype of x; without jit it may still be a Python float."""
    return s if jnp.result_type(s) == dtype else jnp.asarray(s, dtype)


def _pull(function: str, x: Array, t: Array, *scalars: Any) -> Array:
    """Apply the VJP formula to a tangent, in which it is linear, and keep no more of x than its sign."""
    z = scalars[-1]
    sign = jnp.where(x >= 0, (x > 0).astype(jnp.int8), jnp.int8(-1))  # -1 for NaN too
    return jax.checkpoint(lambda *args: _vjp(function, *args, z), prevent_cse=False)(sign, t, *scalars[:-1])


def _vjp(function: str, x: Array, g: Array, *scalars: Any) -> Array:
    """Run the VJP formula; for bfloat16 in float32, with a rounding that XLA may not leave out.

    Where it fuses, XLA keeps bfloat16 products in float32 unless told otherwise. The rounding stands on both sides of
    the product, since a transposition turns the one into the other; at one end it changes nothing.
    """
    formula = getattr(_formulas, function)
    if g.dtype != jnp.bfloat16:
        return formula(jnp, x, g, *scalars)
    wide = formula(jnp, x, lax.reduce_precision(g.astype(jnp.float32), 8, 7), *scalars)
    return lax.reduce_precision(wide, 8, 7).astype(g.dtype)


_relu_integers = jax.jit(lambda x: jnp.maximum(x, 0))


@functools.cache
def _jitted(function: str, z_in_hex: str) -> Callable[..., Array]:
    """Jit a function of arrays and maybe a slope; hex tells -0.0 from 0.0 in a cache.

    A derivative or VJP differentiates as it stands.
    """
    z = float.fromhex(z_in_hex)
    if function == "leaky_relu":
        return _named(function, _leaky_relu(z))
    if function.endswith("vjp"):
        return _named(function, lambda x, g, *s: _vjp(function, x, g, *(_rounded(each, x.dtype) for each in s), z))
    formula = getattr(_formulas, function)
    return _named(function, lambda *args: formula(jnp, *args, z))


@functools.cache
def _with_default_slope(function: str, z_in_hex: str) -> Callable[..., Array]:
    """Compile the default slope in, as jax.nn does: then no call moves it to the device."""
    call = _jitted(function, z_in_hex)
    return _named(function, lambda *args: call(*args, _slope(function, _checks.DEFAULT_SLOPE, args[0].dtype)))


def _named(name: str, call: Callable[..., Array]) -> Callable[..., Array]:
    call.__name__ = name  # which profilers and HLO show
    return jax.jit(call)


def _check(function: str, x: Array, out: object, g: Array | None = None) -> None:
    if out is not None:
        _checks.no_out(function, out, "a JAX array")
    if _kind(x.dtype) != "f":
        _checks.dtype(function, x.dtype, _kind(x.dtype))
    if g is not None:
        _checks.cotangent(function, x.dtype, x.shape, g.dtype, g.shape)


@functools.cache
def _kind(dtype: Any) -> str:
    """Tell real floating ("f") and integer ("i") dtypes from all others ("")."""
    if jnp.issubdtype(dtype, jnp.floating):
        # float8_e8m0fnu holds powers of two alone: without a zero it has no place for a rectifier's results.
        return "f" if np.zeros((), dtype) == 0 else ""
    return "i" if jnp.issubdtype(dtype, jnp.integer) else ""


def _slope(function: str, s: Any, dtype: Any) -> Any:
    """Round a number once to dtype; let a 0-d JAX array or tracer through, to be learned."""
    if isinstance(s, jax.Array):
        if s.shape == () and _kind(s.dtype):
            return s
        given = f"a JAX array of {s.dtype}{list(s.shape)}"
        msg = f"relu_xp.{function}: negative_slope must be a real number, got {given}; pass a float or a 0-d array"
        raise TypeError(msg)
    return _checks.rounded(function, "negative_slope", s, dtype, _finfo(dtype))


@functools.cache
def _finfo(dtype: Any) -> Any:
    return jnp.finfo(dtype)


def _static(function: str, z: Any, dtype: Any) -> float:
    """Round grad_at_zero once to dtype; it selects the compiled function, so it can't be traced."""
    if z is _checks.DEFAULT_GRAD_AT_ZERO:
        return z
    if isinstance(z, jax.Array):
        msg = f"relu_xp.{function}: grad_at_zero must be a Python float, got a JAX array; it is static under jit"
        raise TypeError(msg)
    if _kind(dtype) != "f":
        return _checks.real(function, "grad_at_zero", z)
    return _checks.rounded(function, "grad_at_zero", z, dtype, _finfo(dtype))
