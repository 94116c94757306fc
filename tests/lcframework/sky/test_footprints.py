"""Polygons on the sky: common and total area, at RA 0 and at the poles."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.sky.footprints import area, combine, contains, disk
from lcframework.sky.geometry import from_plane, separation


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


def test_identity_of_a_disk_is_its_place_and_size():
    one = disk("A", 10.0, 20.0, 300.0)
    assert one.hash == disk("B", 10.0, 20.0, 300.0).hash
    assert len({one.hash, disk("A", 10.001, 20.0, 300.0).hash, disk("A", 10.0, 20.0, 301.0).hash}) == 3
    assert one.region.radius == pytest.approx(300 / 3600)


def test_identity_of_an_area():
    polygon = square(0.0, 0.0)
    one = area("common_footprint", ["A"], [polygon], 0.0, 0.0)
    assert one.hash == area("common_footprint", ["A"], [polygon], 0.0, 0.0).hash
    assert one.hash != area("per_frame", ["A"], [polygon], 0.0, 0.0).hash
    assert one.region.radius * 3600 == pytest.approx(np.hypot(300, 300), rel=1e-4)
    assert one.region.vertices is not None
    ra, dec = np.array(polygon).T
    assert (separation(ra, dec, one.region.ra, one.region.dec) <= one.region.radius * 3600 + 1e-6).all()
