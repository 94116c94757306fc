"""Light curves as VOTables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault, column_of
from plugins_builtin.shared.curve_faults import table_faults
from plugins_builtin.shared.file_faults import first_lines
from plugins_builtin.shared.light_curve_tables import magnitude_system, plain_table, whole_file

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class VoTable:
    """VOTable 1.4 with units, UCDs, descriptions and time systems."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "vot"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as a VOTable."""
        from astropy import units
        from astropy.io.votable.tree import TimeSys, VOTableFile

        table = plain_table(light_curve)
        system = magnitude_system(table)
        table.meta.clear()
        # The standard has no electron; a quoted unit is what it provides for that.
        rate = units.Unit("'electron'.s**-1", format="vounit")
        for name in table.colnames:
            if table[name].unit == units.electron / units.s:
                table[name].unit = rate
        votable = VOTableFile.from_table(table)
        votable.version = "1.4"
        resource = votable.resources[0]
        rules = {"version": "1.4", "version_1_4_or_later": True}
        resource.time_systems.append(TimeSys(
            ID="time_utc", timeorigin="MJD-origin", timescale="UTC", refposition="TOPOCENTER",
            config=rules,
        ))  # fmt: skip
        resource.time_systems.append(TimeSys(
            ID="time_bjd_tdb", timeorigin="JD-origin", timescale="TDB", refposition="BARYCENTER",
            config=rules,
        ))  # fmt: skip
        for field in votable.get_first_table().fields:
            if (column := column_of(field.name, system)) is not None:
                field.ucd, field.description = column.ucd, column.meaning
            if field.name in ("mjd", "bjd_tdb"):
                field.ref = "time_utc" if field.name == "mjd" else "time_bjd_tdb"
        with whole_file(path) as temporary:
            votable.to_xml(str(temporary), tabledata_format="tabledata")

    def recognises(self, path: Path) -> bool:
        """Return whether the file is a VOTable."""
        return any("<VOTABLE" in line for line in first_lines(path, 5))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the XML, columns, units, times, errors and magnitudes; rows are counted."""

        def read() -> Table:
            from astropy.io.votable import parse

            return parse(path, verify="exception").get_first_table().to_table(use_names_over_ids=True)

        return table_faults(read, rows=False)


@hookimpl
def lcf_exporters() -> dict[str, type[VoTable]]:
    """Offer the format."""
    return {"votable": VoTable}
