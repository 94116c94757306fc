"""Calibration magnitudes from SDSS DR16: u, g, r, i, z (AB), and B, V, R, I (Vega) made of them.

Sources
-------
CDS, "V/154", http://cdsarc.cds.unistra.fr/viz-bin/ReadMe/V/154: the columns; class 6 is a star, mode 1 a primary
detection, clean 1 clean photometry. upmag is the PSF magnitude and uPmag the Petrosian one: in queries the names must
be quoted.
SDSS, "Flux Calibration", https://www.sdss4.org/dr16/algorithms/fluxcal/: u_AB = u_SDSS - 0.04, z_AB = z_SDSS + 0.02;
g, r and i are within 0.01 mag of the AB system.
SDSS, "Transformations between SDSS magnitudes and other systems: Lupton (2005)",
https://www.sdss4.org/dr16/algorithms/sdssubvritransform/: B, V, R, I of Stetson's standard stars, with their scatter.
SDSS magnitudes are asinh magnitudes, which are the usual ones to 0.1 % for stars of calibration (S/N > 20).
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


@attrs.frozen
class Recipe:
    """How a band follows from those of SDSS: a sum of weights times magnitudes, and a constant."""

    weights: Mapping[str, float]
    constant: float  # mag
    scatter: float  # mag, of stars about it
    system: str


BANDS = {
    "u": Recipe({"u": 1.0}, -0.04, 0.0, "AB"),
    "g": Recipe({"g": 1.0}, 0.0, 0.0, "AB"),
    "r": Recipe({"r": 1.0}, 0.0, 0.0, "AB"),
    "i": Recipe({"i": 1.0}, 0.0, 0.0, "AB"),
    "z": Recipe({"z": 1.0}, 0.02, 0.0, "AB"),
    "B": Recipe({"g": 1.0 + 0.3130, "r": -0.3130}, 0.2271, 0.0107, "Vega"),
    "V": Recipe({"g": 1.0 - 0.5784, "r": 0.5784}, -0.0038, 0.0054, "Vega"),
    "R": Recipe({"r": 1.0 - 0.2936, "i": 0.2936}, -0.1439, 0.0072, "Vega"),
    "I": Recipe({"r": 1.0 - 1.2444, "i": 1.2444}, -0.3820, 0.0078, "Vega"),
}
_STAR = 6


@attrs.frozen
class Sdss(TapSurvey):
    """PSF magnitudes of SDSS DR16, matched by position: primary, clean detections of stars."""

    results_version: ClassVar[int] = 1
    title: ClassVar[str] = "SDSS DR16"
    columns: ClassVar[tuple[str, ...]] = (
        "ObsDate", "mode", "class", "clean", *(f"{p}{b}pmag" for b in "ugriz" for p in ("", "e_"))
    )  # fmt: skip

    table: str = "V/154/sdss16"
    brightest: float = 14.5  # mag: brighter stars saturate

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return the magnitudes of the stars that have exactly one match.

        Raises
        ------
        NeedMissing
            For an unknown band, or a service that does not answer.
        """
        recipe = BANDS.get(band.removesuffix("_sdss"))
        if recipe is None:
            raise unknown_band("SDSS", band, BANDS)
        star, rows = self.matched(stars)
        good = (floats(rows["mode"]) == 1) & (floats(rows["class"]) == _STAR) & (floats(rows["clean"]) == 1)
        mag, variance = np.full(len(rows), recipe.constant), np.full(len(rows), recipe.scatter**2)
        for name, weight in recipe.weights.items():
            mag = mag + weight * floats(rows[f"{name}pmag"])
            variance = variance + (weight * floats(rows[f"e_{name}pmag"])) ** 2
        meta = {"survey": "sdss", "band": band, "system": recipe.system, "colour": "g_r"}
        colour = floats(rows["gpmag"]) - floats(rows["rpmag"])
        return magnitude_table(self, stars, star, np.where(good, mag, np.nan), np.sqrt(variance), colour, meta)

    def epoch(self, rows: Table) -> Floats | float:
        """Return when each row was observed; SDSS took images for eleven years."""
        date = floats(rows["ObsDate"])
        return np.where(np.isfinite(date), date, 2004.0)


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey under the name that [calibration] plugin picks."""
    return {"sdss": Sdss}
