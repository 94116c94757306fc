from __future__ import annotations

import numpy as np
import pytest

from lcframework.testing.psf_scenes import simulate_stars
from plugins_builtin.engine.psf.prepare import locate, prepare, typical_noise, usable_stars


@pytest.fixture
def scene():
    return simulate_stars(1, 6, 20, seed=2)


def test_stars_that_can_not_be_used_are_named(scene):
    data, noise, mask = (getattr(scene.batch, name)[0].copy() for name in ("data", "noise", "mask"))
    mask[0, :, :9] = True
    data[1] = -1.0
    mask[2] = True
    noise[3, 4, 4] = 0.0
    data[3, 4, 5] = np.nan
    good, rejected = usable_stars(data, noise, mask, 0.4)
    assert set(rejected) == {0, 1}
    assert "45%" in rejected[0]
    assert "no flux" in rejected[1]
    assert not good[:3].any()
    assert (~good[3]).sum() == 2
    assert good[4:].all()


def test_positions_are_found_within_a_third_of_a_pixel(scene):
    batch = scene.batch
    found = locate(batch.data[0], 1 / batch.noise[0] ** 2, np.zeros((6, 2)), batch.seeing[0])
    shift = found - scene.offset[0]
    assert abs(shift - np.median(shift, axis=0)).max() < 0.3


def test_star_beside_a_brighter_one_is_put_where_the_others_say(scene):
    batch = scene.batch
    data = batch.data[0].copy()
    data[2] += 4 * scene.flux[0, 2] * scene.shapes[0].image(20, -7, 6)
    found = locate(data, 1 / batch.noise[0] ** 2, np.zeros((6, 2)), batch.seeing[0])
    assert np.hypot(*(found[2] - scene.offset[0, 2])) < 1.2


def test_typical_noise_is_the_median_of_usable_stars():
    noise = np.arange(1.0, 6.0)[:, None, None] * np.ones((5, 4, 4))
    good = np.ones(noise.shape, bool)
    good[4] = False
    np.testing.assert_array_equal(typical_noise(noise, good), 2.5)
    noise[:, 1, 1] *= 10
    good[0, 1, 1] = False
    np.testing.assert_array_equal(typical_noise(noise, good), 2.5)


def test_units_do_not_matter(scene):
    batch = scene.batch
    good = np.ones(batch.data[0].shape, bool)
    rest = (good, batch.offset[0], 4.0, 2, 2.0)
    one = prepare(batch.data[0], batch.noise[0], *rest)
    other = prepare(1e6 * batch.data[0], 1e6 * batch.noise[0], *rest)
    assert other.unit == pytest.approx(1e6 * one.unit)
    for name in ("data", "inverse_variance", "penalty", "amplitude", "offset"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-12)


def test_no_star_at_all_is_a_reason(scene):
    batch = scene.batch
    empty = prepare(batch.data[0], batch.noise[0], np.zeros(batch.data[0].shape, bool), batch.offset[0], 4.0, 2, 2.0)
    assert empty.reason == "no usable star"
