"""The public functions: each calls the backend that owns x, which checks and computes.

For type checkers, the type of x is the type of the result. Only a Python int becomes a float: an
overload says so, except in `relu`, which takes integers.
"""

from typing import Any, Protocol, TypeVar, overload

from relu_xp._dispatch import call
from relu_xp._functions import (
    CEILING,
    CLIPPED_RELU,
    CLIPPED_RELU_GRAD,
    CLIPPED_RELU_VJP,
    GRAD_AT_CEILING,
    GRAD_AT_ZERO,
    LEAKY_RELU,
    LEAKY_RELU_GRAD,
    LEAKY_RELU_SLOPE_VJP,
    LEAKY_RELU_VJP,
    NEGATIVE_SLOPE,
    RELU,
    RELU_GRAD,
    RELU_VJP,
    SQUARED_RELU,
    SQUARED_RELU_GRAD,
    SQUARED_RELU_VJP,
)


class Real(Protocol):
    """A number, or an array of any library: it can be compared, multiplied and divided.

    A list, a string, a set, a path and None lack one of these. A complex number cannot be compared.
    """

    def __le__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...


class Column(Protocol):
    """An array of pandas, whose arrays declare none of these operators."""

    @property
    def dtype(self) -> Any: ...
    def isna(self) -> Any: ...


Array = TypeVar("Array", bound=Real | Column)
Float = TypeVar("Float", covariant=True)


class Int(Protocol[Float]):
    """Matches int by its methods, not by its name, so that arrays typed Any stay Any."""

    def bit_length(self) -> int: ...
    def __truediv__(self, other: int, /) -> Float: ...


# The defaults are the objects of the records, and a default call passes the record's own tuple. So
# a backend recognizes it by identity.
_SLOPE, _AT_ZERO = NEGATIVE_SLOPE.default, GRAD_AT_ZERO.default
_CEILING, _AT_CEILING = CEILING.default, GRAD_AT_CEILING.default


def relu(x: Array, /, *, grad_at_zero: float = _AT_ZERO, out: Array | None = None) -> Array:
    """Rectify: x where x > 0, 0 where x <= 0, NaN where x is NaN.

    A zero in the result is always +0.0, also for x = -0.0.

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating or integer dtype, or a number.
    grad_at_zero : float, default 1.0
        The derivative that automatic differentiation uses at x == 0. It does not change the
        value. The relu of JAX, PyTorch and TensorFlow has 0.0 there.
    out : array, optional
        An existing array that receives the result. It must have the same library, shape, dtype and
        device as the result. It may be x, or share memory with x. Arrays that cannot be written
        to, such as JAX's, take no `out`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is boolean, complex or not numeric; if
        grad_at_zero is not a real number; or if `out` has another library or dtype.
    ValueError
        If grad_at_zero is not finite, or if `out` has another shape or is read-only.

    See Also
    --------
    relu_grad : The derivative.
    relu_vjp : The backward pass.
    relu_xp.reference.relu : The definition, for one float.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.relu(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([ 1.,  0.,  0., 15.,  0.])
    """
    return call(RELU, (x,), RELU.defaults if grad_at_zero is _AT_ZERO else (grad_at_zero,), out)


@overload
def relu_grad(x: Int[Float], /, *, grad_at_zero: float = ...) -> Float: ...
@overload
def relu_grad(x: Array, /, *, grad_at_zero: float = ..., out: Array | None = None) -> Array: ...
def relu_grad(x: Any, /, *, grad_at_zero: float = _AT_ZERO, out: Any = None) -> Any:
    """Derivative of relu: 1 where x > 0, grad_at_zero where x == 0, else 0 (also for NaN).

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    grad_at_zero : float, default 1.0
        The result where x == 0. Any finite number is accepted; numbers between 0 and 1 are
        subgradients.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is not real floating; if grad_at_zero is not
        a real number; or if `out` has another library or dtype.
    ValueError
        If grad_at_zero is not finite in the dtype of x, or if `out` has another shape or is
        read-only.

    Notes
    -----
    At 0 relu has a kink and no derivative. Any number from 0 to 1 is a subgradient there. The
    choice matters for training in 16 bits: D. Bertoin et al., "Numerical influence of ReLU'(0) on
    backpropagation", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.relu_grad(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([1., 0., 1., 1., 0.])
    >>> relu_xp.relu_grad(0.0, grad_at_zero=0.5)
    0.5
    """
    return call(
        RELU_GRAD, (x,), RELU_GRAD.defaults if grad_at_zero is _AT_ZERO else (grad_at_zero,), out
    )


@overload
def relu_vjp(x: Int[Float], cotangent: float, /, *, grad_at_zero: float = ...) -> Float: ...
@overload
def relu_vjp(
    x: Array, cotangent: Array, /, *, grad_at_zero: float = ..., out: Array | None = None
) -> Array: ...
def relu_vjp(x: Any, cotangent: Any, /, *, grad_at_zero: float = _AT_ZERO, out: Any = None) -> Any:
    """Backward pass of relu: g where x > 0, grad_at_zero * g where x == 0, else 0 (also for NaN).

    This is the vector-Jacobian product (VJP); g is the cotangent. Where the derivative is 0, the
    result is +0.0, even if g is infinite or NaN.

    Parameters
    ----------
    x : array or number
        The input of the forward pass, as for `relu_grad`.
    cotangent : array or number
        The incoming gradient, called `grad_output` in PyTorch: the derivative of the loss with
        respect to the result of `relu`. It has the library, dtype and shape of x.
    grad_at_zero : float, default 1.0
        The factor where x == 0. 1 gives g itself, and 0 gives +0.0 for every g.
    out : array, optional
        Where to write the result, see `relu`. It may also be the cotangent.

    Returns
    -------
    array or number
        A new array, or `out`: the gradient with respect to x.

    Raises
    ------
    TypeError
        As for `relu_grad`, and if the cotangent has another library or dtype than x.
    ValueError
        As for `relu_grad`, and if x and the cotangent differ in shape or device.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.relu_vjp(np.array([2.0, 0.0, -3.0]), np.array([0.5, 0.5, np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return call(
        RELU_VJP,
        (x, cotangent),
        RELU_VJP.defaults if grad_at_zero is _AT_ZERO else (grad_at_zero,),
        out,
    )


@overload
def leaky_relu(
    x: Int[Float], /, negative_slope: float = ..., *, grad_at_zero: float = ...
) -> Float: ...
@overload
def leaky_relu(
    x: Array, /, negative_slope: Real = ..., *, grad_at_zero: float = ..., out: Array | None = None
) -> Array: ...
def leaky_relu(
    x: Any, /, negative_slope: Any = _SLOPE, *, grad_at_zero: float = _AT_ZERO, out: Any = None
) -> Any:
    """Leaky ReLU: x where x >= 0, negative_slope * x where x < 0, NaN where x is NaN.

    A zero keeps its sign.

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    negative_slope : float or array, default 0.01
        Any finite number, also negative or above 1. Or an array of the same library that broadcasts
        to the shape of x (PReLU). It is rounded once to the dtype of x. The values of an array are
        not checked for NaN. Gradients with respect to an array work in JAX, PyTorch and TensorFlow.
    grad_at_zero : float, default 1.0
        The derivative that automatic differentiation uses at x == 0. It does not change the
        value. The leaky ReLU of PyTorch and TensorFlow has negative_slope there.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is not real floating; if negative_slope is
        neither a real number nor an array of the same library; if grad_at_zero is not a real
        number; or if `out` has another library or dtype.
    ValueError
        If negative_slope or grad_at_zero is not finite in the dtype of x; if an array of slopes
        does not broadcast to x; or if `out` has another shape or is read-only.

    See Also
    --------
    leaky_relu_grad : The derivative.
    leaky_relu_vjp : The backward pass.
    leaky_relu_slope_vjp : The backward pass with respect to the slope.
    relu_xp.reference.leaky_relu : The definition, for one float.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.leaky_relu(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([ 1. , -0.1,  0. , 15. , -0.2])
    """
    is_default = negative_slope is _SLOPE and grad_at_zero is _AT_ZERO
    return call(
        LEAKY_RELU, (x,), LEAKY_RELU.defaults if is_default else (negative_slope, grad_at_zero), out
    )


@overload
def leaky_relu_grad(
    x: Int[Float], /, negative_slope: float = ..., *, grad_at_zero: float = ...
) -> Float: ...
@overload
def leaky_relu_grad(
    x: Array, /, negative_slope: Real = ..., *, grad_at_zero: float = ..., out: Array | None = None
) -> Array: ...
def leaky_relu_grad(
    x: Any, /, negative_slope: Any = _SLOPE, *, grad_at_zero: float = _AT_ZERO, out: Any = None
) -> Any:
    """Derivative of leaky_relu: 1 where x > 0, grad_at_zero at 0, else negative_slope (NaN too).

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    negative_slope : float or array, default 0.01
        As for `leaky_relu`.
    grad_at_zero : float, default 1.0
        The result where x == 0. Any finite number is accepted.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As for `leaky_relu`.
    ValueError
        As for `leaky_relu`.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.leaky_relu_grad(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([1.  , 0.01, 1.  , 1.  , 0.01])
    """
    is_default = negative_slope is _SLOPE and grad_at_zero is _AT_ZERO
    return call(
        LEAKY_RELU_GRAD,
        (x,),
        LEAKY_RELU_GRAD.defaults if is_default else (negative_slope, grad_at_zero),
        out,
    )


@overload
def leaky_relu_vjp(
    x: Int[Float], cotangent: float, /, negative_slope: float = ..., *, grad_at_zero: float = ...
) -> Float: ...
@overload
def leaky_relu_vjp(
    x: Array,
    cotangent: Array,
    /,
    negative_slope: Real = ...,
    *,
    grad_at_zero: float = ...,
    out: Array | None = None,
) -> Array: ...
def leaky_relu_vjp(
    x: Any,
    cotangent: Any,
    /,
    negative_slope: Any = _SLOPE,
    *,
    grad_at_zero: float = _AT_ZERO,
    out: Any = None,
) -> Any:
    """Backward pass of leaky_relu: g where x > 0, grad_at_zero * g at 0, else negative_slope * g.

    This is the vector-Jacobian product (VJP); g is the cotangent.

    Parameters
    ----------
    x : array or number
        The input of the forward pass, as for `leaky_relu`.
    cotangent : array or number
        The incoming gradient, called `grad_output` in PyTorch: the derivative of the loss with
        respect to the result of `leaky_relu`. It has the library, dtype and shape of x.
    negative_slope : float or array, default 0.01
        As for `leaky_relu`. It is also the factor where x is NaN.
    grad_at_zero : float, default 1.0
        The factor where x == 0. 1 gives g itself, and 0 gives +0.0 for every g.
    out : array, optional
        Where to write the result, see `relu`. It may also be the cotangent.

    Returns
    -------
    array or number
        A new array, or `out`: the gradient with respect to x.

    Raises
    ------
    TypeError
        As for `leaky_relu`, and if the cotangent has another library or dtype than x.
    ValueError
        As for `leaky_relu`, and if x and the cotangent differ in shape or device.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.leaky_relu_vjp(np.array([2.0, 0.0, -3.0]), np.array([0.5, 0.5, 0.5]))
    array([0.5  , 0.5  , 0.005])
    """
    is_default = negative_slope is _SLOPE and grad_at_zero is _AT_ZERO
    return call(
        LEAKY_RELU_VJP,
        (x, cotangent),
        LEAKY_RELU_VJP.defaults if is_default else (negative_slope, grad_at_zero),
        out,
    )


@overload
def leaky_relu_slope_vjp(x: Int[Float], cotangent: float, /) -> Float: ...
@overload
def leaky_relu_slope_vjp(x: Array, cotangent: Array, /, *, out: Array | None = None) -> Array: ...
def leaky_relu_slope_vjp(x: Any, cotangent: Any, /, *, out: Any = None) -> Any:
    """Backward pass of leaky_relu for its slope: x * g where x < 0, else 0 (also for NaN).

    If several elements share a slope, the gradient of that slope is the sum of their results. The
    caller takes this sum.

    Parameters
    ----------
    x : array or number
        The input of the forward pass, as for `leaky_relu`.
    cotangent : array or number
        The incoming gradient, called `grad_output` in PyTorch: the derivative of the loss with
        respect to the result of `leaky_relu`. It has the library, dtype and shape of x.
    out : array, optional
        Where to write the result, see `relu`. It may also be the cotangent.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is not real floating; or if the cotangent or
        `out` has another library or dtype.
    ValueError
        If the shapes or devices differ, or if `out` is read-only.

    Notes
    -----
    A leaky ReLU with learned slopes is called PReLU: K. He et al., "Delving deep into rectifiers",
    ICCV 2015.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> x, g = np.array([[2.0, -3.0], [-1.0, -0.5]]), np.array([[0.5, 0.5], [1.0, 2.0]])
    >>> relu_xp.leaky_relu_slope_vjp(x, g).sum(axis=0)  # one slope for each column
    array([-1. , -2.5])
    """
    return call(LEAKY_RELU_SLOPE_VJP, (x, cotangent), (), out)


@overload
def clipped_relu(
    x: Int[Float],
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
) -> Float: ...
@overload
def clipped_relu(
    x: Array,
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
    out: Array | None = None,
) -> Array: ...
def clipped_relu(
    x: Any,
    /,
    ceiling: float = _CEILING,
    *,
    grad_at_zero: float = _AT_ZERO,
    grad_at_ceiling: float = _AT_CEILING,
    out: Any = None,
) -> Any:
    """Clipped ReLU: 0 where x <= 0, x up to the ceiling, the ceiling above it, NaN where x is NaN.

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    ceiling : float, default 6.0
        Any finite number above 0, rounded once to the dtype of x. The default gives ReLU6.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The derivatives that automatic differentiation uses at x == 0 and at x == ceiling. They do
        not change the value. The defaults are the slopes just right of 0 (1) and just right of the
        ceiling (0). The relu6 of JAX, PyTorch and TensorFlow has 0.0 at both.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is not real floating; if the ceiling or one
        of the derivatives is not a real number; or if `out` has another library or dtype.
    ValueError
        If a number is not finite in the dtype of x; if the ceiling is not above 0; or if `out` has
        another shape or is read-only.

    See Also
    --------
    clipped_relu_grad : The derivative.
    clipped_relu_vjp : The backward pass.
    relu_xp.reference.clipped_relu : The definition, for one float.

    Notes
    -----
    ReLU6 is used in networks for mobile devices: A. Howard et al., "MobileNets: efficient
    convolutional neural networks for mobile vision applications", arXiv:1704.04861, 2017.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.clipped_relu(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([1., 0., 0., 6., 0.])
    """
    is_default = ceiling is _CEILING and grad_at_zero is _AT_ZERO and grad_at_ceiling is _AT_CEILING
    return call(
        CLIPPED_RELU,
        (x,),
        CLIPPED_RELU.defaults if is_default else (ceiling, grad_at_zero, grad_at_ceiling),
        out,
    )


@overload
def clipped_relu_grad(
    x: Int[Float],
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
) -> Float: ...
@overload
def clipped_relu_grad(
    x: Array,
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
    out: Array | None = None,
) -> Array: ...
def clipped_relu_grad(
    x: Any,
    /,
    ceiling: float = _CEILING,
    *,
    grad_at_zero: float = _AT_ZERO,
    grad_at_ceiling: float = _AT_CEILING,
    out: Any = None,
) -> Any:
    """Derivative of clipped_relu: 1 between 0 and the ceiling, 0 outside and for NaN.

    At 0 and at the ceiling it is what the arguments say.

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    ceiling : float, default 6.0
        As for `clipped_relu`.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The results where x == 0 and where x == ceiling. Any finite numbers are accepted.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As for `clipped_relu`.
    ValueError
        As for `clipped_relu`.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.clipped_relu_grad(np.array([1.0, -10.0, 0.0, 15.0, 6.0]))
    array([1., 0., 1., 0., 0.])
    """
    is_default = ceiling is _CEILING and grad_at_zero is _AT_ZERO and grad_at_ceiling is _AT_CEILING
    return call(
        CLIPPED_RELU_GRAD,
        (x,),
        CLIPPED_RELU_GRAD.defaults if is_default else (ceiling, grad_at_zero, grad_at_ceiling),
        out,
    )


@overload
def clipped_relu_vjp(
    x: Int[Float],
    cotangent: float,
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
) -> Float: ...
@overload
def clipped_relu_vjp(
    x: Array,
    cotangent: Array,
    /,
    ceiling: float = ...,
    *,
    grad_at_zero: float = ...,
    grad_at_ceiling: float = ...,
    out: Array | None = None,
) -> Array: ...
def clipped_relu_vjp(
    x: Any,
    cotangent: Any,
    /,
    ceiling: float = _CEILING,
    *,
    grad_at_zero: float = _AT_ZERO,
    grad_at_ceiling: float = _AT_CEILING,
    out: Any = None,
) -> Any:
    """Backward pass of clipped_relu: g between 0 and the ceiling, 0 outside and for NaN.

    This is the vector-Jacobian product (VJP); g is the cotangent. Where the derivative is 0, the
    result is +0.0, even if g is infinite or NaN.

    Parameters
    ----------
    x : array or number
        The input of the forward pass, as for `clipped_relu`.
    cotangent : array or number
        The incoming gradient, called `grad_output` in PyTorch: the derivative of the loss with
        respect to the result of `clipped_relu`. It has the library, dtype and shape of x.
    ceiling : float, default 6.0
        As for `clipped_relu`.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The factors where x == 0 and where x == ceiling. 1 gives g itself, and 0 gives +0.0 for
        every g.
    out : array, optional
        Where to write the result, see `relu`. It may also be the cotangent.

    Returns
    -------
    array or number
        A new array, or `out`: the gradient with respect to x.

    Raises
    ------
    TypeError
        As for `clipped_relu`, and if the cotangent has another library or dtype than x.
    ValueError
        As for `clipped_relu`, and if x and the cotangent differ in shape or device.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.clipped_relu_vjp(np.array([2.0, 0.0, 7.0]), np.array([0.5, 0.5, np.inf]))
    array([0.5, 0.5, 0. ])
    """
    is_default = ceiling is _CEILING and grad_at_zero is _AT_ZERO and grad_at_ceiling is _AT_CEILING
    return call(
        CLIPPED_RELU_VJP,
        (x, cotangent),
        CLIPPED_RELU_VJP.defaults if is_default else (ceiling, grad_at_zero, grad_at_ceiling),
        out,
    )


@overload
def squared_relu(x: Int[Float], /) -> Float: ...
@overload
def squared_relu(x: Array, /, *, out: Array | None = None) -> Array: ...
def squared_relu(x: Any, /, *, out: Any = None) -> Any:
    """Squared ReLU: x * x where x > 0, 0 where x <= 0, NaN where x is NaN.

    It has a derivative everywhere, so there is no `grad_at_zero`.

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is not an array or a number; if its dtype is not real floating; or if `out` has another
        library or dtype.
    ValueError
        If `out` has another shape or is read-only.

    See Also
    --------
    squared_relu_grad : The derivative.
    squared_relu_vjp : The backward pass.
    relu_xp.reference.squared_relu : The definition, for one float.

    Notes
    -----
    A search for better language models found this function: D. So et al., "Primer: searching for
    efficient transformers for language modeling", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.squared_relu(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([  1.,   0.,   0., 225.,   0.])
    """
    return call(SQUARED_RELU, (x,), (), out)


@overload
def squared_relu_grad(x: Int[Float], /) -> Float: ...
@overload
def squared_relu_grad(x: Array, /, *, out: Array | None = None) -> Array: ...
def squared_relu_grad(x: Any, /, *, out: Any = None) -> Any:
    """Derivative of squared_relu: x + x where x > 0, else 0 (also for NaN).

    Parameters
    ----------
    x : array or number
        An array of any shape with a real floating dtype, or a number. A Python int counts as a
        float.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array, or `out`. It has the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As for `squared_relu`.
    ValueError
        As for `squared_relu`.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.squared_relu_grad(np.array([1.0, -10.0, 0.0, 15.0, -20.0]))
    array([ 2.,  0.,  0., 30.,  0.])
    """
    return call(SQUARED_RELU_GRAD, (x,), (), out)


@overload
def squared_relu_vjp(x: Int[Float], cotangent: float, /) -> Float: ...
@overload
def squared_relu_vjp(x: Array, cotangent: Array, /, *, out: Array | None = None) -> Array: ...
def squared_relu_vjp(x: Any, cotangent: Any, /, *, out: Any = None) -> Any:
    """Backward pass of squared_relu: (x + x) * g where x > 0, else 0 (also for NaN).

    This is the vector-Jacobian product (VJP); g is the cotangent. Where x is not above 0, the
    result is +0.0, even if g is infinite or NaN.

    Parameters
    ----------
    x : array or number
        The input of the forward pass, as for `squared_relu`.
    cotangent : array or number
        The incoming gradient, called `grad_output` in PyTorch: the derivative of the loss with
        respect to the result of `squared_relu`. It has the library, dtype and shape of x.
    out : array, optional
        Where to write the result, see `relu`. It may also be the cotangent.

    Returns
    -------
    array or number
        A new array, or `out`: the gradient with respect to x.

    Raises
    ------
    TypeError
        As for `squared_relu`, and if the cotangent has another library or dtype than x.
    ValueError
        As for `squared_relu`, and if x and the cotangent differ in shape or device.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.squared_relu_vjp(np.array([2.0, 0.0, -3.0]), np.array([0.5, 0.5, np.inf]))
    array([2., 0., 0.])
    """
    return call(SQUARED_RELU_VJP, (x, cotangent), (), out)
