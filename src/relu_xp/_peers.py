"""Gives what people use instead of this library, as calls without arguments.

`verify --peers` compares their bits, and `bench` and `benchmarks/` time them. A peer takes the
function's record, x, the cotangent (ones, for a derivative) and the scalars by name. It gives its
ways of computing that function, by name. Each peer imports its library only when it is called.
"""

import functools
import operator
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
Ways = dict[str, Callable[..., Array]]  # functions of x, or of x and the cotangent, by name

_SIX = 6.0  # the only ceiling of a relu6


def ways(function: Function, dtype: Any, scalars: Scalars, np: Any = np, above: Any = None) -> Ways:
    """Give the NumPy idioms of a function; or CuPy's, which are spelled alike.

    Most people write `x > 0`. Give `operator.ge` as `above` for our derivative at 0, which is 1.
    """
    xp, over = np.__name__.replace("numpy", "np"), above or operator.gt
    given = (scalars.get("negative_slope", 0), scalars.get("ceiling", 6), 0, 0.5, 1)
    s, c, zero, half, one = (dtype.type(value) for value in given)

    def inside(x: Array) -> Array:
        return over(x, 0) & (x < c)

    table: dict[tuple[str, str], Ways] = {
        ("relu", "value"): {
            f"{xp}.maximum(x, 0)": lambda x: np.maximum(x, 0),
            "x * (x > 0)": lambda x: x * (x > 0),
        },
        ("leaky_relu", "value"): {
            f"{xp}.where": lambda x: np.where(x > 0, x, s * x),
            f"{xp}.maximum(x, s*x)": lambda x: np.maximum(x, s * x),
        },
        ("relu", "grad"): {
            f"{xp}.where": lambda x: np.where(over(x, 0), one, zero),
            "x > 0, cast": lambda x: over(x, 0).astype(x.dtype),
            f"{xp}.heaviside": lambda x: np.heaviside(x, half),
        },
        ("leaky_relu", "grad"): {f"{xp}.where": lambda x: np.where(over(x, 0), one, s)},
        ("relu", "vjp"): {
            f"{xp}.where": lambda x, g: np.where(over(x, 0), g, zero),
            "g * (x > 0)": lambda x, g: g * over(x, 0),
        },
        ("leaky_relu", "vjp"): {f"{xp}.where": lambda x, g: np.where(over(x, 0), g, s * g)},
        ("leaky_relu", "slope_vjp"): {
            f"{xp}.where": lambda x, g: np.where(x > 0, zero, x * g),
            f"{xp}.where(x < 0)": lambda x, g: np.where(x < 0, x * g, zero),
        },
        ("clipped_relu", "value"): {f"{xp}.clip": lambda x: np.clip(x, zero, c)},
        ("clipped_relu", "grad"): {f"{xp}.where": lambda x: np.where(inside(x), one, zero)},
        ("clipped_relu", "vjp"): {f"{xp}.where": lambda x, g: np.where(inside(x), g, zero)},
        ("squared_relu", "value"): {f"{xp}.maximum(x, 0) ** 2": lambda x: np.maximum(x, 0) ** 2},
        ("squared_relu", "grad"): {f"2 * {xp}.maximum(x, 0)": lambda x: 2 * np.maximum(x, 0)},
        ("squared_relu", "vjp"): {
            f"2 * {xp}.maximum(x, 0) * g": lambda x, g: 2 * np.maximum(x, 0) * g,
            f"{xp}.where": lambda x, g: np.where(x > 0, 2 * x * g, zero),
        },
    }
    return table.get((function.rectifier, function.role), {})


def idioms(function: Function, x: Array, g: Array, scalars: Scalars, xp: Any = np) -> Calls:
    """Give the NumPy idioms as textbooks have them; or CuPy's."""
    arrays = (x, g)[: len(function.arrays)]
    found: Calls = {
        name: functools.partial(way, *arrays)
        for name, way in ways(function, x.dtype, scalars, xp).items()
    }
    if "np.maximum(x, 0)" in found:
        found["np.maximum(x, 0)"] = functools.partial(np.maximum, x, 0)  # the bare ufunc call
    return found


def idioms_into(
    out: Array, function: Function, x: Array, g: Array, scalars: Scalars, above: Any = None
) -> Calls:
    """Give the NumPy idioms that write into an existing array."""
    over = above or operator.gt
    s, c = (x.dtype.type(scalars.get(name, 0)) for name in ("negative_slope", "ceiling"))
    table: dict[tuple[str, str], Calls] = {
        ("relu", "value"): {"np.maximum(x, 0)": functools.partial(np.maximum, x, 0, out=out)},
        ("leaky_relu", "value"): {
            "np.maximum(x, s*x)": lambda: np.maximum(x, np.multiply(x, s, out=out), out=out),
        },
        ("relu", "vjp"): {"g * (x > 0)": lambda: np.multiply(g, over(x, 0), out=out)},
        ("clipped_relu", "value"): {"np.clip": lambda: np.clip(x, 0, c, out=out)},
        ("squared_relu", "value"): {
            "np.maximum(x, 0) ** 2": lambda: np.square(np.maximum(x, 0, out=out), out=out),
        },
    }
    return table.get((function.rectifier, function.role), {})


def _cupy(
    function: Function, x: Array, g: Array, scalars: Scalars
) -> Calls:  # pragma: no cover  # on a GPU
    import cupy

    return idioms(function, x, g, scalars, cupy)


def _jax(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    """Compiled; and eager, where jax.nn has a function that can be called eagerly."""
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
    """Torch's functions, and the kernels that autograd calls; on as many threads as ours."""
    import torch

    if torch.get_num_threads() != _threads.workers():
        torch.set_num_threads(_threads.workers())
    aten, functional, of = torch.ops.aten, torch.nn.functional, functools.partial
    s, c = scalars.get("negative_slope"), scalars.get("ceiling")
    values: dict[str, Call] = {
        "relu": of(functional.relu, x),
        "leaky_relu": of(functional.leaky_relu, x, s),
        "clipped_relu": of(functional.hardtanh, x, 0, c),
        "squared_relu": lambda: functional.relu(x).square(),
    }
    derivatives: dict[str, Call] = {
        "relu": of(aten.threshold_backward, g, x, 0),
        "leaky_relu": of(aten.leaky_relu_backward, g, x, s, False),
        "clipped_relu": of(aten.hardtanh_backward, g, x, 0, c),
    }
    if function.role == "slope_vjp":
        slopes = x.new_ones(()).expand_as(x)
        return {"torch.ops.aten": lambda: aten._prelu_kernel_backward(g, x, slopes)[1]}
    is_value = function.role == "value"
    found = (values if is_value else derivatives).get(function.rectifier)
    return {"torch.nn.functional" if is_value else "torch.ops.aten": found} if found else {}


def _keras(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    s = scalars.get("negative_slope")
    table: dict[tuple[str, str], Call] = {
        ("relu", "value"): functools.partial(keras.ops.relu, x),
        ("leaky_relu", "value"): functools.partial(keras.ops.leaky_relu, x, s),
    }
    if scalars.get("ceiling") == _SIX:
        table["clipped_relu", "value"] = functools.partial(keras.ops.relu6, x)
    found = table.get((function.rectifier, function.role))
    return {f"keras.ops, {keras.config.backend()}": found} if found else {}


def _thinc(function: Function, x: Array, g: Array, scalars: Scalars) -> Calls:
    from thinc.api import NumpyOps

    ops = NumpyOps()
    # thinc's layers give their gradient the result of relu, not its input.
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
    """Load a graph of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    kinds = {"float32": "FLOAT", "float64": "DOUBLE"}
    kind = getattr(onnx.TensorProto, kinds.get(dtype, dtype.upper()))
    ends = [[helper.make_tensor_value_info(name, kind, ["n"])] for name in "xy"]
    node = helper.make_node(operator, ["x"], ["y"], **dict(attributes))
    graph = helper.make_graph([node], operator, *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads.workers()
    text = model.SerializeToString()
    return onnxruntime.InferenceSession(text, options, ["CPUExecutionProvider"])


# Peers by the backend whose arrays they take.
PEERS: dict[str, dict[str, Peer]] = {
    "jax": {"jax": _jax},
    "torch": {"torch": _torch},
    "cupy": {"cupy": _cupy},
    "numpy": {"keras": _keras, "thinc": _thinc, "onnxruntime": _onnxruntime},
}
