"""Polygons on the sky: common and total area, at RA 0 and at the poles."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.sky.footprints import combine, contains
from lcframework.sky.geometry import from_plane


def square(ra0, dec0, dx=0.0, dy=0.0, half=300.0):
    xi, eta = np.array([-half, half, half, -half]) + dx, np.array([-half, -half, half, half]) + dy
    return [[float(a), float(d)] for a, d in zip(*from_plane(xi, eta, ra0, dec0), strict=True)]


PLACES = [(150.0, 2.0), (0.0, 0.0), (0.02, 60.0), (123.0, 90.0), (10.0, -89.95)]


def plane_area(vertices, ra0, dec0):
    from lcframework.sky.geometry import to_plane

    x, y = to_plane(*np.array(vertices).T, ra0, dec0)
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


@pytest.mark.parametrize(("ra0", "dec0"), PLACES)
def test_common_and_total(ra0, dec0):
    combined = combine([square(ra0, dec0), square(ra0, dec0, 100.0, 50.0)], ra0, dec0)
    assert plane_area(combined.common, ra0, dec0) == pytest.approx(500 * 550, rel=1e-4)
    (total,) = combined.total
    assert plane_area(total, ra0, dec0) == pytest.approx(2 * 600**2 - 500 * 550, rel=1e-4)


@pytest.mark.parametrize(("ra0", "dec0"), PLACES)
def test_contains(ra0, dec0):
    polygon = square(ra0, dec0)
    xi, eta = np.array([0.0, 290.0, 310.0, 0.0]), np.array([0.0, -290.0, 0.0, 2000.0])
    ra, dec = from_plane(xi, eta, ra0, dec0)
    assert contains(polygon, ra, dec, ra0, dec0).tolist() == [True, True, False, False]
    assert contains(polygon, [(ra0 + 180) % 360], [-dec0], ra0, dec0).tolist() == [False]


def test_frames_apart_have_nothing_in_common():
    combined = combine([square(0.0, 10.0, -1000.0), square(0.0, 10.0, 1000.0)], 0.0, 10.0)
    assert combined.common == []
    assert len(combined.total) == 2


def test_nothing_at_all():
    assert combine([], 0.0, 0.0).total == []


def test_frame_on_the_far_side_is_left_out():
    combined = combine([square(0.0, 0.0), square(180.0, 0.0)], 0.0, 0.0)
    assert plane_area(combined.common, 0.0, 0.0) == pytest.approx(600**2, rel=1e-4)
