"""The penalties of a region's objective, against sums of their own."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.roi.penalties import GaussianPriors, Penalties, Strengths, Values


def test_priors_are_half_of_the_sum_of_squared_pulls():
    rng = np.random.default_rng(0)
    values = Values(*(rng.normal(size=shape) for shape in ((4, 2), (2, 2), (4, 2), 4, (8, 8))))
    (c, c_sigma), (t, t_sigma), (sky, sky_sigma) = (
        (rng.normal(size=shape), rng.uniform(0.1, 3, shape)) for shape in ((2, 2), (4, 2), 4)
    )
    priors = GaussianPriors(c, c_sigma, t, t_sigma, (sky, sky_sigma))
    used = np.array([0, 1, 3])  # the third epoch has no data
    none = Strengths(scales=0.0, high_frequency=0.0, positivity=0.0, point_sources=0.0)
    gradient = values.zeros()
    empty = np.zeros((2, 8, 8))
    found = Penalties(used, 2, 1.0, np.ones((3, 8, 8)), none, priors)(values, gradient, (empty, empty, empty))
    pulls = [(values.c - c) / c_sigma, ((values.translation - t) / t_sigma)[used],
             ((values.sky - sky) / sky_sigma)[used]]  # fmt: skip
    assert found == pytest.approx(0.5 * sum((pull**2).sum() for pull in pulls), rel=1e-12)
    np.testing.assert_allclose(gradient.c, pulls[0] / c_sigma)
    np.testing.assert_allclose(gradient.translation[used], pulls[1] / t_sigma[used])
    np.testing.assert_allclose(gradient.sky[used], pulls[2] / sky_sigma[used])
    assert gradient.sky[2] == 0
    assert not gradient.translation[2].any()
