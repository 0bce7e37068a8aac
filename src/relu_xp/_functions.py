"""One record for each function: what other code must know of a function stands in its record."""

import functools
from collections.abc import Callable
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
    """A function that `relu_xp`, `reference`, `_formulas` and the C++ text have by this name."""

    name: str
    rectifier: str  # the name of the value function of its family
    role: Role
    scalars: tuple[Scalar, ...]  # the function computes with these; in the order of every signature
    for_autodiff: tuple[Scalar, ...] = ()  # after them: these change only what autodiff computes
    takes_integers: bool = False

    # The family's value function, f, where x > 0:
    unit_power: int = 1  # the unit of f(x) is that of x, to this power
    takes_units: bool = True  # False where x is compared with a plain number other than 0
    curvature: float = 0.0  # the second derivative of f, a constant

    # Attributes, not properties: a property costs time in every call, and torch.compile cannot
    # trace the first use of a cached one.
    arrays: tuple[str, ...] = field(init=False, repr=False)  # of one library, dtype and shape
    parameters: tuple[Scalar, ...] = field(init=False, repr=False)  # scalars + for_autodiff
    # The very objects that are defaults in the public signatures: they are compared by identity.
    defaults: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Set the attributes that follow from the others."""
        set_ = object.__setattr__  # the record is frozen
        set_(self, "arrays", ("x", "cotangent") if self.role in ("vjp", "slope_vjp") else ("x",))
        set_(self, "parameters", self.scalars + self.for_autodiff)
        set_(self, "defaults", tuple(each.default for each in self.parameters))

    def named(self, scalars: tuple[object, ...]) -> dict[str, object]:
        """Give the scalars as keyword arguments."""
        return dict(zip((each.name for each in self.parameters), scalars, strict=True))

    @functools.cached_property
    def powers(self) -> tuple[int, int]:
        """The powers of the units of x and of the cotangent in the unit of the result."""
        return {
            "value": (self.unit_power, 0),
            "grad": (self.unit_power - 1, 0),
            "vjp": (self.unit_power - 1, 1),
            "slope_vjp": (1, 1),
        }[self.role]

    @property
    def vjp(self) -> "Function":
        """The vector-Jacobian product of the same rectifier."""
        return _FAMILIES[self.rectifier, "vjp"]

    @property
    def grad(self) -> "Function":
        """The derivative of the same rectifier."""
        return _FAMILIES[self.rectifier, "grad"]

    @property
    def slope_vjp(self) -> "Function | None":
        """The VJP in the slope of the same rectifier; None if it has no slope."""
        return _FAMILIES.get((self.rectifier, "slope_vjp"))

    @property
    def only_compares_x(self) -> bool:
        """Whether x is compared with 0 and the ceiling, and never enters an operation.

        So any numbers that compare alike can stand for x: autodiff keeps one byte an element.
        """
        return self.role in ("grad", "vjp") and self.curvature == 0

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_name, (self.name,)  # records are compared by identity: unpickle to the same one


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
    "clipped_relu", "clipped_relu", "value", (CEILING,), _CLIPPED[1:], takes_units=False
)
CLIPPED_RELU_GRAD = Function(
    "clipped_relu_grad", "clipped_relu", "grad", _CLIPPED, takes_units=False
)
CLIPPED_RELU_VJP = Function("clipped_relu_vjp", "clipped_relu", "vjp", _CLIPPED, takes_units=False)

_SQUARED: Any = {"rectifier": "squared_relu", "scalars": (), "unit_power": 2, "curvature": 2.0}
SQUARED_RELU = Function("squared_relu", role="value", **_SQUARED)
SQUARED_RELU_GRAD = Function("squared_relu_grad", role="grad", **_SQUARED)
SQUARED_RELU_VJP = Function("squared_relu_vjp", role="vjp", **_SQUARED)

FUNCTIONS = {each.name: each for each in [*globals().values()] if isinstance(each, Function)}
# The public function of each record, for frameworks that save a function by its name. `relu_xp`
# fills it, since backends import nothing that stands above them.
PUBLIC: dict[Function, Callable[..., Any]] = {}
_FAMILIES = {(each.rectifier, each.role): each for each in FUNCTIONS.values()}


def _by_name(name: str) -> Function:
    return FUNCTIONS[name]
