"""Sphinx: MyST pages, numpydoc docstrings, the pydata theme; `make docs` treats every warning as an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lcframework
from lcframework.entry_points import DISABLED, EVERY

sys.path.insert(0, str(Path(__file__).parent))  # for `building`

from building.executed_notebook import text_for_pages

os.environ[DISABLED] = EVERY  # the pages are of what comes with lcframework, whatever else is installed

project = "lcframework"
author = "The lcframework developers"
copyright = "the lcframework developers, GPL-3.0-or-later"
version = release = lcframework.__version__

extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click",
    "building.command_texts", "building.doubt_anchors",
]  # fmt: skip
exclude_patterns = ["_build"]
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]

nb_execution_mode = "off"  # executed_notebook executes it, for pages and tests alike
nb_merge_streams = True

napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they are in the signature
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "lcframework"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pictures.css"]
html_theme_options = {
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
}


def _with_outputs(app, docname, source):
    """Replace the tutorial, which the repository keeps without outputs, by what its execution gave."""
    if docname == "tutorial":
        source[0] = text_for_pages()


def setup(app):
    app.connect("source-read", _with_outputs)
