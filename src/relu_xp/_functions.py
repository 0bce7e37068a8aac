"""What is known of each function, once: whoever must know which function it has before it reads its record here."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["value", "grad", "vjp"]


@dataclass(frozen=True, eq=False)
class Scalar:
    """A parameter that is a number: rounded once to the dtype of x."""

    name: str
    default: float
    may_be_array: bool = False  # then it broadcasts to x, and can be learned


@dataclass(frozen=True, eq=False)
class Function:
    """A function of `relu_xp`, `reference`, `_formulas` and the C++ text, which all know it by its name."""

    name: str
    rectifier: str  # the value function to whose family it belongs
    role: Role
    scalars: tuple[Scalar, ...]  # those that it computes with, in the order of every signature
    for_autodiff: tuple[Scalar, ...] = ()  # after them: those that decide only what autodiff takes for its derivative
    takes_integers: bool = False

    def __post_init__(self) -> None:
        """Find the properties now: torch.compile cannot trace their first use."""
        _ = self.arrays, self.parameters, self.defaults

    @functools.cached_property
    def arrays(self) -> tuple[str, ...]:
        """The names of its arrays, all of one library, dtype and shape."""
        return ("x", "cotangent") if self.role == "vjp" else ("x",)

    @functools.cached_property
    def parameters(self) -> tuple[Scalar, ...]:
        """All that are no arrays."""
        return self.scalars + self.for_autodiff

    @functools.cached_property
    def defaults(self) -> tuple[float, ...]:
        """Their defaults: the very objects that the public signatures have."""
        return tuple(each.default for each in self.parameters)

    def named(self, scalars: tuple[object, ...]) -> dict[str, object]:
        """All that are no arrays, as keyword arguments."""
        return dict(zip((each.name for each in self.parameters), scalars, strict=True))

    @property
    def vjp(self) -> "Function":
        """The vector-Jacobian product of the same rectifier."""
        return FUNCTIONS[f"{self.rectifier}_vjp"]

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)  # records are told apart by identity, in every process


NEGATIVE_SLOPE = Scalar("negative_slope", 0.01, may_be_array=True)
GRAD_AT_ZERO = Scalar("grad_at_zero", 1.0)

RELU = Function("relu", "relu", "value", (), (GRAD_AT_ZERO,), takes_integers=True)
RELU_GRAD = Function("relu_grad", "relu", "grad", (GRAD_AT_ZERO,))
RELU_VJP = Function("relu_vjp", "relu", "vjp", (GRAD_AT_ZERO,))
LEAKY_RELU = Function("leaky_relu", "leaky_relu", "value", (NEGATIVE_SLOPE,), (GRAD_AT_ZERO,))
LEAKY_RELU_GRAD = Function("leaky_relu_grad", "leaky_relu", "grad", (NEGATIVE_SLOPE, GRAD_AT_ZERO))
LEAKY_RELU_VJP = Function("leaky_relu_vjp", "leaky_relu", "vjp", (NEGATIVE_SLOPE, GRAD_AT_ZERO))

FUNCTIONS = {each.name: each for each in (RELU, RELU_GRAD, RELU_VJP, LEAKY_RELU, LEAKY_RELU_GRAD, LEAKY_RELU_VJP)}


def _by_name(name: str) -> Function:
    return FUNCTIONS[name]
