from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.sky.geometry import from_plane
from lcframework.types import PlateSolution
from plugins_builtin.astrometry.star_match import bright_sources, common_shift, match_stars, mutual_nearest, refine
from plugins_builtin.astrometry.wcs_fit import (
    InvalidWcs,
    celestial_keywords,
    fit_wcs,
    open_wcs,
    pixel_scales,
    stars_in_frame,
)

SHAPE = (800, 1000)
FIELDS = {
    "plain": (150.0, 20.0),
    "over RA 0": (0.02, -30.0),
    "near the pole": (200.0, 89.5),
    "at the pole": (77.0, 89.95),
}


def header(ra, dec, scale=0.5, angle=30.0, parity=1, sip=None):
    """A WCS whose reference is in a corner of the frame."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    cd = scale / 3600 * np.array([[-parity * c, s], [parity * s, c]])
    h = fits.Header()
    kind = "-SIP" if sip else ""
    h["CTYPE1"], h["CTYPE2"], h["CRVAL1"], h["CRVAL2"] = f"RA---TAN{kind}", f"DEC--TAN{kind}", ra, dec
    h["CRPIX1"], h["CRPIX2"], h["CUNIT1"], h["CUNIT2"] = 510.0, 380.0, "deg", "deg"
    for (i, j), value in np.ndenumerate(cd):
        h[f"CD{i + 1}_{j + 1}"] = value
    for keyword, value in (sip or {}).items():
        h[keyword] = value
    return h


SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 3e-6, "A_1_1": -2e-6, "B_0_2": 4e-6, "A_3_0": 5e-9, "B_1_2": -4e-9}


def field(h, number=200, error=0.1, seed=0):
    """Sources with centroid errors, and the stars that they are."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SHAPE[1] - 1, number), rng.uniform(0, SHAPE[0] - 1, number)
    ra, dec = WCS(h).all_pix2world(x, y, 0)
    magnitude = rng.uniform(12, 18, number)
    x, y = x + rng.normal(0, error, number), y + rng.normal(0, error, number)
    sources = Table({"x": x, "y": y, "flux": 10 ** (-0.4 * (magnitude - 20)), "fwhm": np.full(number, 3.0)})
    stars = Table({"ra": ra, "dec": dec, "magnitude": magnitude})
    return sources, stars


def largest_error(fitted, truth):
    y, x = (g.ravel() for g in np.mgrid[0 : SHAPE[0] : 50, 0 : SHAPE[1] : 50])
    ra, dec = WCS(truth).all_pix2world(x, y, 0)
    px, py = open_wcs(fitted).all_world2pix(ra, dec, 0)
    return np.hypot(px - x, py - y).max()


@pytest.mark.parametrize("place", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("parity", [1, -1])
def test_fit_recovers_a_linear_wcs(place, parity):
    truth = header(*place, parity=parity)
    sources, stars = field(truth)
    fit = fit_wcs(sources["x"], sources["y"], stars["ra"], stars["dec"], SHAPE)
    # 200 stars of 0.1 px error: 0.007 px at the centre, a few times that in the corners.
    assert largest_error(fit.header, truth) < 0.06
    assert fit.rms == pytest.approx(0.1 * np.sqrt(2), rel=0.15)


@pytest.mark.parametrize("place", FIELDS.values(), ids=FIELDS)
def test_fit_finds_distortion_where_there_is_some(place):
    truth = header(*place, sip=SIP)
    sources, stars = field(truth, number=300, error=0.05)
    columns = (sources["x"], sources["y"], stars["ra"], stars["dec"])
    assert largest_error(fit_wcs(*columns, SHAPE).header, truth) > 0.3
    fit = fit_wcs(*columns, SHAPE, max_order=4)
    assert fit.order >= 2
    assert largest_error(fit.header, truth) < 0.15
    # The inverse polynomials serve programs that do not iterate.
    w = open_wcs(fit.header)
    ra, dec = w.all_pix2world([50.0, 900.0], [700.0, 30.0], 0)
    undistorted = np.array(w.wcs_world2pix(ra, dec, 1)) - w.wcs.crpix[:, None]
    u, v = np.array(w.sip_foc2pix(*undistorted, 1)) - 1
    assert np.hypot(u - [50, 900], v - [700, 30]).max() < 0.02


def test_fit_does_not_invent_distortion():
    orders = []
    for seed in range(20):
        sources, stars = field(header(150, 20), number=60, seed=seed)
        orders.append(fit_wcs(sources["x"], sources["y"], stars["ra"], stars["dec"], SHAPE, max_order=3).order)
    assert np.mean(np.array(orders) == 1) > 0.7


def test_fit_leaves_out_false_pairs():
    truth = header(150, 20)
    sources, stars = field(truth, number=60)
    sources["x"][:12] += np.random.default_rng(1).uniform(3, 40, 12)
    fit = fit_wcs(sources["x"], sources["y"], stars["ra"], stars["dec"], SHAPE, max_order=2)
    assert not fit.used[:12].any()
    assert fit.used[12:].all()
    assert largest_error(fit.header, truth) < 0.12


def test_too_few_pairs_give_no_fit():
    assert fit_wcs([1.0, 5.0], [2.0, 8.0], [10.0, 10.001], [5.0, 5.001], SHAPE) is None


@pytest.mark.parametrize("place", FIELDS.values(), ids=FIELDS)
def test_stars_in_frame_are_those_that_are(place):
    truth = header(*place, sip=SIP)
    _, stars = field(truth, number=50)
    away = from_plane(*(3600.0 * np.random.default_rng(1).uniform(5, 40, (2, 50))), *place)
    ra, dec = (
        np.concatenate([stars["ra"], away[0], [place[0] + 180]]),
        np.concatenate([stars["dec"], away[1], [-place[1]]]),
    )
    inside, x, y = stars_in_frame(open_wcs(celestial_keywords(truth)), ra, dec, SHAPE)
    assert inside.tolist() == list(range(50))
    assert np.all((x > -0.5) & (x < SHAPE[1]) & (y > -0.5) & (y < SHAPE[0]))


def test_keywords_are_cleaned():
    h = header(150.0, 20.0, sip=SIP)
    h["CTYPE1"], h["CTYPE2"] = "RA---TAN", "DEC--TAN"
    h["CRVAL1"], h["CD1_1"], h["EXPTIME"], h["A_ORDER"] = "150.0 ", str(h["CD1_1"]), 30.0, "3"
    clean = celestial_keywords(h)
    assert (clean["CRVAL1"], clean["A_ORDER"], clean["CTYPE1"]) == (150.0, 3, "RA---TAN-SIP")
    assert "EXPTIME" not in clean
    assert largest_error(clean, header(150.0, 20.0, sip=SIP)) < 1e-6


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [("CRVAL1", "ten", "CRVAL1 = 'ten'"), ("CD1_1", "nan", "finite"), ("CPDIS1", "LOOKUP", "look-up table")],
)
def test_keywords_that_can_not_be_used(keyword, value, words):
    h = header(150.0, 20.0)
    h[keyword] = value
    with pytest.raises(InvalidWcs, match=words):
        celestial_keywords(h)


def test_pixel_scales():
    assert pixel_scales(open_wcs(header(10.0, 89.5, scale=0.7)), SHAPE) == pytest.approx((0.7, 0.7), rel=1e-3)


def test_match_finds_the_shift_and_the_pairs():
    truth = header(0.01, -30.0)
    sources, stars = field(truth)
    sources["x"] += 4.3
    sources["y"] -= 2.2
    match = match_stars(open_wcs(truth), sources, stars, SHAPE)
    assert match.shift == pytest.approx([4.3, -2.2], abs=0.05)
    assert len(match.source) > 180
    assert np.mean(match.source == match.star) > 0.98
    assert match.rms == pytest.approx(0.14, rel=0.2)
    assert match.significant


def test_match_with_another_field_is_not_significant():
    sources, _ = field(header(150, 20), seed=1)
    _, stars = field(header(150, 20), seed=2)
    significant = match_stars(open_wcs(header(150, 20)), sources, stars, SHAPE).significant
    assert not significant


def test_refine_improves_a_rough_solution():
    truth = header(0.01, 89.5, sip=SIP)
    sources, stars = field(truth, number=250, error=0.05)
    rough = header(0.01, 89.5, angle=30.05)
    rough["CRPIX1"] += 2.0
    solution = refine(PlateSolution(rough), sources, stars, SHAPE)
    assert solution.refined
    assert solution.matched > 240
    assert largest_error(solution.header, truth) < 0.15


def test_refine_keeps_a_solution_that_it_can_not_check():
    sources, stars = field(header(150, 20), number=8)
    solution = PlateSolution(header(150, 20), 8, 0.5)
    assert refine(solution, sources, stars, SHAPE) is solution


def test_mutual_nearest_is_one_to_one():
    a, b = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 50.0]]), np.array([[0.9, 0.0], [49.0, 50.0], [80.0, 80.0]])
    i, j = mutual_nearest(a, b, 3.0)
    assert (i.tolist(), j.tolist()) == ([1, 2], [0, 1])


def test_no_pairs_no_shift():
    assert common_shift(np.zeros((0, 2)), np.zeros((3, 2)), 5.0).tolist() == [0.0, 0.0]
    assert common_shift(np.zeros((1, 2)), np.full((1, 2), 100.0), 5.0).tolist() == [0.0, 0.0]


def test_bright_sources_leave_hot_pixels_out():
    sources, _ = field(header(150, 20), number=30)
    sources["fwhm"][np.argmax(sources["flux"])] = 0.5
    sources["flux"][3] = np.nan
    rows = bright_sources(sources, 10)
    assert len(rows) == 10
    assert np.argmax(np.nan_to_num(np.asarray(sources["flux"]))) not in rows
    assert np.all(np.diff(sources["flux"][rows]) <= 0)


def test_fit_leaves_out_a_pair_beyond_four_sigma_and_keeps_one_within():
    truth = header(150, 20)
    rng = np.random.default_rng(5)
    sources, stars = field(truth, number=400, error=0.0)
    distance, angle = rng.rayleigh(0.1, 400), rng.uniform(0, 2 * np.pi, 400)
    distance = np.minimum(distance, 0.3)
    distance[:2] = 0.48, 0.34
    sources["x"] += distance * np.cos(angle)
    sources["y"] += distance * np.sin(angle)
    fit = fit_wcs(sources["x"], sources["y"], stars["ra"], stars["dec"], SHAPE)
    assert np.flatnonzero(~fit.used).tolist() == [0]
