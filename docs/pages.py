"""Writes the pages that are made from the code: one for each function, the examples, how to cite.

`conf.py` calls `write_all` after `measured.make_all`. The pages of the functions go to
`docs/functions`, parts of other pages to `docs/_generated`; git ignores both.
"""

import ast
import re
import tomllib
import zlib
from pathlib import Path
from typing import Any

import figures
import matplotlib as mpl
import measured
import pictures
import yaml
from matplotlib.figure import Figure

from relu_xp._functions import FUNCTIONS, Function
from relu_xp.bench import _plots

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The project's public addresses, such as "Repository" and "Issues": empty until it has some.
URLS: dict[str, str] = PROJECT.get("urls", {})

TITLES = {
    "value": "the function",
    "grad": "its derivative",
    "vjp": "its backward pass (VJP)",
    "slope_vjp": "its backward pass with respect to the slope",
}

# The same function in other libraries, by rectifier. A name in {} becomes a link.
ELSEWHERE = {
    "relu": {
        "PyTorch": "{torch.nn.functional.relu}, {torch.nn.ReLU}",
        "JAX": "{jax.nn.relu}",
        "Keras": '`keras.ops.relu`, `activation="relu"`',
        "TensorFlow": "`tf.nn.relu`",
        "NumPy": "`np.maximum(x, 0)`",
        "ONNX": "`Relu`",
    },
    "leaky_relu": {
        "PyTorch": "{torch.nn.functional.leaky_relu}; learned: {torch.nn.functional.prelu}",
        "JAX": "{jax.nn.leaky_relu}",
        "Keras": "`keras.ops.leaky_relu`; learned: `keras.layers.PReLU`",
        "TensorFlow": "`tf.nn.leaky_relu`",
        "NumPy": "`np.where(x > 0, x, s * x)`",
        "ONNX": "`LeakyRelu`; learned: `PRelu`",
    },
    "clipped_relu": {
        "PyTorch": "{torch.nn.functional.relu6}, {torch.nn.functional.hardtanh}",
        "JAX": "{jax.nn.relu6}",
        "Keras": "`keras.ops.relu6`, `keras.layers.ReLU(max_value=c)`",
        "TensorFlow": "`tf.nn.relu6`",
        "NumPy": "`np.clip(x, 0, c)`",
        "ONNX": "`Clip`",
    },
    "squared_relu": {
        "PyTorch": "`relu(x).square()`",
        "JAX": "`jnp.square(jax.nn.relu(x))`",
        "Keras": "`keras.ops.square(keras.ops.relu(x))`",
        "TensorFlow": "`tf.square(tf.nn.relu(x))`",
        "NumPy": "`np.square(np.maximum(x, 0))`",
        "ONNX": "`Relu`, then `Mul`",
    },
}
LETTERS = {"negative_slope": "s", "grad_at_zero": "z", "ceiling": "c", "grad_at_ceiling": "k"}
# What the dots in the picture of a rectifier are.
DOTS = {
    "relu": "The dot is the derivative at 0.",
    "leaky_relu": "The dot is the derivative at 0.",
    "clipped_relu": "The dots are the derivatives at 0 and at the ceiling.",
    "squared_relu": "The derivative has no jump.",
}
FRAMEWORKS = ("PyTorch", "JAX", "Keras", "TensorFlow")
# What each framework calls an argument, in the order of FRAMEWORKS; the default stands behind it.
WORDS = {
    "x": ("`input`", "`x`", "`x`", "`features`"),
    "cotangent": (
        "`grad_output`",
        "the argument of the function that `jax.vjp` returns",
        "-",
        "`output_gradients` of `tape.gradient`",
    ),
    "negative_slope": (
        "`negative_slope` (0.01); of `prelu`: `weight`",
        "`negative_slope` (0.01)",
        "`negative_slope` (0.2; of the layer `LeakyReLU`: 0.3), before Keras 3: `alpha`",
        "`alpha` (0.2)",
    ),
    "ceiling": ("`max_val` of `hardtanh`", "always 6", "`max_value` of `ReLU`", "always 6"),
    "out": ("`inplace=True`", "-", "-", "-"),
}
# What the derivative at 0 is there: no framework has an argument for it.
AT_ZERO = {
    "relu": ("always 0", "always 0", "always 0", "always 0"),
    "leaky_relu": ("always the slope", "always 1", "depends on the backend", "always the slope"),
    "clipped_relu": ("always 0",) * 4,
}

# Pages of other projects that ours link to. They stand here, so that no build needs the network.
INVENTORIES = {
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "numpy.errstate": "reference/generated/numpy.errstate.html",
            "numpy.ndarray": "reference/generated/numpy.ndarray.html",
        },
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        {
            f"torch.nn.{name}": f"generated/torch.nn.{name}.html"
            for name in (
                "ReLU",
                "functional.relu",
                "functional.relu6",
                "functional.leaky_relu",
                "functional.prelu",
                "functional.hardtanh",
            )
        },
    ),
    "jax": (
        "https://docs.jax.dev/en/latest/",
        {
            f"jax.nn.{name}": f"_autosummary/jax.nn.{name}.html"
            for name in ("relu", "relu6", "leaky_relu")
        },
    ),
}


def write_all() -> None:
    """Write all of them anew."""
    (HERE / "functions").mkdir(exist_ok=True)
    for rectifier in ELSEWHERE:
        _draw(rectifier)
    for function in FUNCTIONS.values():
        page = HERE / "functions" / f"{function}.md"
        page.write_text(function_page(function), encoding="utf-8")
    parts = {
        "examples": examples(),
        "cite": cite(),
        "functions": function_table(),
        "differences": differences(),
        "address": address(),
        "machine": machine(),
    }
    parts |= {f"figures-{name}": text for name, text in figures.parts().items()}
    for name, text in parts.items():
        (measured.GENERATED / f"{name}.md").write_text(text, encoding="utf-8")


def inventories() -> dict[str, tuple[str, str]]:
    """Write the inventories that `intersphinx_mapping` reads, and give that mapping."""
    mapping = {}
    for project, (base, names) in INVENTORIES.items():
        lines = [f"{name} py:function 1 {page}#$ -\n" for name, page in names.items()]
        head = "# Sphinx inventory version 2\n# Project: {}\n# Version:\n"
        head += "# The remainder of this file is compressed using zlib.\n"
        body = zlib.compress("".join(lines).encode())
        file = measured.GENERATED / f"{project}.inv"
        file.write_bytes(head.format(project).encode() + body)
        mapping[project] = (base, str(file))
    return mapping


def _draw(rectifier: str) -> None:
    """Draw a rectifier beside its derivative, for light and dark pages."""
    with mpl.rc_context({**_plots.STYLE, "svg.hashsalt": "relu_xp"}):
        figure = Figure(figsize=(6.4, 2.6))
        function = FUNCTIONS[rectifier]
        colour = _plots.COLORS[pictures.VALUES.index(function)]
        pictures._draw_function(function, *figure.subplots(1, 2), colour)
        drawn = _plots.svg(figure)
    for theme, ink in measured.INKS.items():
        inked = drawn.replace(">", f"><style>svg{{color:{ink}}}</style>", 1)
        (measured.GENERATED / f"{rectifier}-{theme}.svg").write_text(inked, encoding="utf-8")


def function_page(function: Function) -> str:
    """Give the page of one function."""
    family = [f for f in FUNCTIONS.values() if f.rectifier == function.rectifier]
    links = "\n".join(
        f"- [`{each}`]({each}.md): {TITLES[each.role]}" for each in family if each is not function
    )
    sections = [
        f"# {function}",
        f"```{{eval-rst}}\n.. currentmodule:: relu_xp\n.. autofunction:: {function}\n```",
        "## For every kind of input",
        cases(function),
        _letters(function),
        "## Plot",
        _picture(function.rectifier),
        f"## In other libraries\n\n{_elsewhere(function)}",
        f"## Arguments in other libraries\n\n{_arguments(function)}",
        f"## See also\n\n{links}\n- [Definition](../definition.md) of each for one number",
    ]
    return "\n\n".join(sections) + "\n"


def cases(function: Function) -> str:
    """Give the row of one function in the table of semantics.md, under its heading."""
    text = (HERE / "semantics.md").read_text(encoding="utf-8")
    head = re.search(r"^\| \| x > 0 .*\n\|.*\n", text, re.MULTILINE)
    row = re.search(rf"^\| `{function}\(.*$", text, re.MULTILINE)
    if not head or not row:
        msg = f"semantics.md has no row for {function}"
        raise ValueError(msg)
    return head[0] + row[0]


def _letters(function: Function) -> str:
    """Explain the letters in the row of a function."""
    named = [f"{LETTERS[each.name]} is `{each.name}`" for each in function.scalars]
    if "cotangent" in function.arrays:
        named.append("g is the cotangent")
    here = f"Here {', '.join(named)}. " if named else ""
    return f"{here}See [Semantics](../semantics.md)."


def _picture(rectifier: str) -> str:
    blocks = (
        f"```{{image}} ../_generated/{rectifier}-{theme}.svg\n:class: only-{theme}\n:width: 34rem\n"
        f":alt: {rectifier} and its derivative\n```"
        for theme in measured.INKS
    )
    return "\n\n".join([*blocks, DOTS[rectifier]])


def _elsewhere(function: Function) -> str:
    calls = ELSEWHERE[function.rectifier].items()
    linked = [(name, re.sub("{(.*?)}", r"{external:py:func}`\1`", call)) for name, call in calls]
    rows = [f"| {library} | {call} |" for library, call in linked]
    found = [
        each for each in _peers()["peers"] if each["function"] == function.name
    ]  # of this machine
    table = "| library | `" + function.rectifier + "` there |\n|---|---|\n" + "\n".join(rows)
    if not found:
        return table
    differ = measured.peers({"peers": found})
    return (
        f"{table}\n\n````{{dropdown}} How their results differ from ours\n{differ}\n"
        "[Kinds of faults](../kernels.md#kinds-of-faults) explains the names.\n````"
    )


def _arguments(function: Function) -> str:
    words = dict(WORDS)
    at_zero = AT_ZERO.get(function.rectifier)
    if at_zero:
        words["grad_at_zero"] = at_zero
        words["grad_at_ceiling"] = ("always 0",) * 4
    names = [*function.arrays, *(each.name for each in function.parameters), "out"]
    rows = [f"| `{name}` | {' | '.join(words[name])} |" for name in names]
    return f"| here | {' | '.join(FRAMEWORKS)} |\n{'|---' * 5}|\n" + "\n".join(rows)


def _peers() -> dict[str, Any]:
    return measured._verified("--peers")


def function_table() -> str:
    """Give the table of all functions, with links, and the order of their pages."""
    rows = ["| function | derivative | backward pass | for a learned slope |", "|---|---|---|---|"]
    for rectifier in ELSEWHERE:
        family = {
            f.role: f"[`{f}`](functions/{f}.md)"
            for f in FUNCTIONS.values()
            if f.rectifier == rectifier
        }
        rows.append("| " + " | ".join(family.get(role, "") for role in TITLES) + " |")
    tree = "\n".join(f"functions/{name}" for name in FUNCTIONS)
    tree = f"```{{toctree}}\n:hidden:\n\n{tree}\ndefinition\nmodules\nverifier\nprotocols\n```"
    return "\n".join(rows) + f"\n\n{tree}\n"


def differences() -> str:
    """Give what `relu-xp verify --peers` found, a folded table for each function."""
    found = _peers()["peers"]
    return "\n".join(
        f"```{{dropdown}} {name}\n{measured.peers({'peers': rows})}\n```\n"
        for name in FUNCTIONS
        if (rows := [each for each in found if each["function"] == name])
    )


def examples() -> str:
    """Give a table of all scripts, then for each what it shows, how it is run, and its text."""
    scripts = sorted((ROOT / "examples").glob("[!_]*.py"))
    rows = ["| example | what it shows | what it needs |", "|---|---|---|"]
    for path in scripts:
        summary, needs, *_ = described(path)
        packages = needs.partition("install ")[2].replace('"', "")
        name = f"[{path.stem}](examples.md#{path.stem})"
        rows.append(f"| {name} | {' '.join(summary.split())} | `{packages}` |")
    return "\n".join(rows) + "\n\n" + "\n".join(map(_card, scripts))


def _card(path: Path) -> str:
    summary, needs, command, rest = described(path)
    return f"""## {path.stem}

{summary}

{rest}

```console
$ {needs}
$ {command}
```

````{{dropdown}} {path.name}
```{{literalinclude}} ../examples/{path.name}
:language: python
```
````
"""


def described(path: Path) -> tuple[str, str, str, str]:
    """Read a script's docstring: its first sentence, two commands, and the rest."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    summary, *paragraphs = docstring.split("\n\n")
    commands = [
        line.partition("    #")[0].strip()
        for line in docstring.splitlines()
        if line.startswith("    python")
    ]
    prose = [each for each in paragraphs if not each.startswith("    python")]
    return summary, commands[0], commands[1], "\n\n".join(prose)


def cite() -> str:
    """Give BibTeX from CITATION.cff."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}"
        for a in found["authors"]
    )
    fields = {"title": found["title"], "author": authors, "version": found["version"]}
    if "date-released" in found:
        fields["year"] = str(found["date-released"])[:4]
    if url := found.get("url") or found.get("repository-code") or URLS.get("Repository"):
        fields["url"] = url
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"```bibtex\n@software{{relu_xp,\n{lines}\n}}\n```\n"


def machine() -> str:
    """Say where and when the records of the pictures and of NumPy's figures were made."""
    about = pictures.record()["about"]
    found = figures.numpy_record()
    return (
        f"The plots: {about['date'][:10]}, {about['cpu']}, {about['cores']} cores. "
        f"NumPy's tables: {found['date']}, {found['machine']}, NumPy {found['numpy']}.\n"
    )


def address() -> str:
    """Say where the project is: the addresses in pyproject.toml, if it has some."""
    links = "".join(f"- [{name}]({url})\n" for name, url in URLS.items())
    return links or "The code is in the repository that you got it from. Open an issue there.\n"
