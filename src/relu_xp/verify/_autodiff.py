"""Holds the derivatives that a library takes of the value functions to the definition's, in every mode it takes them.

A mode takes f, x, and a cotangent or tangent g, and gives what the library makes of them: each is written in the
library's own words, which is imported only then.
"""

import importlib.util
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import relu_xp
from relu_xp._functions import FUNCTIONS, Function
from relu_xp._machine import Target
from relu_xp.verify._cases import SCALARS, Case
from relu_xp.verify._expected import Array, DType, expected, rounded, widened

F = Callable[[Any], Any]
Mode = Callable[[F, Any, Any], Any]
Modes = dict[str, Mode]

SUMS = "followed by a sum", "of a residual block"  # where a compiler might fuse a product with the sum


# The case of the function whose values are due, its arrays, those values, and how the library is asked for them.
Derivative = tuple[Case, tuple[Array, ...], Array, Callable[[Target], Array]]


def derivatives(target: Target, dtype: DType, functions: Iterable[Function]) -> Iterator[Derivative]:
    """All of them, with a zero added: of what autodiff gives, no zero's sign is promised."""
    zero = rounded(0.0, dtype)
    for case, arrays, want, make in _derivatives(target, dtype, functions):
        yield case, arrays, want + zero, lambda target, make=make: make(target) + zero  # type: ignore[misc]


def _derivatives(target: Target, dtype: DType, functions: Iterable[Function]) -> Iterator[Derivative]:
    """Every derivative of the value functions that the library of a target takes; none where it takes none."""
    if target.name not in _MODES:
        return
    modes, in_slope, second = _MODES[target.name]()
    if dtype.name == "float32":
        modes |= _of_keras(target.name, modes["reverse"])
    else:  # the others transform a program, whatever its dtype
        modes = {mode: pull for mode, pull in modes.items() if mode.startswith(("reverse", "forward"))}
    for function in functions:
        if function.role != "value":
            continue
        last = tuple(SCALARS[each.name][-1] for each in function.parameters)
        settings = dict.fromkeys((function.defaults, last)) if dtype.name == "float32" else [last]
        for given, (mode, pull) in itertools.product(settings, modes.items()):
            x, g = finite(dtype) if mode.endswith(SUMS) else specials(dtype, given)
            yield _of_vjp(function, dtype, given, mode, pull, x, g)
        x, g = specials(dtype, last)
        for mode, pull in in_slope.items() if any(each.may_be_array for each in function.scalars) else ():
            yield _by_slope(function, dtype, mode, pull, x, g)
            yield _by_slopes_of_columns(function, dtype, mode, pull)
        x, g = finite(dtype)
        for mode, pull in second.items():
            yield _twice(function, dtype, mode, pull, x, g)


def specials(dtype: DType, given: tuple[float, ...]) -> tuple[Array, Array]:
    """Each special value with each: NaN, infinities, zeros of both signs, and the kinks."""
    values = rounded([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3, 0.01, -2.5, *given], dtype)
    return np.repeat(values, len(values)), np.tile(values, len(values))


def finite(dtype: DType) -> tuple[Array, Array]:
    """Numbers whose products and sums are rounded, and are no subnormals."""
    x, g = np.random.default_rng(0).normal(size=(2, 257))
    return rounded(np.where(np.abs(x) < 0.01, 0.0, x), dtype), rounded(np.where(np.abs(g) < 0.01, 1.0, g), dtype)


def _of_vjp(
    function: Function, dtype: DType, given: tuple[float, ...], mode: str, pull: Mode, x: Array, g: Array
) -> Derivative:
    scalars: dict[str, Any] = function.named(given)
    vjp = function.vjp
    case = Case(vjp, dtype, tuple(scalars[each.name] for each in vjp.parameters), f"autodiff: {mode}")
    want = expected(vjp, (x, g), scalars)
    if mode.endswith(SUMS):
        with np.errstate(all="ignore"):
            want = want + g

    def make(target: Target) -> Array:
        def f(x: Any) -> Any:
            return getattr(relu_xp, function.name)(x, **scalars)

        return np.asarray(target.get(pull(f, target.put(x), target.put(g))))

    return case, (x, g), want, make


def _by_slope(function: Function, dtype: DType, mode: str, pull: Mode, x: Array, g: Array) -> Derivative:
    """In a slope for each element, so that nothing is summed."""
    record = FUNCTIONS[f"{function.rectifier}_slope_vjp"]
    slope = np.resize(rounded([0.25, -2, 0], dtype), x.shape)
    call = _pull_slope(function, pull, x, slope, g)
    return Case(record, dtype, (), f"autodiff: {mode}"), (x, g), expected(record, (x, g), {}), call


def _by_slopes_of_columns(function: Function, dtype: DType, mode: str, pull: Mode) -> Derivative:
    """In a slope for each column, in whole numbers, whose sums are exact in every order; as a tangent, one for all."""
    record = FUNCTIONS[f"{function.rectifier}_slope_vjp"]
    x, g = rounded(np.random.default_rng(0).integers(-2, 3, (2, 8, 16)), dtype)
    slope, forward = rounded(np.resize([0.25, -2], 16), dtype), mode.endswith("forward")
    given = g[0] if forward else g
    arrays = x, np.broadcast_to(given, x.shape)
    products = widened(expected(record, arrays, {}))
    case = Case(record, dtype, (), f"autodiff: {mode}, of columns")
    shown = arrays if forward else (x[0], g[0])  # of each column the first
    want = rounded(products if forward else products.sum(0), dtype)
    return case, shown, want, _pull_slope(function, pull, x, slope, given)


def _pull_slope(function: Function, pull: Mode, x: Array, slope: Array, g: Array) -> Callable[[Target], Array]:
    """Ask for the derivative of the value as a function of its slope."""

    def make(target: Target) -> Array:
        def f(s: Any) -> Any:
            return getattr(relu_xp, function.name)(target.put(x), s)

        return np.asarray(target.get(pull(f, target.put(slope), target.put(g))))

    return make


def _twice(function: Function, dtype: DType, mode: str, pull: Mode, x: Array, g: Array) -> Derivative:
    """A second derivative is 0, or the degree for x > 0 of a rectifier that is no line there."""
    case = Case(function.vjp, dtype, function.vjp.defaults, f"autodiff: {mode}")
    factor = np.where(widened(x) > 0, 0.0 if function.vjp.compares else 2.0, 0.0)

    zero = rounded(0.0, dtype)  # added, so that no zero has a sign: of a second derivative none is promised

    def make(target: Target) -> Array:
        return np.asarray(target.get(pull(getattr(relu_xp, function.name), target.put(x), target.put(g)))) + zero

    return case, (x, g), rounded(factor * widened(g), dtype) + zero, make


def _of_keras(library: str, reverse: Mode) -> Modes:
    """A model of Keras', where it is told to run on the library; on another, it could not be told any more."""
    if os.environ.get("KERAS_BACKEND") != library or not importlib.util.find_spec("keras"):
        return {}

    def in_a_model(f: F, x: Any, g: Any) -> Any:
        import keras

        given = keras.Input(x.shape[1:], dtype=keras.backend.standardize_dtype(x.dtype))
        return reverse(keras.Model(given, f(given)), x, g)

    return {"reverse, in a Keras model": in_a_model}


def _jax() -> tuple[Modes, Modes, Modes]:
    import jax

    def reverse(f: F, x: Any, g: Any) -> Any:
        return jax.vjp(f, x)[1](g)[0]

    def forward(f: F, x: Any, g: Any) -> Any:
        return jax.jvp(f, (x,), (g,))[1]

    def compiled(mode: Mode) -> Mode:
        return lambda f, x, g: jax.jit(lambda x, g: mode(f, x, g))(x, g)

    def batched(f: F, x: Any, g: Any) -> Any:
        return jax.jit(jax.vmap(lambda x, g: reverse(f, x, g)))(x, g)

    def exported(f: F, x: Any, g: Any) -> Any:
        from jax import export

        blob = export.export(jax.jit(f))(jax.ShapeDtypeStruct(x.shape, x.dtype)).serialize(vjp_order=1)
        return reverse(export.deserialize(blob).call, x, g)

    def twice(f: F, x: Any, g: Any) -> Any:
        return jax.jvp(lambda x: reverse(f, x, g), (x,), (jax.numpy.ones_like(x),))[1]

    modes: Modes = {
        "reverse": reverse,
        "forward, compiled": compiled(forward),
        "reverse, compiled": compiled(reverse),
        "vmap": batched,
        "remat": compiled(lambda f, x, g: reverse(jax.checkpoint(f), x, g)),
        "reverse, followed by a sum": compiled(lambda f, x, g: reverse(f, x, g) + g),
        "reverse, of a residual block": compiled(lambda f, x, g: reverse(lambda x: f(x) + x, x, g)),
    }
    if importlib.util.find_spec("flatbuffers"):  # which an export is written with
        modes["export"] = exported
    in_slope: Modes = {"by slope": reverse, "by slope, compiled": compiled(reverse), "by slope, forward": forward}
    return modes, in_slope, {"second": compiled(twice)}


def _torch() -> tuple[Modes, Modes, Modes]:
    import torch

    def reverse(f: F, x: Any, g: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(f(x), x, g)[0]

    def forward(f: F, x: Any, g: Any) -> Any:
        return torch.func.jvp(f, (x,), (g,))[1]

    def traced(f: F, x: Any, g: Any) -> Any:
        return reverse(torch.jit.trace(f, (x,), check_trace=False), x, g)

    def compiled(f: F, x: Any, g: Any) -> Any:
        torch.compiler.reset()  # of one place in a program it compiles but a few functions
        return reverse(torch.compile(f, backend="aot_eager"), x, g)

    def exported(f: F, x: Any, g: Any) -> Any:
        class Module(torch.nn.Module):  # type: ignore[misc]
            def forward(self, x: Any) -> Any:
                return f(x)

        return reverse(torch.export.export(Module(), (x,)).module(), x, g)

    def twice(f: F, x: Any, g: Any) -> Any:
        x = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(f(x), x, g, create_graph=True)
        return torch.autograd.grad(first, x, torch.ones_like(x))[0]

    modes: Modes = {
        "reverse": reverse,
        "forward": forward,
        "vmap": lambda f, x, g: torch.func.vmap(lambda x, g: torch.func.vjp(f, x)[1](g)[0])(x, g),
        "compiled": compiled,  # without a compiler's own roundings
        "trace": traced,
        "export": exported,
        "reverse, followed by a sum": lambda f, x, g: reverse(f, x, g) + g,
        "reverse, of a residual block": lambda f, x, g: reverse(lambda x: f(x) + x, x, g),
    }
    return modes, {"by slope": reverse, "by slope, forward": forward}, {"second": twice}


def _tensorflow() -> tuple[Modes, Modes, Modes]:
    import tensorflow as tf

    def reverse(f: F, x: Any, g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x, g)

    def forward(f: F, x: Any, g: Any) -> Any:
        with tf.autodiff.ForwardAccumulator(x, g) as accumulator:
            y = f(x)
        return accumulator.jvp(y)

    def compiled(mode: Mode, **how: bool) -> Mode:
        return lambda f, x, g: tf.function(lambda x, g: mode(f, x, g), autograph=False, **how)(x, g)

    def batched(f: F, x: Any, g: Any) -> Any:
        return tf.vectorized_map(lambda both: reverse(f, *both), (x, g))

    def loaded(f: F, x: Any, g: Any) -> Any:
        module = tf.Module()
        module.f = tf.function(f, input_signature=[tf.TensorSpec([None], x.dtype)])
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(module, folder)
            return reverse(tf.saved_model.load(folder).f, x, g)

    def twice(f: F, x: Any, g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            first = reverse(f, x, g)
        return tape.gradient(first, x)

    modes: Modes = {
        "reverse": reverse,
        "forward": forward,
        "reverse, function": compiled(reverse),
        "forward, of a function": lambda f, x, g: forward(tf.function(f, autograph=False), x, g),
        "reverse, compiled": compiled(reverse, jit_compile=True),
        "vectorized_map": batched,
        "saved model": loaded,
        "reverse, followed by a sum": compiled(lambda f, x, g: reverse(f, x, g) + g, jit_compile=True),
        "reverse, of a residual block": compiled(lambda f, x, g: reverse(lambda x: f(x) + x, x, g), jit_compile=True),
    }
    # Not forward: TensorFlow adds a zero for what x has no part in, which loses -0.
    in_slope: Modes = {"by slope": reverse, "by slope, compiled": compiled(reverse, jit_compile=True)}
    return modes, in_slope, {"second": twice, "second, compiled": compiled(twice, jit_compile=True)}


# By the backend whose arrays they differentiate: in x, in a slope, and twice. Dask is not there: it differentiates
# nothing, and no library differentiates through it.
_MODES: dict[str, Callable[[], tuple[Modes, Modes, Modes]]] = {"jax": _jax, "torch": _torch, "tensorflow": _tensorflow}
