"""What is doubtful about a zero point: few stars, a trend with brightness, a band that nobody named."""

from __future__ import annotations

from lcframework.config.survey_bands import is_another_band
from lcframework.stars.zeropoint import Zeropoint
from lcframework.types import Doubt, Severity

#: Stars from which on a zero point shows by their scatter whether it holds.
FEWEST_STARS = 3
#: A trend with brightness is told that is larger than this, mag, and than so many of its errors.
_TREND, _TREND_ERRORS = 0.02, 5.0


def zeropoint_doubts(fitted: Zeropoint, unknown: int, field_stars: int) -> tuple[Doubt, ...]:
    """Return what is doubtful about a zero point.

    Parameters
    ----------
    fitted : Zeropoint
        The zero point.
    unknown : int
        How many magnitudes have no positive error.
    field_stars : int
        How many reference stars the field has.
    """
    found = []
    if fitted.stars < FEWEST_STARS:
        found.append(
            Doubt(
                "few_zeropoint_stars",
                f"the zero point of {fitted.zeropoint:.2f} +- {fitted.uncertainty:.2f} mag rests on {fitted.stars} of "
                f"{field_stars} reference stars, too few to see whether they agree",
                "See why `lcf status` leaves out the others: clouds, [stars] magnitude, the survey",
                value=fitted.stars,
            )
        )
    if abs(fitted.trend) > max(_TREND, _TREND_ERRORS * fitted.trend_uncertainty):
        found.append(
            Doubt(
                "zeropoint_by_brightness",
                f"bright stars give a zero point {abs(fitted.trend):.3f} +- {fitted.trend_uncertainty:.3f} mag "
                f"{'smaller' if fitted.trend > 0 else 'larger'} than faint ones",
                "The camera may not be linear, the sky under faint stars wrong, or the survey's band another one: "
                "magnitudes, and depths of transits, are off by about as much",
                value=fitted.trend,
            )
        )
    if unknown:
        found.append(
            Doubt(
                "unknown_magnitude_error",
                f"{unknown} of the survey's magnitudes have no positive error and are not used",
                "Give their errors: zero is not one",
                severity=Severity.NOTE,
                value=unknown,
            )
        )
    return tuple(found)


def guessed_band(band: str, survey_band: str, survey: str) -> Doubt:
    """Return the doubt about magnitudes of a filter that are calibrated by a band which nobody named for it."""
    unknown = (
        f"which band of the survey {survey} the filter {band} is, is not known"
        if band
        else f"frames without a filter are in no band of the survey {survey}"
    )
    return Doubt(
        "calibrated_by_another_band",
        f"{unknown}: the magnitudes are those of {survey_band}, for stars of the comparison stars' colour",
        f'Name the survey\'s band by [calibration] bands = {{ "{band}" = "..." }}; or plugin = "none": relative fluxes',
        severity=Severity.DOUBT if is_another_band(band) else Severity.NOTE,
    )
