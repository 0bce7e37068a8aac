"""Rectifiers for every array: ReLU, leaky, clipped and squared, their derivatives and vector-Jacobian products."""

from relu_xp import _arrivals, reference
from relu_xp._api import (
    clipped_relu,
    clipped_relu_grad,
    clipped_relu_vjp,
    leaky_relu,
    leaky_relu_grad,
    leaky_relu_slope_vjp,
    leaky_relu_vjp,
    relu,
    relu_grad,
    relu_vjp,
    squared_relu,
    squared_relu_grad,
    squared_relu_vjp,
)
from relu_xp._dispatch import info, register_backend, unregister_backend
from relu_xp._threads import cpu_options

__all__ = [
    "clipped_relu",
    "clipped_relu_grad",
    "clipped_relu_vjp",
    "cpu_options",
    "info",
    "leaky_relu",
    "leaky_relu_grad",
    "leaky_relu_slope_vjp",
    "leaky_relu_vjp",
    "reference",
    "register_backend",
    "relu",
    "relu_grad",
    "relu_vjp",
    "squared_relu",
    "squared_relu_grad",
    "squared_relu_vjp",
    "unregister_backend",
]

_arrivals.when_imported("keras", "relu_xp.keras")  # Keras would take its own functions of these names for ours


def __getattr__(name: str) -> str:
    if name == "__version__":
        import importlib.metadata  # late: it takes longer to import than all the rest

        return importlib.metadata.version("relu-xp")
    msg = f"module 'relu_xp' has no attribute {name!r}"
    raise AttributeError(msg)
