"""A draft of a project file: options by table, comments of the user, and notes."""

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
    """The project file so far; `begin` sets the key of the configuration from which the next options are converted."""

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
        """Start the conversion of a key of the configuration."""
        self.key = key

    def set(self, table: str, option: str, value: Any) -> None:
        """Set an option of a table; the first option of a configuration key gets the comments of the key."""
        self.tables.setdefault(table, {})[option] = value
        self.written.setdefault(self.key, []).append(f"{table}.{option}")
        self.above.setdefault((table, option), []).extend(self.comments.pop(self.key, []))

    def note(self, text: str) -> None:
        """Add a note on the present key, for example that it has no equivalent."""
        self.notes.append((self.key, text))

    def text(self) -> str:
        """Return the text of the project file."""
        lines = [f"# Converted from {self.source.name} of lightcurver. Keys left out have their defaults;"]
        lines += ["# docs/project_file.md explains every one. Paths are relative to this file.", ""]
        for table in sorted(self.tables, key=_rank):
            lines.append(f"[{'.'.join(_key(part) for part in table.split('.'))}]")
            for option, value in self.tables[table].items():
                lines += [f"# {c}" for c in self.above.get((table, option), [])]
                lines.append(f"{_key(option)} = {toml(value)}")
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
    """Return a value as TOML text.

    Raises
    ------
    TypeError
        For a value that TOML can't represent.
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
