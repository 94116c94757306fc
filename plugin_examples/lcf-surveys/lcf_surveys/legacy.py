"""Calibration magnitudes from the DESI Legacy Imaging Surveys DR10: g, r, i, z of DECam (AB), deep.

Sources
-------
Legacy Surveys, "DR10 catalogs", https://www.legacysurvey.org/dr10/catalogs/: all fluxes are on the AB system; type
"PSF" is stellar; flux_g is in nanomaggies, so that the magnitude is 22.5 - 2.5 log10(flux), and flux_ivar_g its
inverse variance; not corrected for extinction. maskbits are on https://www.legacysurvey.org/dr10/bitmasks/: bits 2,
3, 4 and 14 say that a source touches a pixel that saturates in g, r, z, i.
NOIRLab, "Catalog Data Access (TAP/SCS)", https://datalab.noirlab.edu/docs/manual/: the service
https://datalab.noirlab.edu/tap with the table ls_dr10.tractor.

Positions of bright stars are Gaia's and those of faint ones means of frames from 2013 to 2021; 2016 is within a few
years of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcf_surveys.service import TapSurvey, floats, magnitude_table, unknown_band
from lcframework.hookspecs import hookimpl
from lcframework.options import web_address
from lcframework.types import Floats, MagnitudeTable, StarTable

if TYPE_CHECKING:
    from astropy.table import Table

#: Band -> bit of maskbits of its saturated pixels.
BANDS = {"g": 2, "r": 3, "i": 14, "z": 4}


@attrs.frozen
class LegacySurveys(TapSurvey):
    """Magnitudes of point sources, matched by position; what saturates or is no point source is left out."""

    results_version: ClassVar[int] = 1
    title: ClassVar[str] = "Legacy Surveys DR10"
    position: ClassVar[tuple[str, str]] = ("ra", "dec")
    columns: ClassVar[tuple[str, ...]] = (
        "type", "brick_primary", "maskbits", *(f"{p}_{b}" for b in "griz" for p in ("flux", "flux_ivar"))
    )  # fmt: skip

    url: str = attrs.field(default="https://datalab.noirlab.edu/tap", validator=web_address())
    table: str = "ls_dr10.tractor"
    brightest: float = 16.0  # mag: brighter stars saturate

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have exactly one match.

        Raises
        ------
        NeedMissing
            For an unknown band, or a service that does not answer.
        """
        name = band.removesuffix("_legacy").removesuffix("_decam")
        if name not in BANDS:
            raise unknown_band("the Legacy Surveys", band, BANDS)
        star, rows = self.matched(stars)
        saturated = np.nan_to_num(floats(rows["maskbits"])).astype(int) & (1 << BANDS[name]) > 0
        point = np.array([str(kind) == "PSF" for kind in rows["type"]], bool)
        mag, error = _magnitude(rows, name)
        good = point & ~saturated & (floats(rows["brick_primary"]) == 1)
        meta = {"survey": "legacy", "band": band, "system": "AB", "colour": "g_r"}
        colour = _magnitude(rows, "g")[0] - _magnitude(rows, "r")[0]
        return magnitude_table(self, stars, star, np.where(good, mag, np.nan), error, colour, meta)

    def epoch(self, rows: Table) -> Floats | float:
        """Return a year in the middle."""
        return 2016.0


def _magnitude(rows: Table, band: str) -> tuple[Floats, Floats]:
    """Return AB magnitudes and their errors; nan where a source was not measured."""
    flux, weight = floats(rows[f"flux_{band}"]), floats(rows[f"flux_ivar_{band}"])
    flux = np.where((flux > 0) & (weight > 0), flux, np.nan)
    with np.errstate(divide="ignore"):
        return 22.5 - 2.5 * np.log10(flux), 2.5 / np.log(10.0) / (flux * np.sqrt(weight))


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey under the name that [calibration] plugin picks."""
    return {"legacy": LegacySurveys}
