"""The page of symptoms quotes what the program says, and leads to every doubt."""

from __future__ import annotations

import ast
import re

import pages
import pytest

PAGE = pages.read("troubleshooting.md")
_TABLE = pages.read("doubts.md").partition("## Kinds")[2].partition("\n## ")[0]
KINDS = sorted(re.findall(r"^\| `(\w+)` \|", _TABLE, re.MULTILINE))


def _words() -> str:
    """Return every text of the programs, a line each; what an f-string puts in is left out, and ends a line too."""
    found = []
    for package in ("lcframework", "plugins_builtin"):
        for path in (pages.ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(p.value) if isinstance(p, ast.Constant) else "\n" for p in node.values]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def _quoted() -> list[str]:
    """Return the words in the first column of tables whose head says that they are the program's."""
    quoted = []
    for section in pages.sections(PAGE):
        if section.text.lstrip().startswith("| it says"):
            quoted += [words for row in section.table() for words in re.findall(r"`([^`]+)`", row[0])]
    return [q for q in quoted if not re.fullmatch(r"\[\w+\] \w+", q)]


def test_the_program_says_so() -> None:
    words = _words()
    quoted = _quoted()
    assert len(quoted) > 40
    wrong = [q for q in quoted if not all(part.strip() in words for part in q.split("…"))]
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_doubt_is_reached(kind: str) -> None:
    assert f"[{kind}](doubts.md#{kind})" in PAGE, f"say in docs/troubleshooting.md by which symptom {kind} is found"


def test_links_lead_to_doubts_that_there_are() -> None:
    assert set(re.findall(r"doubts\.md#(\w+)\)", PAGE)) <= set(KINDS)
