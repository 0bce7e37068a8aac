"""The typed API, as users call it: type-checked, never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import relu_xp
from relu_xp import reference

singles: npt.NDArray[np.float32] = np.ones(3, np.float32)

assert_type(relu_xp.relu(singles), npt.NDArray[np.float32])
assert_type(relu_xp.relu(singles, grad_at_zero=0.0, out=singles), npt.NDArray[np.float32])
assert_type(relu_xp.relu_grad(singles, grad_at_zero=0.5), npt.NDArray[np.float32])
assert_type(relu_xp.relu_vjp(singles, singles), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu(singles), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu(singles, 0.1), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu_grad(singles, negative_slope=1), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu_vjp(singles, singles, 0.1), npt.NDArray[np.float32])
assert_type(relu_xp.relu(1.0), float)
assert_type(relu_xp.relu(1), int)
assert_type(relu_xp.relu_grad(1), float)
assert_type(relu_xp.relu_vjp(1, 2.5), float)
assert_type(relu_xp.leaky_relu(3), float)
assert_type(relu_xp.leaky_relu_grad(3, 1), float)
assert_type(relu_xp.leaky_relu_vjp(3, 4), float)
assert_type(relu_xp.leaky_relu_slope_vjp(3, 4.0), float)
assert_type(relu_xp.clipped_relu(7, 4), float)
assert_type(relu_xp.clipped_relu_grad(7, grad_at_ceiling=0.5), float)
assert_type(relu_xp.clipped_relu_vjp(7, 1, 4), float)
assert_type(relu_xp.squared_relu(3), float)
assert_type(relu_xp.squared_relu_grad(3), float)
assert_type(relu_xp.squared_relu_vjp(3, 1), float)
assert_type(relu_xp.clipped_relu(singles, 4, out=singles), npt.NDArray[np.float32])
assert_type(relu_xp.squared_relu_vjp(singles, singles), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu(np.float64(3)), np.float64)
assert_type(relu_xp.relu(np.float32(1)), np.float32)
assert_type(reference.leaky_relu_vjp(1.0, 2.0, 0.1, grad_at_zero=0.0), float)
assert_type(relu_xp.leaky_relu(singles, np.full(3, 0.1)), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu_grad(singles, singles), npt.NDArray[np.float32])
assert_type(relu_xp.leaky_relu_vjp(singles, singles, singles), npt.NDArray[np.float32])
assert_type(relu_xp.__version__, str)


@relu_xp.cpu_options(workers=2)
def decorated(x: npt.NDArray[np.float32], *, times: int) -> str:
    """Keep the type of a function."""
    return str(x) * times


@relu_xp.cpu_options(workers=-1)
async def awaited(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Keep that of a coroutine function."""
    return relu_xp.relu(x)


async def awaits() -> None:
    """Await it."""
    assert_type(await awaited(singles), npt.NDArray[np.float32])


class Model:
    """Keep that of a method."""

    @relu_xp.cpu_options(workers=2)
    def predict(self, x: float) -> float:
        """Take self for granted."""
        return relu_xp.relu(x)


assert_type(decorated(singles, times=2), str)
assert_type(Model().predict(1.0), float)
decorated(singles)  # type: ignore[call-arg]  # times is missing
decorated("x", times=2)  # type: ignore[arg-type]


def learned(x: npt.NDArray[np.float32], slope: Any) -> npt.NDArray[np.float32]:
    """Pass a traced slope: it has no type that NumPy users would have to know."""
    return relu_xp.leaky_relu(x, slope)


def untyped(x: Any) -> None:
    """Hand over an array of a library without types, which is not taken for a Python int."""
    assert_type(relu_xp.leaky_relu(x), Any)
    assert_type(relu_xp.relu_vjp(x, x), Any)


relu_xp.relu(x=singles)  # type: ignore[call-arg]  # x is positional only
relu_xp.relu(singles, 0.0)  # type: ignore[call-arg]  # grad_at_zero is keyword only
relu_xp.leaky_relu(singles, "0.1")  # type: ignore[call-overload]
relu_xp.leaky_relu(singles, [0.1])  # type: ignore[call-overload]
relu_xp.relu([1.0, -10.0])  # type: ignore[type-var]  # a list is no array
relu_xp.relu("1")  # type: ignore[type-var]
relu_xp.relu({1.0})  # type: ignore[type-var]
relu_xp.relu(Path())  # type: ignore[type-var]
relu_xp.relu6(singles)  # type: ignore[attr-defined]
relu_xp.relu(None)  # type: ignore[type-var]
relu_xp.relu(1j)  # type: ignore[type-var]
relu_xp.leaky_relu([1.0, -10.0])  # type: ignore[call-overload]
relu_xp.leaky_relu_vjp(singles, [1.0, 1.0, 1.0])  # type: ignore[call-overload]


class Column:
    """What pandas declares of its arrays: no operators."""

    dtype = "Float64"

    def isna(self) -> list[bool]:
        """Tell what is missing."""
        return [False]


assert_type(relu_xp.relu(Column()), Column)
assert_type(relu_xp.relu_vjp(Column(), Column(), out=None), Column)
assert_type(relu_xp.leaky_relu(Column(), 0.1), Column)
