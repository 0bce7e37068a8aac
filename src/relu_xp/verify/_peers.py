"""What other libraries, and the idioms that people write, make of the same cases: how many results differ, and why."""

import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relu_xp.verify import _cases as data
from relu_xp.verify._cases import Case
from relu_xp.verify._exceptions import flushed
from relu_xp.verify._expected import Array, DType, expected, isnan, rounded, same_bits, widened

# Takes x, the cotangent (of ones, for a derivative) and the slope.
Compute = Callable[[Array, Array, float], Any]
PEER_DTYPES = ("float16", "float32")
SLOPES = (0.01, 0.0, 2.0, -0.5)

# Why a result may differ, in the order in which they are looked for. The first two are conventions, as good as ours.
AT_ZERO = "convention: derivative at 0"
SLOPE_ROUNDING = "convention: slope not rounded to the dtype first"
SIGN = "sign of zero"
SUBNORMAL = "subnormals flushed"
AT_NAN = "derivative at NaN"
NAN_LOST = "a NaN is lost"
NAN_MADE = "a NaN is made, by 0 * inf"
STEEP = "slope outside (0, 1]"
OTHER = "other"


@dataclass(frozen=True)
class Peer:
    """One way of computing some of the functions."""

    name: str
    package: str
    load: Callable[[], dict[str, Compute]]
    flushes: bool = False


@dataclass
class Difference:
    """How one peer's function compares with the definition in one dtype."""

    peer: str
    function: str
    dtype: str
    values: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def load_peers() -> tuple[dict[Peer, dict[str, Compute]], dict[str, str]]:
    """Import the peers that are installed; also, for the others, why they can't be used."""
    usable, reasons = {}, {}
    for peer in PEERS:
        if importlib.util.find_spec(peer.package) is None:
            reasons[peer.name] = "not installed"
            continue
        try:
            usable[peer] = peer.load()
        except ImportError as error:  # something it needs in its turn
            reasons[peer.name] = str(error)
    return usable, reasons


def compare(peer: Peer, functions: dict[str, Compute]) -> Iterator[Difference]:
    """Yield one record for each function and dtype of a peer."""
    dtypes = [dtype for dtype in data.dtypes() if dtype.name in PEER_DTYPES]
    for function, compute in functions.items():
        for dtype in dtypes:
            yield _compare(peer, function, compute, dtype)


def _compare(peer: Peer, function: str, compute: Compute, dtype: DType) -> Difference:
    record = Difference(peer.name, function, dtype.name)
    reasons: Counter[str] = Counter()
    for slope in SLOPES if function.startswith("leaky") else SLOPES[:1]:
        for arrays in data.values(Case(function, dtype, slope, 1.0, "values")):
            x, g = arrays[0], arrays[-1] if function.endswith("vjp") else np.ones_like(arrays[0])
            with np.errstate(all="ignore"):
                got = np.asarray(compute(x, g, slope)).astype(dtype, copy=False)
                want = expected(function, arrays, slope, 1.0)
            record.values += want.size
            wrong = np.flatnonzero(~same_bits(got, want))
            if wrong.size:
                some = tuple(a[wrong] for a in arrays)
                reasons += _reasons(function, some, slope, got[wrong], want[wrong], flushes=peer.flushes)
    record.reasons = dict(reasons.most_common())
    return record


def _reasons(
    function: str, arrays: tuple[Array, ...], slope: float, got: Array, want: Array, *, flushes: bool
) -> Counter[str]:
    """Give each difference the first reason that fits."""
    x, factor = arrays[0], arrays[-1]
    leaky, derivative = function.startswith("leaky"), not function.endswith("relu")
    with np.errstate(all="ignore"):
        inexact = leaky and not function.endswith("grad") and float(widened(rounded(slope, want.dtype))) != slope
        late = same_bits(got, rounded(slope * widened(factor), want.dtype)) & (want.dtype.itemsize == 2)
    fits = {
        AT_ZERO: derivative & (widened(x) == 0) & _by_another_z(function, arrays, slope, got),
        SLOPE_ROUNDING: inexact & late,
        SIGN: (widened(got) == 0) & (widened(want) == 0),
        SUBNORMAL: _by_flushing(function, arrays, slope, got, want) if flushes else np.zeros(want.shape, bool),
        AT_NAN: derivative & isnan(x),
        NAN_LOST: isnan(want),
        NAN_MADE: isnan(got),
        STEEP: np.full(want.shape, leaky and not 0 < slope <= 1),
        OTHER: np.ones(want.shape, bool),
    }
    counts: Counter[str] = Counter()
    left = np.ones(want.shape, bool)
    for reason, where in fits.items():
        counts[reason] = int((left & where).sum())
        left &= ~where
    return +counts


def _by_another_z(function: str, arrays: tuple[Array, ...], slope: float, got: Array) -> Array:
    """Whether it is what the definition gives for another derivative at zero; the sign of a zero aside."""
    values = widened(got)
    others = [widened(expected(function, arrays, slope, z)) for z in (0.0, 0.5, slope)]
    return np.logical_or.reduce([(values == other) | (np.isnan(values) & np.isnan(other)) for other in others])


def _by_flushing(function: str, arrays: tuple[Array, ...], slope: float, got: Array, want: Array) -> Array:
    """Whether flushing explains it, whatever the derivative at zero and the sign of the zero that is left."""
    result = np.zeros(want.shape, bool)
    for signed in (got, -got):
        for z in (1.0, 0.0, slope):
            result |= flushed(function, arrays, slope, z, signed, want)
    return result


def _idioms() -> dict[str, Compute]:
    return {
        "relu": lambda x, g, s: np.maximum(x, 0),
        "leaky_relu": lambda x, g, s: np.where(x > 0, x, s * x),
        "relu_grad": lambda x, g, s: (x > 0).astype(x.dtype),
        "leaky_relu_grad": lambda x, g, s: np.where(x > 0, 1, s),
        "relu_vjp": lambda x, g, s: g * (x > 0),
        "leaky_relu_vjp": lambda x, g, s: np.where(x > 0, g, s * g),
    }


def _other_idioms() -> dict[str, Compute]:
    return {
        "relu": lambda x, g, s: x * (x > 0),
        "leaky_relu": lambda x, g, s: np.maximum(x, s * x),
        "relu_grad": lambda x, g, s: np.heaviside(x, x.dtype.type(0.5)),
    }


def _jax_nn() -> dict[str, Compute]:
    import jax

    def pulled(function: Callable[..., Any], x: Array, g: Array) -> Any:
        return jax.jit(lambda x, g: jax.vjp(function, x)[1](g)[0])(x, g)

    return {
        "relu": lambda x, g, s: jax.nn.relu(x),
        "leaky_relu": lambda x, g, s: jax.nn.leaky_relu(x, s),
        "relu_grad": lambda x, g, s: pulled(jax.nn.relu, x, g),
        "leaky_relu_grad": lambda x, g, s: pulled(lambda x: jax.nn.leaky_relu(x, s), x, g),
        "relu_vjp": lambda x, g, s: pulled(jax.nn.relu, x, g),
        "leaky_relu_vjp": lambda x, g, s: pulled(lambda x: jax.nn.leaky_relu(x, s), x, g),
    }


def _torch() -> dict[str, Compute]:
    import torch

    functional = torch.nn.functional

    def pulled(function: Callable[..., Any], x: Array, g: Array) -> Any:
        at = torch.asarray(x.copy()).requires_grad_()
        function(at).backward(torch.asarray(g.copy()))
        return at.grad.numpy()

    return {
        "relu": lambda x, g, s: functional.relu(torch.asarray(x.copy())).numpy(),
        "leaky_relu": lambda x, g, s: functional.leaky_relu(torch.asarray(x.copy()), s).numpy(),
        "relu_grad": lambda x, g, s: pulled(functional.relu, x, g),
        "leaky_relu_grad": lambda x, g, s: pulled(lambda x: functional.leaky_relu(x, s), x, g),
        "relu_vjp": lambda x, g, s: pulled(functional.relu, x, g),
        "leaky_relu_vjp": lambda x, g, s: pulled(lambda x: functional.leaky_relu(x, s), x, g),
    }


def _keras() -> dict[str, Compute]:
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    import keras

    convert = keras.ops.convert_to_numpy
    return {
        "relu": lambda x, g, s: convert(keras.ops.relu(x)),
        "leaky_relu": lambda x, g, s: convert(keras.ops.leaky_relu(x, s)),
    }


def _thinc() -> dict[str, Compute]:
    from thinc.api import NumpyOps

    ops = NumpyOps()
    # thinc's gradient looks at relu's result, as its layers do; its own relu is for float32 and float64.
    return {
        "relu": lambda x, g, s: ops.relu(x.copy()),
        "relu_grad": lambda x, g, s: ops.backprop_relu(g.copy(), ops.relu(x.copy())),
        "relu_vjp": lambda x, g, s: ops.backprop_relu(g.copy(), ops.relu(x.copy())),
    }


PEERS = (
    Peer("NumPy, where and maximum", "numpy", _idioms),
    Peer("NumPy, x * (x > 0) and others", "numpy", _other_idioms),
    Peer("jax.nn", "jax", _jax_nn, flushes=True),
    Peer("torch.nn.functional", "torch", _torch),
    Peer("keras.ops", "keras", _keras),
    Peer("thinc", "thinc", _thinc),
)
