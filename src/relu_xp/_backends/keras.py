"""Keras' symbolic tensors: a call adds an operation to the model, which runs on what Keras then hands it.

They hold no values, so there is nothing here to verify or to measure: what runs is the backend of Keras' own.
"""

import importlib
from typing import Any, NoReturn

import keras

from relu_xp import _checks, _dtypes
from relu_xp._functions import FUNCTIONS, Function

Symbolic = Any  # a keras.KerasTensor


def owns(x: object) -> bool:
    """Symbolic tensors alone: a variable is none."""
    return isinstance(x, keras.KerasTensor)


def devices() -> list[str]:
    """None: a symbolic tensor is nowhere."""
    return []


def put(array: Any, device: str) -> Symbolic:
    """Describe a NumPy array."""
    return keras.KerasTensor(array.shape, array.dtype.name)


def get(x: Symbolic) -> NoReturn:
    """Refuse: there are no elements."""
    msg = f"a {_checks.type_name(x)} holds no values; run a model that ends in it"
    raise TypeError(msg)


def call(function: Function, arrays: tuple[Symbolic, ...], scalars: tuple[Any, ...], out: None) -> Symbolic:
    """Check all that is known now, and add the operation."""
    _checks.no_out(function, out, "a symbolic tensor of Keras")
    x, g = arrays[0], arrays[-1]
    _checks.dtype(function, x.dtype, _dtypes.kind(x.dtype), "cast it first, for example keras.ops.cast(x, 'float32')")
    _checks.alike(function, x.dtype, x.shape, g.dtype, _as_far_as_known(g.shape, x.shape))
    pairs = zip(function.parameters, scalars, strict=True)
    rounded = {each.name: float(_checks.number(function, each, value, x.dtype)) for each, value in pairs}
    return Rectifier(function.name, rounded)(*arrays)


def _as_far_as_known(shape: tuple[int | None, ...], like: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape, but sizes as the other has them where one of the two is not known yet, as that of a batch."""
    if len(shape) != len(like):
        return shape
    return tuple(of_like if None in (n, of_like) else n for n, of_like in zip(shape, like, strict=True))


@keras.saving.register_keras_serializable(package="relu_xp")
class Rectifier(keras.Operation):  # type: ignore[misc]  # mypy does not see it
    """A function of relu_xp in a Keras model.

    Parameters
    ----------
    function : str
        Its name.
    scalars : dict of float
        All its parameters that are no arrays.
    name : str, optional
        The operation's name in the model.
    """

    def __init__(self, function: str, scalars: dict[str, float], name: str | None = None) -> None:
        super().__init__(name=name or f"relu_xp_{function}_{keras.backend.get_uid(f'relu_xp_{function}')}")
        self.function, self.scalars = FUNCTIONS[function], scalars

    def call(self, *arrays: Any) -> Any:
        """Hand over to the public function, which finds the tensors' backend."""
        public = importlib.import_module("relu_xp")  # late, and by name: it stands on top of the backends
        return getattr(public, self.function.name)(*arrays, **self.scalars)

    def compute_output_spec(self, *arrays: Symbolic) -> Symbolic:
        """Describe the result, which is like x."""
        return keras.KerasTensor(arrays[0].shape, arrays[0].dtype)

    def get_config(self) -> dict[str, Any]:
        """Tell all that makes the operation again."""
        return {"function": self.function.name, "scalars": self.scalars, "name": self.name}
