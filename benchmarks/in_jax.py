"""Times relu_xp in JAX beside what users of JAX write.

    python benchmarks/in_jax.py [--steps]

All take turns in one process, and the least time of each is compared. `--steps` adds the training
step of `examples/digits_jax.py`.
"""

import argparse
import functools
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import relu_xp
from relu_xp.bench._measuring import times

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_jax.py"
SIZE, LARGE, ROUNDS = 128, 1 << 20, 30
SAMPLE = 2e-3  # seconds
X = jnp.linspace(-1, 1, SIZE, dtype=jnp.float32)
G, SLOPES = X + 1, jnp.full_like(X, 0.3)
Call = Callable[[], Any]
Pair = tuple[Call, Call]
of = functools.partial


def jitted_where(count: int) -> Call:
    """Give a jitted `where` of one to three arrays."""
    compute = jax.jit(
        lambda x, *others: jnp.where(x >= 0, (x, *others)[count == 3], others[-1] if others else 0)
    )
    return of(compute, *(X, G, SLOPES)[:count])


def eager_calls() -> dict[str, Pair]:
    """Each beside jax.nn.relu or a jitted `where` of as many arguments.

    A number other than the default counts as an argument.
    """
    calls: dict[str, Pair] = {
        f"relu(x, grad_at_zero={z})": (of(relu_xp.relu, X, grad_at_zero=z), of(jax.nn.relu, X))
        for z in (1.0, 0.0, 0.5)
    }
    others: list[tuple[str, tuple[Any, ...], dict[str, float], int]] = [
        ("leaky_relu", (X,), {}, 1),
        ("leaky_relu", (X, 0.2), {}, 2),
        ("leaky_relu", (X, 0.0), {}, 2),
        ("leaky_relu", (X, 0.3), {"grad_at_zero": 0.0}, 2),
        ("leaky_relu", (X, SLOPES), {}, 2),
        ("leaky_relu_grad", (X, 0.2), {}, 2),
        ("clipped_relu", (X,), {}, 1),
        ("clipped_relu", (X, 5.0), {}, 2),
        ("squared_relu", (X,), {}, 1),
        ("relu_vjp", (X, G), {"grad_at_zero": 0.0}, 2),
        ("relu_vjp", (X, G), {"grad_at_zero": 0.5}, 3),
        ("leaky_relu_vjp", (X, G), {}, 2),
        ("leaky_relu_vjp", (X, G, 0.3), {"grad_at_zero": 0.0}, 3),
        ("leaky_relu_vjp", (X, G, SLOPES), {}, 3),
        ("leaky_relu_slope_vjp", (X, G), {}, 2),
        ("clipped_relu_vjp", (X, G), {}, 2),
        ("squared_relu_vjp", (X, G), {}, 2),
    ]
    names = {id(X): "x", id(G): "g", id(SLOPES): "slopes"}
    for name, arguments, numbers, count in others:
        shown = [names.get(id(a), str(a)) for a in arguments]
        shown += [f"{k}={v}" for k, v in numbers.items()]
        call = of(getattr(relu_xp, name), *arguments, **numbers)
        calls[f"{name}({', '.join(shown)})"] = call, jitted_where(count)
    return calls


def new_numbers() -> dict[str, Pair]:
    """Calls with a number that no call had before."""
    fresh = (0.1 + i / 2**20 for i in itertools.count())
    leaky, clipped = relu_xp.leaky_relu, relu_xp.clipped_relu

    def gradient(f: Callable[..., Any], name: str = "negative_slope") -> Call:
        return lambda: jax.grad(lambda x: f(x, **{name: next(fresh)}).sum())(X)

    def batched(f: Callable[..., Any]) -> Call:
        return lambda: jax.vmap(lambda x: f(x, next(fresh)))(X)

    theirs, relu6 = jax.nn.leaky_relu, jax.grad(lambda x: jax.nn.relu6(x).sum())
    return {
        "leaky_relu(x, s)": (lambda: leaky(X, next(fresh)), lambda: theirs(X, next(fresh))),
        "grad of leaky_relu(x, s)": (gradient(leaky), gradient(theirs)),
        "grad of leaky_relu(x, grad_at_zero=z)": (
            gradient(leaky, "grad_at_zero"),
            gradient(theirs),
        ),
        "vmap of leaky_relu(x, s)": (batched(leaky), batched(theirs)),
        "grad of clipped_relu(x, c)": (gradient(clipped, "ceiling"), lambda: relu6(X)),
    }


Activation = Callable[..., Any]


def gradients() -> dict[str, tuple[Activation, Activation]]:
    """Functions, each with the one that jax.nn has for it."""
    ours, theirs = relu_xp.leaky_relu, jax.nn.leaky_relu
    ours_2, theirs_2 = (of(f, negative_slope=0.2) for f in (ours, theirs))
    return {
        "relu": (relu_xp.relu, jax.nn.relu),
        "relu, z = 0": (of(relu_xp.relu, grad_at_zero=0.0), jax.nn.relu),
        "relu, z = 0.5": (of(relu_xp.relu, grad_at_zero=0.5), jax.nn.relu),
        "leaky_relu": (ours, theirs),
        "leaky_relu, s = 0.2": (ours_2, theirs_2),
        "leaky_relu, z = s": (of(ours_2, grad_at_zero=0.2), theirs_2),
        "leaky_relu, z = 0": (of(ours_2, grad_at_zero=0.0), theirs_2),
        "clipped_relu": (relu_xp.clipped_relu, jax.nn.relu6),
        "squared_relu": (relu_xp.squared_relu, lambda x: jnp.square(jax.nn.relu(x))),
        "leaky_relu, slopes": (ours, theirs),
    }


# Operations that compute nothing.
SHAPING = {
    *("parameter", "constant", "broadcast", "tuple", "fusion", "call", "bitcast", "copy", "convert")
}


def compiled_gradient(name: str, f: Activation, dtype: str) -> tuple[Call, int]:
    """Give the compiled gradient as a call, and the number of its operations that compute."""
    x = jnp.sin(jnp.arange(LARGE)).astype(dtype)
    arrays = (x, jnp.full(LARGE, 0.2, dtype)) if "slopes" in name else (x,)
    program = jax.jit(lambda g, *arrays: jax.vjp(f, *arrays)[1](g)).lower(x, *arrays).compile()
    operations = re.findall(r"= \S+ ([a-z][\w-]*)\(", program.as_text())
    count = sum(each not in SHAPING for each in operations)
    return lambda: jax.block_until_ready(program(x, *arrays)), count


def show(title: str, pairs: dict[str, Pair], operations: dict[str, str] | None = None) -> None:
    """Print a table of both times and their ratio."""
    table = Table(title=title)
    for heading in ("", "relu_xp", "beside", "ratio", *(["operations"] if operations else [])):
        table.add_column(heading, justify="right" if heading else "left")
    for name, pair in pairs.items():
        found = times(dict(zip(("ours", "theirs"), pair, strict=True)), ROUNDS, SAMPLE, min)
        cells = [f"{seconds * 1e6:.2f} µs" for seconds in found.values()]
        cells += [f"{found['ours'] / found['theirs']:.3f}"]
        table.add_row(name, *cells, *([operations[name]] if operations else []))
    Console(width=100).print(table)


def main() -> None:
    """Time eager calls, calls with new numbers and compiled gradients; then the example's steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", action="store_true", help="also run examples/digits_jax.py")
    options = parser.parse_args()
    what = f"{SIZE} float32 on {X.device}, JAX {jax.__version__}"
    show(f"an eager call, {what}, beside jax.nn.relu or a jitted where", eager_calls())
    show(f"a new number each time, {SIZE} float32, beside jax.nn", new_numbers())
    for dtype in ("float32", "bfloat16"):
        pairs, operations = dict[str, Pair](), dict[str, str]()
        for name, both in gradients().items():
            ours, theirs = (compiled_gradient(name, f, dtype) for f in both)
            pairs[name], operations[name] = (ours[0], theirs[0]), f"{ours[1]} and {theirs[1]}"
        show(f"a compiled gradient, {LARGE:,} {dtype}, beside jax.nn's", pairs, operations)
    if options.steps:
        subprocess.run([sys.executable, EXAMPLE, "--epochs", "40"], check=True)


if __name__ == "__main__":
    main()
