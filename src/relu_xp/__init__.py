"""ReLU, leaky, clipped and squared ReLU, their derivatives and their VJPs, for every array."""

import types as _types
import typing as _typing

from relu_xp import _arrivals, _functions, reference
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
from relu_xp._dispatch import register_backend, unregister_backend
from relu_xp._survey import __version__ as __version__
from relu_xp._survey import info
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

# The public name is what repr, help, errors and pickles show. A class keeps the module in which
# `inspect` finds its source.
for _public in map(globals().get, __all__):
    if isinstance(_public, _types.FunctionType):
        _public.__module__ = __name__
_functions.PUBLIC.update({each: globals()[each.name] for each in _functions.FUNCTIONS.values()})

# Without this, Keras takes its own functions of these names for ours when it loads a model.
_arrivals.when_imported("keras", "relu_xp.keras")

if not _typing.TYPE_CHECKING:  # a type checker reports an unknown name by itself

    def __getattr__(name: str) -> object:
        import sys

        from relu_xp._names import no_attribute

        raise no_attribute(sys.modules[__name__], name)
