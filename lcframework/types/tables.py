"""The columns that each table must have when it passes through a hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from lcframework.types.failures import PluginError

if TYPE_CHECKING:
    from astropy.table import Table

#: Astropy tables whose required columns are stated by :data:`SOURCES`, :data:`STARS`, :data:`MAGNITUDES`.
SourceTable: TypeAlias = "Table"
StarTable: TypeAlias = "Table"
MagnitudeTable: TypeAlias = "Table"


@attrs.frozen
class Column:
    """One column of a table that passes through a hook: its name, its unit as a string ('': none), its meaning."""

    name: str
    unit: str
    meaning: str
    required: bool = True


@attrs.frozen
class TableSchema:
    """The columns of a table that passes through a hook; `identity` is the column whose values must be unique."""

    name: str
    columns: tuple[Column, ...]
    identity: str | None = None

    def check(self, table: Any, who: str) -> Table:
        """Return the table if it has all required columns and unique identities.

        Parameters
        ----------
        table : astropy.table.Table
            The table that a plugin returned.
        who : str
            The plugin's name, for the message.

        Raises
        ------
        PluginError
            Naming the plugin and each column that is missing, or the rows that share one identity.
        """
        from astropy.table import Table

        if not isinstance(table, Table):
            raise PluginError(f"{who} returned a {type(table).__name__} where a {self.name} table is expected")
        missing = [c.name for c in self.columns if c.required and c.name not in table.colnames]
        if missing:
            raise PluginError(
                f"{who} returned a {self.name} table without {', '.join(missing)}; it has {', '.join(table.colnames)}"
            )
        if self.identity is not None and len(table) != len(set(map(str, table[self.identity]))):
            raise PluginError(f"{who} returned a {self.name} table in which a {self.identity} appears twice")
        return table


#: Sources found in one frame. Fluxes in e-/s.
SOURCES = TableSchema(
    "sources",
    (
        Column("x", "pix", "0-based centroid"),
        Column("y", "pix", "0-based centroid"),
        Column("flux", "", "e-/s, any consistent aperture"),
        Column("fwhm", "pix", "full width at half maximum"),
        Column("a", "pix", "rms along the major axis"),
        Column("b", "pix", "rms along the minor axis"),
        Column("theta", "rad", "position angle of the major axis from +x towards +y"),
        Column("flags", "", "0 for a clean detection"),
    ),
)


#: Stars of a catalogue, one row for each star.
STARS = TableSchema(
    "stars",
    (
        Column("source_id", "", "the catalogue's own identifier, a string"),
        Column("ra", "deg", "ICRS, at ref_epoch"),
        Column("dec", "deg", "ICRS, at ref_epoch"),
        Column("magnitude", "mag", "in the catalogue's main band"),
        Column("pmra", "mas / yr", "proper motion in ra times cos(dec); nan where unknown"),
        Column("pmdec", "mas / yr", "nan where unknown"),
        Column("ref_epoch", "yr", "Julian year of the position"),
        Column("bp", "mag", "Gaia BP", required=False),
        Column("rp", "mag", "Gaia RP", required=False),
        Column("astrometric_excess_noise", "mas", "", required=False),
        Column("flux_over_error", "", "mean flux over its error in the main band", required=False),
        Column("variable", "", "True where the catalogue calls the star variable", required=False),
    ),
    identity="source_id",
)


#: Calibration magnitudes of stars; ``meta['system']`` is 'AB' or 'Vega'.
MAGNITUDES = TableSchema(
    "magnitudes",
    (
        Column("source_id", "", "as in the given star table; stars without a magnitude are left out"),
        Column("mag", "mag", "in the requested band"),
        Column("mag_err", "mag", "one sigma"),
        Column("colour", "mag", "a colour of the star, of which meta['colour'] is the name", required=False),
    ),
    identity="source_id",
)
