"""Which band a light curve's magnitudes are those of, and whether a report may call them by the frames' filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from lcframework.types import UnusableInput
from plugins_builtin.shared.aavso_filters import OTHER, aavso_filter, given_filter
from plugins_builtin.shared.light_curve_tables import magnitude_system

if TYPE_CHECKING:
    from astropy.table import Table

#: By the AAVSO's codes: filters that are reduced to a band of another name, by convention or because both are alike.
_REDUCED_TO = {
    "CV": ("V",), "CR": ("R", "SR"), "TB": ("B",), "TG": ("V",), "TR": ("R", "SR"), "SZ": ("ZS",), "ZS": ("SZ",),
}  # fmt: skip
#: Bands of surveys that are near none of the AAVSO's.
_OF_GAIA = ("G", "BP", "RP")


@attrs.frozen
class BandCalibration:
    """The survey, its band, and the system ("AB", "Vega" or empty) of one instrument's and filter's magnitudes."""

    survey: str = ""
    band: str = ""
    system: str = ""

    def __str__(self) -> str:
        """Return the survey's band in words."""
        return f"{self.band} of the survey {self.survey}"


def calibration_of(table: Table, instrument: str, band: str) -> BandCalibration:
    """Return how the magnitudes of an instrument and filter were calibrated, as far as the light curve says it."""
    for row in table.meta.get("calibration", ()):
        if (row["instrument"], row["band"]) == (instrument, band):
            return BandCalibration(str(row["survey"]), str(row["survey_band"]), str(row["system"]))
    return BandCalibration(system=magnitude_system(table))


def reported_filter(band: str, calibration: BandCalibration, given: Mapping[str, str]) -> str:
    """Return the AAVSO's code of the filter that magnitudes are reported in.

    Parameters
    ----------
    band : str
        The frames' filter.
    calibration : BandCalibration
        What its magnitudes were calibrated by.
    given : mapping
        The option `filters`: what the user calls a filter holds.

    Raises
    ------
    UnusableInput
        Where the magnitudes are those of another band: a report in this one would be off by the stars' colour.
    """
    if name := given_filter(band.strip(), given):
        return name
    code = aavso_filter(band)
    of_survey = aavso_filter(calibration.band) if calibration.band else OTHER
    if code in ("CV", "CR") and of_survey != OTHER:
        code = next((c for c in ("CV", "CR") if of_survey in _REDUCED_TO[c]), code)
    another = of_survey not in (OTHER, code, *_REDUCED_TO.get(code, ()))
    if code != OTHER and (another or calibration.band in _OF_GAIA):
        called = f"the filter {band}" if band.strip() else "frames without a filter"
        raise UnusableInput(
            f"the magnitudes of {called} were calibrated by {calibration}, so they are none of {code}: set "
            f"[calibration] bands to a band like the filter, or say what they are: "
            f'-o filters=\'{{"{band}" = "CODE"}}\''
        )
    return code
