"""Rectifiers for every array: ReLU, Leaky ReLU, their derivatives and vector-Jacobian products."""

from relu_xp import reference
from relu_xp._api import (
    leaky_relu,
    leaky_relu_grad,
    leaky_relu_vjp,
    relu,
    relu_grad,
    relu_vjp,
)
from relu_xp._dispatch import register_backend
from relu_xp._options import cpu_options

__all__ = [
    "cpu_options",
    "leaky_relu",
    "leaky_relu_grad",
    "leaky_relu_vjp",
    "reference",
    "register_backend",
    "relu",
    "relu_grad",
    "relu_vjp",
]
