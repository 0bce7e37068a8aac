"""What is known of each function, once: whoever must know which function it has before it reads its record here."""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["value", "grad", "vjp", "slope_vjp"]


@dataclass(frozen=True, eq=False)
class Scalar:
    """A parameter that is a number: rounded once to the dtype of x."""

    name: str
    default: float
    may_be_array: bool = False  # then it broadcasts to x, and can be learned
    above_zero: bool = False


@dataclass(frozen=True, eq=False)
class Function:
    """A function of `relu_xp`, `reference`, `_formulas` and the C++ text, which all know it by its name."""

    name: str
    rectifier: str  # the value function to whose family it belongs
    role: Role
    scalars: tuple[Scalar, ...]  # those that it computes with, in the order of every signature
    for_autodiff: tuple[
        Scalar, ...
    ] = ()  # after them: those that decide only what autodiff takes for its derivative
    takes_integers: bool = False
    degree: int | None = (
        1  # of the rectifier as a function of x > 0, as units have it; None: x has no unit
    )

    # Attributes, not properties: these would take every call some time, and torch.compile cannot
    # trace their first use.
    arrays: tuple[str, ...] = field(
        init=False, repr=False
    )  # the names of its arrays, all of one library, dtype and shape
    parameters: tuple[Scalar, ...] = field(init=False, repr=False)  # all that are no arrays
    defaults: tuple[float, ...] = field(
        init=False, repr=False
    )  # theirs: the very objects that the public signatures have

    def __post_init__(self) -> None:
        """Find what follows from the rest."""
        found = object.__setattr__  # it is frozen from here on
        found(self, "arrays", ("x", "cotangent") if self.role in ("vjp", "slope_vjp") else ("x",))
        found(self, "parameters", self.scalars + self.for_autodiff)
        found(self, "defaults", tuple(each.default for each in self.parameters))

    def named(self, scalars: tuple[object, ...]) -> dict[str, object]:
        """All that are no arrays, as keyword arguments."""
        return dict(zip((each.name for each in self.parameters), scalars, strict=True))

    @functools.cached_property
    def powers(self) -> tuple[int, int]:
        """How often the units of x and of the cotangent stand in the result's."""
        degree = self.degree or 1
        return {
            "value": (degree, 0),
            "grad": (degree - 1, 0),
            "vjp": (degree - 1, 1),
            "slope_vjp": (1, 1),
        }[self.role]

    @property
    def vjp(self) -> "Function":
        """The vector-Jacobian product of the same rectifier."""
        return FUNCTIONS[f"{self.rectifier}_vjp"]

    @property
    def slope_vjp(self) -> "Function | None":
        """The derivative of the same rectifier in its slope, times a cotangent; None where it has no slope."""
        return FUNCTIONS.get(f"{self.rectifier}_slope_vjp")

    @property
    def compares(self) -> bool:
        """Whether x is compared with numbers, and no more: a derivative needs no more of it than the answers."""
        return self.role in ("grad", "vjp") and self.degree != 2

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)  # records are told apart by identity, in every process


NEGATIVE_SLOPE = Scalar("negative_slope", 0.01, may_be_array=True)
CEILING = Scalar("ceiling", 6.0, above_zero=True)
GRAD_AT_ZERO = Scalar("grad_at_zero", 1.0)
GRAD_AT_CEILING = Scalar("grad_at_ceiling", 0.0)

RELU = Function("relu", "relu", "value", (), (GRAD_AT_ZERO,), takes_integers=True)
RELU_GRAD = Function("relu_grad", "relu", "grad", (GRAD_AT_ZERO,))
RELU_VJP = Function("relu_vjp", "relu", "vjp", (GRAD_AT_ZERO,))

_LEAKY = (NEGATIVE_SLOPE, GRAD_AT_ZERO)
LEAKY_RELU = Function("leaky_relu", "leaky_relu", "value", (NEGATIVE_SLOPE,), (GRAD_AT_ZERO,))
LEAKY_RELU_GRAD = Function("leaky_relu_grad", "leaky_relu", "grad", _LEAKY)
LEAKY_RELU_VJP = Function("leaky_relu_vjp", "leaky_relu", "vjp", _LEAKY)
LEAKY_RELU_SLOPE_VJP = Function("leaky_relu_slope_vjp", "leaky_relu", "slope_vjp", ())

_CLIPPED = (CEILING, GRAD_AT_ZERO, GRAD_AT_CEILING)
CLIPPED_RELU = Function(
    "clipped_relu", "clipped_relu", "value", (CEILING,), _CLIPPED[1:], degree=None
)
CLIPPED_RELU_GRAD = Function("clipped_relu_grad", "clipped_relu", "grad", _CLIPPED, degree=None)
CLIPPED_RELU_VJP = Function("clipped_relu_vjp", "clipped_relu", "vjp", _CLIPPED, degree=None)

SQUARED_RELU = Function("squared_relu", "squared_relu", "value", (), degree=2)
SQUARED_RELU_GRAD = Function("squared_relu_grad", "squared_relu", "grad", (), degree=2)
SQUARED_RELU_VJP = Function("squared_relu_vjp", "squared_relu", "vjp", (), degree=2)

FUNCTIONS = {each.name: each for each in [*globals().values()] if isinstance(each, Function)}


def _by_name(name: str) -> Function:
    return FUNCTIONS[name]
