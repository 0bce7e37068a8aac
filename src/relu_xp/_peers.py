"""What people use instead of this library, as calls without arguments: `verify` compares their bits, `bench` times.

A peer takes a function's record, x, the cotangent (of ones, for a derivative) and the scalars by
name; it gives its ways of computing that function, by name, or none. Each imports its library only
then, and fails if that is missing.
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relu_xp import _threads
from relu_xp._functions import Function

Array = Any
Call = Callable[[], Any]
Calls = dict[str, Call]
Scalars = Mapping[str, Any]
Peer = Callable[[Function, Array, Array, Scalars], Calls]

_SIX = 6.0  # the only ceiling of a relu6


def idioms(function: Function, x: Array, g: Array, scalars: Scalars, xp: Any = np) -> Calls:
    """NumPy's, as textbooks have them; or CuPy's, which are spelled alike."""
    name = "np" if xp is np else xp.__name__
    given = (scalars.get("negative_slope", 0), scalars.get("ceiling", 6), 0, 0.5, 1)
    slope, ceiling, zero, half, one = (x.dtype.type(value) for value in given)
    table: dict[tuple[str, str], Calls] = {
        ("relu", "value"): {
            f"{name}.maximum(x, 0)": functools.partial(xp.maximum, x, 0),
            "x * (x > 0)": lambda: x * (x > 0),
        },
        ("leaky_relu", "value"): {
            f"{name}.where": lambda: xp.where(x > 0, x, slope * x),
            f"{name}.maximum(x, s*x)": lambda: xp.maximum(x, slope * x),
        },
        ("relu", "grad"): {
            f"{name}.where": lambda: xp.where(x > 0, one, zero),
            "x > 0, cast": lambda: (x > 0).astype(x.dtype),
            f"{name}.heaviside": lambda: xp.heaviside(x, half),
        },
        ("leaky_relu", "grad"): {f"{name}.where": lambda: xp.where(x > 0, one, slope)},
        ("relu", "vjp"): {
            f"{name}.where": lambda: xp.where(x > 0, g, zero),
            "g * (x > 0)": lambda: g * (x > 0),
        },
        ("leaky_relu", "vjp"): {f"{name}.where": lambda: xp.where(x > 0, g, slope * g)},
        ("leaky_relu", "slope_vjp"): {f"{name}.where": lambda: xp.where(x > 0, zero, x * g)},
        ("clipped_relu", "value"): {f"{name}.clip": lambda: xp.clip(x, zero, ceiling)},
        ("clipped_relu", "grad"): {
            f"{name}.where": lambda: xp.where((x > 0) & (x < ceiling), one, zero)
        },
        ("clipped_relu", "vjp"): {
            f"{name}.where": lambda: xp.where((x > 0) & (x < ceiling), g, zero)
        },
        ("squared_relu", "value"): {f"{name}.maximum(x, 0) ** 2": lambda: xp.maximum(x, 0) ** 2},
        ("squared_relu", "grad"): {f"2 * {name}.maximum(x, 0)": lambda: 2 * xp.maximum(x, 0)},
        ("squared_relu", "vjp"): {
            f"2 * {name}.maximum(x, 0) * g": lambda: 2 * xp.maximum(x, 0) * g
        },
    }
    return table.get((function.rectifier, function.role), {})


def idioms_into(out: Array, function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    """NumPy's into an array that is there, as far as an idiom can."""
    slope = x.dtype.type(scalars.get("negative_slope", 0))
    table: dict[tuple[str, str], Calls] = {
        ("relu", "value"): {"np.maximum(x, 0)": functools.partial(np.maximum, x, 0, out=out)},
        ("leaky_relu", "value"): {
            "np.maximum(x, s*x)": lambda: np.maximum(x, np.multiply(x, slope, out=out), out=out),
        },
        ("relu", "vjp"): {"g * (x > 0)": lambda: np.multiply(g, x > 0, out=out)},
        ("clipped_relu", "value"): {
            "np.clip": lambda: np.clip(x, 0, x.dtype.type(scalars.get("ceiling", 6)), out=out)
        },
        ("squared_relu", "value"): {
            "np.maximum(x, 0) ** 2": lambda: np.square(np.maximum(x, 0, out=out), out=out),
        },
    }
    return table.get((function.rectifier, function.role), {})


# How a network written in NumPy has a rectifier and its VJP: of x and the slope; of x, the
# cotangent and the slope.
TEXTBOOK: dict[str, tuple[str, Callable[..., Array], Callable[..., Array]]] = {
    "relu": ("np.maximum, g * (x > 0)", lambda x, s: np.maximum(x, 0), lambda x, g, s: g * (x > 0)),
    "leaky_relu": (
        "np.where",
        lambda x, s: np.where(x > 0, x, s * x),
        lambda x, g, s: np.where(x > 0, g, s * g),
    ),
}


def _cupy(
    function: Function, x: Array, g: Array, scalars: Scalars
) -> Calls:  # pragma: no cover  # on a GPU
    import cupy

    return idioms(function, x, g, scalars, cupy)


def _jax(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    """Compiled, and eagerly where there is something to call eagerly."""
    import jax

    slope = scalars.get("negative_slope")
    table: dict[str, Callable[[Array], Array]] = {
        "relu": jax.nn.relu,
        "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=slope),
        "squared_relu": lambda x: jax.numpy.square(jax.nn.relu(x)),
    }
    if scalars.get("ceiling") == _SIX:
        table["clipped_relu"] = jax.nn.relu6
    nn = table.get(function.rectifier)
    if nn is None or function.role == "slope_vjp":
        return {}
    if function.role == "value":
        return {
            "jax.nn, jit": functools.partial(jax.jit(nn), x),
            "jax.nn, eager": functools.partial(nn, x),
        }
    pull = jax.jit(lambda x, g: jax.vjp(nn, x)[1](g)[0])
    return {"jax.nn, jit(vjp)": functools.partial(pull, x, g)}


def _torch(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    """The functions, and what autograd calls for their derivatives; on as many threads as ours."""
    import torch

    if torch.get_num_threads() != _threads.workers():
        torch.set_num_threads(_threads.workers())
    aten, functional, s = torch.ops.aten, torch.nn.functional, scalars.get("negative_slope")
    c = scalars.get("ceiling")
    values: dict[str, Calls] = {
        "relu": {"torch.nn.functional": functools.partial(functional.relu, x)},
        "leaky_relu": {"torch.nn.functional": functools.partial(functional.leaky_relu, x, s)},
        "clipped_relu": {"torch.nn.functional": functools.partial(functional.hardtanh, x, 0, c)},
        "squared_relu": {"torch.nn.functional": lambda: functional.relu(x).square()},
    }
    derivatives: dict[str, Calls] = {
        "relu": {"torch.ops.aten": functools.partial(aten.threshold_backward, g, x, 0)},
        "leaky_relu": {
            "torch.ops.aten": functools.partial(aten.leaky_relu_backward, g, x, s, False)
        },
        "clipped_relu": {"torch.ops.aten": functools.partial(aten.hardtanh_backward, g, x, 0, c)},
    }
    if function.role == "slope_vjp":
        return {
            "torch.ops.aten": lambda: aten._prelu_kernel_backward(
                g, x, x.new_ones(()).expand_as(x)
            )[1]
        }
    return (values if function.role == "value" else derivatives).get(function.rectifier, {})


def _keras(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    table: dict[tuple[str, str], Call] = {
        ("relu", "value"): functools.partial(keras.ops.relu, x),
        ("leaky_relu", "value"): functools.partial(
            keras.ops.leaky_relu, x, scalars.get("negative_slope")
        ),
    }
    if scalars.get("ceiling") == _SIX:
        table["clipped_relu", "value"] = functools.partial(keras.ops.relu6, x)
    found = table.get((function.rectifier, function.role))
    return {f"keras.ops, {keras.config.backend()}": found} if found else {}


def _thinc(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    from thinc.api import NumpyOps

    ops = NumpyOps()
    # thinc's gradient looks at relu's result, as its layers do.
    back: Calls = {"thinc": functools.partial(ops.backprop_relu, g, np.maximum(x, 0))}
    table: dict[tuple[str, str], Calls] = {
        ("relu", "value"): {"thinc": functools.partial(ops.relu, x)},
        ("relu", "grad"): back,
        ("relu", "vjp"): back,
    }
    return table.get((function.rectifier, function.role), {})


def _onnxruntime(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    table = {
        ("relu", "value"): ("Relu", {}),
        ("leaky_relu", "value"): ("LeakyRelu", {"alpha": scalars.get("negative_slope")}),
    }
    if (function.rectifier, function.role) not in table:
        return {}
    operator, attributes = table[function.rectifier, function.role]
    session = _onnx_session(operator, tuple(attributes.items()), x.dtype.name)
    return {"onnxruntime": lambda: session.run(None, {"x": x})[0]}


@functools.cache
def _onnx_session(operator: str, attributes: tuple[tuple[str, Any], ...], dtype: str) -> Any:
    """A graph of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    kind = getattr(
        onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
    )
    ends = [[helper.make_tensor_value_info(name, kind, ["n"])] for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], **dict(attributes))], operator, *ends
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads.workers()
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )


# By the backend whose arrays they take.
PEERS: dict[str, dict[str, Peer]] = {
    "jax": {"jax": _jax},
    "torch": {"torch": _torch},
    "cupy": {"cupy": _cupy},
    "numpy": {"keras": _keras, "thinc": _thinc, "onnxruntime": _onnxruntime},
}
