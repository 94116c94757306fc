"""Sersic profiles: the derivatives by which galaxies are fitted."""

from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.engine.roi.sersic import PARAMETERS, surface_brightness


@pytest.mark.parametrize("e", [(0.2, -0.1), (0.0, 0.0)])
@pytest.mark.parametrize("parameter", range(len(PARAMETERS)), ids=PARAMETERS)
def test_derivatives_are_those_of_the_brightness(parameter, e):
    theta = np.array([np.log(500.0), 0.1, -0.2, np.log(0.6), np.log(2.5), *e])
    sky, soft, step = np.random.default_rng(0).uniform(-2, 2, (200, 2)), 0.05, 1e-4 * np.eye(7)[parameter]
    numeric = (surface_brightness(theta + step, sky, soft) - surface_brightness(theta - step, sky, soft))[0] / 2e-4
    derivative = surface_brightness(theta, sky, soft)[1 + parameter]
    np.testing.assert_allclose(derivative, numeric, rtol=1e-4, atol=1e-5 * np.abs(numeric).max())
