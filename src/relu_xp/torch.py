"""For those who build PyTorch models of modules: the rectifiers as `torch.nn` has them, and `relu_xp`'s operators.

To import this module makes the operators known that `torch.export` records, so that a saved program
can be loaded.
"""

from typing import Any

import torch

import relu_xp
from relu_xp._backends import torch as _operators  # noqa: F401  # to import it defines them

__all__ = ["LeakyReLU", "PReLU", "ReLU", "ReLU6", "SquaredReLU"]

Tensor = Any  # a torch.Tensor


class _Rectifier(torch.nn.Module):  # type: ignore[misc]
    """A function of relu_xp with its numbers, which are attributes, and checked when the module is made."""

    _numbers: tuple[str, ...] = ()

    def __init__(self, inplace: bool = False, **numbers: float) -> None:
        super().__init__()
        self.inplace = inplace
        for name, value in numbers.items():
            setattr(self, name, value)
        self._call(0.0)

    def _call(self, x: Any) -> Any:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Rectify a tensor of any shape and real floating dtype; where `inplace` is true, write the result to it."""
        if not self.inplace:
            return self._call(x)
        # The derivative needs what x was.
        return x.copy_(self._call(x.clone() if torch.is_grad_enabled() and x.requires_grad else x))

    def extra_repr(self) -> str:
        """Tell the arguments, as the constructor takes them."""
        given = [f"{name}={getattr(self, name)}" for name in self._numbers]
        return ", ".join([*given, *(["inplace=True"] if self.inplace else [])])


class ReLU(_Rectifier):
    """`relu_xp.relu` as a module, in the place of `torch.nn.ReLU`.

    Parameters
    ----------
    inplace : bool, default False
        Write the result to the tensor given. Where a gradient is tracked, a copy of x is kept all
        the same.
    grad_at_zero : float, default 1.0
        The derivative at x == 0; that of `torch.nn.ReLU` is 0.0.

    Raises
    ------
    TypeError, ValueError
        If grad_at_zero is not a finite real number.

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

    def _call(self, x: Any) -> Any:
        return relu_xp.relu(x, grad_at_zero=self.grad_at_zero)


class LeakyReLU(_Rectifier):
    """`relu_xp.leaky_relu` as a module, in the place of `torch.nn.LeakyReLU`.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope below zero.
    inplace : bool, default False
        Write the result to the tensor given. Where a gradient is tracked, a copy of x is kept all
        the same.
    grad_at_zero : float, default 1.0
        The derivative at x == 0; that of `torch.nn.LeakyReLU` is negative_slope.

    Raises
    ------
    TypeError, ValueError
        If a number is not real and finite.

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

    def _call(self, x: Any) -> Any:
        return relu_xp.leaky_relu(x, self.negative_slope, grad_at_zero=self.grad_at_zero)


class ReLU6(_Rectifier):
    """`relu_xp.clipped_relu` with the ceiling 6 as a module, in the place of `torch.nn.ReLU6`.

    Parameters
    ----------
    inplace : bool, default False
        Write the result to the tensor given. Where a gradient is tracked, a copy of x is kept all
        the same.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The derivatives at x == 0 and at x == 6; both of `torch.nn.ReLU6` are 0.0.

    Raises
    ------
    TypeError, ValueError
        If a number is not real and finite.

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

    def _call(self, x: Any) -> Any:
        return relu_xp.clipped_relu(
            x, self.max_val, grad_at_zero=self.grad_at_zero, grad_at_ceiling=self.grad_at_ceiling
        )


class SquaredReLU(_Rectifier):
    """`relu_xp.squared_relu` as a module.

    Parameters
    ----------
    inplace : bool, default False
        Write the result to the tensor given. Where a gradient is tracked, a copy of x is kept all
        the same.

    Examples
    --------
    >>> import torch
    >>> from relu_xp.torch import SquaredReLU
    >>> SquaredReLU()(torch.tensor([3.0, -10.0]))
    tensor([9., 0.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace)

    def _call(self, x: Any) -> Any:
        return relu_xp.squared_relu(x)


class PReLU(torch.nn.Module):  # type: ignore[misc]
    """`relu_xp.leaky_relu` with learned slopes, in the place of `torch.nn.PReLU`, whose state it loads.

    Parameters
    ----------
    num_parameters : int, default 1
        How many slopes: one for all, or one for each channel, which is axis 1 of x.
    init : float, default 0.25
        Their first value.
    device, dtype : optional
        Of the slopes, as for `torch.nn.PReLU`.
    grad_at_zero : float, default 1.0
        The derivative at x == 0; that of `torch.nn.PReLU` is the slope.

    Raises
    ------
    TypeError, ValueError
        If grad_at_zero is not a finite real number; by a call, if x has not as many channels as
        there are slopes.

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
        relu_xp.relu(0.0, grad_at_zero=grad_at_zero)  # which checks it
        self.num_parameters, self.init, self.grad_at_zero = num_parameters, init, grad_at_zero
        self.weight = torch.nn.Parameter(torch.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give the slopes their first value again."""
        torch.nn.init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        """Rectify a tensor with a slope for each channel, or one for all."""
        if self.num_parameters > 1 and x.ndim < 2:
            msg = f"relu_xp.torch.PReLU: x must have {self.num_parameters} channels as axis 1, got shape {tuple(x.shape)}"
            raise ValueError(msg)
        of_slopes = () if self.num_parameters == 1 else (-1, *[1] * (x.ndim - 2))
        return relu_xp.leaky_relu(x, self.weight.reshape(of_slopes), grad_at_zero=self.grad_at_zero)

    def extra_repr(self) -> str:
        """Tell the arguments, as the constructor takes them."""
        return f"num_parameters={self.num_parameters}, grad_at_zero={self.grad_at_zero}"
