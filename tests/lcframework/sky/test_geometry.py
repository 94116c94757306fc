"""Sky and pixels against astropy's own transformations."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from lcframework.sky import geometry

PLACES = [(150.0, 2.0), (0.0, 0.0), (359.9999, 45.0), (10.0, 89.9), (200.0, -89.99), (0.0, 90.0)]


@pytest.mark.parametrize(("ra0", "dec0"), PLACES)
def test_tangent_plane_and_back(ra0, dec0):
    rng = np.random.default_rng(1)
    centre = SkyCoord(ra0 * u.deg, dec0 * u.deg)
    points = centre.directional_offset_by(rng.uniform(0, 360, 50) * u.deg, rng.uniform(0, 1500, 50) * u.arcsec)
    xi, eta = geometry.to_plane(points.ra.deg, points.dec.deg, ra0, dec0)
    # An offset's gnomonic length is the tangent of its angle.
    separation = points.separation(centre).rad
    np.testing.assert_allclose(np.hypot(xi, eta) * geometry.ARCSEC, np.tan(separation), rtol=1e-9)
    ra, dec = geometry.from_plane(xi, eta, ra0, dec0)
    back = SkyCoord(ra * u.deg, dec * u.deg)
    assert back.separation(points).arcsec.max() < 1e-6
    assert ((ra >= 0) & (ra < 360)).all()
    np.testing.assert_allclose(geometry.separation(ra, dec, ra0, dec0), points.separation(centre).arcsec, atol=1e-6)


@pytest.mark.parametrize(("ra0", "dec0"), [(150.0, 20.0), (0.02, -30.0), (200.0, 89.5), (77.0, 89.95)])
def test_a_wide_plane_and_back(ra0, dec0):
    xi, eta = 3600.0 * np.random.default_rng(3).uniform(-1, 1, (2, 50))
    ra, dec = geometry.from_plane(xi, eta, ra0, dec0)
    assert np.array(geometry.to_plane(ra, dec, ra0, dec0)) == pytest.approx(np.array([xi, eta]), abs=3.6e-6)
    distance = np.arctan(geometry.ARCSEC * np.hypot(xi, eta)) / geometry.ARCSEC
    assert geometry.separation(ra, dec, ra0, dec0) == pytest.approx(distance, rel=1e-9)


def test_separations_at_every_scale():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0.0, 360.0, 500), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 500)))
    for scale in (1e-7, 1e-3, 1.0, 90.0):
        other = SkyCoord(ra, dec, unit="deg").directional_offset_by(33.0 * u.deg, scale * u.deg)
        found = geometry.separation(ra, dec, other.ra.deg, other.dec.deg) / 3600.0
        np.testing.assert_allclose(found, scale, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize(("ra0", "dec0"), PLACES[:5])
def test_tangent_plane_points_east_and_north(ra0, dec0):
    centre = SkyCoord(ra0 * u.deg, dec0 * u.deg)
    for angle, expected in ((0, (0, 10)), (90, (10, 0)), (225, (-np.sqrt(50), -np.sqrt(50)))):
        point = centre.directional_offset_by(angle * u.deg, 10 * u.arcsec)
        np.testing.assert_allclose(geometry.to_plane(point.ra.deg, point.dec.deg, ra0, dec0), expected, atol=1e-5)


def test_far_hemisphere_has_no_place_on_the_plane():
    xi, eta = geometry.to_plane([0.0, 180.0, 91.0], [0.0, 0.0, 0.0], 0.0, 0.0)
    assert np.isfinite([xi[0], eta[0]]).all()
    assert np.isnan(xi[1:]).all()
    assert np.isnan(eta[1:]).all()


@pytest.mark.parametrize(
    ("ra", "dec"), [(150.0, 2.0), (359.99999, -30.0), (0.00001, 10.0), (40.0, 89.5), (40.0, -89.5)]
)
def test_proper_motion_against_astropy(ra, dec):
    pmra, pmdec, epoch, mjd = 3500.0, -4200.0, 2016.0, 60000.25
    star = SkyCoord(
        ra=ra * u.deg, dec=dec * u.deg, pm_ra_cosdec=pmra * u.mas / u.yr, pm_dec=pmdec * u.mas / u.yr,
        distance=100 * u.pc, obstime=Time(epoch, format="jyear", scale="tcb"),
    )  # fmt: skip
    expected = star.apply_space_motion(new_obstime=Time(mjd, format="mjd", scale="tcb"))
    got = SkyCoord(*np.array(geometry.at_epoch(ra, dec, pmra, pmdec, epoch, mjd)) * u.deg)
    moved = np.hypot(pmra, pmdec) / 1000 * (geometry.julian_year(mjd) - epoch)
    assert expected.separation(SkyCoord(ra * u.deg, dec * u.deg)).arcsec == pytest.approx(moved, rel=1e-4)
    assert got.separation(expected).arcsec < 1e-3


@pytest.mark.parametrize("dec", [0.0, 60.0, 89.9, -89.999])
def test_years_of_proper_motion_near_the_poles(dec):
    pmra, pmdec, years = 2000.0, -1500.0, 25.0
    star = SkyCoord(
        0.001 * u.deg, dec * u.deg, distance=50 * u.pc, pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr, obstime=Time(2000.0, format="jyear"),
    )  # fmt: skip
    expected = star.apply_space_motion(new_obstime=Time(2000.0 + years, format="jyear"))
    moved = SkyCoord(*np.array(geometry.after_years([0.001], [dec], [pmra], [pmdec], [years])) * u.deg)
    offset = moved.separation(SkyCoord(expected.ra, expected.dec))
    assert offset.to_value(u.arcsec)[0] < 2e-4  # of 62 arcsec; astropy goes through space velocities


def test_unknown_proper_motion_moves_nothing():
    ra, dec = geometry.at_epoch([10.0, 11.0], [5.0, 6.0], [np.nan, 1000.0], [np.nan, np.nan], 2016.0, 60000.0)
    assert (ra[0], dec[0]) == pytest.approx((10.0, 5.0), abs=1e-12)
    assert ra[1] > 11.0


def test_julian_year():
    assert geometry.julian_year(60000.0) == pytest.approx(Time(60000.0, format="mjd", scale="tt").jyear, abs=1e-9)


def header(angle=0.0, mirrored=False, scale=0.2, **more):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    flip = 1 if mirrored else -1
    cd = scale / 3600 * np.array([[flip * c, -s], [flip * s, c]])
    made = fits.Header()
    made.update(
        CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRVAL1=150.0, CRVAL2=2.0, CRPIX1=250.5, CRPIX2=250.5,
        CD1_1=cd[0, 0], CD1_2=cd[0, 1], CD2_1=cd[1, 0], CD2_2=cd[1, 1],
    )  # fmt: skip
    made.update(more)
    return made


@pytest.mark.parametrize("angle", [0.0, 30.0, -135.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_local_map_and_scale(angle, mirrored):
    wcs = WCS(header(angle, mirrored))
    ra, dec = (float(v) for v in wcs.all_pix2world(240.0, 260.0, 0))
    transform = geometry.local_map(wcs, ra, dec)
    np.testing.assert_allclose(transform[:, 2], [240.0, 260.0], atol=1e-6)
    xi, eta = np.array([3.0, -2.0]), np.array([1.0, 4.0])
    expected = np.stack(wcs.all_world2pix(*geometry.from_plane(xi, eta, ra, dec), 0))
    got = transform[:, :2] @ np.stack([xi, eta]) + transform[:, 2:]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    scale = geometry.scale_at(wcs, 240.0, 260.0)
    assert scale.pixel_scale == pytest.approx(0.2, rel=1e-6)
    assert scale.anisotropy == pytest.approx(0.0, abs=1e-5)
    # North from the pixels themselves: where a point 1 arcsec further north falls.
    north = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(0 * u.deg, 1 * u.arcsec)
    dx, dy = np.array(wcs.all_world2pix(north.ra.deg, north.dec.deg, 0)) - [240.0, 260.0]
    expected_angle = Angle(np.degrees(np.arctan2(-dx, dy)), "deg")
    difference = Angle(scale.angle_to_north, "deg") - expected_angle
    assert abs(difference.wrap_at(180 * u.deg).deg) < 1e-3


def test_anisotropy_of_a_stretched_wcs():
    made = header()
    made["CD1_1"] *= 1.05
    assert geometry.scale_at(WCS(made), 200, 200).anisotropy == pytest.approx(0.05, rel=1e-3)


def test_distortion_in_sky_to_pixel():
    sip = header(A_ORDER=2, B_ORDER=2, A_2_0=1e-5, A_0_2=-5e-6, A_1_1=0.0, B_2_0=3e-6, B_0_2=1e-5, B_1_1=0.0)
    sip["CTYPE1"], sip["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    wcs = WCS(sip)
    x, y = np.array([10.0, 250.0, 480.0]), np.array([400.0, 250.0, 20.0])
    got = geometry.sky_to_pixel(wcs, *wcs.all_pix2world(x, y, 0))
    np.testing.assert_allclose(got, [x, y], atol=1e-3)
    far = geometry.sky_to_pixel(wcs, [150.0, 170.0], [2.0, 2.0])
    assert np.isfinite([far[0][0], far[1][0]]).all()  # a position that has no inverse spoils no other


def test_outline_of_a_frame():
    wcs = WCS(header(20.0))
    vertices = np.array(geometry.outline(wcs, (500, 400)))
    x, y = wcs.all_world2pix(vertices[:, 0], vertices[:, 1], 0)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((-0.5, 399.5, -0.5, 499.5), abs=1e-6)
    assert len(vertices) == 16


def test_the_zenith_s_direction_is_astropy_s():
    """The position angle from the target to the zenith, and tan z, by astropy's transformation to the horizon."""
    from astropy.coordinates import AltAz, EarthLocation

    place = EarthLocation(lat=-24.6272 * u.deg, lon=-70.4042 * u.deg, height=2635 * u.m)
    target = SkyCoord(150.1137, -28.3052, unit="deg")
    time = Time("2026-02-10T02:00:00") + np.array([0.0, 2.0, 4.0, 6.0]) * u.hour
    horizon = target.transform_to(AltAz(obstime=time, location=place))
    zenith = AltAz(az=np.zeros(4) * u.deg, alt=90 * np.ones(4) * u.deg, obstime=time, location=place)
    angle = np.array([target.position_angle(z).rad for z in zenith.transform_to(target)])
    found = geometry.zenith_on_plane(horizon.alt.deg, horizon.az.deg, -28.3052, -24.6272)
    expected = np.tan(np.pi / 2 - horizon.alt.rad)[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    np.testing.assert_allclose(found, expected, atol=0.01)  # declination of date: precession turns the pole by 0.1 deg
    assert np.isnan(geometry.zenith_on_plane(np.array([-3.0]), np.array([10.0]), 0.0, 0.0)).all()
    assert np.isnan(geometry.zenith_on_plane(np.array([30.0]), np.array([10.0]), 0.0, np.nan)).all()


def test_a_position_is_in_a_frame_to_its_pixels_edges():
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 0.0, "CRVAL2": 0.0})
    header.update(CRPIX1=1.0, CRPIX2=1.0, CDELT1=-1 / 3600, CDELT2=1 / 3600)
    wcs, shape = WCS(header), (50, 100)
    assert geometry.pixel_inside(wcs, shape, 0.0, 0.0) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert geometry.pixel_inside(wcs, shape, -99.4 / 3600, 49.4 / 3600) == pytest.approx((99.4, 49.4), abs=1e-4)
    assert geometry.pixel_inside(wcs, shape, -99.6 / 3600, 49.4 / 3600) is None
    assert geometry.pixel_inside(wcs, shape, 0.6 / 3600, 0.0) is None
    assert geometry.pixel_inside(wcs, shape, 180.0, 0.0) is None  # the far side


def test_positions_closer_than_a_limit_are_one():
    ra = [10.0, 10.0 + 0.1 / 3600, 10.01, 0.0, 360.0 - 0.1 / 3600]
    assert geometry.singles(ra, np.zeros(5), 0.25, [15.0, 14.9, 13.0, 12.0, 12.0]).tolist() == [1, 2, 3]
    assert geometry.singles(ra, np.zeros(5), 0.0, np.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    assert len(geometry.singles([], [], 1.0, [])) == 0


@pytest.mark.parametrize(("ra0", "dec0"), [(150.0, 2.0), (299.0, -63.0), (45.0, 89.9)])
def test_positions_are_one_by_their_distance_on_the_sky(ra0, dec0):
    """Pairs of 3.9 and of 4.1 arcsec in all directions, each pair a degree from the next."""
    centre = SkyCoord(ra0 * u.deg, dec0 * u.deg)
    angles = np.arange(0, 360, 45) * u.deg
    for apart, left in ((3.9, len(angles)), (4.1, 2 * len(angles))):
        first = centre.directional_offset_by(angles, 1.5 * u.deg)
        second = first.directional_offset_by(angles + 20 * u.deg, apart * u.arcsec)
        ra, dec = (np.concatenate([getattr(p, c).deg for p in (first, second)]) for c in ("ra", "dec"))
        assert len(geometry.singles(ra, dec, 4.0, np.zeros(len(ra)))) == left
