"""What relu_xp costs in JAX beside what JAX's own users write: `python benchmarks/in_jax.py [--steps]`.

Contestants take turns in one process, and the least time of each is compared. `--steps` adds the
training step of `examples/digits_jax.py`.
"""

import functools
import itertools
import re
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import relu_xp

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_jax.py"
SIZE, CALLS, ROUNDS = 128, 300, 30
LARGE = 1 << 20
X = jnp.linspace(-1, 1, SIZE, dtype=jnp.float32)
G, SLOPES = X + 1, jnp.full_like(X, 0.3)
Call = Callable[[], Any]
Pair = tuple[Call, Call]


def jitted_where(count: int) -> Call:
    """A jitted `where` on one to three arrays."""
    compute = jax.jit(
        lambda x, *others: jnp.where(x >= 0, (x, *others)[count == 3], others[-1] if others else 0)
    )
    arrays = (X, G, SLOPES)[:count]
    return lambda: compute(*arrays)


def eager_calls() -> dict[str, Pair]:
    """Each beside jax.nn.relu, or beside a `where` that has as many arguments; a number other than a default is one."""
    calls: dict[str, Pair] = {
        f"relu(x, grad_at_zero={z})": (
            functools.partial(relu_xp.relu, X, grad_at_zero=z),
            lambda: jax.nn.relu(X),
        )
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
        shown = [names.get(id(a), str(a)) for a in arguments] + [
            f"{k}={v}" for k, v in numbers.items()
        ]
        call = functools.partial(getattr(relu_xp, name), *arguments, **numbers)
        calls[f"{name}({', '.join(shown)})"] = call, jitted_where(count)
    return calls


def new_numbers() -> dict[str, Pair]:
    """A number that no call had before."""
    fresh = (0.1 + i / 2**20 for i in itertools.count())

    def gradient(f: Callable[..., Any], name: str) -> Call:
        return lambda: jax.grad(lambda x: f(x, **{name: next(fresh)}).sum())(X)

    slope, theirs = "negative_slope", gradient(jax.nn.leaky_relu, "negative_slope")
    return {
        "leaky_relu(x, s)": (
            lambda: relu_xp.leaky_relu(X, next(fresh)),
            lambda: jax.nn.leaky_relu(X, next(fresh)),
        ),
        "grad of leaky_relu(x, s)": (gradient(relu_xp.leaky_relu, slope), theirs),
        "grad of leaky_relu(x, grad_at_zero=z)": (
            gradient(relu_xp.leaky_relu, "grad_at_zero"),
            theirs,
        ),
        "vmap of leaky_relu(x, s)": (
            lambda: jax.vmap(lambda x: relu_xp.leaky_relu(x, next(fresh)))(X),
            lambda: jax.vmap(lambda x: jax.nn.leaky_relu(x, next(fresh)))(X),
        ),
        "grad of clipped_relu(x, c)": (
            gradient(relu_xp.clipped_relu, "ceiling"),
            lambda: jax.grad(lambda x: jax.nn.relu6(x).sum())(X),
        ),
    }


Activation = Callable[..., Any]


def gradients() -> dict[str, tuple[Activation, Activation]]:
    """Each with what jax.nn has for it."""
    leaky, slope = jax.nn.leaky_relu, {"negative_slope": 0.2}
    of = functools.partial
    return {
        "relu": (relu_xp.relu, jax.nn.relu),
        "relu, z = 0": (of(relu_xp.relu, grad_at_zero=0.0), jax.nn.relu),
        "relu, z = 0.5": (of(relu_xp.relu, grad_at_zero=0.5), jax.nn.relu),
        "leaky_relu": (relu_xp.leaky_relu, leaky),
        "leaky_relu, s = 0.2": (of(relu_xp.leaky_relu, **slope), of(leaky, **slope)),
        "leaky_relu, z = s": (
            of(relu_xp.leaky_relu, **slope, grad_at_zero=0.2),
            of(leaky, **slope),
        ),
        "leaky_relu, z = 0": (
            of(relu_xp.leaky_relu, **slope, grad_at_zero=0.0),
            of(leaky, **slope),
        ),
        "clipped_relu": (relu_xp.clipped_relu, jax.nn.relu6),
        "squared_relu": (relu_xp.squared_relu, lambda x: jnp.square(jax.nn.relu(x))),
        "leaky_relu, slopes": (relu_xp.leaky_relu, leaky),
    }


def compiled_gradient(name: str, f: Activation, dtype: str) -> tuple[Call, int]:
    """The compiled gradient as a call, and how many operations of it compute."""
    x = jnp.sin(jnp.arange(LARGE)).astype(dtype)
    arrays = (x, jnp.full(LARGE, 0.2, dtype)) if "slopes" in name else (x,)
    program = jax.jit(lambda g, *arrays: jax.vjp(f, *arrays)[1](g)).lower(x, *arrays).compile()
    operations = re.findall(r"= \S+ ([a-z][\w-]*)\(", program.as_text())
    shaping = {
        "parameter",
        "constant",
        "broadcast",
        "tuple",
        "fusion",
        "call",
        "bitcast",
        "copy",
        "convert",
    }
    return lambda: jax.block_until_ready(program(x, *arrays)), sum(
        each not in shaping for each in operations
    )


def least(pair: Pair, calls: int) -> list[float]:
    """The least time of each, in microseconds."""
    for call in pair:
        jax.block_until_ready(call())
    rounds = [[timeit.timeit(call, number=calls) / calls for call in pair] for _ in range(ROUNDS)]
    return [min(times) * 1e6 for times in zip(*rounds, strict=True)]


def show(
    title: str, pairs: dict[str, Pair], calls: int, operations: dict[str, str] | None = None
) -> None:
    """Print a table of both times and their ratio."""
    table = Table(title=title)
    for heading in ("", "relu_xp", "beside", "ratio", *(["operations"] if operations else [])):
        table.add_column(heading, justify="right" if heading else "left")
    for name, pair in pairs.items():
        ours, theirs = least(pair, calls)
        more = [operations[name]] if operations else []
        table.add_row(name, f"{ours:.2f} µs", f"{theirs:.2f} µs", f"{ours / theirs:.3f}", *more)
    Console(width=100).print(table)


def main() -> None:
    """Time eager calls, those with ever new numbers, and compiled gradients; then the example's steps."""
    where = f"on {X.device}, JAX {jax.__version__}"
    show(
        f"an eager call, {SIZE} float32 {where}, beside jax.nn.relu or a jitted where",
        eager_calls(),
        CALLS,
    )
    show(f"a new number each time, {SIZE} float32, beside jax.nn", new_numbers(), 20)
    for dtype in ("float32", "bfloat16"):
        pairs, operations = dict[str, Pair](), dict[str, str]()
        for name, both in gradients().items():
            ours, theirs = (compiled_gradient(name, f, dtype) for f in both)
            pairs[name], operations[name] = (ours[0], theirs[0]), f"{ours[1]} and {theirs[1]}"
        show(f"a compiled gradient, {LARGE:,} {dtype}, beside jax.nn's", pairs, 2, operations)
    if "--steps" in sys.argv:
        subprocess.run([sys.executable, EXAMPLE, "--epochs", "40"], check=True)


if __name__ == "__main__":
    main()
