"""JAX arrays and tracers: the rectifiers under jit, compiled by XLA for CPU, GPU and TPU.

The formulas on another schedule, tested bit-identical to them. It differs in four respects:

- The values use the operations that XLA's pattern matchers look for, `maximum` and `select`. XLA's
  maximum orders -0 < +0 and keeps NaN; the array API standard promises neither.
- `jit` is the outermost layer, with one program for each function and structure of its scalars.
  So an eager call costs a twentieth of one whose `custom_jvp` is outside, as in jax.nn.relu
  (jax#22513). The scalars are arguments of the program: a new value compiles nothing, under
  transforms neither. Checks that depend on types and shapes only run while tracing.
- A derivative is 1, a factor or 0. There is a select before and after each product, because a
  transposition swaps the two. The one after it makes XLA round the product before a sum that
  follows: no FMA, and no bfloat16 kept in float32. The one before it lets no infinity meet a zero
  where the definition selects 0. `leaky_relu` is differentiated as it is written. The others have a
  rule, since JAX's derivative of `maximum` at a tie is not the definition's.
- The backward pass keeps one byte an element: how x compares. Plain autodiff would keep a factor in
  the dtype of x. Where one mask is not enough, the rule computes the masks again under
  `jax.checkpoint`.
"""

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from relu_xp import _checks, _dtypes, _formulas
from relu_xp._backends._host import get as get
from relu_xp._functions import (
    CEILING,
    CLIPPED_RELU,
    GRAD_AT_CEILING,
    GRAD_AT_ZERO,
    LEAKY_RELU,
    LEAKY_RELU_SLOPE_VJP,
    NEGATIVE_SLOPE,
    RELU,
    SQUARED_RELU,
    Function,
    Scalar,
)
from relu_xp._plans import Plans, bits

Array = Any  # a jax.Array or a tracer
Program = Callable[..., Array]  # (scalars that are arguments, arrays, slopes if an array) -> result
Token = float | str  # how a scalar is built into a program: see `_token`


def owns(x: object) -> bool:
    """Whether x is an array or a tracer: isinstance holds for both."""
    return isinstance(x, jax.Array)


def forget() -> None:
    """Drop all compiled programs; they are compiled again when they are called."""
    jax.clear_caches()


def devices() -> list[str]:
    """List the devices of the default platform, such as cpu:0."""
    return [f"{device.platform}:{device.id}" for device in jax.devices()]


def put(array: Array, device: str) -> Array:
    """Hand a NumPy array to the device so named."""
    return jax.device_put(array, jax.devices()[devices().index(device)])


# Programs of earlier eager calls, with their scalars bound. Key: function; type, dtype and weak
# type of x; bits of the scalars, one fewer where the slope is an array. Not kept are programs that
# were called with tracers, and those whose scalars were placed on a mesh.
_plans = Plans()


def call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None
) -> Array:
    """Check every argument; compute, or record for whatever transform is under way."""
    x, operands, numbers = arrays[0], arrays, bits(scalars)
    if numbers is None and type(scalars[0]) is type(x):  # an array of slopes
        operands, numbers = (*arrays, scalars[0]), bits(scalars[1:])
    if numbers is None or out is not None:
        return _call_with_other_types(function, arrays, scalars, out)
    aval = x.aval
    key = function, type(x), aval.dtype, aval.weak_type, numbers
    if plan := _plans.get(key):
        return plan(*operands)  # it checks dtypes and shapes where it is traced
    return _checked_call(function, arrays, scalars, key)


def _call_with_other_types(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], out: None
) -> Array:
    """Make Python floats of scalars where that is exact, and call again."""
    _checks.no_out(function, out, _LIBRARY.array)
    converted = tuple([_converted(s) for s in scalars])
    if any(a is not b for a, b in zip(converted, scalars, strict=True)):
        return call(function, arrays, converted, None)
    return _checked_call(function, arrays, scalars, None)


def _converted(s: Any) -> Any:
    """Give a Python float of the same value, or the array in a flax.nnx parameter; else s."""
    if type(s) in (np.float16, np.float32, np.float64) or (type(s) is int and abs(s) <= 2**53):
        return float(s)
    return s.__jax_array__() if not owns(s) and callable(getattr(s, "__jax_array__", None)) else s


def _checked_call(
    function: Function, arrays: tuple[Array, ...], scalars: tuple[Any, ...], key: Any
) -> Array:
    """Check every argument, find the program, run it, and keep it under the key if it has one."""
    x = arrays[0]
    for parameter, s in zip(function.parameters, scalars, strict=True):
        if owns(s) and not parameter.may_be_array:  # the program may depend on its value
            msg = (
                f"relu_xp.{function}: {parameter.name} must be a Python float, got a JAX array; "
                "it is static in jit"
            )
            raise TypeError(msg)
    rounded = _checks.call(_LIBRARY, function, arrays, scalars, None)
    traced, learned = (
        any(isinstance(a, jax.core.Tracer) for a in given) for given in (arrays, scalars)
    )
    if function.role == "value" and not (
        isinstance(x, jax.core.Tracer) and _dtypes.kind(x.dtype) == "f"
    ):
        # Nobody differentiates in x, so the derivatives at the kinks may be the defaults: one
        # program serves all.
        rounded = rounded[: len(function.scalars)] + function.defaults[len(function.scalars) :]
    tokens = tuple(
        map(functools.partial(_token, function, rounded), function.parameters, scalars, rounded)
    )
    make = functools.partial(
        _argument, dtype=x.dtype, weak=x.aval.weak_type, as_constant=traced or learned
    )
    arguments = [make(r) for token, r in zip(tokens, rounded, strict=True) if token in _ARGUMENTS]
    plan = _program(
        function, tokens, learned=learned, in_kernel=isinstance(x, jax.core.Tracer) and _in_kernel()
    )
    if arguments:
        plan = functools.partial(plan, *arguments)
    if not (traced or learned or key is None or any(a.committed for a in arguments)):
        _plans.keep(key, plan)
    return plan(*arrays, *filter(owns, rounded))


_LIBRARY = _checks.Library(
    "a JAX array",
    is_array=owns,
    casts={"key<": "it is a key, with which jax.random.normal draws numbers"},
    make="jax.numpy.asarray({}, x.dtype)",
)
# The tokens that are not floats.
_ARRAY, _ANY, _NONZERO, _SLOPE = (
    "an array of slopes",
    "an argument",
    "an argument that is not zero",
    "the slope again",
)
_ARGUMENTS = {_ANY, _NONZERO}  # a program takes these scalars before the arrays

# The rectifiers whose programs are spelled in this file. Another one runs its formulas: it is
# exact, but each number compiles a program, and it takes no array of slopes.
_SPELLED = {each.rectifier for each in (RELU, LEAKY_RELU, CLIPPED_RELU, SQUARED_RELU)}


def _token(
    function: Function, rounded: tuple[Any, ...], parameter: Scalar, s: Any, r: Any
) -> Token:
    """Tell how a scalar s, rounded to r, is built into the program.

    A float is a constant of the program. Constants are the defaults, and a derivative of 0 or 1 at
    a kink, which needs no product. All other scalars are arguments, or equal to the slope, which is
    one.
    """
    if owns(r):
        return _ARRAY
    if function.rectifier not in _SPELLED:
        return float(r).hex()  # a text, since 0.0 and -0.0 would be one key
    if type(s) is float and s == parameter.default and r:
        return float(r)  # so the usual call moves no scalar to a device
    if parameter.may_be_array:
        return _NONZERO if r else _ANY
    if parameter.above_zero:
        return _ANY
    # A VJP selects +0 for either zero, so -0.0 may become 0.0. A derivative returns -0.0 itself.
    if r in (0, 1) and (function.role != "grad" or math.copysign(1, r) > 0):
        return abs(float(r))
    is_slope = function.parameters[0].may_be_array and bits(rounded[:1]) == bits((r,))
    return _SLOPE if is_slope else _ANY


def _scalars(tokens: tuple[Token, ...], arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Give the scalars of a program: the constants among its tokens, and its arguments."""
    remaining = iter(arguments)
    found = [
        token if type(token) is float or token is _SLOPE else next(remaining) for token in tokens
    ]
    return tuple([found[0] if each is _SLOPE else each for each in found])


def _argument(r: float, *, dtype: Any, weak: bool, as_constant: bool) -> Any:
    """Give a rounded scalar as an argument, in the dtype of x.

    It is weakly typed if x is, since otherwise the result would not be. Where it is recorded, it
    is a NumPy scalar, which becomes a constant; else it lies on a device.
    """
    if weak:
        with jax.ensure_compile_time_eval():
            return jnp.asarray(float(r))
    number, is_kept = np.asarray(r, dtype), jax.dtypes.canonicalize_dtype(dtype) == dtype
    if as_constant and is_kept:
        return number[()]
    with jax.ensure_compile_time_eval():  # without x64, jnp makes float32 of a float64
        return jnp.asarray(number, None if is_kept else dtype)


def _in_kernel() -> bool:
    """Whether a Pallas kernel is being traced.

    `jax.checkpoint` does not lower for TPU there, and what is kept is the kernel's own affair.
    """
    pallas = sys.modules.get("jax.experimental.pallas")
    if pallas is None:
        return False
    try:
        pallas.num_programs(0)
    except ValueError:  # a kernel without a grid
        return True
    except Exception:  # JAX does not say what it raises outside of kernels
        return False
    return True


@functools.cache
def _program(
    function: Function, tokens: tuple[Token, ...], *, learned: bool, in_kernel: bool
) -> Program:
    """Build the program of a function for one structure of its scalars.

    `learned` is whether the slope is traced, so that somebody may differentiate in it.
    """
    if function.rectifier not in _SPELLED:
        return _program_of_formulas(function, tokens)
    count = sum(token in _ARGUMENTS for token in tokens)

    def program(*given: Array) -> Array:
        x, *others = arrays = given[count : count + len(function.arrays)]
        slopes = given[count + len(arrays) :]
        # The numbers were checked before; the default of each stands for it here.
        scalars = tuple(
            [
                slopes[0] if t is _ARRAY else p.default
                for p, t in zip(function.parameters, tokens, strict=True)
            ]
        )
        _checks.call(_LIBRARY, function, arrays, scalars, None)
        arguments = [
            n if n.dtype == x.dtype else jnp.asarray(n, x.dtype) for n in (*slopes, *given[:count])
        ]
        if function.role == "value":
            return _value(function, x, tokens, arguments, learned=learned, in_kernel=in_kernel)
        derivative = _derivative(function, x, _scalars(tokens, arguments))
        is_constant, factor = derivative.is_constant, derivative.factor
        if function.role == "grad":
            factor = jnp.full_like(x, factor) if type(factor) is float else factor
            return _select(derivative, jnp.ones_like(x), factor)
        if not function.only_compares_x:
            # The factor is computed from x. Where it is not used it may be infinite: times the zero
            # in `_multiplied` that would be NaN, which jax_debug_nans reports.
            derivative = derivative._replace(factor=jnp.where(is_constant, 0, factor))
        return _multiplied(derivative, _sharded_as(x, *others))

    # The name that profilers, errors and HLO show.
    program.__name__ = program.__qualname__ = function.name
    return program if in_kernel else jax.jit(program)


def _program_of_formulas(function: Function, tokens: tuple[Token, ...]) -> Program:
    """Build the program of a rectifier that is not spelled here, with its scalars as constants."""
    if _ARRAY in tokens:
        msg = f"relu_xp.{function}: on JAX its slope must be a number; an array has no rule here"
        raise TypeError(msg)
    scalars = tuple([float.fromhex(token) for token in tokens if isinstance(token, str)])
    formula = getattr(_formulas, function.name)

    def program(*arrays: Array) -> Array:
        _checks.call(_LIBRARY, function, arrays, scalars, None)
        return formula(jnp, *arrays, *scalars[: len(function.scalars)])

    if function.role != "value":
        return jax.jit(program)
    of_vjp = getattr(_formulas, function.vjp.name)
    value = jax.custom_jvp(program)
    value.defjvp(
        lambda primals, tangents: (value(*primals), of_vjp(jnp, *primals, *tangents, *scalars))
    )
    return jax.jit(value)


def _sharded_as(x: Array, a: Array) -> Array:
    """Shard an array as x is, on an explicit mesh: there a select takes one sharding only."""
    sharding = jax.typeof(x).sharding
    return a if jax.typeof(a).sharding.spec == sharding.spec else jax.sharding.reshard(a, sharding)


def _value(
    function: Function,
    x: Array,
    tokens: tuple[Token, ...],
    arguments: list[Array],
    *,
    learned: bool,
    in_kernel: bool,
) -> Array:
    """Compute a value, whose derivative in x is the VJP, and in a slope `slope_vjp`.

    The VJP multiplies each element by one factor, so it multiplies a tangent as well as a
    cotangent, and is its own transpose.
    """
    if _dtypes.kind(x.dtype) != "f":
        return jnp.maximum(x, 0)
    if function is LEAKY_RELU and tokens[1] == 1 and not learned:
        # JAX differentiates this as the definition does. Its transpose has no select after the
        # product, so XLA may fuse that with the sum that follows. As long as nothing else is in
        # that sum, it adds a zero, and the bits stay. Only narrower formats need the select, since
        # XLA computes them in float32.
        return _value_without_rule(
            function, tokens, x, *arguments, may_be_bare=x.dtype.itemsize >= 4 and not in_kernel
        )

    @jax.custom_jvp
    def value(*primals: Array) -> Array:
        return _value_without_rule(function, tokens, *primals, may_be_bare=True)

    def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        # Without jit, a primal may be a Python number.
        x, (t, *argument_tangents) = jnp.asarray(primals[0]), tangents
        terms = []
        # A constant has a symbolic zero as tangent. To multiply a true zero by x = inf gives NaN.
        if type(t) is not SymbolicZero:
            scalars = _scalars(tokens, primals[1:])
            terms.append(_apply_vjp(function.vjp, x, jnp.asarray(t), scalars, in_kernel=in_kernel))
        if learned and type(argument_tangents[0]) is not SymbolicZero:
            by_slope = _derivative(LEAKY_RELU_SLOPE_VJP, x, ())
            terms.append(_multiplied(by_slope, argument_tangents[0]))
        return value(*primals), functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(x)

    value.defjvp(rule, symbolic_zeros=learned and not in_kernel)
    return value(x, *arguments)


def _value_without_rule(
    function: Function, tokens: tuple[Token, ...], x: Array, *arguments: Array, may_be_bare: bool
) -> Array:
    """Compute a value in the operations that XLA's pattern matchers look for.

    `may_be_bare` allows `slope * x`, without a select before the product.
    """
    scalars = _scalars(tokens, arguments)
    if function is LEAKY_RELU:
        active = x >= 0
        # A slope of 0 times x = inf would be NaN, which jax_debug_nans reports though the select
        # drops it. So would an infinite slope, which an array may have, times x = 0.
        is_bare = may_be_bare and tokens[0] not in (_ANY, _ARRAY)
        return jnp.where(active, x, scalars[0] * (x if is_bare else jnp.where(active, 1, x)))
    positive = jnp.maximum(x, 0)
    if function is CLIPPED_RELU:
        return jnp.minimum(positive, scalars[0])
    return jnp.where(x > 0, positive * positive, positive) if function is SQUARED_RELU else positive


def _apply_vjp(
    vjp: Function, x: Array, t: Array, scalars: tuple[Any, ...], *, in_kernel: bool
) -> Array:
    """Apply a VJP to a tangent. The backward pass keeps the arguments of the checkpointed function.

    These are the mask, where one is all that the derivative needs of x; else how x compares with
    the kinks, as one byte; for squared_relu x itself.
    """
    derivative = _derivative(vjp, x, scalars)
    is_one, is_constant, factor = derivative
    if in_kernel:
        return _multiplied(derivative, t)
    if factor is None or (is_constant is is_one and any(factor is s for s in scalars)):
        return jax.checkpoint(
            lambda is_one, t: _multiplied(_Derivative(is_one, is_one, factor), t), prevent_cse=False
        )(is_one, t)
    if vjp.only_compares_x:
        # Replace x by numbers that compare alike: -1 where x < 0 or NaN, 0 and 1; and for a
        # ceiling, which becomes 2, also 2 and 3.
        order = (x > 0).astype(jnp.int8)
        if CEILING in vjp.scalars:
            order += (x >= scalars[0]).astype(jnp.int8) + (x > scalars[0]).astype(jnp.int8)
            scalars = (2, *scalars[1:])
        x = jnp.where(x >= 0, order, jnp.int8(-1))
    return jax.checkpoint(
        lambda x, t: _multiplied(_derivative(vjp, x, scalars), t), prevent_cse=False
    )(x, t)


class _Derivative(NamedTuple):
    """A derivative in parts: 1 where `is_one`, else 0 where `is_constant`, else `factor`.

    `is_constant` holds wherever `is_one` does. If they are one array, no part is 0.
    None as `is_one` stands for nowhere, None as `factor` for a derivative that is only 1 or 0.
    """

    is_one: Array | None
    is_constant: Array | None
    factor: Any


def _derivative(function: Function, x: Array, scalars: tuple[Any, ...]) -> _Derivative:
    """Give the derivative of a rectifier in x, or for a `slope_vjp` in the slope."""
    if not function.only_compares_x:
        if function.role == "slope_vjp":
            return _Derivative(None, ~(x < 0), x)
        return _Derivative(None, ~(x > 0), x + x)
    named = dict(zip(function.parameters, scalars, strict=True))
    s, c, z, k = (
        named.get(each) for each in (NEGATIVE_SLOPE, CEILING, GRAD_AT_ZERO, GRAD_AT_CEILING)
    )
    # A float is the constant 0 or 1; any other number is an argument, and so a factor.
    constant_z, constant_k = (each if type(each) is float else None for each in (z, k))
    is_one = x >= 0 if constant_z == 1 else x > 0
    if c is not None:
        is_one &= x <= c if constant_k == 1 else x < c
    if s is not None:
        factor = s if z is s or type(z) is float else jnp.where(x == 0, z, s)
        return _Derivative(is_one, x >= 0 if constant_z == 0 else is_one, factor)
    kinks = [
        (x != at, each)
        for at, each in ((0, z), (c, k))
        if not (each is None or type(each) is float)
    ]
    if not kinks:
        return _Derivative(is_one, None, None)
    (is_constant, factor), *more = kinks
    for is_elsewhere, each in more:
        is_constant, factor = is_constant & is_elsewhere, jnp.where(is_elsewhere, factor, each)
    return _Derivative(is_one, is_constant, factor)


def _multiplied(derivative: _Derivative, t: Array) -> Array:
    """Multiply a cotangent or tangent by a derivative, but select where that is 0 or 1."""
    _, is_constant, factor = derivative
    return _select(derivative, t, None if factor is None else factor * jnp.where(is_constant, 0, t))


def _select(derivative: _Derivative, where_one: Array, where_factor: Any) -> Array:
    """Select what belongs to each part of a derivative, and 0 where that is 0."""
    is_one, is_constant, _ = derivative
    if where_factor is None:
        return jnp.where(is_one, where_one, 0)
    if is_constant is not is_one:
        where_factor = jnp.where(is_constant, 0, where_factor)
    return where_factor if is_one is None else jnp.where(is_one, where_one, where_factor)
