"""How sharp a source can be that is no hot pixel and no cosmic ray."""

from __future__ import annotations

import numpy as np

from lcframework.types import Floats

#: Of the typical FWHM of a frame's stars.
_SHARPEST = 0.6


def sharpest_star(fwhm: Floats, flux: Floats) -> float:
    """Return the FWHM below which a source can't be a star of the frame, by the brighter half of its sources."""
    return _SHARPEST * float(np.median(fwhm[flux >= np.median(flux)]))
