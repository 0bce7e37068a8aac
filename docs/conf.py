"""How Sphinx builds the pages; what they measure and draw is made first, by `measured.py`."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import measured

measured.make_all()

project = "relu_xp"
author = "The relu_xp developers"
copyright = author
release = importlib.metadata.version("relu-xp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated", "recorded"]

autodoc_typehints = "none"  # the docstrings say it in words, for every library's arrays
numpydoc_show_class_members = False

html_theme = "furo"
html_title = "relu_xp"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = False
