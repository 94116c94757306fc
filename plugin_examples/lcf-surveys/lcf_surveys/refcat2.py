"""Calibration magnitudes from ATLAS-REFCAT2: g, r, i, z of Pan-STARRS's system (AB) over the whole sky, 6 < m < 19.

Sources
-------
Tonry et al. 2018, "The ATLAS All-Sky Stellar Reference Catalog", ApJ 867, 105: merged from Pan-STARRS DR1, ATLAS
Pathfinder, APASS, SkyMapper DR1 and Tycho-2 on Pan-STARRS's system; systematic errors below 5 mmag, up to 20 mmag
near the galactic plane. Positions and proper motions are those of Gaia DR2, at 2015.5.
CDS, "J/ApJ/867/105", http://cdsarc.cds.unistra.fr/viz-bin/ReadMe/J/ApJ/867/105: the columns. Gmag is Gaia's and gmag
is Pan-STARRS's: in queries the names must be quoted.
Tonry et al. 2018, "ATLAS: A High-cadence All-sky Survey System", PASP 130, 064505, equation 2: the bands c and o.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import attrs
import numpy as np

from lcf_surveys.service import TapSurvey, floats, magnitude_table, unknown_band
from lcframework.hookspecs import hookimpl
from lcframework.types import Floats, MagnitudeTable, StarTable

if TYPE_CHECKING:
    from astropy.table import Table

#: Catalogue bands that make up each band that is known.
BANDS: Mapping[str, Mapping[str, float]] = {
    **{band: {band: 1.0} for band in "griz"},
    "c": {"g": 0.49, "r": 0.51},
    "o": {"r": 0.55, "i": 0.45},
}
_VARIABLE, _DUPLICATE = 1, 4  # dupvar: 0 constant, 1 variable, 2 not known; 4 is added where Gaia lists a star twice


@attrs.frozen
class Refcat2(TapSurvey):
    """Magnitudes of ATLAS-REFCAT2, matched by position; stars that Gaia calls variable or double are left out."""

    results_version: ClassVar[int] = 1
    title: ClassVar[str] = "ATLAS-REFCAT2"
    columns: ClassVar[tuple[str, ...]] = ("dupvar", *(f"{p}{b}mag" for b in "griz" for p in ("", "e_")))

    table: str = "J/ApJ/867/105/refcat2"
    brightest: float = 6.0  # mag: brighter stars are rarely measured

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have exactly one match.

        Raises
        ------
        NeedMissing
            For an unknown band, or a service that does not answer.
        """
        parts = BANDS.get(band.removesuffix("_refcat2").removesuffix("_atlas"))
        if parts is None:
            raise unknown_band("ATLAS-REFCAT2", band, BANDS)
        star, rows = self.matched(stars)
        mag = sum((w * floats(rows[f"{b}mag"]) for b, w in parts.items()), np.zeros(len(rows)))
        variance = sum(((w * floats(rows[f"e_{b}mag"])) ** 2 for b, w in parts.items()), np.zeros(len(rows)))
        flag = np.nan_to_num(floats(rows["dupvar"])).astype(int)
        mag = np.where((flag & _DUPLICATE > 0) | (flag & 3 == _VARIABLE), np.nan, mag)
        meta = {"survey": "refcat2", "band": band, "system": "AB", "colour": "g_r"}
        colour = floats(rows["gmag"]) - floats(rows["rmag"])
        return magnitude_table(self, stars, star, mag, np.sqrt(variance), colour, meta)

    def epoch(self, rows: Table) -> Floats | float:
        """Return Gaia DR2's epoch."""
        return 2015.5


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey under the name that [calibration] plugin picks."""
    return {"refcat2": Refcat2}
