from __future__ import annotations

import numpy as np
import pytest

from plugins_builtin.shared.sharpness import sharpest_star


def test_the_brighter_half_decides():
    fwhm, flux = np.array([4.0, 4.2, 3.8, 1.0, 1.1, 1.2]), np.array([90.0, 80.0, 70.0, 3.0, 2.0, 1.0])
    assert sharpest_star(fwhm, flux) == pytest.approx(0.6 * 4.0)
