"""The public surface: names, signatures, documentation, and the scalar functions' types."""

import ast
import inspect
import json
import pickle
import pydoc
import re
import types

import numpy as np
import pytest
from oracle import FUNCTIONS, RECORDS

import relu_xp
from relu_xp import reference


def test_all():
    others = ["cpu_options", "info", "reference", "register_backend", "unregister_backend"]
    assert relu_xp.__all__ == sorted([*others, *FUNCTIONS])
    public = {
        n
        for n, v in vars(relu_xp).items()
        if not n.startswith("_") and not isinstance(v, types.ModuleType)
    }
    assert public | {"reference"} == {*relu_xp.__all__}


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_signature(record):
    """The record's: arrays, then slope or ceiling, then, keyword-only, the derivatives at kinks."""
    parameters = list(inspect.signature(getattr(relu_xp, record.name)).parameters.values())
    wanted = dict.fromkeys(record.arrays, "POSITIONAL_ONLY")
    for each in record.parameters:
        wanted[each.name] = "KEYWORD_ONLY" if "grad_at" in each.name else "POSITIONAL_OR_KEYWORD"
    assert {p.name: p.kind.name for p in parameters} == {**wanted, "out": "KEYWORD_ONLY"}
    defaults = [p.default for p in parameters if p.default is not p.empty]
    assert len(defaults) == len(record.defaults) + 1
    assert all(
        default is known for default, known in zip(defaults, (*record.defaults, None), strict=True)
    )


@pytest.mark.parametrize("name", relu_xp.__all__)
def test_public_names_are_what_users_see(name):
    public = getattr(relu_xp, name)
    if callable(public):
        assert pickle.loads(pickle.dumps(public)) is public
        assert re.search(rf"^(def|class) {name}\b", inspect.getsource(public), re.MULTILINE)
    if inspect.isfunction(public):
        assert f"{public.__module__}.{public.__qualname__}" == f"relu_xp.{name}"
        title, *_ = pydoc.plain(pydoc.render_doc(public)).splitlines()
        assert title.endswith(f" {name} in module relu_xp")


def test_the_defaults_are_the_contracts():
    found = {each.name: each.default for record in RECORDS for each in record.parameters}
    contract = {"negative_slope": 0.01, "grad_at_zero": 1.0, "ceiling": 6.0, "grad_at_ceiling": 0.0}
    assert found.items() <= contract.items()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_reference_takes_the_same_arguments(name):
    public = inspect.signature(getattr(relu_xp, name)).parameters
    scalar = inspect.signature(getattr(reference, name)).parameters
    assert [(p.name, p.kind, p.default) for p in scalar.values()] == [
        (p.name, p.kind, p.default) for p in public.values() if p.name != "out"
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
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
    for record in RECORDS:
        if not record.takes_integers:
            args = (x, 2)[: len(record.arrays)]
            got = getattr(relu_xp, record.name)(*args)
            assert type(got) is float
            assert got == getattr(reference, record.name)(*map(float, args))


def test_info_is_what_the_command_line_prints(capsys, monkeypatch):
    pytest.importorskip("rich", reason="rich: not installed")
    from relu_xp.__main__ import main

    found = json.loads(json.dumps(relu_xp.info()))
    ours = next(each for each in found["backends"] if each["backend"] == "numpy")
    assert ours == {"backend": "numpy", "device": "cpu", "usable": True, "reason": None}
    assert found["versions"]["numpy"] == np.__version__
    assert all(each["usable"] == (each["reason"] is None) for each in found["backends"])
    monkeypatch.setenv("COLUMNS", "500")
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    backends = [
        each[key] or "" for each in found["backends"] for key in ("backend", "device", "reason")
    ]
    told = [
        found["python"],
        found["platform"],
        found["compiled_loops"],
        *found["versions"].values(),
        *backends,
    ]
    assert [each for each in told if each not in printed] == []
