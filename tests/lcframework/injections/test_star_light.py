from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.frames.stored_numbers import Storage
from lcframework.injections.drawing import _stored
from lcframework.injections.response import Response, even, response_by
from lcframework.injections.star_light import FramePixels, HeldOutStars, reach_of, star_light
from lcframework.types import UnusableInput

SHAPE = (320, 360)
TRANSPARENCY, OFFSET = 0.8, np.array([0.35, -0.22])


def scene(number: int = 9, slope: float = 0.0) -> tuple[FramePixels, HeldOutStars]:
    """Stars of known levels through a thin cloud, a third of a pixel from where the WCS has them.

    `slope` is that of the cloud along x, from the centre to the edge.
    """
    rng = np.random.default_rng(5)
    k = np.arange(number)
    x, y = 40.0 + 90 * (k % 3) + 7.3 * np.sin(k), 40.0 + 90 * (k // 3) + 6.1 * np.cos(k)
    level = np.linspace(300, 900, number)
    rows, columns = np.indices(SHAPE)
    image = np.zeros(SHAPE)
    for k in range(number):
        d2 = (columns - x[k] - OFFSET[0]) ** 2 + (rows - y[k] - OFFSET[1]) ** 2
        there = TRANSPARENCY + slope * (x[k] / (SHAPE[1] / 2) - 1)
        image += there * level[k] * np.exp(-0.5 * d2 / 1.7**2) / (2 * np.pi * 1.7**2)
    rms, exptime = 0.1, 100.0
    image += rng.normal(size=SHAPE) * np.sqrt(rms**2 + image / exptime)
    peak = TRANSPARENCY * level / (2 * np.pi * 1.7**2)
    frame = FramePixels(image, np.zeros(SHAPE, np.uint8), x + OFFSET[0], y + OFFSET[1], peak, rms, exptime, 4.0)
    return frame, HeldOutStars(x, y, level, even(SHAPE))


def test_transparency_and_registration() -> None:
    frame, stars = scene()
    light = star_light(frame, stars)
    rows, columns = np.mgrid[100:161, 100:161].astype(float)
    total = light.psf.at(130.0, 130.0, columns, rows).sum()  # the profile's flux is that of its Moffat, nearly 1
    found, error = light.transparency.at(np.array([40.0, 300.0, np.nan]), np.array([60.0, 250.0, 1.0]))
    np.testing.assert_allclose(found[:2] * total, TRANSPARENCY, rtol=0.01)
    assert found[0] == found[1]  # where frames have no slopes
    assert ((error[:2] > 0) & (error[:2] < 0.01)).all()
    assert np.isnan([found[2], error[2]]).all()
    np.testing.assert_allclose(light.registration.offset, OFFSET, atol=0.03)
    there = light.places(np.array([60.0]), np.array([250.0]))
    np.testing.assert_allclose(there[0], np.array([60.0, 250.0]) + OFFSET, atol=0.05)


def test_a_cloud_that_is_thicker_on_one_side() -> None:
    frame, level_sky = scene(slope=0.08)
    stars = attrs.evolve(level_sky, slopes=0.1)
    light = star_light(frame, stars)
    total = light.psf.at(130.0, 130.0, *np.mgrid[100:161, 100:161].astype(float)[::-1]).sum()
    x, y = np.array([20.0, 180.0, 340.0]), np.array([30.0, 160.0, 290.0])
    found, error = light.transparency.at(x, y)
    truth = TRANSPARENCY + 0.08 * (x / 180 - 1)
    assert (np.abs(found * total - truth) < 4 * error * truth).all()
    assert (error < 0.01).all()
    assert error[1] < error[0]  # known best among the stars
    held_back = star_light(frame, attrs.evolve(stars, slopes=1e-4)).transparency
    assert np.abs(held_back.plane[1:]).max() < 1e-4  # where the other frames have no slopes
    few = star_light(frame, attrs.evolve(stars, x=stars.x[:4], y=stars.y[:4], level=stars.level[:4])).transparency
    assert few.at(x, y)[1].max() > 2 * error.max()
    names = tuple(f"s{i}" for i in range(len(stars.x)))
    ratios = star_light(frame, attrs.evolve(stars, names=names)).ratios
    pulls = np.array([(flux - 1) / noise for flux, noise in ratios.values()])
    assert np.abs(pulls).max() < 4


def test_what_a_detector_of_uneven_response_shows_is_drawn_so() -> None:
    """The corners have 8 % less: what frames show is that of stars, though their levels are corrected for it."""
    frame, stars = scene()
    dim = Response(np.array([1.0, 0.0, 0.0, -0.04, 0.0, -0.04]), SHAPE)
    light = star_light(frame, attrs.evolve(stars, level=stars.level / dim.at(stars.x, stars.y), response=dim))
    seen, _ = star_light(frame, stars).share(stars.x, stars.y)
    share, _ = light.share(stars.x, stars.y)
    np.testing.assert_allclose(share / dim.at(stars.x, stars.y), seen, rtol=0.002)
    np.testing.assert_allclose(light.transparency.plane, star_light(frame, stars).transparency.plane, rtol=0.002)


def test_the_response_is_that_of_the_stars() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 360, 50), rng.uniform(0, 320, 50)
    truth = Response(np.array([1.0, 0.01, -0.02, -0.04, 0.02, -0.03]), SHAPE)
    found = response_by(x, y, truth.at(x, y) + 0.002 * rng.standard_normal(50), SHAPE)
    np.testing.assert_allclose(found.at(x, y), truth.at(x, y), atol=0.003)
    assert (response_by(x[:9], y[:9], np.ones(9), SHAPE).coefficients == even(SHAPE).coefficients).all()


def test_an_outlier_does_not_move_the_transparency() -> None:
    frame, stars = scene()
    level = stars.level.copy()
    level[4] *= 1.5
    light = star_light(frame, attrs.evolve(stars, level=level))
    assert light.transparency.stars == len(level) - 1
    np.testing.assert_allclose(light.transparency.plane, star_light(frame, stars).transparency.plane, rtol=0.003)


def test_a_frame_without_stars_is_unusable() -> None:
    frame, stars = scene()
    with pytest.raises(UnusableInput, match="2 of its 2 held-out stars show a PSF"):
        star_light(frame, attrs.evolve(stars, x=stars.x[:2], y=stars.y[:2], level=stars.level[:2]))


def test_reach_grows_with_the_peak_and_the_seeing() -> None:
    reach = reach_of(np.array([1.0, 100.0, 1e4, np.nan]), 0.5, 4.0)
    assert reach[0] == reach[3] == 6.0
    assert (np.diff(reach[:3]) > 0).all()
    np.testing.assert_allclose(reach_of(np.array([1e4]), 0.5, 8.0), 2 * reach[2:3])


def test_values_as_the_file_can_hold_them() -> None:
    values = np.array([[100.4, 100.6]])
    np.testing.assert_array_equal(_stored(values, Storage(16, 32768.0)), [[100.0, 101.0]])
    np.testing.assert_allclose(_stored(values, Storage(16, 0.0, 0.25)), [[100.5, 100.5]])
    np.testing.assert_allclose(_stored(values, Storage(-32)), values, rtol=1e-6)
