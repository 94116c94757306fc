"""What the pages are built with: commands' help as reStructuredText, and when the tutorial is executed again."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pages
import pytest


@pytest.fixture
def building(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a module of docs/building."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(pages.DOCS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"building.{name}")

    return load


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
def test_help_is_text(building: Any, help_text: str, written: str) -> None:
    assert building("command_texts").restructured(help_text) == written


def test_the_tutorial_is_executed_again_where_code_or_notebook_changed(
    building: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    module = building("executed_notebook")
    for folder in ("docs", "lcframework", "plugins_builtin"):
        (tmp_path / folder).mkdir()
    notebook, code = tmp_path / "docs" / "tutorial.ipynb", tmp_path / "plugins_builtin" / "one.py"
    notebook.write_text("{}")
    code.write_text("a = 1\n")
    monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(module, "NOTEBOOK", notebook)
    keys = [module.key()]
    (tmp_path / "docs" / "page.md").write_text("a page\n")
    assert module.key() == keys[0]
    code.write_text("a = 2\n")
    keys.append(module.key())
    notebook.write_text('{"cells": []}')
    keys.append(module.key())
    assert len(set(keys)) == 3
