"""How many connected pixels make a source, and how bright they must be, by how wide a frame's stars are."""

from __future__ import annotations

import math

#: A Gaussian star of peak p covers ``pi FWHM^2 ln(p / t) / (4 ln 2)`` pixels above a threshold t. The documented 20
#: pixels belong to a seeing of 4 pixels: a star is a source from a peak of three times the threshold on.
_AREA = 1.25
_LEAST_AREA = 3
#: Noise makes n connected pixels above s sigma with a chance that falls with n s^2: so few pixels must be the brighter.
_AREA_AND_SQUARE = 45.0
#: sigma; below the first, the sky's structure counts as sources; above the second, stars are lost.
_LOWEST, HIGHEST = 2.0, 4.0
#: Pixels in a smoothed frame: few places of its noise are above the highest threshold, whatever their area.
SMOOTHED_AREA = 11


def least_area(seeing: float) -> int:
    """Return the least number of connected pixels of a source, by the FWHM of stars in pixels."""
    return max(_LEAST_AREA, round(_AREA * seeing**2))


def threshold(area: int) -> float:
    """Return the threshold in sigma at which noise rarely makes so many connected pixels."""
    return float(min(max(_LOWEST, math.sqrt(_AREA_AND_SQUARE / area)), HIGHEST))
