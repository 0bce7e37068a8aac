"""Checks the derivatives and recorded programs that a library makes of the value functions.

A mode is a function of f, x, and a cotangent or tangent g, written with the library itself. The
library is imported only when its modes are asked for.
"""

import functools
import importlib.util
import io
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

import relu_xp
from relu_xp._functions import Function
from relu_xp._survey import Target
from relu_xp.verify._cases import SCALARS, Case, Kind
from relu_xp.verify._expected import Array, DType, expected, rounded, widened

F = Callable[[Any], Any]
Take = Callable[[F, Any, Any], Any]


@dataclass(frozen=True)
class Mode(Kind):
    """A way in which a library takes a derivative, or a program that it records for its values."""

    take: Take
    gives: Literal["derivative", "slope's derivative", "second derivative", "values"] = "derivative"
    is_tangent: bool = False  # whether g is a tangent, pushed forward
    # False for a transformation of programs, which does not depend on the dtype: only float32.
    every_dtype: bool = True
    adds: bool = False  # whether g is added to the result: a compiler might fuse product and sum
    sums: bool = False  # whether the derivative is summed over the rows
    finite: bool = False  # whether the library's own derivatives go wrong at infinite cotangents
    runtime: str = ""  # what runs the program, if that is another library

    def __str__(self) -> str:
        return f"{'program' if self.gives == 'values' else 'autodiff'}: {self.name}"


# The case of the function whose values are due, its arrays, those values, and the call that has the
# library compute them.
Derivative = tuple[Case, tuple[Array, ...], Array, Callable[[Target], Array]]


def derivatives(
    target: Target, dtype: DType, functions: Iterable[Function]
) -> Iterator[Derivative]:
    """Every derivative and program that the target's library makes of the value functions."""
    zero = rounded(0.0, dtype)  # added, -0 becomes +0: autodiff promises no sign of a zero
    for function, mode in itertools.product(functions, modes(target)):
        if function.role != "value" or not (mode.every_dtype or dtype.name == "float32"):
            continue
        for case, arrays, want, make in _OF[mode.gives](function, dtype, mode):
            if mode.gives == "values":
                yield case, arrays, want, make
            else:
                yield case, arrays, want + zero, functools.partial(_sum, make, zero)


def _sum(make: Callable[[Target], Array], zero: Array, target: Target) -> Array:
    return make(target) + zero


def modes(target: Target) -> list[Mode]:
    """Every mode of a target's library; none if it has no autodiff."""
    make = _MODES.get(target.device) or _MODES.get(target.name)
    if make is None:
        return []
    plain, *others = make()
    return [plain, *others, *_of_keras(target.name, plain.take)]


def specials(dtype: DType, given: tuple[float, ...]) -> tuple[Array, Array]:
    """Every pair of special values: NaN, infinities, zeros of both signs, and the kinks."""
    values = rounded([1, -1, 0, -0.0, np.nan, np.inf, -np.inf, 3, 0.01, -2.5, *given], dtype)
    return np.repeat(values, len(values)), np.tile(values, len(values))


def finite(dtype: DType) -> tuple[Array, Array]:
    """Numbers whose products and sums have to be rounded, and are not subnormal."""
    x, g = np.random.default_rng(0).normal(size=(2, 257))
    x, g = np.where(np.abs(x) < 0.01, 0.0, x), np.where(np.abs(g) < 0.01, 1.0, g)
    return rounded(x, dtype), rounded(g, dtype)


def _vjps(function: Function, dtype: DType, mode: Mode) -> Iterator[Derivative]:
    """The VJP, with the default scalars and with others."""
    last = tuple(SCALARS[each.name][-1] for each in function.parameters)
    vjp = function.vjp
    for given in dict.fromkeys((function.defaults, last)) if dtype.name == "float32" else [last]:
        x, g = finite(dtype) if mode.adds else specials(dtype, given)
        if mode.finite:
            g = np.where(np.isfinite(g), g, rounded(1.0, dtype))
        scalars: dict[str, Any] = function.named(given)
        case = Case(vjp, dtype, tuple(scalars[each.name] for each in vjp.parameters), mode)
        want = expected(vjp, (x, g), scalars)
        if mode.adds:
            with np.errstate(all="ignore"):
                want = want + g
        yield case, (x, g), want, _asked(function, scalars, mode, x, g)


def _programs(function: Function, dtype: DType, mode: Mode) -> Iterator[Derivative]:
    """The values of a recorded program."""
    last = tuple(SCALARS[each.name][-1] for each in function.parameters)
    for given in dict.fromkeys((function.defaults, last)):
        x, g = specials(dtype, given)
        scalars: dict[str, Any] = function.named(given)
        want = expected(function, (x,), scalars)
        yield (
            Case(function, dtype, given, mode),
            (x,),
            want,
            _asked(function, scalars, mode, x, g),
        )


def _asked(
    function: Function, scalars: dict[str, Any], mode: Mode, x: Array, g: Array
) -> Callable[[Target], Array]:
    def make(target: Target) -> Array:
        def f(x: Any) -> Any:
            return getattr(relu_xp, function.name)(x, **scalars)

        return np.asarray(target.get(mode.take(f, target.put(x), target.put(g))))

    return make


def _by_slopes(function: Function, dtype: DType, mode: Mode) -> Iterator[Derivative]:
    if function.slope_vjp is not None:
        yield _by_slope_of_elements(function, dtype, mode)
        yield _by_slope_of_columns(function, dtype, mode)


def _by_slope_of_elements(function: Function, dtype: DType, mode: Mode) -> Derivative:
    """By a slope for each element, so that nothing is summed."""
    record: Any = function.slope_vjp
    x, g = specials(dtype, tuple(SCALARS[each.name][-1] for each in function.parameters))
    slope = np.resize(rounded([0.25, -2, 0], dtype), x.shape)
    call = _pull_slope(function, mode.take, x, slope, g)
    return Case(record, dtype, (), mode), (x, g), expected(record, (x, g), {}), call


def _by_slope_of_columns(function: Function, dtype: DType, mode: Mode) -> Derivative:
    """By a slope for each column, in whole numbers, whose sums are exact in every order.

    A tangent is one for all rows, and is not summed.
    """
    record: Any = function.slope_vjp
    x, g = rounded(np.random.default_rng(0).integers(-2, 3, (2, 8, 16)), dtype)
    slope = rounded(np.resize([0.25, -2], 16), dtype)
    given = g[0] if mode.is_tangent else g
    arrays = x, np.broadcast_to(given, x.shape)
    products = widened(expected(record, arrays, {}))
    case = Case(
        record, dtype, (), replace(mode, name=f"{mode.name}, of columns", sums=not mode.is_tangent)
    )
    call = _pull_slope(function, mode.take, x, slope, given)
    if mode.is_tangent:
        return case, arrays, rounded(products, dtype), call
    first = x[0], g[0]  # a report shows the first row, as a sum has many inputs
    return case, first, rounded(products.sum(0), dtype), call


def _pull_slope(
    function: Function, pull: Take, x: Array, slope: Array, g: Array
) -> Callable[[Target], Array]:
    """Differentiate the value as a function of its slope."""

    def make(target: Target) -> Array:
        def f(s: Any) -> Any:
            return getattr(relu_xp, function.name)(target.put(x), s)

        return np.asarray(target.get(pull(f, target.put(slope), target.put(g))))

    return make


def _twice(function: Function, dtype: DType, mode: Mode) -> Iterator[Derivative]:
    """The second derivative: the curvature where x > 0, and 0 elsewhere."""
    x, g = finite(dtype)
    factor = np.where(widened(x) > 0, function.curvature, 0.0)
    case = Case(function.vjp, dtype, function.vjp.defaults, mode)
    make = _asked(function, {}, mode, x, g)
    yield case, (x, g), rounded(factor * widened(g), dtype), make


_OF: dict[str, Callable[[Function, DType, Mode], Iterator[Derivative]]] = {
    "derivative": _vjps,
    "values": _programs,
    "slope's derivative": _by_slopes,
    "second derivative": _twice,
}


def _of_keras(library: str, reverse: Take) -> list[Mode]:
    """A Keras model, if Keras runs on the library; it cannot change to another once imported."""
    if os.environ.get("KERAS_BACKEND") != library or not importlib.util.find_spec("keras"):
        return []

    def in_a_model(f: F, x: Any, g: Any) -> Any:
        import keras

        given = keras.Input(x.shape[1:], dtype=keras.backend.standardize_dtype(x.dtype))
        return reverse(keras.Model(given, f(given)), x, g)

    return [Mode("reverse, in a Keras model", in_a_model, every_dtype=False)]


def _jax() -> list[Mode]:
    import jax

    def reverse(f: F, x: Any, g: Any) -> Any:
        return jax.vjp(f, x)[1](g)[0]

    def forward(f: F, x: Any, g: Any) -> Any:
        return jax.jvp(f, (x,), (g,))[1]

    def compiled(take: Take) -> Take:
        return lambda f, x, g: jax.jit(lambda x, g: take(f, x, g))(x, g)

    def batched(f: F, x: Any, g: Any) -> Any:
        return jax.jit(jax.vmap(lambda x, g: reverse(f, x, g)))(x, g)

    def exported(f: F, x: Any, g: Any) -> Any:
        from jax import export

        blob = export.export(jax.jit(f))(jax.ShapeDtypeStruct(x.shape, x.dtype)).serialize(
            vjp_order=1
        )
        return reverse(export.deserialize(blob).call, x, g)

    def twice(f: F, x: Any, g: Any) -> Any:
        return jax.jvp(lambda x: reverse(f, x, g), (x,), (jax.numpy.ones_like(x),))[1]

    def rematerialized(f: F, x: Any, g: Any) -> Any:
        return reverse(jax.checkpoint(f), x, g)

    found = [
        Mode("reverse", reverse),
        Mode("forward, compiled", compiled(forward), is_tangent=True),
        Mode("reverse, compiled", compiled(reverse)),
        Mode("vmap", batched, every_dtype=False),
        Mode("remat", compiled(rematerialized), every_dtype=False),
        Mode(
            "reverse, followed by a sum", compiled(lambda f, x, g: reverse(f, x, g) + g), adds=True
        ),
        Mode("reverse, of a residual block", compiled(_of_residual(reverse)), adds=True),
        Mode("by slope", reverse, "slope's derivative"),
        Mode("by slope, compiled", compiled(reverse), "slope's derivative"),
        Mode("by slope, forward", forward, "slope's derivative", is_tangent=True),
        Mode("second", compiled(twice), "second derivative"),
    ]
    if importlib.util.find_spec("flatbuffers"):  # JAX needs it to serialize
        found.append(Mode("export", exported, every_dtype=False))
    return found


def _of_residual(reverse: Take) -> Take:
    """The derivative of a block that adds its input to its output."""
    return lambda f, x, g: reverse(lambda x: f(x) + x, x, g)


def _torch() -> list[Mode]:
    import torch

    def reverse(f: F, x: Any, g: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(f(x), x, g)[0]

    def forward(f: F, x: Any, g: Any) -> Any:
        return torch.func.jvp(f, (x,), (g,))[1]

    def compiled(f: F, x: Any, g: Any) -> Any:
        torch.compiler.reset()  # it compiles only a few functions for one place in a program
        return reverse(torch.compile(f, backend="aot_eager"), x, g)

    def exported(f: F, x: Any, g: Any) -> Any:
        return reverse(torch.export.export(_module(f), (x,)).module(), x, g)

    def batched(f: F, x: Any, g: Any) -> Any:
        return torch.func.vmap(lambda x, g: torch.func.vjp(f, x)[1](g)[0])(x, g)

    def twice(f: F, x: Any, g: Any) -> Any:
        x = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(f(x), x, g, create_graph=True)
        return torch.autograd.grad(first, x, torch.ones_like(x))[0]

    return [
        Mode("reverse", reverse),
        Mode("forward", forward, is_tangent=True),
        Mode("vmap", batched, every_dtype=False),
        Mode("compiled", compiled, every_dtype=False),  # not by inductor, which may round otherwise
        Mode("export", exported, every_dtype=False),
        Mode("reverse, followed by a sum", lambda f, x, g: reverse(f, x, g) + g, adds=True),
        Mode("reverse, of a residual block", _of_residual(reverse), adds=True),
        Mode("by slope", reverse, "slope's derivative"),
        Mode("by slope, forward", forward, "slope's derivative", is_tangent=True),
        Mode("second", twice, "second derivative"),
        *_torch_programs(),
    ]


def _module(f: F) -> Any:
    import torch

    class Module(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return f(x)

    return Module()


def _torch_programs() -> list[Mode]:
    """The programs that PyTorch records for inference."""
    import torch

    def decomposed(f: F, x: Any, g: Any) -> Any:
        return torch.export.export(_module(f), (x,)).run_decompositions().module()(x)

    def traced(f: F, x: Any, g: Any) -> Any:
        return torch.jit.trace(f, (x,), check_trace=False)(x)

    def by_fx(f: F, x: Any, g: Any) -> Any:
        return torch.fx.symbolic_trace(f)(x)

    def in_onnx(f: F, x: Any, g: Any) -> Any:
        import onnxruntime

        file = io.BytesIO()
        torch.onnx.export(_module(f), (x,), file, dynamo=False)
        session = onnxruntime.InferenceSession(file.getvalue())
        (given,) = session.get_inputs()
        return torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])

    found = [
        Mode("decomposed export", decomposed, "values", every_dtype=False),
        Mode("trace", traced, "values", every_dtype=False),
        Mode("fx", by_fx, "values", every_dtype=False),
    ]
    if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
        how: Any = {"every_dtype": False, "runtime": "onnxruntime"}
        found.append(Mode("ONNX, in onnxruntime", in_onnx, "values", **how))
    return found


def _mlx() -> list[Mode]:
    import mlx.core as mx

    def reverse(f: F, x: Any, g: Any) -> Any:
        return mx.vjp(f, [x], [g])[1][0]

    return [Mode("reverse", reverse, finite=True)]


def _tensorflow() -> list[Mode]:
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

    def in_a_function(take: Take, **how: bool) -> Take:
        return lambda f, x, g: tf.function(lambda x, g: take(f, x, g), autograph=False, **how)(x, g)

    compiled = functools.partial(in_a_function, jit_compile=True)

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

    def of_a_function(f: F, x: Any, g: Any) -> Any:
        return forward(tf.function(f, autograph=False), x, g)

    return [
        Mode("reverse", reverse),
        Mode("forward", forward, is_tangent=True),
        Mode("reverse, function", in_a_function(reverse)),
        Mode("forward, of a function", of_a_function, is_tangent=True),
        Mode("reverse, compiled", compiled(reverse)),
        Mode("vectorized_map", batched, every_dtype=False),
        Mode("saved model", loaded, every_dtype=False),
        Mode(
            "reverse, followed by a sum", compiled(lambda f, x, g: reverse(f, x, g) + g), adds=True
        ),
        Mode("reverse, of a residual block", compiled(_of_residual(reverse)), adds=True),
        # Not forward mode by slope: TensorFlow adds a zero tangent of x, and loses -0.
        Mode("by slope", reverse, "slope's derivative"),
        Mode("by slope, compiled", compiled(reverse), "slope's derivative"),
        Mode("second", twice, "second derivative"),
        Mode("second, compiled", compiled(twice), "second derivative"),
    ]


# By backend; for the array API's, by device, which is the library there. The first mode of each is
# plain reverse mode. Dask has no autodiff, and no library's autodiff goes through it.
_MODES: dict[str, Callable[[], list[Mode]]] = {
    "jax": _jax,
    "torch": _torch,
    "tensorflow": _tensorflow,
    "mlx": _mlx,
}
