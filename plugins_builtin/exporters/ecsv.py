"""Light curves as enhanced CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from lcframework.hookspecs import hookimpl
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


@hookimpl
def lcf_exporters() -> dict[str, type[Ecsv]]:
    """Offer the format."""
    return {"ecsv": Ecsv}
