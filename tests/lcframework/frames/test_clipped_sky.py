"""A sky whose noise was cut off at a lowest value is doubted; coarse numbers, dead pixels and blank borders are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lcframework.frames.clipped_sky import clipped_doubts, lowest_value
from lcframework.frames.photon_transfer import measure_gain

SIGMA = 16.0


def sky(level: float, seed: int = 1, size: int = 256) -> np.ndarray:
    return np.rint(np.random.default_rng(seed).normal(level, SIGMA, (size, size)))


@pytest.mark.parametrize("level", [-8.0, 0.0, 10.0, 24.0])
@pytest.mark.parametrize("scale", [1.0, 1 / 65535])
def test_a_cut_at_zero_is_doubted(level: float, scale: float) -> None:
    image = np.clip(sky(level), 0, None) * scale
    image[:40] = 0  # a border without data
    image[100:110, 100:110] += 5000 * scale
    (doubt,) = clipped_doubts(image)
    # Rounded to whole numbers, zero holds what is below a half; a square's share is known to 0.016.
    assert doubt.value == pytest.approx(norm.cdf((0.5 - level) / SIGMA), abs=0.02)
    assert "have the lowest value, 0:" in doubt.text


def test_whole_frames_are_not() -> None:
    assert clipped_doubts(sky(300.0)) == ()
    dead = sky(300.0)
    dead[::9, ::9] = 0
    dead[:, 40] = 0
    assert clipped_doubts(dead) == ()
    assert clipped_doubts(np.clip(sky(40.0), 0, None)) == ()  # a cut at 2.5 sigma: 0.6 %
    coarse = np.rint(np.random.default_rng(2).normal(3.0, 0.6, (256, 256)))
    assert lowest_value(coarse)[1] == 0
    assert clipped_doubts(np.full((64, 64), 7.0)) == ()
    assert clipped_doubts(np.full((64, 64), np.nan)) == ()
    assert clipped_doubts(sky(0.0, size=20)) == ()  # no whole square


def test_a_sky_that_is_cut_off_tells_no_gain() -> None:
    """Where a sky of zero mean tilts by a fraction of its noise, the cut raises level and variance together."""
    tilt = np.linspace(-6.0, 6.0, 512)[:, None]
    pairs = [tuple(np.clip(sky(0.0, 10 * i + j, 512) + tilt, 0, None) for j in (1, 2)) for i in range(4)]
    found = measure_gain(pairs)
    assert not np.isfinite(found.gain)
    assert "too few pixels free of sources and not cut off" in found.reason
