"""What checks of light curves' files share: faults with their places, numbers within limits, lines of text."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import median

import attrs

from lcframework.types import FileFault

#: Julian dates and modified Julian dates of the years 1900 to 2100.
JULIAN = (2415020.0, 2488070.0)
MODIFIED_JULIAN = (15020.0, 88070.0)
#: Faults that are told of one file; who made one in each line need not read all.
_MOST = 50
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@attrs.define
class Faults:
    """The faults of a file, in the order in which they are found."""

    found: list[FileFault] = attrs.field(factory=list)

    def add(self, message: str, line: int = 0, column: str = "") -> None:
        """Note a fault."""
        if len(self.found) < _MOST:
            self.found.append(FileFault(message, line, column))
        elif len(self.found) == _MOST:
            self.found.append(FileFault("there are more faults than are listed here", line))

    def number(
        self, text: str, line: int, column: str, low: float = -math.inf, high: float = math.inf, what: str = ""
    ) -> float:
        """Return a number; nan, with a fault, where the text is none, or lies outside the limits.

        Parameters
        ----------
        text : str
            The text.
        line, column : int, str
            Where it stands.
        low, high : float
            The limits.
        what : str
            What the number is, for the message about its limits.
        """
        if not _NUMBER.fullmatch(text.strip()):
            self.add(f'"{text}" is no number', line, column)
            return math.nan
        value = float(text)
        if not low <= value <= high:
            limits = f"between {low:g} and {high:g}" if math.isfinite(high) else f"{low:g} or more"
            self.add(f"{text.strip()} is out of range{f' for {what}' if what else ''}: {limits}", line, column)
            return math.nan
        return value

    def julian(self, text: str, line: int, column: str) -> float:
        """Return a Julian date of the years 1900 to 2100; nan, with a fault, where it is none."""
        return self.number(text, line, column, *JULIAN, "a Julian date")

    def modified_julian(self, text: str, line: int, column: str) -> float:
        """Return a modified Julian date of the years 1900 to 2100; nan, with a fault, where it is none."""
        return self.number(text, line, column, *MODIFIED_JULIAN, "a modified Julian date")

    def one_of(self, text: str, known: Collection[str], line: int, column: str) -> None:
        """Note a fault where a text is none of those that are allowed."""
        if text not in known:
            self.add(f'"{text}" is none of {", ".join(sorted(known))}', line, column)

    def observer(self, code: str, line: int, column: str) -> None:
        """Note a fault where a text can't be an observer's code of the AAVSO."""
        if not code.isalnum() or code.lower() == "none" or len(code) > 5:
            self.add("no observer's code of the AAVSO: -o observer=CODE", line, column)

    def columns(self, values: list[str], names: list[str], line: int) -> dict[str, str]:
        """Return the values by column; empty, with a fault, where there are more or fewer of them than columns."""
        if len(values) != len(names):
            self.add(f"{len(values)} values for {len(names)} columns", line)
            return {}
        return dict(zip(names, values, strict=True))

    def level(self, fluxes: Sequence[float], column: str) -> None:
        """Note fluxes that are not relative ones, whose level is about 1."""
        known = [f for f in fluxes if math.isfinite(f)]
        if known and not 0.5 < median(known) < 1.5:
            self.add(f"the flux must be relative, about 1; its median is {median(known):g}", 0, column)

    def missing(self, have: Collection[str], wanted: Collection[str], line: int, what: str = "the column") -> None:
        """Note what a file lacks."""
        for name in wanted:
            if name not in have:
                self.add(f"{what} {name} is missing", line)


def text_lines(path: Path, faults: Faults | None = None) -> list[str]:
    """Return the lines of a text; characters that are not ASCII are faults, where there are to be any.

    Files that are no text have no lines.
    """
    content = path.read_bytes()
    if b"\0" in content:
        return []
    lines = content.decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if faults is not None and not line.isascii():
            odd = next(i for i, c in enumerate(line, 1) if not c.isascii())
            faults.add(f"character {odd} is not ASCII", number)
    return lines


def first_lines(path: Path, count: int = 1) -> list[str]:
    """Return the first lines of a text, without reading the rest; files that are no text have none."""
    with path.open("rb") as stream:
        head = stream.read(65536)
    return [] if b"\0" in head else head.decode("utf-8", errors="replace").splitlines()[:count]
