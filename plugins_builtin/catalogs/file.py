"""The star catalogue ``file``: stars of a table of the user's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, mapping_of
from lcframework.types import CatalogLimits, Region, StarTable, UnusableInput
from plugins_builtin.shared.star_tables import select, star_table
from plugins_builtin.shared.table_files import ColumnMapping, read_table

#: The columns looked for where the user names no others: the Gaia archive's.
COLUMNS = {
    "source_id": "source_id",
    "ra": "ra",
    "dec": "dec",
    "magnitude": "phot_g_mean_mag",
    "bp": "phot_bp_mean_mag",
    "rp": "phot_rp_mean_mag",
    "pmra": "pmra",
    "pmdec": "pmdec",
    "ref_epoch": "ref_epoch",
    "astrometric_excess_noise": "astrometric_excess_noise",
    "flux_over_error": "phot_g_mean_flux_over_error",
    "variable": "phot_variable_flag",
}
_UNITS = {
    "bp": "mag",
    "rp": "mag",
    "pmra": "mas / yr",
    "pmdec": "mas / yr",
    "ref_epoch": "yr",
    "astrometric_excess_noise": "mas",
    "flux_over_error": "",
}
_TRUE = {"true", "variable", "1", "yes"}


@attrs.frozen
class TableOfStars:
    """Stars of a table in any format that astropy reads.

    ``ra``, ``dec`` and ``magnitude`` are needed; the other quantities are used where the table has them. Columns with
    a unit are converted; without one, angles are degrees and proper motions mas/yr, with cos(dec) in ``pmra``.
    """

    results_version: ClassVar[int] = 1

    path: Path = Path("stars.ecsv")
    columns: Mapping[str, str] = attrs.field(factory=lambda: dict(COLUMNS), validator=mapping_of(COLUMNS, "a column"))
    # Julian year of the positions, where the table has no column for it
    ref_epoch: float = attrs.field(default=2016.0, validator=above(1800.0, finite=True))

    def query(self, region: Region, limits: CatalogLimits) -> StarTable:
        """Return the table's stars in `region` within `limits`, sorted by source_id.

        Raises
        ------
        NeedMissing
            Where the file or a column is missing.
        UnusableInput
            Where the file can't be read, or a column holds no numbers, or two stars share one source_id.
        """
        table = read_table(self.path, "[stars.file] path")
        mapping = ColumnMapping.of(
            self.path, "[stars.file] columns", self.columns, COLUMNS, needed=("ra", "dec", "magnitude")
        )
        columns: dict[str, Any] = {
            "ra": mapping.angles(table, "ra"),
            "dec": mapping.angles(table, "dec"),
            "magnitude": mapping.numbers(table, "magnitude", "mag"),
        }
        if not any(np.isfinite(columns["ra"] + columns["dec"] + columns["magnitude"])):
            raise UnusableInput(f"{self.path}: no row has a position and a magnitude.")
        mapping.check_declinations(columns["dec"])
        for quantity, unit in _UNITS.items():
            values = mapping.numbers(table, quantity, unit)
            if values is not None:
                columns[quantity] = values
        epoch = columns.get("ref_epoch", np.full(len(table), np.nan))
        columns["ref_epoch"] = np.where(np.isfinite(epoch), epoch, self.ref_epoch)
        columns["source_id"] = mapping.texts(table, "source_id") or [str(i + 1) for i in range(len(table))]
        self._check_identifiers(columns["source_id"])
        variable = mapping.texts(table, "variable")
        if variable is not None:
            columns["variable"] = [value.lower() in _TRUE for value in variable]
        meta = {"catalog": "file", "path": str(self.path), "band": mapping.names["magnitude"]}
        return select(star_table(columns, meta), region, limits)

    def _check_identifiers(self, names: list[str]) -> None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            shown = ", ".join(repr(name) for name in twice[:5]) + (", ..." if len(twice) > 5 else "")
            raise UnusableInput(
                f"{self.path}: {len(twice)} values of the column for source_id appear more than once: {shown}. "
                f"Each star needs a name of its own."
            )


@hookimpl
def lcf_star_catalogs() -> dict[str, type]:
    """Offer the star catalogue ``file``."""
    return {"file": TableOfStars}
