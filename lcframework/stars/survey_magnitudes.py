"""The magnitudes of reference stars, asked of a photometric survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.config.toolbox import Tool
from lcframework.types import UnusableInput

if TYPE_CHECKING:
    from astropy.table import Table


def survey_magnitudes(tool: Tool, stars: list[dict[str, Any]], band: str) -> Table:
    """Query a survey for the magnitudes of stars, given as rows of the table ``stars``.

    Raises
    ------
    PluginError
        Where the answer is not a :data:`MAGNITUDES` table.
    UnusableInput
        Where the answer does not state its magnitude system.
    """
    table: Table = tool.ask("magnitudes", star_table(sorted(stars, key=lambda s: str(s["gaia_id"]))), band)
    if table.meta.get("system") not in ("AB", "Vega"):
        raise UnusableInput(f"[calibration] {tool.name}: the magnitudes' meta['system'] is neither AB nor Vega")
    return table


def star_table(stars: list[dict[str, Any]]) -> Table:
    """Return rows of the table ``stars`` as the :data:`STARS` table for a survey."""
    from astropy.table import Table

    table = Table()
    table["source_id"] = [str(s["gaia_id"]) for s in stars]
    units = {"ra": "deg", "dec": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "ref_epoch": "yr", "magnitude": "mag"}
    for name, unit in units.items():
        table[name] = np.array([s[name] for s in stars], float)
        table[name].unit = unit
    for name in ("bp", "rp"):
        table[name] = np.array([np.nan if s[name] is None else s[name] for s in stars], float)
        table[name].unit = "mag"
    return table
