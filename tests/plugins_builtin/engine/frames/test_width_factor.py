"""The true width of stars over that of the Gaussians that match them."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.types import FWHM_PER_SIGMA
from plugins_builtin.engine.frames.moments import Moments, adaptive_moments, width_factor

FWHM, BETA = 6.0, 2.5


def field(cosmics: int) -> tuple[np.ndarray, Moments]:
    """Return stars with wings, with brighter peaks a pixel wide among them, and the moments of all."""
    rng = np.random.default_rng(1)
    y, x = (g.ravel() + rng.uniform(-0.5, 0.5, g.size) for g in np.mgrid[20:400:40, 20:400:40])
    gy, gx = np.mgrid[:400, :400]
    alpha = 0.5 * FWHM / np.sqrt(2 ** (1 / BETA) - 1)
    image = np.zeros((400, 400))
    for xi, yi in zip(x, y, strict=True):
        image += 1000 * (1 + ((gx - xi) ** 2 + (gy - yi) ** 2) / alpha**2) ** -BETA
    cx, cy = x[:cosmics] + 20, y[:cosmics] + 20
    for xi, yi in zip(cx, cy, strict=True):
        image += 9000 * np.exp(-0.5 * ((gx - xi) ** 2 + (gy - yi) ** 2))
    image += rng.normal(size=image.shape)
    sigma = FWHM / FWHM_PER_SIGMA
    widths = np.concatenate([np.full(len(x), sigma), np.full(cosmics, 1.0)])
    return image, adaptive_moments(image, np.concatenate([x, cx]), np.concatenate([y, cy]), widths, 15)


@pytest.mark.parametrize("cosmics", [0, 80])
def test_stars_have_their_width_whatever_narrow_peaks_are_among_them(cosmics):
    image, moments = field(cosmics)
    factor = width_factor(image, np.ones(image.shape), np.zeros(image.shape, bool), moments)
    found = factor * FWHM_PER_SIGMA * np.median(np.sqrt(moments.a * moments.b)[:100])
    assert found == pytest.approx(FWHM, rel=0.02)
