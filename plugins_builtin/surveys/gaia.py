"""The survey ``gaia``: magnitudes in other systems from Gaia's own G, BP and RP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.types import Floats, MagnitudeTable, NeedMissing, StarTable, UnusableInput
from plugins_builtin.shared.star_tables import magnitude_table, plain_floats, unknown_band


@attrs.frozen
class Transformation:
    """``G - X`` as a polynomial in BP - RP, as published.

    Source: Gaia DR3 documentation, section 5.5.1 (J. M. Carrasco and M. Bellazzini), tables 5.8 and 5.9 for the
    coefficients and scatters, table 5.10 for the ranges; the relations are those of Riello et al. 2021
    (A&A 649, A3), appendix C.
    """

    coefficients: tuple[float, ...]  # of (BP - RP) to the power 0, 1, ...
    scatter: float  # mag
    colours: tuple[float, float]  # range of BP - RP that was fitted
    system: str
    reddest_dwarf: float = np.inf  # BP - RP beyond which the relation holds for M giants alone

    def magnitudes(self, g: Floats, bp_rp: Floats) -> Floats:
        """Return the magnitudes X of stars."""
        return g - np.polynomial.polynomial.polyval(bp_rp, self.coefficients)

    def valid(self, bp_rp: Floats, giants: bool) -> np.ndarray:
        """Return which colours the relation holds for."""
        blue, red = self.colours
        return (bp_rp >= blue) & (bp_rp <= (red if giants else min(red, self.reddest_dwarf)))


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "g_sdss": Transformation((0.2199, -0.6365, -0.1548, 0.0064), 0.0745, (0.3, 3.0), "AB", 2.0),
    "r_sdss": Transformation((-0.09837, 0.08592, 0.1907, -0.1701, 0.02263), 0.03776, (0.0, 3.0), "AB", 2.0),
    "i_sdss": Transformation((-0.293, 0.6404, -0.09609, -0.002104), 0.04092, (0.5, 2.0), "AB"),
    "V": Transformation((-0.02704, 0.01424, -0.2156, 0.01426), 0.03017, (-0.5, 5.0), "Vega"),
    "R": Transformation((-0.02275, 0.3961, -0.1243, -0.01396, 0.003775), 0.03167, (0.0, 4.0), "Vega", 2.0),
    "Ic": Transformation((0.01753, 0.76, -0.0991), 0.03765, (-0.5, 4.5), "Vega"),
    "B_T": Transformation((-0.004288, -0.8547, 0.1244, -0.9085, 0.4843, -0.06814), 0.07063, (-0.3, 3.0), "Vega"),
    "V_T": Transformation((-0.01077, -0.0682, -0.2387, 0.02342), 0.0535, (-0.35, 4.0), "Vega"),
}


#: The magnitude of 1 e-/s in G, BP and RP (Vega; Gaia DR3 documentation, table 5.4).
_ZEROPOINTS = (25.6874, 25.3385, 24.7479)
#: ``(f_BP + f_RP) / f_G`` of single stars by BP - RP from 0.5 to 4 (Riello et al. 2021, A&A 649, A3, table 2); used up
#: to where stars are common.
_FLUX_EXCESS, _COMMON_COLOURS = (1.162004, 0.011464, 0.049255, -0.005879), (0.5, 1.6)
#: Stars of a common colour from which the catalogue's magnitude is compared, and the median difference, mag, beyond
#: which it is not G. Of stars like the sun, V is 0.15 fainter than G; crowding adds some hundredths to BP and RP.
_FEWEST, _LARGEST_DIFFERENCE = 5, 0.12


def check_magnitude_is_g(g: Floats, bp: Floats, rp: Floats) -> None:
    """Refuse magnitudes that are not G.

    G follows from BP and RP, whose passbands make up that of G.

    Raises
    ------
    UnusableInput
        Saying by how much they differ.
    """
    blue, red = _COMMON_COLOURS
    with np.errstate(invalid="ignore"):
        common = (bp - rp >= blue) & (bp - rp <= red) & np.isfinite(g)
    if common.sum() < _FEWEST:
        return
    flux = 10 ** (0.4 * (_ZEROPOINTS[1] - bp[common])) + 10 ** (0.4 * (_ZEROPOINTS[2] - rp[common]))
    excess = np.polynomial.polynomial.polyval((bp - rp)[common], _FLUX_EXCESS)
    difference = g[common] - (_ZEROPOINTS[0] - 2.5 * np.log10(flux / excess))
    brighter = g[common] <= np.median(g[common])  # BP and RP of faint stars hold neighbours' light
    typical = float(np.median(difference[brighter]))
    if abs(typical) > _LARGEST_DIFFERENCE:
        raise UnusableInput(
            f"[calibration] gaia: the catalogue's `magnitude` is not Gaia's G: it differs by {typical:+.2f} mag "
            f"(median of {int(brighter.sum())} stars) from what BP and RP give. Map `magnitude` to G in [stars.file] "
            "or [stars.vizier] columns, take stars from plugin = 'gaia', or calibrate with another survey"
        )


@attrs.frozen
class GaiaTransformed:
    """SDSS g, r, i, Johnson-Cousins V, R, Ic and Tycho B_T, V_T magnitudes by Gaia DR3's published relations.

    Stars whose colour lies outside a relation's range are left out. The error of a magnitude is the published scatter
    of stars around the relation.
    """

    results_version: ClassVar[int] = 1

    giants: bool = False  # true: also beyond BP - RP = 2 in g_sdss, r_sdss and R, where only M giants were fitted

    def magnitudes(self, stars: StarTable, band: str) -> MagnitudeTable:
        """Return magnitudes in `band` of the stars that have G, BP and RP and a colour in range; colour BP - RP.

        Raises
        ------
        NeedMissing
            For an unknown band, or stars without the columns ``bp`` and ``rp``.
        UnusableInput
            Where the stars' magnitude is not Gaia's G.
        """
        if band not in TRANSFORMATIONS:
            raise unknown_band("gaia", band, TRANSFORMATIONS)
        missing = [name for name in ("bp", "rp") if name not in stars.colnames]
        if missing:
            raise NeedMissing(
                f"the survey 'gaia' needs Gaia's BP and RP, and the star table has no {' and no '.join(missing)}. "
                f"Name their columns in [stars.file] columns, take stars from plugin = 'gaia', or calibrate with "
                f"[calibration] plugin = 'file' or another survey."
            )
        relation = TRANSFORMATIONS[band]
        bp, rp = plain_floats(stars["bp"]), plain_floats(stars["rp"])
        colour = bp - rp
        check_magnitude_is_g(plain_floats(stars["magnitude"]), bp, rp)
        keep = relation.valid(colour, self.giants)
        return magnitude_table(
            np.asarray(stars["source_id"])[keep],
            relation.magnitudes(plain_floats(stars["magnitude"]), colour)[keep],
            np.full(int(keep.sum()), relation.scatter),
            {"survey": "gaia", "band": band, "system": relation.system, "colour": "bp_rp"},
            colour[keep],
        )


@hookimpl
def lcf_calibration_surveys() -> dict[str, type]:
    """Offer the survey ``gaia``."""
    return {"gaia": GaiaTransformed}
