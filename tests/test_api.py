"""The public surface: names, signatures, documentation, and the scalar functions' types."""

import ast
import inspect
import types

import pytest

import relu_xp
from relu_xp import reference

SIX = ["leaky_relu", "leaky_relu_grad", "leaky_relu_vjp", "relu", "relu_grad", "relu_vjp"]


def test_all():
    assert relu_xp.__all__ == ["cpu_options", *SIX[:3], "reference", "register_backend", *SIX[3:]]
    public = {n for n, v in vars(relu_xp).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    assert public | {"reference"} == {*relu_xp.__all__}


@pytest.mark.parametrize("name", SIX)
def test_signature(name):
    parameters = list(inspect.signature(getattr(relu_xp, name)).parameters.values())
    wanted = {"x": "POSITIONAL_ONLY"}
    if name.endswith("vjp"):
        wanted["cotangent"] = "POSITIONAL_ONLY"
    if name.startswith("leaky"):
        wanted["negative_slope"] = "POSITIONAL_OR_KEYWORD"
    wanted |= {"grad_at_zero": "KEYWORD_ONLY", "out": "KEYWORD_ONLY"}
    assert {p.name: p.kind.name for p in parameters} == wanted
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == {
        **({"negative_slope": 0.01} if name.startswith("leaky") else {}),
        "grad_at_zero": 1.0,
        "out": None,
    }


@pytest.mark.parametrize("name", SIX)
def test_reference_takes_the_same_arguments(name):
    public = inspect.signature(getattr(relu_xp, name)).parameters
    scalar = inspect.signature(getattr(reference, name)).parameters
    assert [(p.name, p.kind, p.default) for p in scalar.values()] == [
        (p.name, p.kind, p.default) for p in public.values() if p.name != "out"
    ]


@pytest.mark.parametrize("name", SIX)
def test_docstring_has_the_numpydoc_sections(name):
    text = inspect.getdoc(getattr(relu_xp, name))
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text


def test_reference_is_independent():
    tree = ast.parse(inspect.getsource(reference))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("function", "args", "options", "want"),
    [
        # The contract's table, row by row: x > 0, x == 0 of either sign, x < 0, x is NaN.
        ("relu", (2.5,), {}, 2.5),
        ("relu", (0.0,), {}, 0.0),
        ("relu", (-0.0,), {}, 0.0),
        ("relu", (-2.5,), {}, 0.0),
        ("relu", (NAN,), {}, NAN),
        ("relu", (-INF,), {}, 0.0),
        ("leaky_relu", (2.5, 0.5), {}, 2.5),
        ("leaky_relu", (0.0, 0.5), {}, 0.0),
        ("leaky_relu", (-0.0, 0.5), {}, -0.0),
        ("leaky_relu", (-0.0, -0.5), {}, -0.0),
        ("leaky_relu", (-2.5, 0.5), {}, -1.25),
        ("leaky_relu", (-2.5, 0.0), {}, -0.0),
        ("leaky_relu", (NAN, 0.5), {}, NAN),
        ("leaky_relu", (-INF, 0.0), {}, NAN),
        ("relu_grad", (2.5,), {}, 1.0),
        ("relu_grad", (0.0,), {}, 1.0),
        ("relu_grad", (-0.0,), {"grad_at_zero": 0.5}, 0.5),
        ("relu_grad", (-2.5,), {}, 0.0),
        ("relu_grad", (NAN,), {}, 0.0),
        ("leaky_relu_grad", (2.5, 0.5), {}, 1.0),
        ("leaky_relu_grad", (-0.0, 0.5), {}, 1.0),
        ("leaky_relu_grad", (0.0, 0.5), {"grad_at_zero": 0.5}, 0.5),
        ("leaky_relu_grad", (-2.5, 0.5), {}, 0.5),
        ("leaky_relu_grad", (NAN, 0.5), {}, 0.5),
        ("relu_vjp", (2.5, -3.0), {}, -3.0),
        ("relu_vjp", (0.0, -3.0), {}, -3.0),
        ("relu_vjp", (-0.0, -INF), {"grad_at_zero": 0.0}, 0.0),
        ("relu_vjp", (0.0, -3.0), {"grad_at_zero": 0.5}, -1.5),
        ("relu_vjp", (-2.5, -INF), {}, 0.0),
        ("relu_vjp", (NAN, NAN), {}, 0.0),
        ("leaky_relu_vjp", (2.5, -3.0, 0.5), {}, -3.0),
        ("leaky_relu_vjp", (-0.0, -3.0, 0.5), {}, -3.0),
        ("leaky_relu_vjp", (0.0, -INF, 0.5), {"grad_at_zero": 0.0}, 0.0),
        ("leaky_relu_vjp", (0.0, -3.0, 0.5), {"grad_at_zero": 0.25}, -0.75),
        ("leaky_relu_vjp", (-2.5, -3.0, 0.5), {}, -1.5),
        ("leaky_relu_vjp", (NAN, -3.0, 0.5), {}, -1.5),
        ("leaky_relu_vjp", (-2.5, INF, 0.0), {}, NAN),
    ],
)
def test_semantics_of_python_floats(function, args, options, want):
    for module in (reference, relu_xp):
        got = getattr(module, function)(*args, **options)
        assert type(got) is float
        assert got.hex() == want.hex()


@pytest.mark.parametrize("x", [-3, 0, 7])
def test_python_ints(x):
    assert type(relu_xp.relu(x)) is int
    assert relu_xp.relu(x) == max(x, 0)
    for name in SIX:
        if name != "relu":
            args = (x, 2) if name.endswith("vjp") else (x,)
            got = getattr(relu_xp, name)(*args)
            assert type(got) is float
            assert got == getattr(reference, name)(*map(float, args))
