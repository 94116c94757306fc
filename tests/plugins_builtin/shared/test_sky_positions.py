"""Positions on the sky against astropy's and by brute force."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from lcframework.types import Region
from plugins_builtin.shared.sky_positions import angles, enclosing_cone, inside, pairs_within, unit_vectors


def everywhere(count: int = 500, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.0, 360.0, count), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))


def test_there_and_back():
    ra, dec = everywhere()
    back = angles(unit_vectors(ra, dec))
    np.testing.assert_allclose(back[0], ra, atol=1e-11)
    np.testing.assert_allclose(back[1], dec, atol=1e-11)


def test_polygons_at_the_pole_and_with_too_few_corners():
    square = tuple((float(angle), 89.9) for angle in (45, 135, 225, 315))
    region = Region(0.0, 90.0, 0.2, square)
    # the sides pass the pole at 0.1 deg * cos(45 deg) = 0.0707 deg
    assert list(inside(region, [0.0, 0.0, 90.0, 45.0, 10.0], [89.931, 89.928, 89.931, 89.905, 90.0])) == [
        True,
        False,
        True,
        True,
        True,
    ]
    with pytest.raises(ValueError, match="three vertices"):
        inside(Region(0.0, 0.0, 1.0, square[:2]), [0.0], [0.0])
    with pytest.raises(ValueError, match="90 degrees"):
        inside(Region(0.0, 0.0, 1.0, ((0.0, 1.0), (1.0, 0.0), (180.0, 0.0))), [0.0], [0.0])


@pytest.mark.parametrize(("ra0", "dec0"), [(0.0, 0.0), (359.9, -60.0), (10.0, 89.95), (200.0, -90.0)])
def test_a_cone_that_encloses(ra0, dec0):
    rng = np.random.default_rng(9)
    points = SkyCoord(ra0, dec0, unit="deg").directional_offset_by(
        rng.uniform(0.0, 360.0, 50) * u.deg, rng.uniform(0.0, 0.3, 50) * u.deg
    )
    ra, dec, radius = enclosing_cone(points.ra.deg, points.dec.deg, 0.01)
    distance = points.separation(SkyCoord(ra, dec, unit="deg")).deg
    assert distance.max() == pytest.approx(radius - 0.01, abs=1e-9)
    assert radius < 0.45
    with pytest.raises(ValueError, match="whole sky"):
        enclosing_cone([0.0, 180.0], [0.0, 0.0], 0.0)


def test_pairs_against_brute_force():
    rng = np.random.default_rng(10)
    stars = Table()
    stars["ra"], stars["dec"] = rng.uniform(359.99, 360.01, 80) % 360.0, 50.0 + rng.uniform(-0.005, 0.005, 80)
    stars["pmra"], stars["pmdec"] = rng.normal(0.0, 300.0, (2, 80))
    stars["pmra"][::5] = np.nan
    stars["ref_epoch"] = np.where(np.arange(80) % 2, 2016.0, 2000.0)
    ra, dec = rng.uniform(359.99, 360.01, 120) % 360.0, 50.0 + rng.uniform(-0.005, 0.005, 120)
    epoch = np.where(np.arange(120) % 3, 2010.0, np.nan)
    star, position, distance = pairs_within(stars, ra, dec, 3.0, epoch)
    years = np.nan_to_num(epoch[None, :] - np.asarray(stars["ref_epoch"])[:, None])
    d = np.asarray(stars["dec"])[:, None] + years * np.nan_to_num(stars["pmdec"])[:, None] / 3.6e6
    a = years * np.nan_to_num(stars["pmra"])[:, None] / 3.6e6 / np.cos(np.radians(d))
    moved = SkyCoord(np.asarray(stars["ra"])[:, None] + a, d, unit="deg")
    want = set(zip(*np.nonzero(moved.separation(SkyCoord(ra, dec, unit="deg")).arcsec <= 3.0), strict=True))
    assert set(zip(star, position, strict=True)) == want
    assert len(want) > 20
    assert (distance <= 3.0).all()
    assert (np.diff(star) >= 0).all()
