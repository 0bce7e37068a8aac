"""How Sphinx builds the pages. `measured.py` and `pages.py` first make what they show."""

import importlib
import importlib.metadata
import inspect
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import measured
import pages

measured.make_all()
pages.write_all()

project = "relu_xp"
author = "The relu_xp developers"
copyright = author
release = importlib.metadata.version("relu-xp")
repository = pages.URLS.get("Repository", "").rstrip("/")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    # [source] leads to the repository, or to a copy of the source where there is no address.
    "sphinx.ext.linkcode" if repository else "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated", "recorded"]

autodoc_typehints = "none"  # the docstrings say it in words, for every library's arrays
numpydoc_show_class_members = False
intersphinx_mapping = pages.inventories()

# Without the prompts, and without what was printed.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"relu_xp {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = False
if repository:
    html_theme_options = {
        "source_repository": repository,
        "source_branch": "main",
        "source_directory": "docs/",
        "footer_icons": [
            {"name": name, "url": url, "html": name, "class": ""}
            for name, url in pages.URLS.items()
        ],
    }


def _home(module: str, name: str) -> str:
    """Name the module in which a public object is written: its functions say `relu_xp`."""
    found = getattr(importlib.import_module(module), name.partition(".")[0])
    return getattr(found, "__globals__", {}).get("__name__") or found.__module__


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Give the address of an object's source."""
    if domain != "py" or not info["module"]:
        return None
    module = importlib.import_module(_home(info["module"], info["fullname"]))
    found = getattr(module, info["fullname"].partition(".")[0])
    lines, first = inspect.getsourcelines(found)
    file = module.__name__.replace(".", "/")
    file += "/__init__.py" if hasattr(module, "__path__") else ".py"
    return f"{repository}/blob/v{release}/src/{file}#L{first}-L{first + len(lines) - 1}"


def setup(app: Any) -> None:
    """Tell viewcode where the public functions are written."""
    if not repository:
        app.connect("viewcode-follow-imported", lambda app, *names: _home(*names))
