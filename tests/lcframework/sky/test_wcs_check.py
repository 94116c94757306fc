"""Verification of WCSs against a catalogue: right ones pass in every dialect and place, wrong ones fail and say how."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.sky import geometry
from lcframework.sky.chosen_solution import moved_to_stars
from lcframework.sky.wcs_check import Check, check
from lcframework.storage.frame_files import make_wcs
from lcframework.types import PlateSolution

SHAPE = (800, 1000)
SCALE = 0.4
PLACES = {
    "plain": (150.0, 20.0),
    "over RA 0": (0.01, -30.0),
    "near the pole": (200.0, 89.5),
    "near the south pole": (33.0, -89.5),
    "over the pole": (77.0, 89.97),
}


def header(place, angle=30.0, parity=1, scale=SCALE, shift=(0.0, 0.0), **more):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": place[0], "CRVAL2": place[1]})
    h["CRPIX1"], h["CRPIX2"] = 500.5 + shift[0], 400.5 + shift[1]
    for (i, j), value in np.ndenumerate(scale / 3600 * np.array([[-parity * c, s], [parity * s, c]])):
        h[f"CD{i + 1}_{j + 1}"] = value
    h.update(more)
    return h


def field(h, number=60, seed=1, false=15, seen=0.8):
    """Sources of a frame and a catalogue that reaches beyond it."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-300, 1300, number * 3), rng.uniform(-300, 1100, number * 3)
    ra, dec = make_wcs(h).all_pix2world(x, y, 0)
    magnitude = 14 + 5 * rng.power(2, x.size)
    stars = Table({"ra": ra, "dec": dec, "magnitude": magnitude})
    keep = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1) & (rng.uniform(size=x.size) < seen)
    x, y = (np.append(v[keep], rng.uniform(0, m, false)) for v, m in ((x, SHAPE[1]), (y, SHAPE[0])))
    x, y = x + rng.normal(0, 0.1, x.size), y + rng.normal(0, 0.1, y.size)
    flux = 10 ** (-0.4 * (np.append(magnitude[keep], rng.uniform(16, 19, false)) - 20))
    return Table({"x": x, "y": y, "flux": flux}), stars


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("parity", [1, -1])
def test_a_right_wcs_passes(place, parity):
    truth = header(place, parity=parity)
    found = check(make_wcs(truth), SHAPE, *field(truth))
    assert (found.wrong, found.unsure) == ("", "")
    assert found.matched > 0.7 * 60 * 0.8
    assert found.rms == pytest.approx(0.14, abs=0.04)
    assert found.offset < 0.3


@pytest.mark.parametrize("shift", [(4.0, -6.0), (-7.0, 5.0)])
def test_an_offset_of_some_pixels_is_measured(shift):
    truth = header(PLACES["over RA 0"])
    found = check(make_wcs(header(PLACES["over RA 0"], shift=shift)), SHAPE, *field(truth))
    assert found.wrong == ""
    assert found.offset == pytest.approx(np.hypot(*shift), abs=0.3)


@pytest.mark.parametrize("shift", [(4.0, -6.0), (-7.0, 5.0), (0.6, -0.5)])
def test_a_wcs_beside_its_stars_is_moved_to_them(shift):
    """But for less than a pixel, which the registration of each frame takes care of."""
    truth = header(PLACES["over RA 0"], angle=20.0)
    sources, stars = field(truth)
    stated = PlateSolution(header(PLACES["over RA 0"], angle=20.0, shift=shift))
    moved = moved_to_stars(stated, check(make_wcs(stated.header), SHAPE, sources, stars))
    x, y = make_wcs(moved.header).all_world2pix(stars["ra"], stars["dec"], 0)
    right = make_wcs(truth).all_world2pix(stars["ra"], stars["dec"], 0)
    off = np.hypot(np.median(x - right[0]), np.median(y - right[1]))
    if np.hypot(*shift) > 1:
        assert off < 0.1
        assert moved.refined
    else:
        assert moved is stated


def test_a_wcs_that_no_star_confirms_is_left():
    stated = PlateSolution(header(PLACES["plain"]))
    assert moved_to_stars(stated, Check(50, 50, 3, 1.0, 0.5, 6.0, shift=(6.0, 0.0))) is stated


WRONG = {
    "off by 5 arcmin": {"shift": (450.0, 600.0)},
    "off by 30 pixels": {"shift": (18.0, -24.0)},
    "mirrored": {"parity": -1},
    "half a turn": {"angle": 210.0},
    "a degree of rotation": {"angle": 33.0},
    "scale 10 percent large": {"scale": 1.1 * SCALE},
    "scale 4 percent small": {"scale": 0.96 * SCALE},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_wrong_wcs_is_rejected_with_a_reason(place, changes):
    found = check(make_wcs(header(place, **changes)), SHAPE, *field(header(place), number=150))
    assert found.wrong
    assert "catalogue stars" in found.wrong
    assert found.unsure == ""


@pytest.mark.parametrize("seed", range(30))
def test_no_wcs_fits_another_sky(seed):
    h = header(PLACES["plain"])
    sources, _ = field(h, number=200, seed=seed)
    _, stars = field(h, number=200, seed=1000 + seed)
    assert "chance alone" in check(make_wcs(h), SHAPE, sources, stars).wrong


@pytest.mark.parametrize("scale", [1.02, 0.98])
def test_a_wrong_scale_in_a_dense_field_is_measured(scale):
    """The middle of such a frame fits by itself: what counts is how far off the rest is."""
    place = PLACES["plain"]
    found = check(make_wcs(header(place, scale=scale * SCALE)), SHAPE, *field(header(place), number=900, false=50))
    assert "rotation" in found.wrong
    assert found.offset == pytest.approx(0.02 * np.hypot(500, 400), abs=1.5)


@pytest.mark.parametrize("number", [0, 4])
def test_too_few_stars_are_said(number):
    truth = header(PLACES["plain"])
    sources, stars = field(truth)
    for few in ((sources, stars[:number]), (sources[:number], stars)):
        found = check(make_wcs(header(PLACES["plain"], shift=(100.0, 0.0))), SHAPE, *few)
        assert found.wrong == ""
        assert "too few to verify" in found.unsure


def test_a_handful_that_all_agree_is_enough():
    truth = header(PLACES["plain"])
    sources, stars = field(truth, number=7, false=0, seen=1.0)
    found = check(make_wcs(truth), SHAPE, sources, stars)
    assert found.significant
    assert found.matched == len(sources)


def test_brightness_has_a_say_where_chance_brings_pairs():
    """Of wrong pairs only the positions agree: those are what solvers fit."""
    found = Check(sources=300, stars=200, matched=30, by_chance=8.0, rms=1.0, offset=1.0, brightness=0.2)
    assert found.significant
    assert "magnitudes" in found.unsure
    assert attrs.evolve(found, brightness=0.01).unsure == ""
    truth = header(PLACES["plain"])
    sources, stars = field(truth, number=40)
    assert check(make_wcs(truth), SHAPE, sources, stars).brightness < 1e-6
    sources["flux"] = np.random.default_rng(2).permutation(sources["flux"])
    shuffled = check(make_wcs(truth), SHAPE, sources, stars)
    assert shuffled.brightness > 1e-3
    assert (shuffled.wrong, shuffled.unsure) == ("", "")


def test_pairs_hardly_more_than_chance_are_refused_by_their_brightness():
    few = Check(sources=300, stars=200, matched=30, by_chance=10.0, rms=1.0, offset=1.0, brightness=0.8)
    assert few.significant
    assert "bright stars are not the bright sources" in few.wrong
    assert attrs.evolve(few, matched=120).wrong == ""
    # Where chance brings no pairs, brightness has no say: stars may be saturated, or all alike.
    assert attrs.evolve(few, by_chance=0.01).wrong == ""
    assert attrs.evolve(few, by_chance=0.01).unsure == ""
    assert attrs.evolve(few, brightness=0.01).wrong == ""


def test_brightness_in_another_band_and_saturation_speak_against_nothing():
    truth = header(PLACES["plain"])
    for seed in range(30):
        sources, stars = field(truth, number=25, seed=seed)
        sources["flux"] *= 10 ** (0.4 * np.random.default_rng(seed).normal(0, 0.4, len(sources)))
        sources["flux"] = np.minimum(sources["flux"], np.quantile(sources["flux"], 0.7))
        assert check(make_wcs(truth), SHAPE, sources, stars).wrong == ""
    stars["magnitude"] = 15.0
    assert np.isnan(check(make_wcs(truth), SHAPE, sources, stars).brightness)


def test_a_distorted_frame_passes_with_a_linear_wcs():
    """A header without the camera's distortion is not wrong where stars are still where stamps can hold them."""
    bent = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1.2e-5}
    found = check(make_wcs(header(PLACES["plain"])), SHAPE, *field(header(PLACES["plain"], **bent)))
    assert found.wrong == ""
    assert found.matched > 15


def test_stars_on_the_far_side_are_not_in_the_frame():
    place = PLACES["plain"]
    sources, stars = field(header(place))
    stars["ra"], stars["dec"] = (stars["ra"] + 180.0) % 360.0, -stars["dec"]
    assert check(make_wcs(header(place)), SHAPE, sources, stars).stars == 0


def test_the_catalogue_may_cover_a_part_of_the_frame():
    place = PLACES["near the pole"]
    sources, stars = field(header(place), number=150)
    near = geometry.separation(stars["ra"], stars["dec"], *place) < 100.0
    assert check(make_wcs(header(place)), SHAPE, sources, stars[near]).significant
    assert check(make_wcs(header(place, parity=-1)), SHAPE, sources, stars[near]).wrong
