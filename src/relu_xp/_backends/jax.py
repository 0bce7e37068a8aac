"""JAX arrays and tracers: the rectifiers under jit, compiled by XLA for CPU, GPU and TPU.

A schedule of the formulas, tested bit-identical to them, in four respects:

- The values are spelled as XLA's pattern matchers want them, a `maximum` and a `select`. XLA's maximum orders -0 < +0
  and keeps NaN, which the array API's need not.
- `jit` stands outside, once per function and structure of its numbers: an eager call costs a twentieth of one whose
  `custom_jvp` is outside, as in jax.nn.relu (jax#22513). The numbers are arguments, so a new one
  compiles nothing, in transforms neither. What a plan's arguments cannot fail is checked while
  tracing, so it costs an eager call nothing.
- A derivative is 1, a factor or 0. A select stands on either side of the product, since a transposition turns the one
  into the other: so it is rounded before a sum that follows (no FMA; and no bfloat16 left in
  float32, as XLA does where it fuses), and no infinity meets a zero that the definition selects.
  `leaky_relu` is differentiated as it stands; the others have a rule, since of `maximum` JAX takes
  another derivative at a tie.
- What waits for the backward pass is how x compares, one byte an element, where autodiff on its own would keep a factor
  in the dtype of x: where one mask does not tell, the rule recomputes the masks under
  `jax.checkpoint`.
"""

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from relu_xp import _checks, _dtypes
from relu_xp._functions import (
    CEILING,
    CLIPPED_RELU,
    GRAD_AT_CEILING,
    GRAD_AT_ZERO,
    LEAKY_RELU,
    LEAKY_RELU_SLOPE_VJP,
    NEGATIVE_SLOPE,
    SQUARED_RELU,
    Function,
    Scalar,
)
from relu_xp._plans import Plans, bits

Array = Any  # a jax.Array or a tracer
Call = Callable[..., Array]
Token = float | str


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


# Programs with all that they take besides arrays: by function, class, dtype and weak type of x, and
# the numbers, one fewer where a slope is an array. Those for tracers are not kept, nor is what was
# made for one mesh.
_plans = Plans()


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None
) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    x, given, numbers = arrays[0], arrays, bits(scalars)
    if numbers is None and type(scalars[0]) is type(x):  # an array of slopes
        given, numbers = (*arrays, scalars[0]), bits(scalars[1:])
    if numbers is None or out is not None:
        return _unusual(function, arrays, scalars, out)
    aval = x.aval
    key = function, type(x), aval.dtype, aval.weak_type, numbers
    if plan := _plans.get(key):
        return plan(*given)  # which checks them where it is traced
    return _call(function, arrays, scalars, key)


def _unusual(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None
) -> Array:
    """Take numbers of other types for floats, where they are equal."""
    _checks.no_out(function, out, _LIBRARY.array)
    usual = tuple([_usual(s) for s in scalars])
    if any(a is not b for a, b in zip(usual, scalars, strict=True)):
        return call(function, arrays, usual, None)
    return _call(function, arrays, scalars, None)


def _usual(s: Any) -> Any:
    """A float of the same value, if there is one; or what a parameter of flax.nnx or the like holds."""
    if type(s) in (np.float16, np.float32, np.float64) or (type(s) is int and abs(s) <= 2**53):
        return float(s)
    return s.__jax_array__() if not owns(s) and callable(getattr(s, "__jax_array__", None)) else s


def _call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], key: Any
) -> Array:
    """Check every argument, and plan: what is not traced will be computed so again."""
    x = arrays[0]
    for parameter, s in zip(function.parameters, scalars, strict=True):
        if (
            owns(s) and not parameter.may_be_array
        ):  # it may select the program, so it can't be traced
            msg = f"relu_xp.{function}: {parameter.name} must be a Python float, got a JAX array; it is static in jit"
            raise TypeError(msg)
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, None)
    traced, learned = (
        any(isinstance(a, jax.core.Tracer) for a in given) for given in (arrays, scalars)
    )
    if function.role == "value" and not (
        isinstance(x, jax.core.Tracer) and _dtypes.kind(x.dtype) == "f"
    ):
        # Nobody takes a derivative in x, so whatever it is at the kinks, there is one program.
        rounded = rounded[: len(function.scalars)] + function.defaults[len(function.scalars) :]
    tokens = tuple(
        map(functools.partial(_token, function, rounded), function.parameters, scalars, rounded)
    )
    make = functools.partial(
        _number, dtype=x.dtype, weak=x.aval.weak_type, literal=traced or learned
    )
    numbers = [make(r) for token, r in zip(tokens, rounded, strict=True) if token in _NUMBERS]
    plan = _program(
        function, tokens, learned=learned, in_kernel=isinstance(x, jax.core.Tracer) and _in_kernel()
    )
    if numbers:
        plan = functools.partial(plan, *numbers)
    if not (traced or learned or key is None or any(n.committed for n in numbers)):
        _plans.keep(key, plan)
    return plan(*arrays, *filter(owns, rounded))


_LIBRARY = _checks.Library(
    "a JAX array",
    is_array=owns,
    casts={"key<": "it is a key, with which jax.random.normal draws numbers"},
    make="jax.numpy.asarray({}, x.dtype)",
)
# How a number shapes the program, unless it is a float and stands there.
_ARRAY, _ANY, _NONZERO, _SLOPE = (
    "an array of slopes",
    "any number",
    "any but zero",
    "the slope once more",
)
_NUMBERS = {_ANY, _NONZERO}  # arguments, before the arrays


def _token(
    function: Function, rounded: tuple[Any, ...], parameter: Scalar, s: Any, r: Any
) -> Token:
    """Tell how a number shapes the program: a default, 0 or 1 stands there, any other is an argument."""
    if owns(r):
        return _ARRAY
    if (
        type(s) is float and s == parameter.default and r
    ):  # nothing is moved to a device in the usual call
        return float(r)
    if parameter.may_be_array:
        return _NONZERO if r else _ANY
    if parameter.above_zero:
        return _ANY
    if r in (0, 1) and (
        function.role != "grad" or math.copysign(1, r) > 0
    ):  # a VJP selects +0 for either zero
        return abs(float(r))
    is_slope = function.parameters[0].may_be_array and bits(rounded[:1]) == bits((r,))
    return _SLOPE if is_slope else _ANY


def _filled(tokens: tuple[Token, ...], given: Sequence[Any]) -> tuple[Any, ...]:
    """Put the arguments where the tokens say."""
    remaining = iter(given)
    numbers = [
        token if type(token) is float or token is _SLOPE else next(remaining) for token in tokens
    ]
    return tuple([numbers[0] if each is _SLOPE else each for each in numbers])


def _number(r: float, *, dtype: Any, weak: bool, literal: bool) -> Any:
    """A number of the dtype of x, and as weak as x, since so is the result: to be recorded, or on a device."""
    if weak:
        with jax.ensure_compile_time_eval():
            return jnp.asarray(float(r))
    number, keeps = np.asarray(r, dtype), jax.dtypes.canonicalize_dtype(dtype) == dtype
    if literal and keeps:
        return number[()]
    with jax.ensure_compile_time_eval():  # jnp of a number may take a float64 for float32
        return jnp.asarray(number, None if keeps else dtype)


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


@functools.cache
def _program(
    function: Function, tokens: tuple[Token, ...], *, learned: bool, in_kernel: bool
) -> Call:
    """Build a function of the numbers that are arguments, the arrays, and the slopes where they are one."""
    count = sum(token in _NUMBERS for token in tokens)

    def run(*given: Array) -> Array:
        x, *others = arrays = given[count : count + len(function.arrays)]
        slopes = given[count + len(arrays) :]
        # Numbers were checked before.
        scalars = tuple(
            [
                slopes[0] if t is _ARRAY else p.default
                for p, t in zip(function.parameters, tokens, strict=True)
            ]
        )
        _checks.call(_LIBRARY, function, arrays, scalars, None)
        numbers = [
            n if n.dtype == x.dtype else jnp.asarray(n, x.dtype) for n in (*slopes, *given[:count])
        ]
        if function.role == "value":
            return _value(function, x, tokens, numbers, learned=learned, in_kernel=in_kernel)
        whole, rest, factor = _parts(function, x, _filled(tokens, numbers))
        if function.role == "grad":
            factor = jnp.full_like(x, factor) if type(factor) is float else factor
            return _selected(whole, rest, jnp.ones_like(x), factor)
        if not function.compares:
            factor = jnp.where(
                rest, 0, factor
            )  # so that no infinity is multiplied by a zero, which guards might see
        return _pulled(whole, rest, factor, _sharded_as(x, *others))

    run.__name__ = run.__qualname__ = function.name  # which profilers, errors and HLO show
    return run if in_kernel else jax.jit(run)


def _sharded_as(x: Array, a: Array) -> Array:
    """The array as the result lies on an explicit mesh: a select wants one sharding, where a product would find it."""
    sharding = jax.typeof(x).sharding
    return a if jax.typeof(a).sharding.spec == sharding.spec else jax.sharding.reshard(a, sharding)


def _value(
    function: Function,
    x: Array,
    tokens: tuple[Token, ...],
    given: list[Array],
    *,
    learned: bool,
    in_kernel: bool,
) -> Array:
    """Compute the value; its derivative is the VJP, linear and its own transpose, and in a slope that of slopes."""
    if _dtypes.kind(x.dtype) != "f":
        return jnp.maximum(x, 0)
    if function is LEAKY_RELU and tokens[1] == 1 and not learned:
        # Transposed, the bare product meets a sum at once, with a zero: fused, that has the same
        # bits in float32, as long as nothing else is in that sum. Formats that are computed in a
        # wider one need the select behind it.
        return _spelled(
            function, tokens, x, *given, may_be_bare=x.dtype.itemsize >= 4 and not in_kernel
        )

    @jax.custom_jvp
    def value(*primals: Array) -> Array:
        return _spelled(function, tokens, *primals, may_be_bare=True)

    def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        x, (t, *dots) = jnp.asarray(primals[0]), tangents  # without jit, a number of Python's
        terms = []
        # What is constant has no tangent; a zero in its place would make NaN of an infinite x.
        if type(t) is not SymbolicZero:
            numbers = _filled(tokens, primals[1:])
            terms.append(_pull(function.vjp, x, jnp.asarray(t), numbers, in_kernel=in_kernel))
        if learned and type(dots[0]) is not SymbolicZero:
            terms.append(_pulled(*_parts(LEAKY_RELU_SLOPE_VJP, x, ()), dots[0]))
        return value(*primals), functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(x)

    value.defjvp(rule, symbolic_zeros=learned and not in_kernel)
    return value(x, *given)


def _spelled(
    function: Function, tokens: tuple[Token, ...], x: Array, *given: Array, may_be_bare: bool
) -> Array:
    """The value as XLA's pattern matchers want it."""
    numbers = _filled(tokens, given)
    if function is LEAKY_RELU:
        active = x >= 0
        # A slope that may be 0 or infinite meets no infinity or 0 where the product is thrown away.
        bare = may_be_bare and tokens[0] not in (_ANY, _ARRAY)
        return jnp.where(active, x, numbers[0] * (x if bare else jnp.where(active, 1, x)))
    positive = jnp.maximum(x, 0)
    if function is CLIPPED_RELU:
        return jnp.minimum(positive, numbers[0])
    return jnp.where(x > 0, positive * positive, positive) if function is SQUARED_RELU else positive


def _pull(vjp: Function, x: Array, t: Array, numbers: tuple[Any, ...], *, in_kernel: bool) -> Array:
    """Apply the VJP to a tangent, and keep no more of x than how it compares, where that is enough."""
    whole, rest, factor = parts = _parts(vjp, x, numbers)
    if in_kernel:
        return _pulled(*parts, t)
    if factor is None or (rest is whole and any(factor is n for n in numbers)):
        return jax.checkpoint(lambda whole, t: _pulled(whole, whole, factor, t), prevent_cse=False)(
            whole, t
        )
    if vjp.compares:
        order = (x > 0).astype(jnp.int8)
        if CEILING in vjp.scalars:  # which 2 stands for
            order += (x >= numbers[0]).astype(jnp.int8) + (x > numbers[0]).astype(jnp.int8)
            numbers = (2, *numbers[1:])
        x = jnp.where(x >= 0, order, jnp.int8(-1))  # -1 for NaN too
    return jax.checkpoint(lambda x, t: _pulled(*_parts(vjp, x, numbers), t), prevent_cse=False)(
        x, t
    )


def _parts(
    function: Function, x: Array, numbers: tuple[Any, ...]
) -> tuple[Array | None, Array | None, Any]:
    """Tell where the derivative is one, where it is not its factor, and the factor; elsewhere it is zero."""
    if not function.compares:
        return (None, ~(x < 0), x) if function.role == "slope_vjp" else (None, ~(x > 0), x + x)
    named = dict(zip(function.parameters, numbers, strict=True))
    s, c, z, k = (
        named.get(each) for each in (NEGATIVE_SLOPE, CEILING, GRAD_AT_ZERO, GRAD_AT_CEILING)
    )
    fixed_z, fixed_k = (d if type(d) is float else None for d in (z, k))
    whole = x >= 0 if fixed_z == 1 else x > 0
    if c is not None:
        whole &= x <= c if fixed_k == 1 else x < c
    if s is not None:
        factor = s if z is s or type(z) is float else jnp.where(x == 0, z, s)
        return whole, x >= 0 if fixed_z == 0 else whole, factor
    kinks = [(x != at, d) for at, d in ((0, z), (c, k)) if d is not None and type(d) is not float]
    if not kinks:
        return whole, None, None
    (rest, factor), *more = kinks
    for elsewhere, d in more:
        rest, factor = rest & elsewhere, jnp.where(elsewhere, factor, d)
    return whole, rest, factor


def _pulled(whole: Array | None, rest: Array | None, factor: Any, t: Array) -> Array:
    """Let a cotangent or tangent pass, multiply it, or drop it."""
    return _selected(whole, rest, t, None if factor is None else factor * jnp.where(rest, 0, t))


def _selected(whole: Array | None, rest: Array | None, one: Array, scaled: Any) -> Array:
    if scaled is None:
        return jnp.where(whole, one, 0)
    if rest is not whole:
        scaled = jnp.where(rest, 0, scaled)
    return scaled if whole is None else jnp.where(whole, one, scaled)
