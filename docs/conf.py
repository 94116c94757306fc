"""Sphinx: MyST pages, numpydoc docstrings, the pydata theme; `make docs` treats every warning as an error."""

from __future__ import annotations

import lcframework

project = "lcframework"
author = "The lcframework developers"
copyright = "the lcframework developers, GPL-3.0-or-later"
version = release = lcframework.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "tutorial.ipynb"]  # offered for download
nitpicky = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

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
html_theme_options = {
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
}
