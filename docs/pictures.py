"""Draws the pictures of the README and of the docs' first page: the functions, and their speed.

    python docs/pictures.py [FOLDER]

It draws the functions by calling them, and the times from the newest record in
`benchmarks/results`, which `relu-xp bench --peers --json` writes. The pictures go to `docs/plots`,
which is committed, and follow the reader's light or dark scheme.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

import relu_xp
from relu_xp._functions import FUNCTIONS, Function
from relu_xp.bench import _plots, _summary

HERE = Path(__file__).parent
# These show the shapes better than the defaults.
SHOWN = {"negative_slope": 0.2, "ceiling": 2.0}
VALUES = [each for each in FUNCTIONS.values() if each.role == "value"]
TIMED = "leaky_relu"
# For each library, what is compared with ours: its name in the record, and the name that is shown.
THEIRS = {
    "numpy": {"np.where": "np.where", "np.maximum(x, s*x)": "np.maximum(x, s*x)", "copy": "a copy"},
    "torch": {"torch.nn.functional": "torch.nn.functional"},
    "jax": {"jax.nn, jit": "jax.nn, compiled", "jax.nn, eager": "jax.nn, eager"},
}


def record() -> dict[str, Any]:
    """Read the newest record."""
    newest = sorted((HERE.parent / "benchmarks" / "results").glob("*.json"))[-1]
    return json.loads(newest.read_text(encoding="utf-8"))


def draw_functions() -> str:
    """Draw each rectifier over its derivative, with dots for the derivative where it jumps."""
    with mpl.rc_context({**_plots.STYLE, "svg.hashsalt": "relu_xp"}):
        figure = Figure(figsize=(9, 4.4))
        axes = figure.subplots(2, len(VALUES), sharex=True, sharey="row")
        for function, (above, below), color in zip(VALUES, axes.T, _plots.COLORS, strict=False):
            _draw_function(function, above, below, color)
        return _plots.svg(figure)


def _draw_function(function: Function, above: Any, below: Any, color: str) -> None:
    [derivative] = (
        f for f in FUNCTIONS.values() if f.rectifier == function.rectifier and f.role == "grad"
    )
    x = np.linspace(-3, 3, 1201)  # 0 and the ceiling are among them
    for drawn, axes in ((function, above), (derivative, below)):
        given = {each.name: SHOWN[each.name] for each in drawn.scalars if each.name in SHOWN}
        y = getattr(relu_xp, drawn.name)(x, **given)
        jumps = np.flatnonzero(abs(np.diff(y)) > 0.3)
        pieces = np.insert(y, jumps + 1, np.nan)
        axes.plot(np.insert(x, jumps + 1, np.nan), pieces, color=color, marker="", linewidth=2)
        at = [i for i in sorted({*jumps, *(jumps + 1)}) if x[i] in (0.0, SHOWN["ceiling"])]
        axes.plot(x[at], y[at], "o", color=color, markersize=5)
        told = ", ".join(f"{name.rpartition('_')[2]} {value:g}" for name, value in given.items())
        axes.set_title(
            f"{drawn}, {told}" if told and drawn is function else drawn.name, fontsize=9.5
        )
    above.set_ylim(-0.8, 3.2)
    below.set_ylim(-0.3, 3.2)
    below.set_xlabel("x")


def draw_speed(found: dict[str, Any]) -> str:
    """Draw the time of a call against the number of elements, beside each library's own."""
    benchmarks = _summary.select(
        found, "overhead", "kernels", function=TIMED, dtype="float32", mode="fresh", device="cpu"
    )
    with mpl.rc_context({**_plots.STYLE, "svg.hashsalt": "relu_xp"}):
        figure = Figure(figsize=(9, 3.6))
        axes = figure.subplots(1, len(THEIRS), sharex=True, sharey=True)
        for panel, (library, theirs) in zip(axes, THEIRS.items(), strict=True):
            others = iter(_plots.COLORS[1:])
            for name, label in {f"relu_xp, {library}": "relu_xp", **theirs}.items():
                points = [
                    (c["size"], _summary.median(e))
                    for c in benchmarks
                    if (e := _summary.entry(c, name))
                ]
                look = _plots.PLAIN if name == "copy" else {"color": next(others)}
                look = {"color": _plots.COLORS[0]} if label == "relu_xp" else look
                panel.plot(
                    *zip(*points, strict=True),
                    label=label,
                    zorder=3 if label == "relu_xp" else 2,
                    **look,
                )
            panel.set_yscale("log")
            _plots.sizes_below(panel, [c["size"] for c in benchmarks], 5)
            panel.yaxis.set_major_formatter(EngFormatter("s"))
            panel.set_title(
                {"numpy": "NumPy", "torch": "PyTorch, eager", "jax": "JAX, eager call"}[library]
            )
            panel.set_xlabel("elements")
            panel.legend(loc="upper left")
        axes[0].set_ylabel(f"a call of {TIMED}, float32")
        return _plots.svg(figure)


def main(folder: Path = HERE / "plots") -> None:
    """Write both pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    functions = "The rectifiers, and below each its derivative"
    speed = "The time of a call against the number of elements, on NumPy, PyTorch and JAX"
    (folder / "functions.svg").write_text(
        _plots.stand_alone(draw_functions(), functions), encoding="utf-8"
    )
    (folder / "speed.svg").write_text(
        _plots.stand_alone(draw_speed(record()), speed), encoding="utf-8"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
