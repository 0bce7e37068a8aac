"""Writes a run down as one HTML page, which needs no network and no script."""

from pathlib import Path

import jinja2

from relu_xp.bench import _plots, _summary
from relu_xp.bench._comparing import Change, Comparison
from relu_xp.bench._measuring import SAMPLE
from relu_xp.bench._summary import Record, Table

# The sections of plots: the first word of the plots' names, and the question that they answer.
_SECTIONS = {
    "throughput": "How near to a copy does each backend come?",
    "overhead": "What does a call cost?",
    "speedup": "How does it compare with NumPy's idioms, and with each library's own functions?",
    "growth": "How does the cost grow with the array?",
    "training": "What does it change in a network?",
}


def page(record: Record, comparison: Comparison | None = None) -> str:
    """Give the page's text."""
    drawn = list(_plots.plots(record))
    sections = [
        (kind, question, [p for p in drawn if p.name.partition("-")[0] == kind])
        for kind, question in _SECTIONS.items()
    ]
    about = record["about"]
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
    )
    return environment.get_template("page.html.jinja").render(
        about=about,
        interrupted=record["interrupted"],
        findings=_summary.findings(record),
        comparison=comparison,
        changed=_lines(comparison.marked if comparison else []),
        everything=_lines(comparison.changes if comparison else []),
        busy=_summary.busy(record),
        legend=_legend,
        sections=[section for section in sections if section[2]],
        tables=list(_summary.tables(record)),
        machine=_machine(about),
        rounds=max(
            (len(e["seconds"]) for c in record["benchmarks"] for e in c["entries"]), default=0
        ),
        sample=round(SAMPLE * 1e6),
        left_out=_summary.left_out(record),
    )


def _legend(plots: list[_plots.Plot]) -> list[tuple[str, str]]:
    """Give the colors of all lines of a group, by label."""
    found = {label: color for plot in plots for label, color in plot.legend.items()}
    return [(label, color.replace(_plots.INK, "currentColor")) for label, color in found.items()]


def _lines(changes: list[Change]) -> Table:
    rows = [
        ("slower" if e.change > 0 else "faster", [e.what, e.name, f"{e.ratio:.2f}"])
        for e in changes
    ]
    return Table("", ["what", "candidate", "now / before"], rows)


def _machine(about: Record) -> dict[str, str]:
    caches = ", ".join(f"{level} {size >> 10:,} KiB" for level, size in about["caches"].items())
    return {
        "processor": f"{about['cpu']}, {about['cores']} cores",
        "caches": caches or "unknown",
        "memory": f"{about['memory'] / 2**30:.0f} GiB" if about["memory"] else "unknown",
        "GPU": "; ".join(about["gpus"]) or "none",
        "system": f"{about['system']}; transparent huge pages: {about['huge_pages']}",
        "versions": ", ".join(
            [f"Python {about['python']}", *(f"{k} {v}" for k, v in about["versions"].items())]
        ),
        "workers": f"{about['workers']}",
    }
