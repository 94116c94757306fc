"""The ephemeris ``proper_motion`` against hand-made numbers and against astropy."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance, SkyCoord, get_body_barycentric
from astropy.time import Time

from lcframework.sky.geometry import separation
from lcframework.types import Moments
from plugins_builtin.ephemerides.proper_motion import ProperMotion

J2016 = 57388.5  # MJD of J2016.0 (TT), to a day and a half


def at(plugin: ProperMotion, ra: float, dec: float, *mjd: float) -> tuple[np.ndarray, np.ndarray]:
    return plugin.positions(ra, dec, Moments(np.array(mjd)))


def test_right_ascension_changes_by_pmra_over_cos_dec() -> None:
    ra, dec = at(ProperMotion(pmra=1000.0, pmdec=-500.0), 10.0, 60.0, J2016 + 3652.5)
    assert (ra[0] - 10.0) * 3600.0 == pytest.approx(20.0, abs=0.01)
    assert (dec[0] - 60.0) * 3600.0 == pytest.approx(-5.0, abs=0.01)


def test_it_is_at_its_place_at_the_epoch_and_goes_back_before() -> None:
    ra, dec = at(ProperMotion(pmra=100.0, ref_epoch=2000.0), 359.99999, 0.0, 51544.5, 51544.5 - 365.25 * 50)
    np.testing.assert_allclose([ra[0], dec[0]], [359.99999, 0.0], atol=1e-10)
    assert ra[1] == pytest.approx(359.99999 - 5.0 / 3600.0, abs=1e-8)


@pytest.mark.parametrize("dec", [4.7, -62.7, 89.9999])
def test_it_agrees_with_astropy_over_a_century(dec: float) -> None:
    mjd = J2016 + 365.25 * np.array([-50.0, 7.3, 50.0])
    found = at(ProperMotion(pmra=-801.5, pmdec=1036.2), 269.4485, dec, *mjd)
    star = SkyCoord(269.4485 * u.deg, dec * u.deg, pm_ra_cosdec=-801.5 * u.mas / u.yr, pm_dec=1036.2 * u.mas / u.yr,
                    distance=Distance(parallax=100 * u.mas), obstime=Time("J2016.0"))  # fmt: skip
    expected = star.apply_space_motion(new_obstime=Time(mjd, format="mjd", scale="tdb"))
    assert separation(*found, expected.ra.deg, expected.dec.deg).max() < 2e-5


def test_parallax_shifts_it_away_from_where_the_earth_is() -> None:
    mjd = J2016 + np.arange(0.0, 365.0, 30.0)
    found = at(ProperMotion(parallax=546.98), 269.4485, 4.74, *mjd)
    to_star = SkyCoord(269.4485, 4.74, unit="deg").cartesian.xyz.value
    earth = get_body_barycentric("earth", Time(mjd, format="mjd")).xyz.to_value(u.au)
    seen = to_star[:, None] - np.radians(0.54698 / 3600.0) * earth
    expected = np.degrees(np.arctan2(seen[1], seen[0])), np.degrees(np.arctan2(seen[2], np.hypot(seen[0], seen[1])))
    assert separation(*found, *expected).max() < 1e-4
    assert separation(*found, 269.4485, 4.74).max() > 0.5
