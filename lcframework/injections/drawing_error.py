"""How far the PSF that draws is from the stars': the scatter of held-out stars' fluxes from frame to frame.

A source is drawn with what few stars tell of a frame's PSF. Where it is undersampled, or changes over the field, that
differs from the true PSF, by an amount that changes from frame to frame with the pixels' phase and the seeing. What
measures is then blamed for what draws. Held-out stars show how much that is: they are constant, so what their fluxes,
by the drawing PSF, scatter from frame to frame beyond their noise is the drawing's error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lcframework.types import Floats
from lcframework.types.robust import SIGMA_PER_MAD, finite_median

#: Fewer fluxes than this tell no scatter.
_FEWEST = 12
_STEPS = 60


def drawing_error(frames: Sequence[Mapping[str, tuple[float, float]]]) -> float:
    """Return the relative error of a source's flux in a frame that the drawing has.

    Parameters
    ----------
    frames : sequence of mappings
        For each frame of one instrument and band, by held-out star: its flux over what its level and the frame's
        transparency lead to expect, and the relative error of that by the noise.

    Returns
    -------
    float
        The scatter s for which ``(ratio / mean - 1)^2 / (error^2 + s^2)`` has the median of a Gaussian's; 0 where the
        noise is enough, or there are too few fluxes.
    """
    stars = sorted({star for frame in frames for star in frame})
    ratio, error = np.full((2, len(frames), len(stars)), np.nan)
    for i, frame in enumerate(frames):
        for j, star in enumerate(stars):
            if star in frame:
                ratio[i, j], error[i, j] = frame[star]
    count = np.isfinite(ratio).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The mean takes a part of the scatter with it.
        off = (ratio / finite_median(ratio, 0) - 1) / np.sqrt(1 - 1 / np.maximum(count, 1))
    known = np.isfinite(off) & np.isfinite(error) & (count > 2)
    return _beyond(off[known], error[known]) if known.sum() >= _FEWEST else 0.0


def _beyond(off: Floats, error: Floats) -> float:
    """Return the scatter beyond errors, by bisection."""

    def width(scatter: float) -> float:
        return float(SIGMA_PER_MAD * np.median(np.abs(off) / np.hypot(error, scatter)))

    low, high = 0.0, float(SIGMA_PER_MAD * np.median(np.abs(off))) * 2
    if high == 0 or width(0.0) <= 1:
        return 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > 1 else (low, middle)
    return 0.5 * (low + high)
