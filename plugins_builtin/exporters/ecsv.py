"""Light curves as enhanced CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
from lcframework.types import FileFault
from plugins_builtin.shared.curve_faults import table_faults
from plugins_builtin.shared.file_faults import first_lines, text_lines
from plugins_builtin.shared.light_curve_tables import plain_table, whole_file

if TYPE_CHECKING:
    from astropy.table import Table


@attrs.frozen
class Ecsv:
    """Enhanced CSV: every column with its unit, and the metadata."""

    results_version: ClassVar[int] = 1
    suffix: ClassVar[str] = "ecsv"

    def export(self, light_curve: Table, path: Path) -> None:
        """Write the light curve as ECSV."""
        with whole_file(path) as temporary:
            plain_table(light_curve).write(temporary, format="ascii.ecsv", overwrite=True)

    def recognises(self, path: Path) -> bool:
        """Return whether the file begins as enhanced CSV does."""
        return any(line.startswith("# %ECSV") for line in first_lines(path))

    def faults(self, path: Path) -> Sequence[FileFault]:
        """Return what is wrong in the columns, units, times, errors and magnitudes."""
        from astropy.table import Table

        header = next((n for n, line in enumerate(text_lines(path), 1) if not line.startswith("#")), 1)
        return table_faults(lambda: Table.read(path, format="ascii.ecsv"), header)


@hookimpl
def lcf_exporters() -> dict[str, type[Ecsv]]:
    """Offer the format."""
    return {"ecsv": Ecsv}
