"""Light curves as comma-separated values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault
from plugins_builtin.shared.curve_faults import table_faults
from plugins_builtin.shared.file_faults import first_lines
from plugins_builtin.shared.light_curve_tables import plain_table, whole_file

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class Csv:
    """Comma-separated values with one line of column names."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "csv"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as CSV; what is unknown is left empty."""
        from astropy.table import MaskedColumn

        table = plain_table(light_curve)
        for name in table.colnames:
            values = np.asarray(table[name])
            if values.dtype.kind == "f" and np.isnan(values).any():
                table[name] = MaskedColumn(values, mask=np.isnan(values))
        with whole_file(path) as temporary:
            table.write(temporary, format="ascii.csv", overwrite=True)

    def recognises(self, path: Path) -> bool:
        """Return whether the first line names columns of a light curve."""
        names = {name for line in first_lines(path) for name in line.split(",")}
        return {"mjd", "zeropoint", "instrument"} <= names

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the columns, times, errors and magnitudes."""
        from astropy.table import Table

        return table_faults(lambda: Table.read(path, format="ascii.csv"))


@hookimpl
def lcf_exporters() -> dict[str, type[Csv]]:
    """Offer the format."""
    return {"csv": Csv}
