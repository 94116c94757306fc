"""The shape of a frame's stars."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from lcframework.frames.seeing import shape_of_stars


def test_saturated_stars_show_no_seeing():
    rows = [(10.0 * i, 10.0, 100.0 - i, 6.0 if i < 7 else 3.0, 32 if i < 7 else 128) for i in range(1, 12)]
    sources = Table(rows=rows, names=("x", "y", "flux", "fwhm", "flags"))
    sources["a"], sources["b"] = 1.3, 1.3
    mask = np.zeros((20, 200), np.uint8)
    mask[10, 10:70:10] = 1
    assert shape_of_stars(sources, mask)[0] == 3.0
    assert shape_of_stars(sources)[0] == 6.0
    assert shape_of_stars(sources, np.ones_like(mask))[0] == 6.0


def test_shape_of_stars():
    sources = Table({"flux": [1.0, 5.0, 6.0, 900.0], "fwhm": [9.0, 3.0, 4.0, 50.0], "a": [2.0, 2.0, 2.0, 9.0],
                     "b": [1.0, 1.8, 1.8, 1.0], "flags": [0, 0, 0, 1]})  # fmt: skip
    seeing, ellipticity = shape_of_stars(sources)
    assert seeing == pytest.approx(3.5)  # of the brighter clean ones
    assert ellipticity == pytest.approx(0.1)
    assert shape_of_stars(sources[:0]) == (None, None)
    assert shape_of_stars(sources[3:])[0] == 50.0
