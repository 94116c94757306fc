"""A calibration survey for lcframework."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import positive
from lcframework.types import MagnitudeTable, StarTable, UnusableInput

#: CHECK: the bands that it answers for, and the system that their magnitudes are in.
BANDS = ("own",)
SYSTEM = "AB"


@attrs.frozen
class PluginClass:
    """Magnitudes by a linear relation with Gaia's: ``m = G + zero + slope (BP - RP)``."""

    results_version: ClassVar[int] = 1  # raise it when answers change

    zero: float = 0.0  # mag; CHECK: what you measured
    slope: float = 0.0  # mag a magnitude of BP - RP; CHECK: what you measured
    scatter: float = attrs.field(default=0.05, validator=positive)  # mag, of stars around the relation

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have a colour; all stars of a field come in one call."""
        from astropy.table import Table  # heavy libraries are imported where needed: most commands load this module

        if band not in BANDS:
            raise UnusableInput(f'plugin_name has no band "{band}": set [calibration] band to {" or ".join(BANDS)}')
        # CHECK: to ask a service instead, look it up here for all stars at once, and match by position at its epoch.
        colour = np.asarray(stars["bp"], float) - np.asarray(stars["rp"], float)
        known = np.isfinite(colour)
        table = Table(meta={"system": SYSTEM, "colour": "bp_rp"})
        table["source_id"] = np.asarray(stars["source_id"])[known]
        table["mag"] = np.asarray(stars["magnitude"], float)[known] + self.zero + self.slope * colour[known]
        table["mag_err"] = np.full(known.sum(), self.scatter)  # must be positive
        table["colour"] = colour[known]
        return table


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer it as ``[calibration] plugin = "plugin_name"``."""
    return {"plugin_name": PluginClass}
