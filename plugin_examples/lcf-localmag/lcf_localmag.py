"""The smallest useful survey plugin: the magnitudes that the star catalogue has already, shifted by a constant."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import one_of, positive
from lcframework.types import MagnitudeTable, StarTable, UnusableInput


@attrs.frozen
class LocalMagnitudes:
    """Magnitudes of the star catalogue's main band, as they are or shifted; for frames taken without a filter."""

    results_version: ClassVar[int] = 2  # raised when answers change, so that products are made again

    band: str = "r_sdss"  # the only band it answers for: the one that [calibration] asks it for
    offset: float = 0.0  # mag, added
    error: float = attrs.field(default=0.05, validator=positive)  # mag, of each star
    system: str = attrs.field(default="Vega", validator=one_of("AB", "Vega"))

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitude of every star that has one."""
        from astropy import units as u
        from astropy.table import Table

        if band != self.band:
            raise UnusableInput(
                f"localmag answers for the band {self.band!r} alone, not {band!r}; set [calibration.localmag] band"
            )
        known = np.isfinite(np.asarray(stars["magnitude"], float))
        found = Table(meta={"survey": "localmag", "band": band, "system": self.system})
        found["source_id"] = np.asarray(stars["source_id"])[known].astype(str)
        found["mag"] = (np.asarray(stars["magnitude"], float)[known] + self.offset) * u.mag
        found["mag_err"] = np.full(int(known.sum()), self.error) * u.mag
        return Table(found)


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Return the survey ``localmag``."""
    return {"localmag": LocalMagnitudes}
