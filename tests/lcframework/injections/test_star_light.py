from __future__ import annotations

import numpy as np
import pytest

from lcframework.frames.stored_numbers import Storage
from lcframework.injections.drawing import _stored
from lcframework.injections.star_light import FramePixels, HeldOutStars, reach_of, star_light
from lcframework.types import UnusableInput

SHAPE = (320, 360)
TRANSPARENCY, OFFSET = 0.8, np.array([0.35, -0.22])


def scene(number: int = 9) -> tuple[FramePixels, HeldOutStars]:
    """Stars of known levels through a thin cloud, a third of a pixel from where the WCS has them."""
    rng = np.random.default_rng(5)
    k = np.arange(number)
    x, y = 40.0 + 90 * (k % 3) + 7.3 * np.sin(k), 40.0 + 90 * (k // 3) + 6.1 * np.cos(k)
    level = np.linspace(300, 900, number)
    rows, columns = np.indices(SHAPE)
    image = np.zeros(SHAPE)
    for k in range(number):
        d2 = (columns - x[k] - OFFSET[0]) ** 2 + (rows - y[k] - OFFSET[1]) ** 2
        image += TRANSPARENCY * level[k] * np.exp(-0.5 * d2 / 1.7**2) / (2 * np.pi * 1.7**2)
    rms, exptime = 0.1, 100.0
    image += rng.normal(size=SHAPE) * np.sqrt(rms**2 + image / exptime)
    peak = TRANSPARENCY * level / (2 * np.pi * 1.7**2)
    frame = FramePixels(image, np.zeros(SHAPE, np.uint8), x + OFFSET[0], y + OFFSET[1], peak, rms, exptime, 4.0)
    return frame, HeldOutStars(x, y, level)


def test_transparency_and_registration() -> None:
    frame, stars = scene()
    light = star_light(frame, stars)
    rows, columns = np.mgrid[100:161, 100:161].astype(float)
    total = light.psf.at(130.0, 130.0, columns, rows).sum()  # the profile's flux is that of its Moffat, nearly 1
    assert light.transparency * total == pytest.approx(TRANSPARENCY, rel=0.01)
    assert 0 < light.error < 0.01
    np.testing.assert_allclose(light.registration.offset, OFFSET, atol=0.03)
    there = light.places(np.array([60.0]), np.array([250.0]))
    np.testing.assert_allclose(there[0], np.array([60.0, 250.0]) + OFFSET, atol=0.05)


def test_an_outlier_does_not_move_the_transparency() -> None:
    frame, stars = scene()
    level = stars.level.copy()
    level[4] *= 1.5
    light = star_light(frame, HeldOutStars(stars.x, stars.y, level))
    assert light.stars == len(level) - 1
    assert light.transparency == pytest.approx(star_light(frame, stars).transparency, rel=0.003)


def test_a_frame_without_stars_is_unusable() -> None:
    frame, stars = scene()
    with pytest.raises(UnusableInput, match="2 of its 2 held-out stars show a PSF"):
        star_light(frame, HeldOutStars(stars.x[:2], stars.y[:2], stars.level[:2]))


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
