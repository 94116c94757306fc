"""How much the transparency varies over the field: one number for all frames."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.injections.drawing_psf import StarFit
from lcframework.injections.transparency import WIDE, Transparency, measure_transparency, slope_width

FRAME = (400, 500)


def frames(width: float, number: int = 60, stars: int = 10, noise: float = 0.01, seed: int = 3) -> list[Transparency]:
    """Return what stars say of frames whose slopes have a standard deviation."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 500, stars), rng.uniform(0, 400, stars)
    level = rng.uniform(100, 1000, stars)
    out = []
    for _ in range(number):
        a, b = width * rng.standard_normal(2)
        here = rng.uniform(0.4, 1.0) * (1 + a * (x - 249.5) / 250 + b * (y - 199.5) / 250)
        flux = level * here * (1 + noise * rng.standard_normal(stars))
        fits = [StarFit(*values) for values in zip(x, y, flux, noise * flux, strict=True)]
        out.append(measure_transparency(fits, level, FRAME, WIDE))
    return out


@pytest.mark.parametrize("width", [0.005, 0.02, 0.1])
def test_it_is_that_of_the_frames(width: float) -> None:
    # 120 slopes tell their scatter to 1 / sqrt(240); errors of 0.006 beside them make that worse.
    assert slope_width(frames(width)) == pytest.approx(width, rel=0.25 if width < 0.01 else 0.15)


def test_noise_alone_is_no_slope() -> None:
    found = [slope_width(frames(0.0, seed=seed)) for seed in range(10)]
    # Half of the skies have slopes smaller than their errors, by chance; the others hardly larger ones.
    assert np.median(found) < 0.001
    assert max(found) < 0.003


def test_without_frames_there_is_none() -> None:
    assert slope_width([]) == 0.0
