"""Fields of reference stars."""

from __future__ import annotations

import numpy as np
import pytest

from lcframework.sky.geometry import from_plane, separation
from lcframework.sky.star_fields import area, disk


def test_identity_of_a_disk_is_its_place_and_size():
    one = disk("A", 10.0, 20.0, 300.0)
    assert one.hash == disk("B", 10.0, 20.0, 300.0).hash
    assert len({one.hash, disk("A", 10.001, 20.0, 300.0).hash, disk("A", 10.0, 20.0, 301.0).hash}) == 3
    assert one.region.radius == pytest.approx(300 / 3600)


def test_identity_of_an_area():
    corners = from_plane(np.array([-300.0, 300, 300, -300]), np.array([-300.0, -300, 300, 300]), 0.0, 0.0)
    polygon = [[float(a), float(d)] for a, d in zip(*corners, strict=True)]
    one = area("common_footprint", ["A"], [polygon], 0.0, 0.0)
    assert one.hash == area("common_footprint", ["A"], [polygon], 0.0, 0.0).hash
    assert one.hash != area("per_frame", ["A"], [polygon], 0.0, 0.0).hash
    assert one.region.radius * 3600 == pytest.approx(np.hypot(300, 300), rel=1e-4)
    assert one.region.vertices is not None
    ra, dec = np.array(polygon).T
    assert (separation(ra, dec, one.region.ra, one.region.dec) <= one.region.radius * 3600 + 1e-6).all()
