"""Variable stars of a table of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, mapping_of
from lcframework.types import Region, VariableTable
from plugins_builtin.shared.sky_positions import inside
from plugins_builtin.shared.table_files import ColumnMapping, read_table

#: The columns looked for where the user names no others.
COLUMNS = {"name": "name", "ra": "ra", "dec": "dec", "type": "type"}


@attrs.frozen
class TableOfVariables:
    """Variable stars of a table in any format that astropy reads; angles without a unit are degrees."""

    results_version: ClassVar[int] = 1

    path: Path = Path("variables.ecsv")
    columns: Mapping[str, str] = attrs.field(factory=lambda: dict(COLUMNS), validator=mapping_of(COLUMNS, "a column"))
    ref_epoch: float = attrs.field(default=2000.0, validator=above(1800.0, finite=True))  # Julian year of the positions

    def variables(self, region: Region) -> VariableTable:
        """Return the table's stars in `region`.

        Raises
        ------
        NeedMissing
            Where the file or a column is missing.
        UnusableInput
            Where the file can't be read, or a column holds no numbers.
        """
        from astropy.table import Table

        table = read_table(self.path, "[variables.file] path")
        mapping = ColumnMapping.of(
            self.path, "[variables.file] columns", self.columns, COLUMNS, needed=("name", "ra", "dec")
        )
        ra, dec = mapping.angles(table, "ra"), mapping.angles(table, "dec")
        mapping.check_declinations(dec)
        found = Table()
        found["name"] = mapping.texts(table, "name")
        found["ra"], found["dec"] = ra % 360.0, dec
        found["type"] = mapping.texts(table, "type") or [""] * len(table)
        found["ref_epoch"] = np.full(len(table), self.ref_epoch)
        known = np.isfinite(ra) & np.isfinite(dec)
        return found[known & inside(region, np.nan_to_num(ra), np.nan_to_num(dec))]


@hookimpl
def lcf_variable_catalogs() -> dict[str, type]:
    """Offer the catalogue of variable stars ``file``."""
    return {"file": TableOfVariables}
