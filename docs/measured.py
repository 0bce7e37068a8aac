"""Makes the tables and pictures that the pages include, before each build of the docs or by hand.

    python docs/measured.py [--fresh]

It runs `relu-xp verify --quick` and `relu-xp verify --peers` and makes tables of their records,
trains the network of `relu-xp demo` to count its dead units, and draws the functions and the newest
record in `benchmarks/results`, as `pictures.py` does. All of it goes to `docs/_generated`. What
took long stays there for the next build, unless `--fresh` is given, as `nox -s docs` does.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pictures
from matplotlib.figure import Figure

from relu_xp import _survey, demo
from relu_xp._functions import FUNCTIONS
from relu_xp.bench import _plots
from relu_xp.verify import DTYPES, FLOATS

HERE = Path(__file__).parent
GENERATED = HERE / "_generated"
DRAWN = ("relu", "leaky_relu")
INKS = {"light": "#33363b", "dark": "#ced0d6"}  # of the text on a light page and on a dark one


def make_all(*, fresh: bool = False) -> None:
    """Make what is not there yet, and draw it."""
    if fresh:
        shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir(exist_ok=True)
    (GENERATED / "capabilities.md").write_text(capabilities(_verified("--quick")), encoding="utf-8")
    (GENERATED / "peers.md").write_text(peers(_verified("--peers")), encoding="utf-8")
    trainings = dead_units()
    (GENERATED / "dead.md").write_text(dead_table(trainings), encoding="utf-8")
    record = pictures.record()
    drawn = {"functions": pictures.draw_functions(), "speed": pictures.draw_speed(record)}
    drawn |= {"dead": draw_dead_units(trainings)} | {
        plot.name: plot.svg for plot in _plots.plots(record)
    }
    for name, svg in drawn.items():
        for theme, ink in INKS.items():  # each page shows the one for its theme
            inked = svg.replace(">", f"><style>svg{{color:{ink}}}</style>", 1)
            (GENERATED / f"{name}-{theme}.svg").write_text(inked, encoding="utf-8")


def _verified(option: str) -> dict[str, Any]:
    """Give the record of `relu-xp verify`, run in a process of its own, where JAX has float64."""
    file = GENERATED / f"verify{option}.json"
    if not file.exists():
        print(f"relu-xp verify {option}: this takes minutes", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "relu_xp", "verify", option, "--json", str(file)]
        environment = {**os.environ, "KERAS_BACKEND": "numpy"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return json.loads(file.read_text(encoding="utf-8"))


def capabilities(record: dict[str, Any]) -> str:
    """Tell what each backend was found to compute, and why one could not be asked."""
    lines = [f"| backend | device | {' | '.join(FLOATS)} | integers | `out=` |", "|" + "---|" * 8]
    notes: dict[str, int] = {}

    def cell(tallies: list[dict[str, Any]]) -> str:
        wrong, values = (sum(tally[name] for tally in tallies) for name in ("mismatches", "values"))
        if wrong:
            return f"{wrong:,} differ"
        reasons = [tally["left_out"]["all"] for tally in tallies if "all" in tally["left_out"]]
        reasons += [name for tally in tallies for name in tally["excepted"]]
        marks = "".join(
            f" [^{notes.setdefault(reason, len(notes) + 1)}]" for reason in dict.fromkeys(reasons)
        )
        return ("equal" if values else "not tried") + marks

    for target in record["targets"]:
        dtypes = target["dtypes"]
        floats = [cell([dtypes[name]]) for name in FLOATS]
        writes = "no" if any("out=" in tally["left_out"] for tally in dtypes.values()) else "yes"
        integers = cell([dtypes[name] for name in DTYPES if name not in FLOATS])
        lines.append(
            "| "
            + " | ".join([target["backend"], target["device"], *floats, integers, writes])
            + " |"
        )
    absent = [each for each in _survey.survey() if isinstance(each, _survey.Unavailable)]
    lines += [
        f"| {each.name} | not usable here: {_plain(each.reason)} |" + " |" * 6 for each in absent
    ]
    values = sum(
        tally["values"] for target in record["targets"] for tally in target["dtypes"].values()
    )
    where = f"Python {record['python']}, NumPy {record['numpy']}, {record['platform']}"
    footnotes = "\n".join(f"[^{number}]: {_plain(reason)}." for reason, number in notes.items())
    return "\n".join(lines) + f"\n\n{values:,} values compared: {where}.\n\n{footnotes}\n"


def peers(record: dict[str, Any]) -> str:
    """Tell how many results of other libraries differ from the definition, and why."""
    lines = [
        "| what computes | function | dtype | differ | of | why |",
        "|---|---|---|--:|--:|---|",
    ]
    for each in record["peers"]:
        why = "; ".join(
            f"`{kind}`: {count:,}, {_plain(each['names'][kind])}"
            for kind, count in each["reasons"].items()
        )
        differ = sum(each["reasons"].values())
        what = f"{_plain(each['peer'])} | `{each['function']}` | {each['dtype']}"
        lines.append(f"| {what} | {differ:,} | {each['values']:,} | {why} |")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Keep Markdown from reading anything into a library's own words."""
    return "".join(f"\\{c}" if c in "\\|*_<>[]`" else c for c in text).rstrip(".")


def dead_units() -> dict[tuple[str, float], list[tuple[float, float]]]:
    """Train the demo's network; give the share of dead units and the accuracy after each epoch.

    The keys are the activation and the first bias.
    """
    file = GENERATED / "dead.json"
    if not file.exists():
        print("training to count dead units: this takes a minute", file=sys.stderr, flush=True)
        digits = demo._load_digits()
        found = [
            [name, bias, list(_training(name, bias, digits))]
            for bias in (0.0, -1.0)
            for name in DRAWN
        ]
        file.write_text(json.dumps(found), encoding="utf-8")
    return {
        (name, bias): epochs for name, bias, epochs in json.loads(file.read_text(encoding="utf-8"))
    }


def _training(name: str, bias: float, digits: Any) -> Iterator[tuple[float, float]]:
    params = demo._first_params(bias)
    epochs = demo._epochs_by_hand(FUNCTIONS[name], params, digits)
    for epoch in range(demo.EPOCHS + 1):
        if epoch:
            params = next(epochs)
        accuracy = float(
            (demo._predict(FUNCTIONS[name], params, digits.test) == digits.test_labels).mean()
        )
        yield demo._dead_share(FUNCTIONS[name], params, digits.train), accuracy


def dead_table(trainings: dict[tuple[str, float], list[tuple[float, float]]]) -> str:
    """Tell how each training began and ended."""
    headings = [
        "activation",
        "first biases",
        "dead at first",
        "dead after 1 epoch",
        "dead in the end",
        "accuracy",
    ]
    lines = ["| " + " | ".join(headings) + " |", "|---|--:|--:|--:|--:|--:|"]
    for (name, bias), epochs in trainings.items():
        shares = " | ".join(f"{epochs[i][0]:.0%}" for i in (0, 1, -1))
        lines.append(f"| `{name}` | {bias:g} | {shares} | {epochs[-1][1]:.3f} |")
    return "\n".join(lines) + "\n"


def draw_dead_units(trainings: dict[tuple[str, float], list[tuple[float, float]]]) -> str:
    """Draw the share of dead units, and the accuracy, over the epochs."""
    with mpl.rc_context({**_plots.STYLE, "svg.hashsalt": "relu_xp"}):
        figure = Figure(figsize=(9, 3.4))
        axes = figure.subplots(1, 2, sharex=True)
        for (name, bias), epochs in trainings.items():
            look = {
                "color": _plots.COLORS[DRAWN.index(name)],
                "marker": "",
                "linestyle": "-" if bias else ":",
            }
            for axis, column in zip(axes, (0, 1), strict=True):
                axis.plot(
                    [100 * epoch[column] for epoch in epochs],
                    label=f"{name}, biases {bias:g}",
                    **look,
                )
        for axis, title in zip(
            axes, ("dead units, %", "accuracy on unseen images, %"), strict=True
        ):
            axis.set_title(title)
            axis.set_xlabel("epoch")
        axes[1].set_ylim(80, 100)
        axes[1].legend(loc="lower right")
        return _plots.svg(figure)


if __name__ == "__main__":
    make_all(fresh="--fresh" in sys.argv)
    for name in ("capabilities", "peers", "dead"):
        print((GENERATED / f"{name}.md").read_text(encoding="utf-8"))
