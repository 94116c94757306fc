"""Makes of commands' help, which is plain text, the reStructuredText that `sphinx_click` takes it for."""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``[^`]+``|`[^`]+`)")
_MARKUP = re.compile(r"^\s*(\.\. |:[a-z]+:)")


def restructured(line: str) -> str:
    """Return a line in which code is literal, and characters that would be markup stand for themselves."""
    if _MARKUP.match(line):
        return line
    bar = line[: len(line) - len(line.lstrip(" |"))]  # of paragraphs whose lines are kept
    parts = _LITERAL.split(line[len(bar) :])
    parts[::2] = [re.sub(r"([*|\\]|_\b)", r"\\\1", text) for text in parts[::2]]
    parts[1::2] = [f"``{text.strip('`')}``" for text in parts[1::2]]
    return bar + "".join(parts)


def _restructure(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    lines[:] = [restructured(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite descriptions and the help of options."""
    app.setup_extension("sphinx_click")
    for part in ("description", "options", "arguments", "epilog"):
        app.connect(f"sphinx-click-process-{part}", _restructure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
