"""Spherical geometry against astropy's."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

from lcframework.types import Region
from plugins_builtin.shared.sky_geometry import (
    angles,
    at_epoch,
    enclosing_cone,
    inside,
    pairs_within,
    separation,
    unit_vectors,
)


def everywhere(count: int = 500, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.0, 360.0, count), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))


def test_separations_at_every_scale():
    ra, dec = everywhere()
    for scale in (1e-7, 1e-3, 1.0, 90.0):
        other = SkyCoord(ra, dec, unit="deg").directional_offset_by(33.0 * u.deg, scale * u.deg)
        found = separation(unit_vectors(ra, dec), unit_vectors(other.ra.deg, other.dec.deg))
        np.testing.assert_allclose(found, scale, rtol=1e-7, atol=1e-13)


def test_there_and_back():
    ra, dec = everywhere()
    back = angles(unit_vectors(ra, dec))
    np.testing.assert_allclose(back[0], ra, atol=1e-11)
    np.testing.assert_allclose(back[1], dec, atol=1e-11)


@pytest.mark.parametrize("dec", [0.0, 60.0, 89.9, -89.999])
def test_proper_motion_against_astropy(dec):
    pm_ra, pm_dec, years = 2000.0, -1500.0, 25.0
    start = SkyCoord(
        0.001 * u.deg,
        dec * u.deg,
        distance=50 * u.pc,
        pm_ra_cosdec=pm_ra * u.mas / u.yr,
        pm_dec=pm_dec * u.mas / u.yr,
        obstime=Time(2000.0, format="jyear"),
    )
    end = start.apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear"))
    moved = angles(at_epoch([0.001], [dec], [pm_ra], [pm_dec], [years]))
    offset = SkyCoord(moved[0] * u.deg, moved[1] * u.deg).separation(SkyCoord(end.ra, end.dec))
    assert offset.to_value(u.arcsec)[0] < 2e-4  # of 62 arcsec; astropy goes through space velocities


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
