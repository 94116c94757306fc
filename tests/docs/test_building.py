"""What the pages are built with: commands' help as reStructuredText, and when the tutorial is executed again."""

from __future__ import annotations

from pathlib import Path

import programs
import pytest

pytest.importorskip("sphinx")

texts = programs.program("docs", "building.command_texts")
notebook = programs.program("docs", "building.executed_notebook")


@pytest.mark.parametrize(
    ("help_text", "written"),
    [
        ("Files.  [default: *.fits, or the project's]", r"Files.  [default: \*.fits, or the project's]"),
        ("    With `lcf init`, or ``lcf run``.", "    With ``lcf init``, or ``lcf run``."),
        ("| kept lines of a|b", r"| kept lines of a\|b"),
        ("the column flux_", r"the column flux\_"),
        (r"a \ stays", r"a \\ stays"),
        (".. option:: --only <NAME>", ".. option:: --only <NAME>"),
        ("    :default: ``*``", "    :default: ``*``"),
    ],
)
def test_help_is_text(help_text: str, written: str) -> None:
    assert texts.restructured(help_text) == written


def test_the_tutorial_is_executed_again_where_code_or_notebook_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("docs", "lcframework", "plugins_builtin"):
        (tmp_path / folder).mkdir()
    cells, code = tmp_path / "docs" / "tutorial.ipynb", tmp_path / "plugins_builtin" / "one.py"
    cells.write_text("{}")
    code.write_text("a = 1\n")
    monkeypatch.setattr(notebook, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(notebook, "NOTEBOOK", cells)
    keys = [notebook.key()]
    (tmp_path / "docs" / "page.md").write_text("a page\n")
    assert notebook.key() == keys[0]
    code.write_text("a = 2\n")
    keys.append(notebook.key())
    cells.write_text('{"cells": []}')
    keys.append(notebook.key())
    assert len(set(keys)) == 3
