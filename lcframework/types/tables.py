"""The columns that each table must have when it passes through a hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from lcframework.types.arrays import plain_floats
from lcframework.types.failures import PluginError

if TYPE_CHECKING:
    from astropy.table import Table

#: Astropy tables whose required columns are stated by :data:`SOURCES`, :data:`STARS`, :data:`MAGNITUDES`.
SourceTable: TypeAlias = "Table"
StarTable: TypeAlias = "Table"
MagnitudeTable: TypeAlias = "Table"
VariableTable: TypeAlias = "Table"


@attrs.frozen
class Column:
    """One column of a table that passes through a hook: its name, its unit as a string ('': none), its meaning.

    `finite`: every row has a finite value. `range`: what finite values lie within.
    """

    name: str
    unit: str
    meaning: str
    required: bool = True
    finite: bool = False
    range: tuple[float, float] = (-np.inf, np.inf)

    def problem(self, values: Any) -> str:
        """Return what is wrong with the values of the column, or an empty string."""
        unit = getattr(values, "unit", None)
        if unit is not None and self.unit and str(unit) != self.unit and not _same_unit(unit, self.unit):
            return f"{self.name} in {unit}; it must be in {self.unit}, or without a unit"
        if not self.finite and self.range == (-np.inf, np.inf):
            return ""
        try:
            numbers = plain_floats(values)
        except (TypeError, ValueError):
            return f"{self.name} of type {values.dtype}; numbers are needed"
        unknown = int(np.count_nonzero(~np.isfinite(numbers)))
        if self.finite and unknown:
            return f"{unknown} of {len(numbers)} values of {self.name} that are not finite"
        with np.errstate(invalid="ignore"):
            outside = numbers[(numbers < self.range[0]) | (numbers > self.range[1])]
        if len(outside):
            return f"{self.name} = {outside[0]:.6g}, which lies outside {self.range[0]:g} to {self.range[1]:g}"
        return ""


@attrs.frozen
class TableSchema:
    """The columns of a table that passes through a hook; `identity` is the column whose values must be unique."""

    name: str
    columns: tuple[Column, ...]
    identity: str | None = None

    def check(self, table: Any, who: str) -> Table:
        """Return the table if it has all required columns, legal values and units, and unique identities.

        Parameters
        ----------
        table : astropy.table.Table
            The table that a plugin returned.
        who : str
            The plugin's name, for the message.

        Raises
        ------
        PluginError
            Naming the plugin and each column that is missing, a value or unit that a column can't have, or that rows
            share one identity.
        """
        from astropy.table import Table

        if not isinstance(table, Table):
            raise PluginError(f"{who} returned a {type(table).__name__} where a {self.name} table is expected")
        missing = [c.name for c in self.columns if c.required and c.name not in table.colnames]
        if missing:
            raise PluginError(
                f"{who} returned a {self.name} table without {', '.join(missing)}; it has {', '.join(table.colnames)}"
            )
        for column in self.columns:
            problem = column.problem(table[column.name]) if column.name in table.colnames else ""
            if problem:
                raise PluginError(f"{who} returned a {self.name} table with {problem}")
        if self.identity is not None and len(table) != len(set(map(str, table[self.identity]))):
            raise PluginError(f"{who} returned a {self.name} table in which a {self.identity} appears twice")
        return table


def _same_unit(unit: Any, wanted: str) -> bool:
    """Return whether a column's unit is the wanted one by another name."""
    from astropy.units import Unit

    try:
        return bool(Unit(str(unit)) == Unit(wanted))
    except ValueError:
        return False


#: Sources found in one frame. Fluxes in e-/s.
SOURCES = TableSchema(
    "sources",
    (
        Column("x", "pix", "0-based centroid", finite=True),
        Column("y", "pix", "0-based centroid", finite=True),
        Column("flux", "", "e-/s, any consistent aperture", finite=True),
        Column("fwhm", "pix", "full width at half maximum", range=(0.0, np.inf)),
        Column("a", "pix", "rms along the major axis", range=(0.0, np.inf)),
        Column("b", "pix", "rms along the minor axis", range=(0.0, np.inf)),
        Column("theta", "rad", "position angle of the major axis from +x towards +y"),
        Column("flags", "", "0 for a clean detection"),
    ),
)


#: Stars of a catalogue, one row for each star.
STARS = TableSchema(
    "stars",
    (
        Column("source_id", "", "the catalogue's own identifier, a string"),
        Column("ra", "deg", "ICRS, at ref_epoch", finite=True, range=(-360.0, 360.0)),
        Column("dec", "deg", "ICRS, at ref_epoch", finite=True, range=(-90.0, 90.0)),
        Column("magnitude", "mag", "in the catalogue's main band"),
        Column("pmra", "mas / yr", "proper motion in ra times cos(dec); nan where unknown"),
        Column("pmdec", "mas / yr", "nan where unknown"),
        Column("ref_epoch", "yr", "Julian year of the position", finite=True, range=(1800.0, 2200.0)),
        Column("bp", "mag", "Gaia BP", required=False),
        Column("rp", "mag", "Gaia RP", required=False),
        Column("astrometric_excess_noise", "mas", "", required=False),
        Column("flux_over_error", "", "mean flux over its error in the main band", required=False),
        Column("variable", "", "True where the catalogue calls the star variable", required=False),
    ),
    identity="source_id",
)


#: Variable stars of a catalogue.
VARIABLES = TableSchema(
    "variables",
    (
        Column("name", "", "the star's name in the catalogue, such as V0748 And"),
        Column("ra", "deg", "ICRS, at ref_epoch", finite=True, range=(-360.0, 360.0)),
        Column("dec", "deg", "ICRS, at ref_epoch", finite=True, range=(-90.0, 90.0)),
        Column("ref_epoch", "yr", "Julian year of the position", finite=True, range=(1800.0, 2200.0)),
        Column("type", "", "the type of variability, a text; empty where unknown", required=False),
    ),
)


#: Calibration magnitudes of stars; ``meta['system']`` is 'AB' or 'Vega'.
MAGNITUDES = TableSchema(
    "magnitudes",
    (
        Column("source_id", "", "as in the given star table; stars without a magnitude are left out"),
        Column("mag", "mag", "in the requested band", finite=True),
        Column("mag_err", "mag", "one sigma", finite=True, range=(0.0, np.inf)),
        Column("colour", "mag", "a colour of the star, of which meta['colour'] is the name", required=False),
    ),
    identity="source_id",
)
