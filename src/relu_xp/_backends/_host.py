"""`devices` and `get` for backends whose arrays live on the host; each imports what fits."""

from typing import Any


def devices() -> list[str]:
    """Name the one device."""
    return ["cpu"]


def get(x: Any) -> Any:
    """Give the elements as a NumPy array."""
    import numpy as np  # late: Python's own numbers are served without it

    return np.asarray(x)
