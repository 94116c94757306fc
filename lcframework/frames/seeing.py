"""The seeing of a frame and the shape of its stars, from the sources that were found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lcframework.types import Bools, Ints

if TYPE_CHECKING:
    from astropy.table import Table

#: Clean detections from which on they show the seeing.
FEWEST_CLEAN = 3


def shape_of_stars(sources: Table, mask: Ints | None = None) -> tuple[float | None, float | None]:
    """Return the median FWHM in pixels and the median ellipticity of the brighter half of the clean detections.

    Where fewer than `FEWEST_CLEAN` are clean, of those with a core that is whole; where none is, of all.

    Parameters
    ----------
    sources : Table
        The frame's.
    mask : (ny, nx) array, optional
        The frame's bad pixels: a saturated star is wider than it was, and the brightest of all.
    """
    whole = _whole_cores(sources, mask)
    clean = sources[whole & (np.asarray(sources["flags"]) == 0)]
    if len(clean) < FEWEST_CLEAN:
        clean = sources[whole] if whole.any() else sources
    if len(clean) == 0:
        return None, None
    flux = np.asarray(clean["flux"], float)
    bright = clean[flux >= np.median(flux)]
    a, b = np.asarray(bright["a"], float), np.asarray(bright["b"], float)
    return float(np.nanmedian(bright["fwhm"])), float(np.nanmedian(1 - b / a))


def _whole_cores(sources: Table, mask: Ints | None) -> Bools:
    """Return which sources have no bad pixel among the nine at their centre."""
    if mask is None or len(sources) == 0:
        return np.ones(len(sources), bool)
    padded = np.pad(np.asarray(mask) > 0, 1)
    y, x = (
        np.clip(np.rint(np.nan_to_num(np.asarray(sources[name], float))).astype(int), 0, size - 1)
        for name, size in (("y", mask.shape[0]), ("x", mask.shape[1]))
    )
    return np.asarray(~np.any([padded[y + j, x + i] for j in range(3) for i in range(3)], axis=0))
