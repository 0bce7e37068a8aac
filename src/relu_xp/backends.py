"""For the author of a backend: what it must have, and the checks whose errors have our words.

A backend is a module or any object with the methods of `Backend`; or of `Delegating`, where its
arrays hold others that have backends of their own.
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
        """Tell whether it is an array of the backend's."""

    def devices(self) -> list[str]:
        """Name the devices that arrays can be put on here; raise if the library is not usable."""

    def put(self, array: Any, device: str, /) -> Any:
        """Make an array on one of them from a NumPy array."""

    def get(self, x: Any, /) -> Any:
        """Make a NumPy array of an array's elements."""


class Backend(_Common, Protocol):
    """A backend that computes."""

    def call(
        self, function: Function, arrays: tuple[Any, ...], scalars: tuple[Any, ...], out: Any, /
    ) -> Any:
        """Check the arguments and compute; the scalars stand as in `function.parameters`."""


class Delegating(_Common, Protocol):
    """A backend whose arrays hold others."""

    def delegate(
        self,
        function: Function,
        inside: Callable[..., Any],
        arrays: tuple[Any, ...],
        slope: Any,
        out: Any,
        /,
    ) -> Any:
        """Compute by `inside(*held, slope=part)` on what the arrays hold; wrap the result again.

        `inside` has the numbers already. `slope` is None, unless the caller passed an array or a
        list as the slope; then `part` is what belongs to `held`. If a backend leaves `slope=` out,
        it takes numbers alone, and the call with an array is refused for it.
        """


class Advising(Protocol):
    """A backend that also says what to do about objects that it does not own."""

    def advice(self, function: Function, name: str, x: Any, /) -> str | None:
        """Say what to do about an object of its library that is not an array, or return None.

        It ends the message "x must be an array or a real number, got ...; ".
        """
