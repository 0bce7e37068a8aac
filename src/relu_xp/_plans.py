"""Remembers how a call is computed, so that the next one like it need not be checked and rounded again."""

import struct
from typing import Any

MOST = 256  # plans that one backend remembers, so that ever new slopes do not fill the memory

_PACK = [struct.Struct(f"{count}d").pack for count in range(8)]
_everyone: list["Plans"] = []


class Plans(dict[Any, Any]):
    """The plans of a backend, by whatever decides them: function, dtype and weak type, `bits` of the scalars."""

    def __init__(self) -> None:
        super().__init__()
        _everyone.append(self)

    def keep(self, key: Any, plan: Any) -> Any:
        """Remember a plan; two threads that make the same one at once both store it."""
        if len(self) >= MOST:
            self.clear()
        self[key] = plan
        return plan


def bits(scalars: tuple[Any, ...]) -> bytes | None:
    """Give scalars as a key that tells -0.0 from 0.0; None if one is not a Python float.

    As keys 1, 1.0, True and Decimal(1) would be the same, and an array none at all: so these have
    no plan.
    """
    for scalar in scalars:
        if type(scalar) is not float:
            return None
    return _PACK[len(scalars)](*scalars)


def forget() -> None:
    """Drop every plan: a backend was registered, or is registered no more."""
    for plans in _everyone:
        plans.clear()
