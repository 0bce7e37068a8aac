"""A backend of your own, here for Awkward Array's ragged arrays: what a plug-in's author writes.

It need not know how a rectifier is computed: it takes its arrays apart, hands the NumPy arrays inside to relu_xp, and
puts the results together again. Installed as a package, it would name itself in its pyproject.toml,

    [project.entry-points."relu_xp.backends"]
    awkward = "backend_for_awkward"

and be found when the first such array arrives. Without that, one call does: run this file, and see.
"""

import functools
from typing import Any

import awkward as ak

import relu_xp


def owns(x: object) -> bool:
    """Whether x is one of ours: the class's package said so already, but names can lie."""
    return isinstance(x, ak.Array)


def relu(x: Any, z: Any, out: None) -> Any:
    """Rectify."""
    return _at_leaves(functools.partial(relu_xp.relu, grad_at_zero=z), out, x)


def relu_grad(x: Any, z: Any, out: None) -> Any:
    """Differentiate relu."""
    return _at_leaves(functools.partial(relu_xp.relu_grad, grad_at_zero=z), out, x)


def relu_vjp(x: Any, g: Any, z: Any, out: None) -> Any:
    """Pull g back through relu."""
    return _at_leaves(functools.partial(relu_xp.relu_vjp, grad_at_zero=z), out, x, g)


def leaky_relu(x: Any, s: Any, z: Any, out: None) -> Any:
    """Rectify with a leak."""
    return _at_leaves(functools.partial(relu_xp.leaky_relu, negative_slope=s, grad_at_zero=z), out, x)


def leaky_relu_grad(x: Any, s: Any, z: Any, out: None) -> Any:
    """Differentiate leaky_relu."""
    return _at_leaves(functools.partial(relu_xp.leaky_relu_grad, negative_slope=s, grad_at_zero=z), out, x)


def leaky_relu_vjp(x: Any, g: Any, s: Any, z: Any, out: None) -> Any:
    """Pull g back through leaky_relu."""
    return _at_leaves(functools.partial(relu_xp.leaky_relu_vjp, negative_slope=s, grad_at_zero=z), out, x, g)


def devices() -> list[str]:
    """Where these arrays can be, in words: each is verified on its own."""
    return ["cpu"]


def put(array: Any, device: str) -> Any:
    """Make one of these arrays from a NumPy array."""
    return ak.from_numpy(array, regulararray=True)


def get(x: Any) -> Any:
    """Give the elements as a NumPy array."""
    return ak.to_numpy(x)


def _at_leaves(function: Any, out: None, x: Any, *cotangent: Any) -> Any:
    name = function.func.__name__
    if out is not None:
        msg = f"relu_xp.{name}: an Awkward array cannot be written to; leave out=None and use the returned value"
        raise TypeError(msg)
    if cotangent and str(x.type) != str(cotangent[0].type):
        msg = f"relu_xp.{name}: x and cotangent must have one type, got {x.type} and {cotangent[0].type}"
        raise ValueError(msg)

    def apply(layouts: Any, **_: Any) -> Any:
        layouts = layouts if isinstance(layouts, tuple) else (layouts,)
        if all(layout.is_numpy for layout in layouts):
            return ak.contents.NumpyArray(function(*(layout.data for layout in layouts)))
        return None  # deeper

    result = ak.transform(apply, x, *cotangent)
    return result[0] if isinstance(result, tuple) else result


if __name__ == "__main__":
    import backend_for_awkward

    from relu_xp.verify import assert_conforms

    relu_xp.register_backend("awkward", backend_for_awkward)
    ragged = ak.Array([[1.0, -10.0], [], [0.0, 15.0, -20.0]])
    print(relu_xp.leaky_relu(ragged).to_list())
    print(relu_xp.relu_vjp(ragged, ragged).to_list())
    for dtype, tally in assert_conforms(backend_for_awkward)["cpu"].items():
        left_out = "".join(f"; {what}: {why}" for what, why in tally.left_out.items())
        print(f"{dtype}: {tally.values:,} values equal the definition{left_out}")
