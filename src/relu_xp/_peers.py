"""What people use instead of this library, as calls without arguments: `verify` compares their bits, `bench` times.

A peer takes the function's name, x, the cotangent (of ones, for a derivative) and the slope; it gives its ways of
computing that function, by name, or none. Each imports its library only then, and fails if that is missing.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from relu_xp import _threads

Array = Any
Call = Callable[[], Any]
Calls = dict[str, Call]
Peer = Callable[[str, Array, Array, float], Calls]


def idioms(function: str, x: Array, g: Array, s: float, xp: Any = np) -> Calls:
    """NumPy's, as textbooks have them; or CuPy's, which are spelled alike."""
    name = "np" if xp is np else xp.__name__
    slope, zero, half, one = (x.dtype.type(value) for value in (s, 0, 0.5, 1))
    calls: dict[str, Calls] = {
        "relu": {f"{name}.maximum(x, 0)": functools.partial(xp.maximum, x, 0), "x * (x > 0)": lambda: x * (x > 0)},
        "leaky_relu": {
            f"{name}.where": lambda: xp.where(x > 0, x, slope * x),
            f"{name}.maximum(x, s*x)": lambda: xp.maximum(x, slope * x),
        },
        "relu_grad": {
            f"{name}.where": lambda: xp.where(x > 0, one, zero),
            "x > 0, cast": lambda: (x > 0).astype(x.dtype),
            f"{name}.heaviside": lambda: xp.heaviside(x, half),
        },
        "leaky_relu_grad": {f"{name}.where": lambda: xp.where(x > 0, one, slope)},
        "relu_vjp": {f"{name}.where": lambda: xp.where(x > 0, g, zero), "g * (x > 0)": lambda: g * (x > 0)},
        "leaky_relu_vjp": {f"{name}.where": lambda: xp.where(x > 0, g, slope * g)},
    }
    return calls[function]


def idioms_into(target: Array, function: str, x: Array, g: Array, s: float) -> Calls:
    """NumPy's into an array that is there, as far as an idiom can."""
    slope = x.dtype.type(s)
    into: dict[str, Calls] = {
        "relu": {"np.maximum(x, 0)": functools.partial(np.maximum, x, 0, out=target)},
        "leaky_relu": {"np.maximum(x, s*x)": lambda: np.maximum(x, np.multiply(x, slope, out=target), out=target)},
        "relu_vjp": {"g * (x > 0)": lambda: np.multiply(g, x > 0, out=target)},
    }
    return into.get(function, {})


def _cupy(function: str, x: Array, g: Array, s: float) -> Calls:  # pragma: no cover  # on a GPU
    import cupy

    return idioms(function, x, g, s, cupy)


def _jax(function: str, x: Array, g: Array, s: float) -> Calls:
    """Compiled, and eagerly where there is something to call eagerly."""
    import jax

    nn = functools.partial(jax.nn.leaky_relu, negative_slope=s) if function.startswith("leaky") else jax.nn.relu
    if function in ("relu", "leaky_relu"):
        return {"jax.nn, jit": functools.partial(jax.jit(nn), x), "jax.nn, eager": functools.partial(nn, x)}
    pull = jax.jit(lambda x, g: jax.vjp(nn, x)[1](g)[0])
    return {"jax.nn, jit(vjp)": functools.partial(pull, x, g)}


def _torch(function: str, x: Array, g: Array, s: float) -> Calls:
    """The functions, and what autograd calls for their derivatives; on as many threads as ours."""
    import torch

    if torch.get_num_threads() != _threads.workers():
        torch.set_num_threads(_threads.workers())
    aten, functional = torch.ops.aten, torch.nn.functional
    if function == "relu":
        return {"torch.nn.functional": functools.partial(functional.relu, x)}
    if function == "leaky_relu":
        return {"torch.nn.functional": functools.partial(functional.leaky_relu, x, s)}
    if function.startswith("leaky"):
        return {"torch.ops.aten": functools.partial(aten.leaky_relu_backward, g, x, s, False)}
    return {"torch.ops.aten": functools.partial(aten.threshold_backward, g, x, 0)}


def _keras(function: str, x: Array, g: Array, s: float) -> Calls:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    calls: Calls = {
        "relu": functools.partial(keras.ops.relu, x),
        "leaky_relu": functools.partial(keras.ops.leaky_relu, x, s),
    }
    return {f"keras.ops, {keras.config.backend()}": calls[function]} if function in calls else {}


def _thinc(function: str, x: Array, g: Array, s: float) -> Calls:
    from thinc.api import NumpyOps

    ops = NumpyOps()
    if function == "relu":
        return {"thinc": functools.partial(ops.relu, x)}
    # thinc's gradient looks at relu's result, as its layers do.
    back = functools.partial(ops.backprop_relu, g, np.maximum(x, 0))
    return {} if function.startswith("leaky") else {"thinc": back}


def _onnxruntime(function: str, x: Array, g: Array, s: float) -> Calls:
    if function not in ("relu", "leaky_relu"):
        return {}
    session = _onnx_session(function, x.dtype.name, s)
    return {"onnxruntime": lambda: session.run(None, {"x": x})[0]}


@functools.cache
def _onnx_session(function: str, dtype: str, s: float) -> Any:
    """A graph of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    kind = getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper()))
    operator, attributes = {"relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", {"alpha": s})}[function]
    ends = [[helper.make_tensor_value_info(name, kind, ["n"])] for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], operator, *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads.workers()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


# By the backend whose arrays they take.
PEERS: dict[str, dict[str, Peer]] = {
    "jax": {"jax": _jax},
    "torch": {"torch": _torch},
    "cupy": {"cupy": _cupy},
    "numpy": {"keras": _keras, "thinc": _thinc, "onnxruntime": _onnxruntime},
}
