"""A backend of your own, here for Awkward Array's ragged arrays: what a plug-in's author writes.

    python3 -m pip install ".[cli]" awkward    # once, in the project's folder
    python examples/backend_for_awkward.py

The second line registers and verifies it. A package needs no such call: it names its backend in its
pyproject.toml:

    [project.entry-points."relu_xp.backends"]
    awkward = "backend_for_awkward"
"""

import awkward as ak

from relu_xp import backends

TEXT = "read its numbers, for example awkward.strings_astype(x, 'float32')"


def owns(x):
    """Confirm that x is an array: any class of the package gets here."""
    return isinstance(x, ak.Array)


def delegate(function, inside, arrays, slope, out):
    """Compute by inside(...) on the NumPy arrays inside, and put the results together again."""
    backends.no_out(function, out, "an Awkward array")
    if len({str(a.type) for a in arrays}) > 1:
        types = " and ".join(str(a.type) for a in arrays)
        msg = f"relu_xp.{function}: x and cotangent must have the same type, got {types}"
        raise ValueError(msg)

    def apply(layouts, **_):
        layouts = layouts if isinstance(layouts, tuple) else (layouts,)
        if any(layout.parameter("__array__") in ("string", "bytestring") for layout in layouts):
            backends.check_dtype(function, "string", "", TEXT)
        if all(layout.is_numpy for layout in layouts):
            return ak.contents.NumpyArray(inside(*(layout.data for layout in layouts)))
        return None  # go deeper

    result = ak.transform(apply, *arrays)
    return result[0] if isinstance(result, tuple) else result


def devices():
    """Where these arrays can be: each device is verified on its own."""
    return ["cpu"]


def put(array, device):
    """Make one of these arrays from a NumPy array."""
    return ak.from_numpy(array, regulararray=True)


def get(x):
    """Give the elements as a NumPy array."""
    return ak.to_numpy(x)


if __name__ == "__main__":
    import backend_for_awkward

    import relu_xp
    from relu_xp.verify import assert_conforms

    relu_xp.register_backend("awkward", backend_for_awkward)
    print(relu_xp.leaky_relu(ak.Array([[1.0, -10.0], [], [0.0, 15.0, -20.0]])).to_list())
    for dtype, tally in assert_conforms(backend_for_awkward)["cpu"].items():
        print(f"{dtype}: {tally.values:,} values equal the definition; left out: {tally.left_out}")
