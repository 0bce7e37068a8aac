"""For authors of backends: the methods that a backend must have, and checks that raise our errors.

A backend is a module or any object with the methods of `Backend`. If its arrays contain other
arrays that have a backend, it has the methods of `Delegating` instead.
"""

from collections.abc import Callable
from typing import Any, Protocol

from relu_xp._checks import Library, alike, no_out, same_library
from relu_xp._checks import call as check
from relu_xp._checks import dtype as check_dtype
from relu_xp._functions import Function, Scalar

__all__ = [
    "Advising",
    "Backend",
    "Delegating",
    "Function",
    "Library",
    "Scalar",
    "alike",
    "check",
    "check_dtype",
    "no_out",
    "same_library",
]


class _Common(Protocol):
    """The methods that every backend has."""

    def owns(self, x: object, /) -> bool:
        """Return whether x is an array of this backend."""

    def devices(self) -> list[str]:
        """List the devices of this machine; raise an error if the library cannot be used."""

    def put(self, array: Any, device: str, /) -> Any:
        """Make an array on one of these devices from a NumPy array."""

    def get(self, x: Any, /) -> Any:
        """Make a NumPy array from an array."""


class Backend(_Common, Protocol):
    """A backend that computes."""

    def call(
        self, function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any, /
    ) -> Any:
        """Check the arguments and compute; the scalars have the order of `function.parameters`."""


class Delegating(_Common, Protocol):
    """A backend whose arrays contain other arrays."""

    def delegate(
        self,
        function: Function,
        inside: Callable[..., Any],
        arrays: tuple[Any, ...],
        slope: Any,
        out: Any,
        /,
    ) -> Any:
        """Call `inside(*contents, slope=part)` on the arrays inside, and wrap its result.

        `inside` already has the numbers. `slope` is None, unless the caller passed an array or a
        list as the slope. Then `part` is the part of it that belongs to `contents`. If a backend
        never passes `slope=`, it takes only numbers, and a call with an array is refused.
        """


class Advising(Protocol):
    """A backend that also says what to do about objects that it does not own."""

    def advice(self, function: Function, name: str, x: Any, /) -> str | None:
        """Say what to do about an object of its library that is not an array, or return None.

        It ends the message "x must be an array or a real number, got ...; ".
        """
