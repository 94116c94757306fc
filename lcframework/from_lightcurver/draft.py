"""A project file in the making: settings by table, the user's comments, and notes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import attrs

from lcframework.config.sections import SECTIONS

_ORDER = [*list(SECTIONS)[:4], "roi", *list(SECTIONS)[4:]]


@attrs.define
class Draft:
    """What is known of the project file so far; `begin` names the key that the next settings come from."""

    source: Path
    directory: Path
    raw: dict[str, Any]
    comments: dict[str, list[str]] = attrs.field(factory=dict)
    tables: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    notes: list[tuple[str, str]] = attrs.field(factory=list)
    above: dict[tuple[str, str], list[str]] = attrs.field(factory=dict)
    key: str = ""
    written: dict[str, list[str]] = attrs.field(factory=dict)

    def begin(self, key: str) -> None:
        """Go on to a key of the configuration."""
        self.key = key

    def set(self, table: str, key: str, value: Any) -> None:
        """Set a key of a table; the comments of the configuration's key come with the first one."""
        self.tables.setdefault(table, {})[key] = value
        self.written.setdefault(self.key, []).append(f"{table}.{key}")
        self.above.setdefault((table, key), []).extend(self.comments.pop(self.key, []))

    def note(self, text: str) -> None:
        """Say what has no equivalent, or changes its meaning."""
        self.notes.append((self.key, text))

    def text(self) -> str:
        """Return the project file."""
        lines = [f"# Converted from {self.source.name} of lightcurver. Keys left out have their defaults;"]
        lines += ["# docs/project_file.md explains every one. Paths are relative to this file.", ""]
        for table in sorted(self.tables, key=_rank):
            lines.append(f"[{'.'.join(_key(part) for part in table.split('.'))}]")
            for key, value in self.tables[table].items():
                lines += [f"# {c}" for c in self.above.get((table, key), [])]
                lines.append(f"{_key(key)} = {toml(value)}")
            lines.append("")
        if self.notes:
            lines.append("# What has no equivalent, or means something else here:")
            lines += [f"# {key}: {text}" for key, text in self.notes]
        left = [f"{key}: {c}" if key else c for key, found in self.comments.items() for c in found]
        if left:
            lines += ["", "# Other comments:", *(f"# {c}" for c in left)]
        return "\n".join(lines).rstrip() + "\n"


def _rank(table: str) -> tuple[int, str]:
    section = table.split(".")[0]
    return (_ORDER.index(section) if section in _ORDER else len(_ORDER), table)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def toml(value: Any) -> str:
    """Return a value as TOML writes it.

    Raises
    ------
    TypeError
        For a value that TOML has no form for.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(str(k))} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    raise TypeError(f"{value!r} can't be written")
