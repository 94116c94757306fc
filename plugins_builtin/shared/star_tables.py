"""What catalogues and surveys share in making the tables of :data:`lcframework.types.STARS` and ``MAGNITUDES``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.options import closest
from lcframework.types import (
    MAGNITUDES,
    STARS,
    CatalogLimits,
    Column,
    Floats,
    MagnitudeTable,
    NeedMissing,
    Region,
    StarTable,
    TableSchema,
)
from plugins_builtin.shared.sky_positions import inside

if TYPE_CHECKING:
    from astropy.table import Table

#: Columns of STARS that hold numbers.
_NUMBERS = tuple(c.name for c in STARS.columns if c.name not in ("source_id", "variable"))


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about `name`: the known name most like it, where there is one, and the stop."""
    like = closest(name, known)
    return f"; did you mean {like!r}?" if like else "."


def plain_floats(column: Any) -> Floats:
    """Return a column's numbers as float64, nan where masked."""
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def with_units(table: Table, schema: TableSchema) -> Table:
    """Give each column that the schema names its unit and meaning."""
    by_name: dict[str, Column] = {c.name: c for c in schema.columns}
    for name in table.colnames:
        if name in by_name:
            table[name].unit = by_name[name].unit or None
            table[name].description = by_name[name].meaning or None
    return table


def star_table(columns: Mapping[str, Any], meta: Mapping[str, Any]) -> StarTable:
    """Build a STARS table, sorted by identifier, without the rows that have no position or no magnitude.

    Parameters
    ----------
    columns : mapping
        Arrays by the names of STARS; masked values become nan. ``pmra``, ``pmdec`` may be left out.
    meta : mapping
        Kept in the table's ``meta``.
    """
    from astropy.table import Table

    count = len(columns["ra"])
    table = Table(meta=dict(meta))
    table["source_id"] = np.asarray([str(name) for name in columns["source_id"]], dtype=str)
    for name in _NUMBERS:
        if name in columns:
            table[name] = plain_floats(columns[name])
        elif name in ("pmra", "pmdec"):
            table[name] = np.full(count, np.nan)
    if "variable" in columns:
        table["variable"] = np.asarray(columns["variable"], bool)
    table["ra"] = table["ra"] % 360.0
    usable = np.isfinite(table["ra"]) & np.isfinite(table["dec"]) & np.isfinite(table["magnitude"])
    table = table[np.asarray(usable, bool)]
    return with_units(table[np.argsort(np.asarray(table["source_id"]), kind="stable")], STARS)


def select(table: StarTable, region: Region, limits: CatalogLimits) -> StarTable:
    """Return the stars of `table` inside `region` that respect `limits`; a value of nan fails a limit that is set."""
    keep = inside(region, table["ra"], table["dec"])
    bright, faint = limits.magnitude
    magnitude = np.asarray(table["magnitude"], float)
    keep &= (magnitude >= bright) & (magnitude <= faint)
    name = "astrometric_excess_noise"
    if name in table.colnames and np.isfinite(limits.max_astrometric_excess_noise):
        keep &= np.asarray(table[name], float) <= limits.max_astrometric_excess_noise
    if "flux_over_error" in table.colnames and limits.min_flux_over_error > 0:
        keep &= np.asarray(table["flux_over_error"], float) >= limits.min_flux_over_error
    return table[np.asarray(keep, bool)]


def magnitude_table(
    source_id: Any, mag: Any, mag_err: Any, meta: Mapping[str, Any], colour: Any | None = None
) -> MagnitudeTable:
    """Build a MAGNITUDES table, without the rows whose magnitude or error is not a number."""
    from astropy.table import Table

    table = Table(meta=dict(meta))
    table["source_id"] = np.asarray(source_id, dtype=str)
    table["mag"] = plain_floats(mag)
    table["mag_err"] = plain_floats(mag_err)
    if colour is not None:
        table["colour"] = plain_floats(colour)
    good = np.isfinite(table["mag"]) & np.isfinite(table["mag_err"])
    return with_units(table[np.asarray(good, bool)], MAGNITUDES)


def unknown_band(survey: str, band: str, known: Iterable[str]) -> NeedMissing:
    """Return the error for a band that a survey does not have."""
    known = list(known)
    return NeedMissing(
        f"the survey {survey!r} has no band {band!r}{nearest_name(band, known)} It knows {', '.join(known)}. "
        f"Set [calibration] band to one of these, or choose another survey with [calibration] plugin."
    )
