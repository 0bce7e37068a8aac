"""Names and keywords that people try, as other libraries have them: each error names ours."""

import re
import subprocess
import sys

import oracle
import pytest
from oracle import FUNCTIONS

import relu_xp

TRIED = {
    "relu6": "clipped_relu",
    "ReLU6": "clipped_relu",
    "clip_relu": "clipped_relu",
    "capped_relu": "clipped_relu",
    "bounded_relu": "clipped_relu",
    "relu6_grad": "clipped_relu_grad",
    "relu6_backward": "clipped_relu_vjp",
    "prelu": "leaky_relu",
    "PReLU": "leaky_relu",
    "LeakyReLU": "leaky_relu",
    "lrelu": "leaky_relu",
    "leakyrelu": "leaky_relu",
    "leaky_relu_backward": "leaky_relu_vjp",
    "prelu_derivative": "leaky_relu_grad",
    "leaky_relu6": "clipped_relu or leaky_relu",
    "relu2": "squared_relu",
    "relu_squared": "squared_relu",
    "SquaredReLU": "squared_relu",
    "relu2_vjp": "squared_relu_vjp",
    "ReLU": "relu",
    "rectify": "relu",
    "relu_": "relu",
    "drelu": "relu_grad",
    "relu_prime": "relu_grad",
    "grad_relu": "relu_grad",
    "relu_derivative": "relu_grad",
    "relu_backward": "relu_vjp",
}


@pytest.mark.parametrize("name", TRIED)
def test_a_name_of_another_library(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; ours is {TRIED[name]}$"):
        getattr(relu_xp, name)
    assert not hasattr(relu_xp, name)
    for meant in TRIED[name].split(" or "):
        assert callable(getattr(relu_xp, meant))


@pytest.mark.parametrize("name", ["gelu", "selu", "elu", "rrelu", "sigmoid", "numpy", "clip", "_x"])
def test_a_name_of_something_else(name):
    with pytest.raises(AttributeError, match=f"^module 'relu_xp' has no attribute '{name}'$"):
        getattr(relu_xp, name)


def test_a_module_that_is_not_imported_yet():
    code = "import relu_xp; relu_xp.keras"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = ran.stderr.strip().splitlines()[-1]
    assert said.startswith("AttributeError: ")
    assert said.endswith("it is a module of its own, import relu_xp.keras")
    with pytest.raises(ImportError, match="cannot import name 'relu6'"):
        from relu_xp import relu6  # noqa: F401


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_keyword_that_is_not_ours(name):
    """Python's own words: others would cost each right call a twentieth of its time."""
    for keyword in ("alpha", "slope", "inplace", "negative_slop"):
        with pytest.raises(
            TypeError, match=re.escape(f"{name}() got an unexpected keyword argument '{keyword}'")
        ):
            oracle.call(name, 1.0, **{keyword: 1})
