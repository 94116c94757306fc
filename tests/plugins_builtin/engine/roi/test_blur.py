"""Convolutions of images on small pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from plugins_builtin.engine.roi.blur import convolved


@pytest.mark.parametrize(("size", "kernel"), [((20, 20), (7, 7)), ((15, 18), (4, 5)), ((12, 12), (12, 12))])
def test_convolved_is_scipys(size, kernel):
    random = np.random.default_rng(3)
    image, weights = random.normal(size=size), random.normal(size=kernel)
    np.testing.assert_allclose(convolved(image, weights), fftconvolve(image, weights, mode="same"), atol=1e-12)
