"""How other libraries' functions, and common idioms, differ from the definition, and why."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from relu_xp._functions import NEGATIVE_SLOPE, Function
from relu_xp._peers import PEERS, Peer, idioms
from relu_xp._survey import Target
from relu_xp.verify import _cases as data
from relu_xp.verify._cases import Case
from relu_xp.verify._expected import DType, expected, same_bits
from relu_xp.verify._faults import Wrong, causes

PEER_DTYPES = ("float16", "float32")
VARIED = {NEGATIVE_SLOPE: (0.01, 0.0, 2.0, -0.5)}  # all others have their defaults


@dataclass
class Difference:
    """How one way of computing a function compares with the definition in one dtype."""

    peer: str
    function: str
    dtype: str
    values: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # by kind of fault
    names: dict[str, str] = field(default_factory=dict)  # what it does, by kind


def peers_at(target: Target) -> dict[str, Peer]:
    """By library, those that take the target's arrays."""
    own = PEERS.get(target.name, {})
    return {"NumPy idioms": idioms, **own} if target.name == "numpy" else own


def compare(target: Target, peer: Peer, function: Function, dtype: DType) -> list[Difference]:
    """One record for each way in which a peer computes a function."""
    records: dict[str, Difference] = {}
    choices = [VARIED.get(each, (each.default,)) for each in function.parameters]
    for given in itertools.product(*choices):
        case = Case(function, dtype, given, data.VALUES)
        arrays = data.values(case)
        x, g = arrays[0], arrays[-1] if len(arrays) > 1 else np.ones_like(arrays[0])
        want = expected(function, arrays, case.scalars)
        for name, call in peer(function, target.put(x), target.put(g), case.scalars).items():
            with np.errstate(all="ignore"):
                got = np.asarray(target.get(call())).astype(dtype, copy=False)
            record = records.setdefault(name, Difference(name, function.name, dtype.name))
            record.values += want.size
            same, every = same_bits(got, want), Wrong(function, arrays, case.scalars, got, want)
            for cause in causes(every.of(~same), every.of(same)):
                record.reasons[cause.kind] += int(cause.where.sum())
                record.names.setdefault(cause.kind, cause.name)
    return list(records.values())
