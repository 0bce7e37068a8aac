"""What other libraries, and the idioms that people write, make of the same cases: how many results differ, and why."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from relu_xp._functions import CEILING, GRAD_AT_CEILING, GRAD_AT_ZERO, NEGATIVE_SLOPE, Function
from relu_xp._machine import Target
from relu_xp._peers import PEERS, Peer, idioms
from relu_xp.verify import _cases as data
from relu_xp.verify._cases import Case
from relu_xp.verify._exceptions import flushed
from relu_xp.verify._expected import Array, DType, Scalars, expected, isnan, rounded, same_bits, widened

PEER_DTYPES = ("float16", "float32")
VARIED = {NEGATIVE_SLOPE: (0.01, 0.0, 2.0, -0.5)}  # all others have their defaults

# Why a result may differ, in the order in which they are looked for. The first three are conventions, as good as ours.
AT_ZERO = "convention: derivative at 0"
AT_CEILING = "convention: derivative at the ceiling"
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
    """By library, those that take the target's arrays."""
    own = PEERS.get(target.name, {})
    return {"NumPy idioms": idioms, **own} if target.name == "numpy" else own


def compare(target: Target, peer: Peer, function: Function, dtype: DType) -> list[Difference]:
    """One record for each way in which a peer computes a function."""
    records: dict[str, Difference] = {}
    choices = [VARIED.get(each, (each.default,)) for each in function.parameters]
    for case in (Case(function, dtype, given, "values") for given in itertools.product(*choices)):
        arrays = data.values(case)
        x, g = arrays[0], arrays[-1] if len(arrays) > 1 else np.ones_like(arrays[0])
        want = expected(function, arrays, case.scalars)
        for name, call in peer(function, target.put(x), target.put(g), case.scalars).items():
            with np.errstate(all="ignore"):
                got = np.asarray(target.get(call())).astype(dtype, copy=False)
            record = records.setdefault(name, Difference(name, function.name, dtype.name))
            record.values += want.size
            wrong = np.flatnonzero(~same_bits(got, want))
            if wrong.size:
                some = tuple(a[wrong] for a in arrays)
                flushes = target.name == "jax"
                record.reasons += _reasons(function, some, case.scalars, got[wrong], want[wrong], flushes=flushes)
    return list(records.values())


def _reasons(
    function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array, want: Array, *, flushes: bool
) -> Counter[str]:
    """Give each difference the first reason that fits."""
    x, factor = arrays[0], arrays[-1]
    none = np.zeros(want.shape, bool)
    slope = scalars[NEGATIVE_SLOPE.name] if NEGATIVE_SLOPE in function.scalars else None
    derivative = function.role != "value"
    at_ceiling = none
    if CEILING in function.scalars:
        at_ceiling = widened(x) == widened(rounded(scalars[CEILING.name], want.dtype))
    late = none
    if slope is not None and function.role != "grad" and float(rounded(slope, want.dtype)) != slope:
        with np.errstate(all="ignore"):
            late = same_bits(got, rounded(slope * widened(factor), want.dtype)) & (want.dtype.itemsize == 2)
    fits = {
        AT_ZERO: derivative & (widened(x) == 0) & _by_another_convention(function, arrays, scalars, got),
        AT_CEILING: derivative & at_ceiling & _by_another_convention(function, arrays, scalars, got),
        SLOPE_ROUNDING: late,
        SIGN: (widened(got) == 0) & (widened(want) == 0),
        SUBNORMAL: _by_flushing(function, arrays, scalars, got, want) if flushes else none,
        AT_NAN: derivative & isnan(x),
        NAN_LOST: isnan(want),
        NAN_MADE: isnan(got),
        STEEP: none | (slope is not None and not 0 < slope <= 1),
        OTHER: ~none,
    }
    counts: Counter[str] = Counter()
    left = ~none
    for reason, where in fits.items():
        counts[reason] = int((left & where).sum())
        left &= ~where
    return +counts


def _other_conventions(scalars: Scalars) -> list[Scalars]:
    """Other derivatives at the kinks that are in use."""
    slope = scalars.get(NEGATIVE_SLOPE.name, 0.0)
    at_zero = [{**scalars, GRAD_AT_ZERO.name: z} for z in (0.0, 0.5, slope)]
    return at_zero + [{**scalars, GRAD_AT_CEILING.name: k} for k in (0.5, 1.0)]


def _by_another_convention(function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array) -> Array:
    """Whether it is what the definition gives for another derivative at a kink; the sign of a zero aside."""
    values = widened(got)
    others = [widened(expected(function, arrays, each)) for each in _other_conventions(scalars)]
    return np.logical_or.reduce([(values == other) | (np.isnan(values) & np.isnan(other)) for other in others])


def _by_flushing(function: Function, arrays: tuple[Array, ...], scalars: Scalars, got: Array, want: Array) -> Array:
    """Whether flushing explains it, whatever the derivatives at the kinks and the sign of the zero that is left."""
    result = np.zeros(want.shape, bool)
    for signed, given in itertools.product((got, -got), (scalars, *_other_conventions(scalars))):
        result |= flushed(function, arrays, given, signed, want)
    return result
