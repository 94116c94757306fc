"""Stars out of focus: images of a telescope's pupil."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates


def ring(
    outer: float, inner: float, blur: float = 0.9, sub: int = 5, half: int = 40
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the image of a pupil of one e-/s by where a pixel lies; radii and the seeing's rms are in pixels."""
    axis = np.arange(-half * sub, half * sub + 1) / sub
    r = np.hypot(axis, axis[:, None])
    image = gaussian_filter(((r < outer) & (r > inner)).astype(float), blur * sub)
    image *= sub**2 / image.sum()
    return lambda dx, dy: map_coordinates(image, [(dy + half) * sub, (dx + half) * sub], order=1, cval=0.0)
