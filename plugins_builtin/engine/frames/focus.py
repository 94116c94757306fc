"""Frames out of focus or trailed: their stars have an edge and a flat top, which breaks into pieces when detected."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from lcframework.types import FWHM_PER_SIGMA, Floats, Ints

#: Of the pixels that a Gaussian of the same width and peak has above the threshold. sep looks at a slightly smoothed
#: image, where Gaussians have 1.1 to 2.5, real stars 1.7 to 6, rings and discs of the pupil 0.3 to 0.9, and trails of
#: 10 pixels 0.7 to 0.9.
_IN_FOCUS = 0.95
_PEAK = 3.0  # least peak over threshold of a source whose extent tells its profile
_FEWEST = 5  # sources; the median of the brightest counts, so that a nebula does not speak for the stars
_BRIGHTEST = 15
#: Of the stars' rms width: a ring whose hole is two thirds of it is filled by a Gaussian of this width.
_SMOOTHING = 0.7


def smoothing_width(pixels: Ints | Floats, peak: Float[Floats, " n"], fwhm: Float[Floats, " n"]) -> float:
    """Return the rms of the Gaussian that makes one peak of a star out of focus, pixels; 0 for frames in focus.

    A Gaussian of peak p has ``pi FWHM^2 ln(p / t) / (4 ln 2)`` pixels above a threshold t, and a star has wings beside.
    The image of the pupil ends at its edge: however bright it is, it has no pixels beyond.

    Parameters
    ----------
    pixels : (n,) array
        How many pixels of each source are above the threshold.
    peak : (n,) array
        Its highest pixel over the threshold.
    fwhm : (n,) array
        That of the Gaussian that matches it best, pixels; not finite where there is none.

    Returns
    -------
    float
    """
    told = np.flatnonzero((peak >= _PEAK) & np.isfinite(fwhm))
    told = told[np.argsort(-peak[told] * pixels[told], kind="stable")[:_BRIGHTEST]]
    if len(told) < _FEWEST:
        return 0.0
    gaussian = math.pi / (4.0 * math.log(2.0)) * fwhm[told] ** 2 * np.log(peak[told])
    if float(np.median(pixels[told] / gaussian)) >= _IN_FOCUS:
        return 0.0
    return _SMOOTHING * float(np.median(fwhm[told])) / FWHM_PER_SIGMA


def smoothed(
    image: Float[Floats, "ny nx"], noise: Float[Floats, "ny nx"], width: float
) -> tuple[Float[Floats, "ny nx"], Float[Floats, "ny nx"]]:
    """Return an image smoothed by a Gaussian of rms `width` in pixels, and the noise that is left in each pixel."""
    from scipy.ndimage import gaussian_filter

    kept = 1.0 / (2.0 * math.sqrt(math.pi) * width)  # the root of the kernel's sum of squares
    return (
        np.ascontiguousarray(gaussian_filter(image, width, mode="constant")),
        np.ascontiguousarray(kept * np.sqrt(gaussian_filter(noise**2, width / math.sqrt(2.0), mode="constant"))),
    )
