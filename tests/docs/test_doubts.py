"""The page of doubts has every kind that the code makes, with its severity."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lcframework.types import Severity

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doubts.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| (\w+(?: or \w+)*) \|", PAGE.partition("## Kinds")[2], re.MULTILINE))


def _made() -> dict[str, set[str]]:
    """Return the kinds that are written in calls of `Doubt`, with their severities."""
    found: dict[str, set[str]] = {}
    for package in ("lcframework", "plugins_builtin"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Doubt" and node.args:
                    given = [n for k in node.keywords if k.arg == "severity" for n in ast.walk(k.value)]
                    named = {
                        n.attr.lower() for n in given if isinstance(n, ast.Attribute) and n.attr in Severity.__members__
                    }
                    kind = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
                    if kind:
                        found.setdefault(str(kind), set()).update(named or {"doubt"})
    return found


@pytest.mark.parametrize(("kind", "severities"), sorted(_made().items()))
def test_kinds_are_described(kind: str, severities: set[str]) -> None:
    assert set(ROWS[kind].split(" or ")) == severities


def test_severities_are_those_there_are() -> None:
    assert [s for s in re.findall(r"^\| `(\w+)` \| numbers", PAGE, re.MULTILINE)] == [s.value for s in Severity]
