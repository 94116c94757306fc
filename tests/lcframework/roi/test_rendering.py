from __future__ import annotations

import numpy as np
import pytest

from lcframework.roi.rendering import render
from lcframework.testing.regions import Sky, moffat_kernel, render_point


@pytest.mark.parametrize("target", [2.0, 0.0])
def test_stars_are_rendered_as_an_independent_code_does(target):
    sky = Sky(np.zeros((1, 2)), np.ones((1, 1)), stamp=20, kernel=40, target_fwhm=target)
    kernel = moffat_kernel(sky, 1.1, np.random.default_rng(1))
    place = np.array([0.31, -0.18]) if target else np.array([0.5, -0.5])  # whole small pixels: no interpolation
    ours = render(kernel, place, (20, 20), 2, target)
    theirs = render_point(sky, place + 9.5, kernel)
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * theirs.max())
