"""What people use instead of this library: idioms, and other libraries' functions, each as a call without arguments."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from relu_xp import _options
from relu_xp.bench._measuring import Call, Timer, by_clock, by_cupy_events, by_last, by_torch_events

Array = Any
SLOPE = 0.01
Calls = dict[str, tuple[Call, Timer]]


def idioms(function: str, x: Array, g: Array, target: Array | None) -> dict[str, Call]:
    """NumPy's, as textbooks have them; into `target` where one is given, as far as an idiom can."""
    s, zero, one = (x.dtype.type(value) for value in (SLOPE, 0, 1))
    if target is not None:
        into: dict[str, dict[str, Call]] = {
            "relu": {"np.maximum(x, 0)": functools.partial(np.maximum, x, 0, out=target)},
            "leaky_relu": {"np.maximum(x, s*x)": lambda: np.maximum(x, np.multiply(x, s, out=target), out=target)},
            "relu_vjp": {"g * (x > 0)": lambda: np.multiply(g, x > 0, out=target)},
        }
        return into.get(function, {})
    fresh: dict[str, dict[str, Call]] = {
        "relu": {"np.maximum(x, 0)": functools.partial(np.maximum, x, 0), "x * (x > 0)": lambda: x * (x > 0)},
        "leaky_relu": {
            "np.where": lambda: np.where(x > 0, x, s * x),
            "np.maximum(x, s*x)": lambda: np.maximum(x, s * x),
        },
        "relu_grad": {"np.where": lambda: np.where(x > 0, one, zero), "x > 0, cast": lambda: (x > 0).astype(x.dtype)},
        "leaky_relu_grad": {"np.where": lambda: np.where(x > 0, one, s)},
        "relu_vjp": {"np.where": lambda: np.where(x > 0, g, zero), "g * (x > 0)": lambda: g * (x > 0)},
        "leaky_relu_vjp": {"np.where": lambda: np.where(x > 0, g, s * g)},
    }
    return fresh[function]


def on_host(function: str, x: Array, g: Array) -> dict[str, Callable[[], Calls]]:
    """Peers on the CPU, by name; each imports its library only when it is called, and fails if that is missing."""
    return {
        "jax.nn": lambda: _jax(function, x, g, "cpu", 0),
        "torch": lambda: _torch(function, _to_torch(x), _to_torch(g), by_clock),
        "keras.ops": lambda: _keras(function, x),
        "thinc": lambda: _thinc(function, x, g),
        "onnxruntime": lambda: _onnxruntime(function, x),
    }


def on_gpu(function: str, x: Array, g: Array, device: str) -> dict[str, Callable[[], Calls]]:
    """Peers on one GPU; x and g come as NumPy arrays."""
    number = int(device.partition(":")[2])

    def torch() -> Calls:
        timer = functools.partial(by_torch_events, device=number)
        return _torch(function, _to_torch(x).to(device), _to_torch(g).to(device), timer)

    return {
        "jax.nn": lambda: _jax(function, x, g, "gpu", number),
        "torch": torch,
        "cupy": lambda: _cupy(function, x, g, number),
    }


def _to_torch(a: Array) -> Array:
    import torch

    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def _torch(function: str, x: Array, g: Array, timer: Timer) -> Calls:
    import torch

    if timer is by_clock and torch.get_num_threads() != _options.workers():
        torch.set_num_threads(_options.workers())  # on equal terms
    aten, ones = torch.ops.aten, torch.ones_like(x)
    functional = torch.nn.functional
    calls: dict[str, Call] = {
        "relu": functools.partial(functional.relu, x),
        "leaky_relu": functools.partial(functional.leaky_relu, x, SLOPE),
        "relu_grad": functools.partial(aten.threshold_backward, ones, x, 0),
        "relu_vjp": functools.partial(aten.threshold_backward, g, x, 0),
        "leaky_relu_grad": functools.partial(aten.leaky_relu_backward, ones, x, SLOPE, False),
        "leaky_relu_vjp": functools.partial(aten.leaky_relu_backward, g, x, SLOPE, False),
    }
    name = "torch.nn.functional" if function in ("relu", "leaky_relu") else "torch.ops.aten"
    return {name: (calls[function], timer)}


def _jax(function: str, x: Array, g: Array, platform: str, number: int) -> Calls:
    """Compiled, and eagerly where there is something to call eagerly."""
    import jax

    device = jax.devices(platform)[number]
    jx, jg = jax.device_put(x, device), jax.device_put(g, device)
    if jx.dtype != x.dtype:
        msg = f"JAX holds no {x.dtype.name} here"
        raise TypeError(msg)
    nn = functools.partial(jax.nn.leaky_relu, negative_slope=SLOPE) if function.startswith("leaky") else jax.nn.relu
    if function in ("relu", "leaky_relu"):
        calls: dict[str, Call] = {
            "jax.nn, jit": functools.partial(jax.jit(nn), jx),
            "jax.nn, eager": functools.partial(nn, jx),
        }
    else:
        cotangent = jg if function.endswith("vjp") else jax.numpy.ones_like(jx, device=device)
        pull = jax.jit(lambda x, g: jax.vjp(nn, x)[1](g)[0])
        calls = {"jax.nn, jit(vjp)": functools.partial(pull, jx, cotangent)}
    if platform == "cpu":
        return {name: (functools.partial(_waited, call), by_clock) for name, call in calls.items()}
    return {name: (call, by_last) for name, call in calls.items()}


def _waited(call: Call) -> Any:
    return call().block_until_ready()


def _keras(function: str, x: Array) -> Calls:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    calls: dict[str, Call] = {
        "relu": functools.partial(keras.ops.relu, x),
        "leaky_relu": functools.partial(keras.ops.leaky_relu, x, SLOPE),
    }
    return {f"keras.ops, {keras.config.backend()}": (calls[function], by_clock)} if function in calls else {}


def _thinc(function: str, x: Array, g: Array) -> Calls:
    from thinc.api import NumpyOps

    ops = NumpyOps()
    calls: dict[str, Call] = {
        "relu": functools.partial(ops.relu, x),
        "relu_vjp": functools.partial(ops.backprop_relu, g, np.maximum(x, 0)),  # it looks at the result, not at x
    }
    return {"thinc": (calls[function], by_clock)} if function in calls else {}


def _onnxruntime(function: str, x: Array) -> Calls:
    if function not in ("relu", "leaky_relu"):
        return {}
    session = _onnx_session(function, x.dtype.name)
    return {"onnxruntime": (functools.partial(session.run, None, {"x": x}), by_clock)}


@functools.cache
def _onnx_session(function: str, dtype: str) -> Any:
    """A graph of one node."""
    import onnx
    import onnxruntime
    from onnx import helper

    kind = getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper()))
    operator, attributes = {"relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", {"alpha": SLOPE})}[function]
    ends = [[helper.make_tensor_value_info(name, kind, ["n"])] for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], **attributes)], operator, *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _options.workers()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _cupy(function: str, x: Array, g: Array, device: int) -> Calls:
    import cupy

    timer = functools.partial(by_cupy_events, device=device)
    with cupy.cuda.Device(device):
        cx, cg = cupy.asarray(x), cupy.asarray(g)
    s, zero, one = (cx.dtype.type(value) for value in (SLOPE, 0, 1))
    if function == "relu":
        return {"cupy.maximum(x, 0)": (functools.partial(cupy.maximum, cx, 0), timer)}
    calls: dict[str, Call] = {
        "leaky_relu": lambda: cupy.where(cx > 0, cx, s * cx),
        "relu_grad": lambda: cupy.where(cx > 0, one, zero),
        "leaky_relu_grad": lambda: cupy.where(cx > 0, one, s),
        "relu_vjp": lambda: cupy.where(cx > 0, cg, zero),
        "leaky_relu_vjp": lambda: cupy.where(cx > 0, cg, s * cg),
    }
    return {"cupy.where": (calls[function], timer)}
