"""The public functions: each hands over to the backend that owns x, which checks and computes.

To type checkers what comes in comes out, except that a Python int becomes a float, which takes an
overload; a function that takes integers needs none.
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
    """A number, or an array of any library: what has an order, products and quotients.

    A list, a string, a set, a path and None lack one of these, a complex number the order.
    """

    def __le__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...


class Column(Protocol):
    """An array in the manner of pandas, which declares none of them."""

    @property
    def dtype(self) -> Any: ...
    def isna(self) -> Any: ...


Array = TypeVar("Array", bound=Real | Column)
Float = TypeVar("Float", covariant=True)


class Int(Protocol[Float]):
    """An int, with the type that it has as a float: said by what it has, since an untyped array then stays untyped."""

    def bit_length(self) -> int: ...
    def __truediv__(self, other: int, /) -> Float: ...


# The defaults are the records' own objects, and so is the tuple of them: by it a backend knows a
# default call at once.
_SLOPE, _AT_ZERO = NEGATIVE_SLOPE.default, GRAD_AT_ZERO.default
_CEILING, _AT_CEILING = CEILING.default, GRAD_AT_CEILING.default


def relu(x: Array, /, *, grad_at_zero: float = _AT_ZERO, out: Array | None = None) -> Array:
    """Rectify: x where x > 0, +0 where x <= 0, NaN where x is NaN.

    Parameters
    ----------
    x : array or number
        Any shape; any real floating or integer dtype. Python and NumPy scalars are taken too.
    grad_at_zero : float, default 1.0
        The derivative that automatic differentiation uses at x == 0. The value does not depend on
        it. JAX, PyTorch and TensorFlow take 0.0 for their own relu.
    out : array, optional
        Where to write the result: of its library, shape, dtype and device. May be x, or overlap it.
        Not for arrays that can't be written, such as JAX's.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is no array or number, its dtype is boolean, complex or no number at all, grad_at_zero
        is not a real number, or `out` is of another library or dtype.
    ValueError
        If grad_at_zero is not finite, or `out` has another shape or is read-only.

    See Also
    --------
    relu_grad : Its derivative.
    relu_vjp : Its derivative times a cotangent.
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
    """Differentiate relu: 1 where x > 0, grad_at_zero where x == 0, else 0 (NaN included).

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    grad_at_zero : float, default 1.0
        The result at x == 0, of either sign: any finite number, though only those in [0, 1] are
        subgradients.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, grad_at_zero is not a real
        number, or `out` is of another library or dtype.
    ValueError
        If grad_at_zero is not finite in the dtype of x, or `out` has another shape or is read-only.

    Notes
    -----
    At its kink relu has no derivative but a subdifferential, [0, 1]; which element is used matters in training at
    low precision [1]_.

    References
    ----------
    .. [1] D. Bertoin, J. Bolte, S. Gerchinovitz, E. Pauwels, "Numerical influence of ReLU'(0) on backpropagation",
       NeurIPS 2021.

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
    """Pull a cotangent back through relu: kept where x > 0, scaled where x == 0, else +0 (NaN included).

    Inactive elements select +0 rather than multiply by 0, so an infinite or NaN cotangent there
    leaves no NaN.

    Parameters
    ----------
    x : array or number
        The point at which relu was evaluated. Any shape; any real floating dtype.
    cotangent : array or number
        The cotangent of the result, of the library, dtype and shape of x. Nothing is broadcast.
    grad_at_zero : float, default 1.0
        The share of the cotangent that passes at x == 0: all of it for 1, +0 for 0, else the
        product.
    out : array, optional
        Where to write the result, see `relu`. May be x or cotangent, or overlap them.

    Returns
    -------
    array or number
        A new array (or `out`): the cotangent of x.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, the cotangent is of another
        library or dtype, grad_at_zero is not a real number, or `out` is of another library or
        dtype.
    ValueError
        If the shapes or devices differ, grad_at_zero is not finite in the dtype of x, or `out` is
        read-only.

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
    """Rectify with a leak: x where x >= 0, negative_slope * x where x < 0, NaN where x is NaN.

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    negative_slope : float or array, default 0.01
        Any finite number, rounded once to the dtype of x; negative and above 1 too. Or a real
        floating array of the library of x, one slope a channel, a row or an element: it broadcasts
        to the shape of x, and its values are not looked at. JAX and PyTorch differentiate in it.
    grad_at_zero : float, default 1.0
        The derivative that automatic differentiation uses at x == 0. The value does not depend on
        it. PyTorch and TensorFlow take negative_slope for their own leaky ReLU.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x. A zero keeps its sign.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, negative_slope or grad_at_zero
        is not a real number, or `out` is of another library or dtype.
    ValueError
        If negative_slope or grad_at_zero is not finite in the dtype of x, or `out` has another
        shape or is read-only.

    See Also
    --------
    leaky_relu_grad : Its derivative.
    leaky_relu_vjp : Its derivative times a cotangent.
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
    """Differentiate leaky_relu: 1 where x > 0, grad_at_zero where x == 0, else negative_slope (NaN included).

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    negative_slope : float or array, default 0.01
        As for `leaky_relu`.
    grad_at_zero : float, default 1.0
        The result at x == 0, of either sign: any finite number.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As `leaky_relu`.
    ValueError
        As `leaky_relu`.

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
    """Pull a cotangent back through leaky_relu: kept where x > 0, else scaled by the derivative.

    Parameters
    ----------
    x : array or number
        The point at which leaky_relu was evaluated. Any shape; any real floating dtype.
    cotangent : array or number
        The cotangent of the result, of the library, dtype and shape of x. Nothing is broadcast.
    negative_slope : float or array, default 0.01
        As for `leaky_relu`; the factor where x < 0 or x is NaN.
    grad_at_zero : float, default 1.0
        The share of the cotangent that passes at x == 0: all of it for 1, +0 for 0, else the
        product.
    out : array, optional
        Where to write the result, see `relu`. May be x or cotangent, or overlap them.

    Returns
    -------
    array or number
        A new array (or `out`): the cotangent of x.

    Raises
    ------
    TypeError
        As `leaky_relu`, and if the cotangent is of another library or dtype.
    ValueError
        As `leaky_relu`, and if the shapes or devices differ.

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
    """Pull a cotangent back to the slope of leaky_relu: x * cotangent where x < 0, else +0 (NaN included).

    The gradient of a slope that several elements share is the sum of theirs, which is the caller's
    to take.

    Parameters
    ----------
    x : array or number
        The point at which leaky_relu was evaluated. Any shape; any real floating dtype.
    cotangent : array or number
        The cotangent of the result, of the library, dtype and shape of x. Nothing is broadcast.
    out : array, optional
        Where to write the result, see `relu`. May be x or cotangent, or overlap them.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, or the cotangent or `out` is
        of another library or dtype.
    ValueError
        If the shapes or devices differ, or `out` is read-only.

    Notes
    -----
    A leaky ReLU whose slopes are learned is the PReLU [1]_.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> x, g = np.array([[2.0, -3.0], [-1.0, -0.5]]), np.array([[0.5, 0.5], [1.0, 2.0]])
    >>> relu_xp.leaky_relu_slope_vjp(x, g).sum(axis=0)  # of one slope a column
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
    """Rectify up to a ceiling: x between 0 and the ceiling, the ceiling above, +0 below, NaN where x is NaN.

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    ceiling : float, default 6.0
        Any finite number above 0, rounded once to the dtype of x. The default is that of mobile
        networks [1]_.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The derivatives that automatic differentiation uses at x == 0 and at x == ceiling: those
        from the right. The value does not depend on them. JAX and PyTorch take 0.0 at both.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, a scalar is not a real number,
        or `out` is of another library or dtype.
    ValueError
        If a scalar is not finite, or the ceiling not above 0, in the dtype of x, or `out` has
        another shape or is read-only.

    References
    ----------
    .. [1] A. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
       arXiv:1704.04861, 2017.

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
    """Differentiate clipped_relu: 1 between 0 and the ceiling, 0 outside (NaN included), and as given at both.

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    ceiling : float, default 6.0
        As for `clipped_relu`.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The results at x == 0, of either sign, and at x == ceiling: any finite numbers.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As `clipped_relu`.
    ValueError
        As `clipped_relu`.

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
    """Pull a cotangent back through clipped_relu: kept between 0 and the ceiling, scaled at both, else +0.

    Parameters
    ----------
    x : array or number
        The point at which clipped_relu was evaluated. Any shape; any real floating dtype.
    cotangent : array or number
        The cotangent of the result, of the library, dtype and shape of x. Nothing is broadcast.
    ceiling : float, default 6.0
        As for `clipped_relu`.
    grad_at_zero, grad_at_ceiling : float, default 1.0 and 0.0
        The shares of the cotangent that pass at x == 0 and x == ceiling: all of it for 1, +0 for 0,
        else the product.
    out : array, optional
        Where to write the result, see `relu`. May be x or cotangent, or overlap them.

    Returns
    -------
    array or number
        A new array (or `out`): the cotangent of x.

    Raises
    ------
    TypeError
        As `clipped_relu`, and if the cotangent is of another library or dtype.
    ValueError
        As `clipped_relu`, and if the shapes or devices differ.

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
    """Rectify and square: x * x where x > 0, +0 where x <= 0, NaN where x is NaN.

    It has a derivative everywhere, so there is none to choose.

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        If x is no array or number or its dtype is not real floating, or `out` is of another library
        or dtype.
    ValueError
        If `out` has another shape or is read-only.

    Notes
    -----
    Found by a search among activations of language models [1]_.

    References
    ----------
    .. [1] D. So et al., "Primer: searching for efficient transformers for language modeling", NeurIPS 2021.

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
    """Differentiate squared_relu: x + x where x > 0, else +0 (NaN included).

    Parameters
    ----------
    x : array or number
        Any shape; any real floating dtype. A Python int counts as a float.
    out : array, optional
        Where to write the result, see `relu`.

    Returns
    -------
    array or number
        A new array (or `out`) of the type, dtype, shape and device of x.

    Raises
    ------
    TypeError
        As `squared_relu`.
    ValueError
        As `squared_relu`.

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
    """Pull a cotangent back through squared_relu: (x + x) * cotangent where x > 0, else +0 (NaN included).

    Parameters
    ----------
    x : array or number
        The point at which squared_relu was evaluated. Any shape; any real floating dtype.
    cotangent : array or number
        The cotangent of the result, of the library, dtype and shape of x. Nothing is broadcast.
    out : array, optional
        Where to write the result, see `relu`. May be x or cotangent, or overlap them.

    Returns
    -------
    array or number
        A new array (or `out`): the cotangent of x.

    Raises
    ------
    TypeError
        As `squared_relu`, and if the cotangent is of another library or dtype.
    ValueError
        As `squared_relu`, and if the shapes or devices differ.

    Examples
    --------
    >>> import numpy as np, relu_xp
    >>> relu_xp.squared_relu_vjp(np.array([2.0, 0.0, -3.0]), np.array([0.5, 0.5, np.inf]))
    array([2., 0., 0.])
    """
    return call(SQUARED_RELU_VJP, (x, cotangent), (), out)
