"""What other libraries, and the idioms that people write, make of the same cases: how many results differ, and why."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from relu_xp._machine import Target
from relu_xp._peers import PEERS, Peer, idioms
from relu_xp.verify import _cases as data
from relu_xp.verify._cases import Case
from relu_xp.verify._exceptions import flushed
from relu_xp.verify._expected import Array, DType, expected, isnan, rounded, same_bits, widened

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


@dataclass
class Difference:
    """How one way of computing a function compares with the definition in one dtype."""

    peer: str
    function: str
    dtype: str
    values: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def peers_at(target: Target) -> dict[str, Peer]:
    """By library, those that take the place's arrays."""
    own = PEERS.get(target.name, {})
    return {"NumPy idioms": idioms, **own} if target.name == "numpy" else own


def compare(target: Target, peer: Peer, function: str, dtype: DType) -> list[Difference]:
    """One record for each way in which a peer computes a function."""
    records: dict[str, Difference] = {}
    for slope in SLOPES if function.startswith("leaky") else SLOPES[:1]:
        for arrays in data.values(Case(function, dtype, slope, 1.0, "values")):
            x, g = arrays[0], arrays[-1] if function.endswith("vjp") else np.ones_like(arrays[0])
            want = expected(function, arrays, slope, 1.0)
            for name, call in peer(function, target.put(x), target.put(g), slope).items():
                with np.errstate(all="ignore"):
                    got = np.asarray(target.get(call())).astype(dtype, copy=False)
                record = records.setdefault(name, Difference(name, function, dtype.name))
                record.values += want.size
                wrong = np.flatnonzero(~same_bits(got, want))
                if wrong.size:
                    some = tuple(a[wrong] for a in arrays)
                    flushes = target.name == "jax"
                    record.reasons += _reasons(function, some, slope, got[wrong], want[wrong], flushes=flushes)
    return list(records.values())


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
