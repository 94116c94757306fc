"""Structure that the stars of a frame share: an edge detector takes it for cosmic rays."""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Floats

# Of the brightest stars: in so many of them something is found, and so many times as densely as in the sky.
_BRIGHTEST, _FEWEST, _DENSER = 8, 3, 5.0
_LIT = 5.0  # of the noise, in the median of 5 x 5 pixels: no ray has light in thirteen of them
_NOISE = 4.0  # sigma
_SPREAD = 2.0  # of the sharpest structure of the median star: by where in its pixels each star lies


def structure_of_stars(found: Bools, stamps: Floats, noise: Floats) -> Bools:
    """Return which of the found pixels are a part of what all stars of the frame look like.

    Stars out of focus are rings with edges, which are as sharp to the Laplacian as a ray, wherever their noise is small
    enough; so are undersampled ones, and bleeding ones. Rays fall on the sky as often as on stars: where what was found
    is much denser in the light of the brightest stars, it is theirs. Then a ray within a source's light counts only
    where it is sharper than stars are.

    Parameters
    ----------
    found : bool array (n, ny, nx)
        Candidates for cosmic rays in stamps that are centred on their stars.
    stamps, noise : array (n, ny, nx)
        e-/s without the sky, and one sigma; both finite.

    Returns
    -------
    bool array (n, ny, nx)
        Of the candidates.
    """
    from scipy.ndimage import binary_dilation, maximum_filter, median_filter

    nothing = np.zeros(found.shape, bool)
    if found.any(axis=(1, 2)).sum() < _FEWEST:
        return nothing
    light = median_filter(stamps, (1, 5, 5))
    lit = light > _LIT * noise
    brightest = np.argsort(light.max(axis=(1, 2)))[::-1][:_BRIGHTEST]
    lit = binary_dilation(lit, np.ones((1, 5, 5), bool))  # edges of stars are a part of their structure
    in_stars = (found & lit)[brightest]
    in_sky = float((found & ~lit).sum()) / max(float((~lit).sum()), 1.0)
    dense = in_stars.sum() > _DENSER * in_sky * lit[brightest].sum()
    if in_stars.any(axis=(1, 2)).sum() < _FEWEST or not dense:
        return nothing
    level = maximum_filter(light, (1, 5, 5))
    around = np.ones((1, 3, 3), bool)
    around[0, 1, 1] = False
    excess = stamps - median_filter(stamps, footprint=around)
    share = excess[brightest] / np.where(lit, level, np.inf)[brightest]
    sharpest = _SPREAD * float(np.median(share.max(axis=(1, 2))))
    sharper = excess > sharpest * level + _NOISE * noise
    rays = binary_dilation(found & sharper, np.ones((1, 3, 3), bool))
    return np.asarray(found & lit & ~rays)
