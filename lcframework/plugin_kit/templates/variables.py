"""A catalogue of variable stars for lcframework."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.sky.geometry import separation
from lcframework.types import Region, VariableTable


@attrs.frozen
class PluginClass:
    """Variable stars of a text file: name, ra and dec in degrees (ICRS), and type, one a line."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    path: Path = Path("variables.txt")  # CHECK: what an offline run needs, or a service that you ask

    def variables(self, region: Region) -> VariableTable:
        """Return the variable stars in a region; none is an answer too."""
        from astropy.table import Table  # heavy libraries are imported where needed: most commands load this module

        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        rows = [line.split(maxsplit=3) for line in lines if line.strip()]
        table = Table(names=("name", "ra", "dec", "type"), dtype=("U40", "f8", "f8", "U20"))
        for name, ra, dec, *kind in rows:
            table.add_row((name, float(ra), float(dec), kind[0] if kind else ""))
        table["ref_epoch"] = np.full(len(table), 2000.0)  # CHECK: the epoch of the positions
        return table[separation(table["ra"], table["dec"], region.ra, region.dec) <= region.radius * 3600]


@hookimpl
def lcf_variable_catalogs() -> dict[str, type]:
    """Offer it as ``[variables] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
