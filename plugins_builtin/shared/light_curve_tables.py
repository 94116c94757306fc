"""What exporters of light curves share: the table as other programs want it, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcframework.types import Floats, column_of
from plugins_builtin.shared.star_tables import plain_floats

if TYPE_CHECKING:
    from astropy.table import Table


def plain_table(light_curve: Table) -> Table:
    """Return a light curve as a plain table with units; times as numbers alone.

    A `TimeSeries` has its time a second time, as an object that only some formats can hold.
    """
    from astropy.table import Table

    out = Table()
    out.meta.update(light_curve.meta)
    for name in light_curve.colnames:
        column = light_curve[name]
        if type(column).__name__ == "Time":
            if "mjd" not in light_curve.colnames:
                out["mjd"] = column.utc.mjd
            continue
        values = getattr(column, "value", column)
        unit = getattr(column, "unit", None)
        out[name] = values
        known = column_of(name)
        wanted = unit if unit is not None else known.unit if known is not None else ""
        if wanted:
            out[name].unit = wanted
    return out


def numbers_of(table: Table, name: str) -> Floats:
    """Return the numbers of a column, nan where they are masked; nan for all rows where there is no such column."""
    return plain_floats(table[name]) if name in table.colnames else np.full(len(table), np.nan)


def magnitude_system(table: Table) -> str:
    """Return "AB" or "Vega", or an empty string where the light curve does not say."""
    system = str(table.meta.get("magnitude_system") or table.meta.get("system") or "")
    return "" if system == "none" else system


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name; the file gets its own only when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text of ASCII, which every reader takes; other characters become question marks."""
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")
