from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning

from lcframework.types import NotSolved, PlateSolution, SolveHint
from plugins_builtin.astrometry.wcs_fit import open_wcs
from plugins_builtin.solvers.existing import ExistingWcs

SHAPE = (500, 650)
NO_SOURCES = Table({"x": [0.0] * 0, "y": [0.0] * 0, "flux": [0.0] * 0, "fwhm": [0.0] * 0})


def header(**changes):
    h = fits.Header()
    cards = {
        "EXPTIME": 60.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 42.2, "CRVAL2": 19.2, "CRPIX1": 300.0,
        "CRPIX2": 250.0, "CD1_1": -6e-5, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 6e-5,
    }  # fmt: skip
    for keyword, value in {**cards, **changes}.items():
        if value is not None:
            h[keyword] = value
    return h


def solve(h, sources=NO_SOURCES, refine=False, **hint):
    return ExistingWcs(refine=refine).solve(sources, SHAPE, SolveHint(header=h, **hint))


def positions(h):
    return np.array(open_wcs(h).all_pix2world([0.0, 649.0, 300.0], [0.0, 10.0, 499.0], 0))


SIP_TERMS = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": -2e-5}
# Of the Palomar Transient Factory: SCAMP's polynomial of a distortion, and SIP fitted to it.
PV_TERMS = {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 1e-3, "PV1_7": 3.0, "PV2_4": 0.02}
NO_CD = {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None}
DIALECTS = {
    "CD": {},
    "PC": {**NO_CD, "CDELT1": -6e-5, "CDELT2": 6e-5, "PC1_2": 0.1, "PC2_1": -0.1},
    "CROTA": {**NO_CD, "CDELT1": -6e-5, "CDELT2": 6e-5, "CROTA2": 12.0},
    "SIP": {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "A_ORDER": 2,
        "B_ORDER": 2,
        "A_2_0": 1e-5,
        "B_1_1": -2e-5,
    },
    "TPV": {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV2_1": 1.0, "PV1_7": 3.0, "PV2_4": 0.02},
    "SIP beside PV": {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", **SIP_TERMS, **PV_TERMS},
    "flipped": {"CD1_1": 6e-5},
    "over RA 0": {"CRVAL1": 359.999},
    "TAN with PV, as SCAMP wrote before TPV": {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_7": 3.0, "PV2_4": 0.02},
    "CD beside CDELT": {"CDELT1": 1.0, "CDELT2": 1.0},
    "pole": {"CRVAL2": 89.5},
    "south pole": {"CRVAL2": -89.5},
}


@pytest.mark.parametrize("changes", DIALECTS.values(), ids=DIALECTS)
def test_keeps_every_dialect_of_a_wcs(changes):
    h = header(**changes)
    solution = solve(h)
    assert isinstance(solution, PlateSolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        expected = np.array(WCS(h).all_pix2world([0.0, 649.0, 300.0], [0.0, 10.0, 499.0], 0))
    WCS(solution.header)  # and nobody who reads it afterwards is warned
    assert positions(solution.header) == pytest.approx(expected, abs=1e-10)
    assert "EXPTIME" not in solution.header
    assert (solution.matched, solution.refined) == (0, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "ra---tan", "CTYPE2": "dec--tan"}, {"CTYPE1": "RA--TAN", "CTYPE2": "DEC---TAN"},
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},  # its first coefficients are 1 where they are left out
        # The first terms of a polynomial alone, and none.
        {"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0, "PV2_0": 0.0, "PV2_1": 1.0, "PV2_2": 0.0, "PV2_4": 0.0},
        {"PV1_0": 0.0, "PV1_1": 0.0, "PV1_2": 0.0, "PV2_1": 0.0},
        # Those of the standard, which say what holds without them.
        {"PV1_1": 0.0, "PV1_2": 90.0, "PV1_3": 180.0},
    ],
)  # fmt: skip
def test_odd_names_and_terms_of_a_plain_projection(changes):
    solution = solve(header(**changes))
    assert isinstance(solution, PlateSolution)
    assert positions(solution.header) == pytest.approx(positions(header()), abs=1e-10)


def test_the_linear_terms_of_a_polynomial_count():
    terms = {"PV1_0": 1e-3, "PV1_1": 1.001, "PV1_2": 1e-3, "PV2_0": 2e-3, "PV2_1": 0.999, "PV2_2": 0.0}
    tpv = header(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", **terms)
    assert positions(solve(header(**terms)).header) == pytest.approx(positions(tpv), abs=1e-10)


def test_one_distortion_written_twice_is_kept_once():
    tan, tpv = ({"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}"} for kind in ("TAN-SIP", "TPV"))
    both = solve(header(**tan, **SIP_TERMS, **PV_TERMS)).header
    assert not any(k.startswith("PV") for k in both)
    assert positions(both) == pytest.approx(positions(solve(header(**tan, **SIP_TERMS)).header), abs=1e-12)
    for names in (tpv, {}):  # by SCAMP, with an earlier solution's SIP left in the header
        one = solve(header(**names, **SIP_TERMS, **PV_TERMS)).header
        assert not any(k.startswith(("A_", "B_")) for k in one)
        assert positions(one) == pytest.approx(positions(header(**tpv, **PV_TERMS)), abs=1e-12)


def test_numbers_written_as_strings():
    h = header(**{k: f" {header()[k]!r}" for k in ("CRVAL1", "CRVAL2", "CRPIX1", "CD1_1", "CD2_2")})
    assert positions(solve(h).header) == pytest.approx(positions(header()), abs=1e-10)


REJECTED = {
    "none": ({"CTYPE1": None, "CTYPE2": None}, "no CTYPE1"),
    "identity": ({**NO_CD, "CDELT1": 1.0, "CDELT2": 1.0}, "scale of 3"),
    "linear": ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "not celestial"),
    "singular": ({"CD1_1": 1e-5, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 1e-5}, "valid"),
    "no reference": ({"CRVAL1": None}, "CRVAL1"),
    "text": ({"CD1_1": "small"}, "CD1_1 = 'small'"),
    "half": ({"CTYPE2": None}, "valid"),
    "plate": ({"CTYPE1": "RA---DSS", "CTYPE2": "DEC--DSS"}, "it can't be read: Unrecognized projection code (DSS"),
}


@pytest.mark.parametrize(("changes", "words"), REJECTED.values(), ids=REJECTED)
def test_says_why_a_wcs_is_not_one(changes, words):
    answer = solve(header(**changes))
    assert isinstance(answer, NotSolved)
    assert words in answer.reason


def test_the_projects_scale_is_a_condition():
    answer = solve(header(), scale=(0.3, 0.4))
    assert isinstance(answer, NotSolved)
    assert "0.216" in answer.reason
    assert isinstance(solve(header(), scale=(0.2, 0.23)), PlateSolution)


def test_no_header():
    assert "no header" in solve(None).reason


def field(number=80, error=0.1, shift=(0.0, 0.0)):
    rng = np.random.default_rng(8)
    x, y = rng.uniform(0, 649, number), rng.uniform(0, 499, number)
    ra, dec = WCS(header()).all_pix2world(x, y, 0)
    magnitude = rng.uniform(12, 18, number)
    x, y = x + rng.normal(shift[0], error, number), y + rng.normal(shift[1], error, number)
    sources = Table({"x": x, "y": y, "flux": 10 ** (-0.4 * magnitude), "fwhm": np.full(number, 3.0)})
    return sources, Table({"ra": ra, "dec": dec, "magnitude": magnitude})


def test_matches_are_counted_where_stars_are_given():
    sources, stars = field(shift=(3.0, -1.0))
    solution = solve(header(), sources, stars=stars)
    assert solution.matched > 75
    assert solution.rms == pytest.approx(0.14, rel=0.2)
    assert positions(solution.header) == pytest.approx(positions(header()), abs=1e-10)


def test_other_stars_are_no_reason_to_reject():
    sources, stars = field()
    stars["ra"] += 0.01
    stars["dec"] -= 0.007
    assert isinstance(solve(header(), sources, stars=stars), PlateSolution)


def test_refine_moves_the_wcs_onto_the_stars():
    sources, stars = field(shift=(3.0, -1.0))
    solution = solve(header(), sources, refine=True, stars=stars)
    assert solution.refined
    x, y = open_wcs(solution.header).all_world2pix(*WCS(header()).all_pix2world(300.0, 200.0, 0), 0)
    assert (x, y) == pytest.approx((303.0, 199.0), abs=0.06)
    assert ExistingWcs(refine=True).needs_stars
    assert not ExistingWcs().needs_stars
