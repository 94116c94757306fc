"""Reads the documentation's pages: headings, tables and fenced blocks."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from typing import Any

import attrs
import click
import tomli

from lcframework.plugins import Plugins

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^ *```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Section:
    """A heading, without backticks, and the text below it up to the next heading of any level."""

    title: str
    level: int
    text: str

    def table(self) -> list[list[str]]:
        """Return the cells of the section's first table, without its head; an empty list where there is none."""
        rows: list[list[str]] = []
        for line in self.text.splitlines():
            if line.startswith("|"):
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
            elif rows:
                break
        return rows[2:]


def read(name: str) -> str:
    """Return a page of docs/, or a file of the repository."""
    path = DOCS / name
    return (path if path.exists() else ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> list[Section]:
    """Return a page's sections in order; what looks like a heading inside a fenced block is none."""
    hidden = _FENCE.sub(lambda m: re.sub(r"^#", "\0", m.group(0), flags=re.MULTILINE), text)
    parts = re.split(r"^(#+) +(.*)$", hidden, flags=re.MULTILINE)
    return [
        Section(title.replace("`", "").strip(), len(marks), body.replace("\0", "#"))
        for marks, title, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    ]


def section(text: str, title: str) -> Section:
    """Return the section of a title."""
    found = [s for s in sections(text) if s.title == title]
    assert len(found) == 1, f"{len(found)} sections are called {title!r}"
    return found[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [textwrap.dedent(m["text"]) for m in _FENCE.finditer(text) if m["language"] == language]


def plain(cell: str) -> str:
    """Return a cell without its backticks."""
    return cell.strip("`")


def options(command: click.Command | None) -> list[click.Option]:
    """Return the options of a command and of its subcommands."""
    assert command is not None
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = [p for p in command.params if isinstance(p, click.Option)]
    return own + [option for c in inner for option in options(c)]


def builtin_plugins() -> Plugins:
    """Return the plugins that pyproject.toml names, whether or not the installed metadata are up to date."""
    points: dict[str, Any] = tomli.loads(read("pyproject.toml"))["project"]["entry-points"]["lcframework"]
    return Plugins([(n, "lcframework", lambda v=v: importlib.import_module(v)) for n, v in points.items()])
