"""Barycentric times, airmass, sun and moon against astropy and the almanac; without a download."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from lcframework.sky.ephemerides import Site, airmass_of, sky_state, target_states

PARANAL = Site(-24.6272, -70.4042, 2635.0)


def target_state(mjd, ra, dec, site):
    """Return one moment's state."""
    (state,) = target_states([mjd], ra, dec, site)
    return state


def test_many_moments_are_each_one():
    moments = [60310.25, 60410.0, 60500.7]
    for got, mjd in zip(target_states(moments, 150.0, 10.0, PARANAL), moments, strict=True):
        assert got.bjd_tdb == pytest.approx(target_state(mjd, 150.0, 10.0, PARANAL).bjd_tdb, abs=1e-9)
    assert target_states([], 150.0, 10.0, PARANAL) == []


def test_nothing_is_downloaded():
    assert iers.conf.auto_download is False


def test_barycentric_time_by_hand():
    """The light travel time is the projection of the Earth's place on the target's direction."""
    from astropy.coordinates import get_body_barycentric

    mjd, ra, dec = 60310.25, 150.0, 10.0
    time = Time(mjd, format="mjd", scale="utc")
    earth = get_body_barycentric("earth", time).xyz.to_value(u.km)
    direction = SkyCoord(ra * u.deg, dec * u.deg).cartesian.xyz.value
    expected = time.tdb.jd + float(earth @ direction) / 299792.458 / 86400
    assert target_state(mjd, ra, dec, None).bjd_tdb == pytest.approx(expected, abs=0.03 / 86400)
    with_site = target_state(mjd, ra, dec, PARANAL).bjd_tdb
    assert abs(with_site - expected) * 86400 < 0.03  # the Earth's radius is 21 ms


def test_airmass_and_horizon():
    mjd = 60310.25
    place = EarthLocation.from_geodetic(PARANAL.longitude, PARANAL.latitude, PARANAL.elevation)
    time = Time(mjd, format="mjd")
    lst = time.sidereal_time("mean", longitude=PARANAL.longitude).deg
    zenith = target_state(mjd, lst, PARANAL.latitude, PARANAL)
    assert zenith.altitude == pytest.approx(90, abs=0.5)
    assert zenith.airmass == pytest.approx(1.0, abs=1e-3)
    low = target_state(mjd, (lst + 70) % 360, -20.0, PARANAL)
    expected = SkyCoord((lst + 70) % 360 * u.deg, -20 * u.deg).transform_to(AltAz(obstime=time, location=place))
    assert low.altitude == pytest.approx(expected.alt.deg, abs=5e-3)
    assert low.azimuth == pytest.approx(expected.az.deg, abs=5e-3)
    assert low.airmass == pytest.approx(float(expected.secz), rel=0.01)
    below = target_state(mjd, (lst + 180) % 360, 60.0, PARANAL)
    assert below.altitude < 0
    assert below.airmass is None


def test_without_a_site_there_is_no_horizon():
    state = target_state(60310.25, 150.0, 10.0, None)
    assert (state.airmass, state.altitude, state.azimuth) == (None, None, None)
    assert sky_state(60310.25, None).sun_altitude is None
    assert 0 < state.degrees_to_moon < 180


@pytest.mark.parametrize(
    ("date", "phase", "tolerance"),
    [("2024-01-11T11:57", 0.0, 0.01), ("2024-01-25T17:54", 1.0, 0.01), ("2024-01-18T03:53", 0.5, 0.02)],
)
def test_moon_phases_of_the_almanac(date, phase, tolerance):
    assert sky_state(Time(date).mjd, None).moon_phase == pytest.approx(phase, abs=tolerance)


def test_sun():
    noon, midnight = Time("2024-03-20T16:48").mjd, Time("2024-03-21T04:48").mjd
    assert sky_state(noon, PARANAL).sun_altitude == pytest.approx(90 - 24.63, abs=0.5)  # an equinox
    assert sky_state(midnight, PARANAL).sun_altitude < -60


@pytest.mark.parametrize("site", [PARANAL, Site(28.76, -17.88, 2396.0), None])
def test_sun_and_moon_as_astropy_places_them(site):
    where = site.location if site else None
    for mjd in np.linspace(56000.3, 61200.8, 40):
        time = Time(mjd, format="mjd", scale="utc")
        sun, moon = get_body("sun", time, where), get_body("moon", time, where)
        state = sky_state(float(mjd), site)
        if site is not None:
            expected = sun.transform_to(AltAz(obstime=time, location=where)).alt.deg
            assert state.sun_altitude == pytest.approx(expected, abs=0.012)
        elongation = sun.separation(moon, origin_mismatch="ignore")
        sine, cosine = np.sin(elongation), np.cos(elongation)
        angle = np.arctan2(sun.distance * sine, moon.distance - sun.distance * cosine)
        assert state.moon_phase == pytest.approx(float((1 + np.cos(angle)) / 2), abs=2e-4)


@pytest.mark.parametrize("site", [PARANAL, Site(28.76, -17.88, 2396.0), None])
def test_targets_as_astropy_places_them(site):
    moments = np.linspace(56000.3, 61200.8, 40)
    target = SkyCoord(150.0 * u.deg, 10.0 * u.deg)
    where = site.location if site else EarthLocation.from_geocentric(0, 0, 0, u.m)
    time = Time(moments, format="mjd", scale="utc", location=where)
    states = target_states(moments, 150.0, 10.0, site)
    delay = time.light_travel_time(target).to_value(u.s)
    ours = np.array([s.bjd_tdb for s in states]) - time.tdb.jd
    np.testing.assert_allclose(ours * 86400, delay, atol=1e-4)  # what a Julian date in one number can hold
    moon = get_body("moon", time, where if site else None).separation(target, origin_mismatch="ignore").deg
    np.testing.assert_allclose([s.degrees_to_moon for s in states], moon, atol=0.01)
    if site is not None:
        expected = target.transform_to(AltAz(obstime=time, location=where))
        np.testing.assert_allclose([s.altitude for s in states], expected.alt.deg, atol=5e-3)
        turn = (np.array([s.azimuth for s in states]) - expected.az.deg + 180) % 360 - 180
        assert np.abs(turn * np.cos(expected.alt.rad)).max() < 5e-3


def test_far_dates_do_not_fail():
    for mjd in (46000.0, 61700.0):  # 1984 and 2027
        assert np.isfinite(target_state(mjd, 10.0, 10.0, PARANAL).bjd_tdb)


def test_odd_times_give_states_without_a_warning():
    for mjd in (20000.0, 41316.0, 60310.0, 88000.0):
        assert np.isfinite(sky_state(mjd, PARANAL).sun_altitude)
        assert np.isfinite(target_state(mjd, 10.0, 10.0, PARANAL).bjd_tdb)


@pytest.mark.parametrize("altitude", [0.3, 1.0, 3.0, 10.0, 20.0, 45.0, 80.0])
def test_airmass_of_true_altitudes(altitude):
    """Against Kasten and Young 1989, whose altitude is the apparent one, by Saemundsson's refraction."""
    refraction = 1.02 / 60 / np.tan(np.radians(altitude + 10.3 / (altitude + 5.11)))
    apparent = altitude + refraction
    expected = 1 / (np.sin(np.radians(apparent)) + 0.50572 * (apparent + 6.07995) ** -1.6364)
    assert airmass_of(altitude) == pytest.approx(expected, rel=0.01)


def test_airmass_at_the_horizon():
    assert airmass_of(1e-9) == pytest.approx(31.7, abs=0.1)
    assert airmass_of(90.0) == pytest.approx(1.0, abs=1e-4)


def test_airmass_is_never_below_one():
    mjd = 60310.0 + np.linspace(0, 1, 200)
    for dec in (-24.6272, -10.0, 60.0):
        for state in target_states(mjd, 100.0, dec, PARANAL):
            assert (state.airmass is None) == (state.altitude <= 0)
            assert state.airmass is None or 1 <= state.airmass < 40
