"""Units of results, written out for each function: no record is read here."""

import numpy as np
import pytest
from oracle import call

X, G = np.array([-1.0, 0.5, 7.0]), np.array([2.0, 3.0, 4.0])
# By function: the unit of its result where x is in metres and the cotangent in seconds; None where
# an x in metres is refused, since it is compared with a number.
UNITS = {
    "relu": "m",
    "relu_grad": "",
    "relu_vjp": "s",
    "leaky_relu": "m",
    "leaky_relu_grad": "",
    "leaky_relu_vjp": "s",
    "leaky_relu_slope_vjp": "m s",
    "clipped_relu": None,
    "clipped_relu_grad": None,
    "clipped_relu_vjp": None,
    "squared_relu": "m2",
    "squared_relu_grad": "m",
    "squared_relu_vjp": "m s",
}
OF_NUMBERS = {"clipped_relu": "", "clipped_relu_grad": "", "clipped_relu_vjp": "s"}


@pytest.fixture(params=["pint", "astropy"])
def quantity(request, wanted):
    """Make a quantity of numbers and a unit's name; tell the unit of a result."""
    if request.param == "pint":
        registry = wanted("pint").UnitRegistry()
        names = {"m2": "m**2", "m s": "m*s"}
        make = lambda a, unit: registry.Quantity(a, names.get(unit, unit))  # noqa: E731
        return make, lambda result: getattr(result, "units", registry.dimensionless)
    units = pytest.importorskip("astropy.units", reason="astropy: not installed")
    make = lambda a, unit: units.Quantity(a, unit)  # noqa: E731
    return make, lambda result: getattr(result, "unit", units.dimensionless_unscaled)


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_of_a_result(quantity, name):
    make, unit_of = quantity
    x, g = make(X, "m"), make(G, "s")
    if UNITS[name] is None:
        with pytest.raises(TypeError, match=rf"relu_xp\.{name}: x must have no unit, got m"):
            call(name, x, g)
    else:
        assert unit_of(call(name, x, g)) == unit_of(make(X, UNITS[name]))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_the_unit_of_a_result_where_x_is_a_number(quantity, name):
    make, unit_of = quantity
    result = call(name, make(X, ""), make(G, "s"))
    assert unit_of(result) == unit_of(make(X, OF_NUMBERS[name]))
    assert np.array_equal(
        getattr(result, "value", getattr(result, "magnitude", result)), call(name, X, G)
    )
