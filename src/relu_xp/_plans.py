"""Remembers how earlier calls were computed, so that a call like one of them skips the checks."""

import struct
from typing import Any

MOST = 256  # plans a backend keeps; a program with ever new slopes must not fill the memory

_PACKERS = [struct.Struct(f"{count}d").pack for count in range(8)]  # by the number of scalars
_everyone: list["Plans"] = []


class Plans(dict[Any, Any]):
    """The plans of one backend. A key holds all that a plan depends on, such as the dtype of x.

    Scalars stand in the key as `bits`. What a plan is, each backend decides.
    """

    def __init__(self) -> None:
        super().__init__()
        _everyone.append(self)

    def keep(self, key: Any, plan: Any) -> Any:
        """Remember a plan, and return it; of two threads with the same key, the later one wins."""
        if len(self) >= MOST:
            self.clear()
        self[key] = plan
        return plan


def bits(scalars: tuple[Any, ...]) -> bytes | None:
    """Give the bits of scalars, as a part of a key; None if one is not a Python float.

    The bits tell -0.0 from 0.0, which are equal as keys. 1, 1.0, True and Decimal(1) are equal as
    keys too, and an array is no key: a call with any of these that is not a float has no plan.
    """
    for scalar in scalars:
        if type(scalar) is not float:
            return None
    return _PACKERS[len(scalars)](*scalars)


def forget() -> None:
    """Drop every plan, since the registered backends have changed."""
    for plans in _everyone:
        plans.clear()
