"""Parts of ADQL queries, made of checked values and names: nothing that a user writes becomes an expression."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from lcframework.types import Region

_TABLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]*\Z")


def number(value: float) -> str:
    """Return a finite number as ADQL takes it: fixed notation, never an expression.

    Raises
    ------
    ValueError
        For anything that is not a finite number.
    """
    value = float(value)
    if not np.isfinite(value):
        raise ValueError(f"{value!r} can't be part of a query: not a finite number")
    return np.format_float_positional(value, trim="0")


def table_name(name: str) -> str:
    """Return a table's name as ADQL takes it, quoted where it holds a slash, as VizieR's do.

    Raises
    ------
    ValueError
        For what can't be a table's name.
    """
    if not _TABLE_NAME.match(name):
        raise ValueError(f"{name!r} is not the name of a table")
    return name if re.fullmatch(r"[A-Za-z0-9_.]+", name) else f'"{name}"'


def name_of_a_table(instance: Any, attribute: Any, value: str) -> None:
    """Check that an option can be the name of a table of a TAP service."""
    try:
        table_name(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from error


def column_name(name: str) -> str:
    """Return a column's name as an ADQL delimited identifier.

    Raises
    ------
    ValueError
        For what can't be a column's name.
    """
    if not name or not name.isprintable():
        raise ValueError(f"{name!r} is not the name of a column")
    return '"' + name.replace('"', '""') + '"'


def in_cone(ra_column: str, dec_column: str, region: Region) -> str:
    """Return the ADQL condition that a position lies in a region's cone; columns are ADQL already."""
    circle = f"CIRCLE('ICRS', {number(region.ra % 360.0)}, {number(region.dec)}, {number(region.radius)})"
    return f"1 = CONTAINS(POINT('ICRS', {ra_column}, {dec_column}), {circle})"


def between(column: str, limits: tuple[float, float]) -> list[str]:
    """Return the ADQL conditions for a range, of which infinite ends are left out."""
    low, high = limits
    conditions = [f"{column} >= {number(low)}"] if np.isfinite(low) else []
    return conditions + ([f"{column} <= {number(high)}"] if np.isfinite(high) else [])
