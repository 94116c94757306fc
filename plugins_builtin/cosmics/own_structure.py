"""Structure that the stars of a frame share: an edge detector takes it for cosmic rays."""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Floats

# Rays that fall on five stamps hit one place of three of them in less than one frame of a hundred.
_BRIGHTEST = 5
_REPEATED = 3
_LIT = 5.0  # of the noise, in the median of 5 x 5 pixels: no ray has light in thirteen of them
_SPREAD = 2.0  # of the sharpest structure of the median star: by where in its pixels each star lies


def structure_of_stars(found: Bools, stamps: Floats, noise: Floats) -> Bools:
    """Return which of the found pixels are a part of what all stars of the frame look like.

    Stars out of focus are rings with edges, which are as sharp to the Laplacian as a ray, wherever their noise is small
    enough. Rays do not fall on the same place of most stars; where something was found on one place of most of the
    brightest, it is theirs. Then a ray within a source's light counts only where it is sharper than stars are.

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
    if not found.any() or len(stamps) < _REPEATED:
        return nothing
    light = median_filter(stamps, (1, 5, 5))
    lit = light > _LIT * noise
    brightest = np.argsort(light.max(axis=(1, 2)))[::-1][:_BRIGHTEST]
    if not ((found & lit)[brightest].sum(axis=0) >= _REPEATED).any():
        return nothing
    level = maximum_filter(light, (1, 5, 5))
    lit = binary_dilation(lit, np.ones((1, 5, 5), bool))  # edges of stars are a part of their structure
    around = np.ones((1, 3, 3), bool)
    around[0, 1, 1] = False
    excess = (stamps - median_filter(stamps, footprint=around)) / np.where(lit, level, np.inf)
    sharpest = _SPREAD * float(np.median(excess[brightest].max(axis=(1, 2))))
    rays = binary_dilation(found & (excess > sharpest), np.ones((1, 3, 3), bool))
    return np.asarray(found & lit & ~rays)
