"""How much more noise fluxes have than the noise of single pixels says, by the difference of two frames.

Where frames were resampled, to register them for example, neighbouring pixels share their noise: it is less in each
pixel, and as large as before in a sum of many (Fruchter & Hook 2002, PASP 114, 144, section 7). The difference of two
frames of one field has such noise alone: faint stars, nebulae and the fixed pattern of a field at rest are in both.
"""

from __future__ import annotations

import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.types import FWHM_PER_SIGMA, Bools, Floats
from plugins_builtin.engine.robust import robust_scatter

#: Side of the square in which a flux is measured above a level of its own, times the FWHM: that of stars' stamps.
_STAMP = 4.8
#: Pixels are lit where the sum of both frames, smoothed as stars are, is so many times its scatter from its median; so
#: are those this many FWHM around. The sum's noise tells nothing of the difference's.
_LIT, _AROUND = 3.0, 1.5
#: Pixels that differ by so many times their scatter are outlying: hot ones and rays, which fits leave out, too.
_OUTLYING = 5.0
#: A square is used where this share of it, and nearly all under the star, is neither lit nor flagged.
_FREE, _UNDER_STAR = 0.8, 0.99
#: With fewer independent places the ratio is not known to a tenth.
_FEWEST = 200


def variance_ratio(first: Floats, second: Floats, good: Bools, fwhm: float, variance: float) -> float:
    """Return the variance of fluxes in the difference of two frames, over what uncorrelated pixels would give.

    Fluxes are those of a Gaussian star above a constant, fitted at every place that is free of light.

    Parameters
    ----------
    first, second : (ny, nx) arrays
        Frames without sky, the second shifted on the first by whole pixels.
    good : (ny, nx) array
        Pixels that both have, without a flag.
    fwhm : float
        Of stars, pixels.
    variance : float
        Of the difference in one pixel, as the noise maps state it.

    Returns
    -------
    float
        1 where the noise is as stated and uncorrelated; nan where too few places are free.
    """
    half = int(np.ceil(_STAMP / 2 * fwhm))
    size = 2 * half + 1
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * FWHM_PER_SIGMA / fwhm) ** 2)
    kernel /= kernel.sum()
    difference = first - second
    free = good & ~_lit(first, second, good, kernel, fwhm)
    free &= np.abs(difference) <= _OUTLYING * robust_scatter(difference[free])
    data, share = np.where(free, difference, 0.0).astype(float), free.astype(float)
    star, star2 = _convolved(share, kernel), _convolved(share, kernel**2)
    pixels = _summed(share, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = star2 - star**2 / pixels
        fluxes = (_convolved(data, kernel) - star * _summed(data, size) / pixels) / np.sqrt(own * variance)
    used = (pixels > _FREE * size**2) & (star > _UNDER_STAR) & (own > 0)
    if used.sum() < _FEWEST * fwhm**2:
        return float("nan")
    return robust_scatter(fluxes[used]) ** 2


def _lit(first: Floats, second: Floats, good: Bools, kernel: Floats, fwhm: float) -> Bools:
    if not good.any():
        return ~good
    smooth = _convolved(np.where(good, first + second, 0.0).astype(float), kernel)
    middle = float(np.median(smooth[good]))
    lit = np.abs(smooth - middle) > _LIT * robust_scatter(smooth[good])
    reach = 2 * int(np.ceil(_AROUND * fwhm)) + 1
    return np.asarray(scipy.ndimage.maximum_filter(lit, reach))


def _convolved(image: Floats, kernel: Floats) -> Floats:
    convolve = scipy.ndimage.convolve1d
    return np.asarray(convolve(convolve(image, kernel, 0, mode="constant"), kernel, 1, mode="constant"))


def _summed(image: Floats, size: int) -> Floats:
    return np.asarray(scipy.ndimage.uniform_filter(image, size, mode="constant") * size**2)
