from __future__ import annotations

import numpy as np
import pytest

from lcframework.types import UnusableInput
from plugins_builtin.backgrounds.sep import SepBackground

SHAPE = (300, 400)
NO_MASK = np.zeros(SHAPE, bool)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def noise(sigma=2.0, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, SHAPE)


def box_error(sigma, boxes):
    """One sigma of a box's mode, about that of its median."""
    return 1.25 * sigma / np.sqrt(SHAPE[0] * SHAPE[1] / boxes**2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_recovers_a_gradient_to_within_noise(dtype):
    sky = 100 + 0.05 * X - 0.03 * Y
    image = (sky + noise()).astype(dtype)
    found, rms = SepBackground().estimate(image, NO_MASK)
    # The spline carries the gradient from box to box, extrapolated at the frame's edges where errors grow.
    error = found - sky
    assert np.std(error) < 5 * box_error(2.0, 3)
    assert abs(error.mean()) < 5 * box_error(2.0, 1)
    # A box of 133 pixels holds 6.7 of gradient peak to peak, which is no noise.
    assert rms == pytest.approx(2.0, rel=0.02)


def test_rms_is_that_of_the_noise():
    _, rms = SepBackground().estimate((100 + noise(3.0)).astype(np.float32), NO_MASK)
    assert rms == pytest.approx(3.0, rel=0.02)


def test_median_filter_flattens_a_curved_sky_and_is_off_by_default():
    sky = 10 * ((X / SHAPE[1] - 0.5) ** 2 + (Y / SHAPE[0] - 0.5) ** 2)
    kept, filtered = (SepBackground(filter_size=f).estimate(sky + noise(0.1), NO_MASK)[0] - sky for f in (1, 3))
    middle = np.s_[140:160, 190:210]
    # The mean of a parabola over a box lies above its minimum, by 10 / 12 / 9 on each axis: not so the surface.
    assert np.mean(kept[middle]) == pytest.approx(0, abs=3 * box_error(0.1, 3))
    assert np.mean(filtered[middle]) > 0.8


def test_masked_and_missing_pixels_do_not_count():
    image = (50 + noise()).astype(np.float32)
    mask = NO_MASK.copy()
    mask[:, 100:130], image[:, 100:130] = True, 5000
    image[40:60] = np.nan
    sky, rms = SepBackground().estimate(image, mask)
    assert np.all(np.isfinite(sky))
    assert np.std(sky - 50) < 5 * box_error(2.0, 3)
    assert rms == pytest.approx(2.0, rel=0.03)


def test_masking_sources_lowers_their_bias():
    rng = np.random.default_rng(5)
    image = 20 + noise(1.0)
    for x, y in rng.uniform([20, 20], [380, 280], (250, 2)):
        image += 40 * np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / 3.0**2)
    plain, masked = (SepBackground(mask_sources=m).estimate(image, NO_MASK)[0] for m in (False, True))
    assert np.mean(masked - 20) < 0.6 * np.mean(plain - 20)
    assert abs(np.mean(masked - 20)) < 0.3


def starfield(rng, sky, stars=40):
    """Return a Poisson image of stars with wings on a sky, and where the stars are."""
    x, y = rng.uniform(15, SHAPE[1] - 15, stars), rng.uniform(15, SHAPE[0] - 15, stars)
    flux = 10 ** rng.uniform(2.5, 5.0, stars)
    light = np.zeros(SHAPE)
    for i in range(stars):
        q = 1 + ((X - x[i]) ** 2 + (Y - y[i]) ** 2) / 9
        light += flux[i] * 1.5 / np.pi / 9 / (q * q * np.sqrt(q))  # a Moffat of beta 2.5
    return rng.poisson(sky + light).astype(np.float32), np.rint(y).astype(int), np.rint(x).astype(int)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("level", [25.0, 600.0])
def test_the_sky_under_stars_is_the_mean_of_what_is_there_without_them(level, masked):
    import sep

    u, v = X / SHAPE[1] - 0.5, Y / SHAPE[0] - 0.5
    sky = level * (1 + 0.05 * u - 0.03 * v + 0.04 * (u**2 + v**2))
    found, mode = [], []
    for seed in range(4):
        image, y, x = starfield(np.random.default_rng(seed), sky)
        estimate, rms = SepBackground(mask_sources=masked).estimate(image, NO_MASK)
        found.append(np.mean((estimate - sky)[y, x]))
        mode.append(np.mean((sep.Background(image, bw=134, bh=100, fw=1, fh=1).back() - sky)[y, x]))
        assert rms == pytest.approx(np.sqrt(level), rel=0.03)
    # A star's flux is off by this times 50 pixels or so, where its photon noise is 7 rms of a pixel or more.
    assert np.sqrt(np.mean(np.square(found))) < 0.015 * np.sqrt(level)
    assert np.sqrt(np.mean(np.square(mode))) > 3 * np.sqrt(np.mean(np.square(found)))


def test_where_sources_reach_everywhere_there_still_is_a_sky():
    rng = np.random.default_rng(4)
    image, _, _ = starfield(rng, np.full(SHAPE, 100.0), stars=600)
    sky, rms = SepBackground(mask_sources=True).estimate(image, NO_MASK)
    assert np.isfinite(sky).all()
    assert rms > 0
    assert np.median(sky) < np.median(image)


def test_a_frame_without_pixels_is_unusable():
    with pytest.raises(UnusableInput, match="no usable pixel"):
        SepBackground().estimate(np.full(SHAPE, np.nan, np.float32), NO_MASK)


def test_a_small_frame_and_many_boxes():
    image = np.random.default_rng(0).normal(5, 1, (20, 31)).astype(np.float32)
    sky, _ = SepBackground(boxes=7).estimate(image, np.zeros(image.shape, bool))
    assert sky.shape == image.shape
    assert abs(np.median(sky) - 5) < 0.5


@pytest.mark.parametrize("options", [{"boxes": 0}, {"boxes": 2.5}, {"filter_size": 0}, {"mask_sources": "yes"}])
def test_refuses_senseless_options(options):
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        SepBackground(**options)
