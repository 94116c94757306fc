from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.sky.geometry import from_plane
from lcframework.types import NotSolved, PlateSolution, SolveHint
from plugins_builtin.astrometry.pattern_match import find_similarity
from plugins_builtin.astrometry.wcs_fit import open_wcs
from plugins_builtin.solvers.catalog import CatalogMatch
from plugins_builtin.solvers.reference_frame import ReferenceFrame

SHAPE = (900, 1100)
SCALE = 0.21
PLACES = {
    "plain": (42.2, 19.2),
    "over RA 0": (0.005, -30.0),
    "dec +89.5": (200.0, 89.5),
    "dec -89.5": (33.0, -89.5),
    "over the pole": (77.0, 89.99),
}


def header(place, angle=0.0, parity=1, offset=(0.0, 0.0), distorted=False):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    kind = "-SIP" if distorted else ""
    h = fits.Header({"CTYPE1": f"RA---TAN{kind}", "CTYPE2": f"DEC--TAN{kind}", "CRVAL1": place[0], "CRVAL2": place[1]})
    h["CRPIX1"], h["CRPIX2"] = 550.0 + offset[0], 450.0 + offset[1]
    for (i, j), value in np.ndenumerate(SCALE / 3600 * np.array([[-parity * c, s], [parity * s, c]])):
        h[f"CD{i + 1}_{j + 1}"] = value
    if distorted:
        h["A_ORDER"], h["B_ORDER"], h["A_2_0"], h["B_0_2"], h["A_1_1"] = 2, 2, 3e-6, -3e-6, 2e-6
    return h


def sky(place, number=150, seed=1):
    """A catalogue over an area several times that of a frame."""
    rng = np.random.default_rng(seed)
    xi, eta = 3600.0 * rng.uniform(-0.06, 0.06, (2, number))
    ra, dec = from_plane(xi, eta, *place)
    return Table({"ra": ra, "dec": dec, "magnitude": 14 + 6 * rng.power(2, number)})


def detect(stars, h, seed=2, error=0.1, completeness=0.9, false=15):
    """Sources of a frame: most of its stars, some false ones, all with errors in place and flux."""
    rng = np.random.default_rng(seed)
    x, y = WCS(h).all_world2pix(stars["ra"], stars["dec"], 0)
    seen = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1) & (rng.uniform(size=x.size) < completeness)
    x, y = x[seen] + rng.normal(0, error, seen.sum()), y[seen] + rng.normal(0, error, seen.sum())
    magnitude = np.asarray(stars["magnitude"])[seen] + rng.normal(0, 0.3, seen.sum())
    x, y = np.append(x, rng.uniform(0, SHAPE[1] - 1, false)), np.append(y, rng.uniform(0, SHAPE[0] - 1, false))
    flux = 10 ** (-0.4 * (np.append(magnitude, rng.uniform(15, 20, false)) - 20))
    return Table({"x": x, "y": y, "flux": flux, "fwhm": np.full(x.size, 4.0)})


def worst(solution, truth):
    y, x = (g.ravel() for g in np.mgrid[50 : SHAPE[0] : 100, 50 : SHAPE[1] : 100])
    ra, dec = WCS(truth).all_pix2world(x, y, 0)
    px, py = open_wcs(solution.header).all_world2pix(ra, dec, 0)
    return np.hypot(px - x, py - y).max()


def hint(place, stars, **other):
    return SolveHint(*place, 0.1, (0.2, 0.23), stars=stars, **other)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("angle", "parity"), [(0.0, 1), (77.0, 1), (-160.0, -1)])
def test_catalog_solves_any_rotation_and_parity(place, angle, parity):
    stars = sky(place)
    truth = header(place, angle, parity, offset=(120.0, -90.0))
    solution = CatalogMatch().solve(detect(stars, truth), SHAPE, hint(place, stars))
    assert isinstance(solution, PlateSolution)
    assert worst(solution, truth) < 0.3
    assert solution.rms == pytest.approx(0.14, abs=0.05)
    assert solution.matched > 25


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_catalog_fits_the_distortion(place):
    stars = sky(place, number=600)
    truth = header(place, 30.0, distorted=True)
    solution = CatalogMatch().solve(detect(stars, truth, error=0.05), SHAPE, hint(place, stars))
    assert isinstance(solution, PlateSolution)
    assert solution.header["A_ORDER"] >= 2
    assert worst(solution, truth) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_catalog_does_not_solve_another_sky(seed):
    place = PLACES["plain"]
    sources = detect(sky(place, seed=10 + seed), header(place))
    answer = CatalogMatch().solve(sources, SHAPE, hint(place, sky(place, seed=20 + seed)))
    assert isinstance(answer, NotSolved)
    assert "pixel_scale" in answer.reason


def test_catalog_says_what_it_lacks():
    place = PLACES["plain"]
    stars = sky(place)
    sources = detect(stars, header(place))
    assert "needed" in CatalogMatch().solve(sources, SHAPE, SolveHint(*place)).reason
    assert "3 stars" in CatalogMatch().solve(sources, SHAPE, hint(place, stars[:3])).reason
    assert "2 sources" in CatalogMatch().solve(sources[:2], SHAPE, hint(place, stars)).reason


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("angle", [0.0, 2.0, 180.0])
def test_reference_frame_carries_the_wcs_over(place, angle):
    stars = sky(place)
    first, second = header(place), header(place, angle, offset=(200.0, -150.0))
    reference = {"reference_sources": detect(stars, first), "reference_wcs": first}
    sources = detect(stars, second, seed=5)
    for extra in ({}, {"stars": stars}):
        solution = ReferenceFrame().solve(sources, SHAPE, SolveHint(*place, **reference, **extra))
        assert isinstance(solution, PlateSolution)
        # Without the catalogue the reference's own errors come in, and nothing holds the corner that it does not cover.
        assert worst(solution, second) < 0.6


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_reference_frame_of_the_other_parity(place):
    stars = sky(place)
    first, second = header(place), header(place, 100.0, parity=-1, offset=(90.0, 60.0))
    reference = {"reference_sources": detect(stars, first), "reference_wcs": first}
    solution = ReferenceFrame().solve(detect(stars, second, seed=5), SHAPE, SolveHint(*place, stars=stars, **reference))
    assert isinstance(solution, PlateSolution)
    assert worst(solution, second) < 0.4


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("dialect", ["SIP", "TPV", "CROTA", "strings"])
def test_the_reference_frame_may_have_a_wcs_in_any_dialect(place, dialect):
    stars = sky(place, number=400)
    first = header(place, distorted=dialect == "SIP")
    if dialect == "TPV":
        first["CTYPE1"], first["CTYPE2"] = "RA---TPV", "DEC--TPV"
        first["PV1_1"], first["PV1_4"], first["PV2_1"], first["PV2_6"] = 1.0, 0.06, 1.0, -0.05
    if dialect == "CROTA":
        first["CDELT1"], first["CDELT2"], first["CROTA2"] = -SCALE / 3600, SCALE / 3600, 5.0
        for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            del first[key]
    reference = {"reference_sources": detect(stars, first, error=0.05), "reference_wcs": first}
    if dialect == "strings":
        written = first.copy()
        for key in ("CRVAL1", "CRPIX1", "CRPIX2", "CD1_1", "CD2_2"):
            written[key] = repr(float(first[key]))
        reference["reference_wcs"] = written
    # The same camera, moved by 50 and 30 pixels: its distortion stays in the middle of the frame.
    moved = first.copy()
    moved["CRVAL1"], moved["CRVAL2"] = (float(v) for v in WCS(first).all_pix2world(600.0, 480.0, 1))
    sources = detect(stars, moved, seed=5, error=0.05)
    solution = ReferenceFrame().solve(sources, SHAPE, SolveHint(*place, **reference))
    assert isinstance(solution, PlateSolution)
    assert worst(solution, moved) < 0.5


def test_reference_frame_says_what_it_lacks():
    place = PLACES["plain"]
    sources = detect(sky(place), header(place))
    assert "no other frame" in ReferenceFrame().solve(sources, SHAPE, SolveHint()).reason
    reference = {"reference_sources": sources, "reference_wcs": header(place)}
    assert "too few" in ReferenceFrame().solve(sources[:3], SHAPE, SolveHint(**reference)).reason


@pytest.mark.parametrize("seed", range(10))
def test_reference_frame_does_not_solve_another_sky(seed):
    place = PLACES["plain"]
    reference = {"reference_sources": detect(sky(place, seed=40 + seed), header(place)), "reference_wcs": header(place)}
    other = detect(sky(place, seed=60 + seed), header(place), seed=3)
    answer = ReferenceFrame().solve(other, SHAPE, SolveHint(**reference))
    assert isinstance(answer, NotSolved)
    assert "overlap" in answer.reason


@pytest.mark.parametrize("number", [9, 14])
def test_a_dozen_stars_are_enough(number):
    rng = np.random.default_rng(number)
    b = rng.uniform(0, 1000, (number, 2))
    a = b[:, ::-1] + rng.normal(0, 0.3, b.shape)
    found = find_similarity(a, b, (0.9, 1.1))
    assert found.matrix == pytest.approx(np.array([[0.0, 1.0], [1.0, 0.0]]), abs=0.003)


def test_similarity_of_lists_that_share_half_their_members():
    rng = np.random.default_rng(4)
    b = rng.uniform(0, 1000, (80, 2))
    angle = 1.1
    matrix = 1.7 * np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    a = b @ matrix.T + [30.0, -400.0] + rng.normal(0, 0.3, b.shape)
    a[::2] = rng.uniform(a.min(axis=0), a.max(axis=0), a[::2].shape)
    found = find_similarity(a, b, (1.5, 2.0))
    assert found.matrix == pytest.approx(matrix, abs=0.003)
    assert found.shift == pytest.approx([30.0, -400.0], abs=1.0)
    assert len(found.first) >= 38


@pytest.mark.parametrize("number", [0, 2, 3])
def test_no_similarity_of_next_to_nothing(number):
    points = np.arange(2.0 * number).reshape(-1, 2) ** 2
    assert find_similarity(points, points, (0.5, 2.0)) is None


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"max_sources": 0}, {"max_order": 9}])
def test_refuses_senseless_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CatalogMatch(**options)
