"""Units of raw images, and flags of their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.frames.pixels import bad_lines, pixel_flags, to_rate
from lcframework.types import DataUnit, HeaderInfo, PixelFlag

SHAPE = (200, 300)


def counts():
    return np.random.default_rng(0).poisson(500, SHAPE).astype(np.float32)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        (DataUnit.ADU, 2.5 / 40), (DataUnit.ELECTRON, 1 / 40), (DataUnit.ADU_PER_SECOND, 2.5),
        (DataUnit.ELECTRON_PER_SECOND, 1.0),
    ],
)  # fmt: skip
def test_units(unit, factor):
    info = HeaderInfo(40.0, 2.5, 60000.0, data_unit=unit)
    rate = to_rate(np.full((2, 2), 100, np.float32), info)
    np.testing.assert_allclose(rate, 100 * factor, rtol=1e-6)
    assert rate.dtype == np.float32


def test_flags():
    image = counts()
    image[10, 11] = np.nan
    image[20, 21] = 60000.0
    image[:, 77] = 0.0
    image[99, :] += 400.0
    flags = pixel_flags(image, 60000.0)
    assert flags.dtype == np.uint8
    assert flags[10, 11] == PixelFlag.BLANK
    assert flags[20, 21] == PixelFlag.SATURATED
    assert (flags[:, 77] & PixelFlag.BAD_LINE.value).all()
    assert (flags[99] & PixelFlag.BAD_LINE.value).all()
    flags[:, 77] = flags[99] = 0
    assert (flags > 0).sum() == 2
    assert not (pixel_flags(image, np.inf) & PixelFlag.SATURATED.value).any()


def test_no_line_is_bad_in_a_good_frame():
    y, x = np.mgrid[:300, :400]
    rng = np.random.default_rng(2)
    sky = 500 + 0.3 * x + 0.1 * y  # a gradient
    image = rng.poisson(sky).astype(np.float32)
    image[100:140, 200:240] += 5000 * np.exp(-((x - 220) ** 2 + (y - 120) ** 2) / 50)[100:140, 200:240]
    for axis in (0, 1):
        assert not bad_lines(image, axis).any()


def test_blank_borders_are_bad_lines_alone():
    image = counts()
    image[:5] = np.nan
    rows = bad_lines(image, 1)
    assert not rows[5:].any()
    assert not bad_lines(image, 0).any()


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_where_all_lines_scatter_only_the_outlying_one_is_bad(axis, unit):
    rng = np.random.default_rng(4)
    levels = 3.0 * rng.normal(size=(SHAPE[0], 1))  # as readout electronics leave them, three times a pixel's noise
    levels[99] = 40.0
    image = unit * (500 + levels + rng.normal(size=SHAPE))
    found = bad_lines(image if axis == 1 else image.T, axis)
    np.testing.assert_array_equal(np.flatnonzero(found), [99])
