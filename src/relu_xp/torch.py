"""The rectifiers as PyTorch modules, each in the place of the one of `torch.nn` with its name.

A number that is not real or not finite is refused when a module is made, by the error of its
function. Importing this module defines the operators that `torch.export` records: import it before
you load a saved program.
"""

from typing import Any

import torch

import relu_xp
from relu_xp._backends import torch as _operators  # noqa: F401  # the import defines them

__all__ = ["LeakyReLU", "PReLU", "ReLU", "ReLU6", "SquaredReLU"]

Tensor = Any  # a torch.Tensor


class _Rectifier(torch.nn.Module):  # type: ignore[misc]
    """A function of relu_xp, with its numbers as attributes that may be changed."""

    _numbers: tuple[str, ...] = ()  # the names of these attributes

    def __init__(self, inplace: bool = False, **numbers: float) -> None:
        super().__init__()
        self.inplace = inplace
        for name, value in numbers.items():
            setattr(self, name, value)
        self._rectify(0.0)  # raises the function's error for a bad number

    def _rectify(self, x: Any) -> Any:
        """Call the function with the module's numbers."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Rectify a tensor of any shape and real floating dtype.

        With ``inplace=True``, x is overwritten with the result and returned. Where a gradient is
        tracked, a copy of x is kept all the same, since the derivative needs it.
        """
        if not self.inplace:
            return self._rectify(x)
        is_tracked = torch.is_grad_enabled() and x.requires_grad
        return x.copy_(self._rectify(x.clone() if is_tracked else x))

    def extra_repr(self) -> str:
        """Show the arguments as the constructor takes them."""
        given = [f"{name}={getattr(self, name)}" for name in self._numbers]
        return ", ".join([*given, *(["inplace=True"] if self.inplace else [])])


class ReLU(_Rectifier):
    """`relu_xp.relu` as a module, in the place of `torch.nn.ReLU`.

    Parameters
    ----------
    inplace : bool, default False
        Overwrite x with the result.
    grad_at_zero : float, default 1.0
        The derivative at x == 0. (`torch.nn.ReLU` has 0.0.)

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import ReLU
    >>> torch.nn.Sequential(torch.nn.Linear(2, 3), ReLU(grad_at_zero=0.0))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU(grad_at_zero=0.0)
    )
    """

    _numbers = ("grad_at_zero",)

    def __init__(self, inplace: bool = False, *, grad_at_zero: float = 1.0) -> None:
        super().__init__(inplace, grad_at_zero=grad_at_zero)

    def _rectify(self, x: Any) -> Any:
        return relu_xp.relu(x, grad_at_zero=self.grad_at_zero)


class LeakyReLU(_Rectifier):
    """`relu_xp.leaky_relu` as a module, in the place of `torch.nn.LeakyReLU`.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope below zero.
    inplace : bool, default False
        Overwrite x with the result.
    grad_at_zero : float, default 1.0
        The derivative at x == 0. (`torch.nn.LeakyReLU` has negative_slope.)

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import LeakyReLU
    >>> LeakyReLU(0.5)(torch.tensor([1.0, -10.0]))
    tensor([ 1., -5.])
    """

    _numbers = ("negative_slope", "grad_at_zero")

    def __init__(
        self, negative_slope: float = 0.01, inplace: bool = False, *, grad_at_zero: float = 1.0
    ) -> None:
        super().__init__(inplace, negative_slope=negative_slope, grad_at_zero=grad_at_zero)

    def _rectify(self, x: Any) -> Any:
        return relu_xp.leaky_relu(x, self.negative_slope, grad_at_zero=self.grad_at_zero)


class ReLU6(_Rectifier):
    """`relu_xp.clipped_relu` with the ceiling 6 as a module, in the place of `torch.nn.ReLU6`.

    Parameters
    ----------
    inplace : bool, default False
        Overwrite x with the result.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The derivatives at x == 0 and at x == 6. (`torch.nn.ReLU6` has 0.0 for both.)

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import ReLU6
    >>> ReLU6()(torch.tensor([1.0, -10.0, 15.0]))
    tensor([1., 0., 6.])
    """

    _numbers = ("grad_at_zero", "grad_at_ceiling")
    min_val, max_val = 0.0, 6.0

    def __init__(
        self, inplace: bool = False, *, grad_at_zero: float = 1.0, grad_at_ceiling: float = 0.0
    ) -> None:
        super().__init__(inplace, grad_at_zero=grad_at_zero, grad_at_ceiling=grad_at_ceiling)

    def _rectify(self, x: Any) -> Any:
        return relu_xp.clipped_relu(
            x, self.max_val, grad_at_zero=self.grad_at_zero, grad_at_ceiling=self.grad_at_ceiling
        )


class SquaredReLU(_Rectifier):
    """`relu_xp.squared_relu` as a module.

    Parameters
    ----------
    inplace : bool, default False
        Overwrite x with the result.

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import SquaredReLU
    >>> SquaredReLU()(torch.tensor([3.0, -10.0]))
    tensor([9., 0.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace)

    def _rectify(self, x: Any) -> Any:
        return relu_xp.squared_relu(x)


class PReLU(torch.nn.Module):  # type: ignore[misc]
    """`relu_xp.leaky_relu` with learned slopes, in the place of `torch.nn.PReLU`.

    It loads the state of a `torch.nn.PReLU`.

    Parameters
    ----------
    num_parameters : int, default 1
        How many slopes: one for all elements, or one for each channel (axis 1 of x).
    init : float, default 0.25
        The first value of each slope.
    device, dtype : optional
        The device and dtype of the slopes, as for `torch.nn.PReLU`.
    grad_at_zero : float, default 1.0
        The derivative at x == 0. (`torch.nn.PReLU` has the slope.)

    Raises
    ------
    ValueError
        If a call is given an x with another number of channels than there are slopes.

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import PReLU
    >>> PReLU(2)(torch.tensor([[1.0, -10.0]]))
    tensor([[ 1.0000, -2.5000]], grad_fn=<_ValueBackward>)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None,
        *, grad_at_zero: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        relu_xp.relu(0.0, grad_at_zero=grad_at_zero)  # raises its error for a bad number
        self.num_parameters, self.init, self.grad_at_zero = num_parameters, init, grad_at_zero
        self.weight = torch.nn.Parameter(torch.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all slopes to `init`."""
        torch.nn.init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        """Rectify a tensor with one slope for each channel, or one for all elements."""
        if self.num_parameters > 1 and x.ndim < 2:
            msg = (
                f"relu_xp.torch.PReLU: x must have {self.num_parameters} channels as axis 1, "
                f"got shape {tuple(x.shape)}"
            )
            raise ValueError(msg)
        shape = () if self.num_parameters == 1 else (-1, *[1] * (x.ndim - 2))
        return relu_xp.leaky_relu(x, self.weight.reshape(shape), grad_at_zero=self.grad_at_zero)

    def extra_repr(self) -> str:
        """Show the arguments as the constructor takes them."""
        return f"num_parameters={self.num_parameters}, grad_at_zero={self.grad_at_zero}"
