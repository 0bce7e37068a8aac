"""Keras' symbolic tensors: a call adds an operation to the model.

They hold no values, so there is nothing to verify or to measure. When the model runs, Keras gives
the operation tensors of its own backend.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import keras

from relu_xp import _checks, _dtypes
from relu_xp._functions import FUNCTIONS, PUBLIC, Function

Symbolic = Any  # a keras.KerasTensor


def owns(x: object) -> bool:
    """Own symbolic tensors, but not variables."""
    return isinstance(x, keras.KerasTensor)


def advice(function: Function, name: str, x: Any) -> str | None:
    """Say what to do about a variable, which holds a tensor of Keras' own backend."""
    return f"take what it holds, for example {name}.value" if hasattr(x, "value") else None


def devices() -> list[str]:
    """Name no device: a symbolic tensor is on none."""
    return []


def put(array: Any, device: str) -> Symbolic:
    """Describe a NumPy array."""
    return keras.KerasTensor(array.shape, array.dtype.name)


def get(x: Symbolic) -> NoReturn:
    """Refuse: there are no elements."""
    msg = f"a {_checks.type_name(x)} holds no values; run a model that ends in it"
    raise TypeError(msg)


def call(
    function: Function, arrays: tuple[Symbolic, ...], scalars: tuple[Any, ...], out: None
) -> Symbolic:
    """Check all that is known now, and add the operation."""
    _checks.no_out(function, out, "a symbolic tensor of Keras")
    x, g = arrays[0], arrays[-1]
    _checks.dtype(
        function,
        x.dtype,
        _dtypes.kind(x.dtype),
        "cast it first, for example keras.ops.cast(x, 'float32')",
    )
    _checks.alike(function, x.dtype, x.shape, g.dtype, _as_far_as_known(g.shape, x.shape))
    for each, value in zip(function.parameters, scalars, strict=True):
        # The array of a variable is refused too, so the error does not advise to take it.
        if isinstance(value, keras.Variable):
            held = "" if len(value.shape) else f", for example float({each.name})"
            got = f"{each.name} must be a real number, got {_checks.type_name(value)}"
            msg = f"relu_xp.{function}: {got}; pass a Python float{held}"
            raise TypeError(msg)
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = {
        each.name: float(_checks.number(function, each, value, x.dtype)) for each, value in pairs
    }
    return Rectifier(function.name, rounded)(*arrays)


def _as_far_as_known(
    shape: tuple[int | None, ...], like: tuple[int | None, ...]
) -> tuple[int | None, ...]:
    """Return `shape`, with the size of `like` where one of the two is unknown, as a batch's is."""
    if len(shape) != len(like):
        return shape
    return tuple(
        of_like if None in (n, of_like) else n for n, of_like in zip(shape, like, strict=True)
    )


# Keras saves each public function by a name of ours. By its bare name Keras would load its own
# function instead, or another package's. The name has `relu_xp.` in it, since Keras also takes what
# is registered under PACKAGE>NAME for an unregistered function of that bare name.
for _function, _public in PUBLIC.items():
    keras.saving.register_keras_serializable("relu_xp", f"relu_xp.{_function}")(_public)


@keras.saving.register_keras_serializable(package="relu_xp")
class Rectifier(keras.Operation):  # type: ignore[misc]  # mypy does not see it
    """A function of relu_xp in a Keras model, or as the `activation=` of a layer.

    Parameters
    ----------
    function : str
        Its name.
    scalars : dict of float, optional
        Its parameters that are no arrays, by name; those left out have their defaults.
    name : str, optional
        The operation's name in the model.

    Raises
    ------
    TypeError
        If scalars is no dict, or one of them no real number.
    ValueError
        If there is no such function, or it has no such parameter, or one is not finite.

    Examples
    --------
    >>> import keras, relu_xp.keras  # doctest: +SKIP
    >>> leaky = relu_xp.keras.Rectifier("leaky_relu", {"negative_slope": 0.25})  # doctest: +SKIP
    >>> layer = keras.layers.Dense(8, activation=leaky)  # doctest: +SKIP
    """

    def __init__(
        self, function: str, scalars: dict[str, float] | None = None, name: str | None = None
    ) -> None:
        if not isinstance(function, str) or function not in FUNCTIONS:
            names = ", ".join(FUNCTIONS)
            msg = f"relu_xp.keras.Rectifier: function must be one of {names}, got {function!r}"
            raise ValueError(msg)
        if not isinstance(scalars, Mapping | None):
            got = (
                f"scalars must be a dict by the parameters' names, got {_checks.type_name(scalars)}"
            )
            msg = f"relu_xp.keras.Rectifier: {got}"
            raise TypeError(msg)
        self.function, self.scalars = FUNCTIONS[function], dict(scalars or {})
        known = {each.name: each for each in self.function.parameters}
        if unknown := [each for each in self.scalars if each not in known]:
            takes = ", ".join(known) or "no scalars"
            msg = f"relu_xp.keras.Rectifier: {function} takes {takes}, got {unknown[0]!r}"
            raise ValueError(msg)
        for name_of, value in self.scalars.items():
            # In the widest dtype that x may have.
            _checks.number(self.function, known[name_of], value, "float64")
        super().__init__(
            name=name or f"relu_xp_{function}_{keras.backend.get_uid(f'relu_xp_{function}')}"
        )

    def call(self, *arrays: Any) -> Any:
        """Hand over to the public function, which finds the tensors' backend."""
        return PUBLIC[self.function](*arrays, **self.scalars)

    def compute_output_spec(self, *arrays: Symbolic) -> Symbolic:
        """Describe the result, which is like x."""
        return keras.KerasTensor(arrays[0].shape, arrays[0].dtype)

    def get_config(self) -> dict[str, Any]:
        """Tell all that makes the operation again."""
        return {"function": self.function.name, "scalars": dict(self.scalars), "name": self.name}

    def __repr__(self) -> str:
        return f"relu_xp.keras.Rectifier({self.function.name!r}, {self.scalars!r})"
