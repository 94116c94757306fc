"""Headers that write their WCS in other coordinates, units or projections, or that contradict themselves."""

from __future__ import annotations

import math
from typing import Any

import astropy.units as u
import attrs
import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, SkyCoord
from astropy.io import fits

from lcframework.sky.chosen_solution import Solved, chosen
from lcframework.sky.geometry import Scale, from_plane
from lcframework.sky.wcs_check import Check
from lcframework.storage.frame_files import make_wcs, with_wcs
from lcframework.types import Doubt, NotSolved, PlateSolution, SolveHint
from plugins_builtin.astrometry.wcs_fit import same_place
from plugins_builtin.solvers.existing import ExistingWcs

SHAPE = (500, 650)
RA, DEC, SCALE = 150.0, 20.0, 6e-5


def header(**changes: Any) -> fits.Header:
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC, "CRPIX1": 300.0, "CRPIX2": 250.0,
        "CD1_1": -SCALE, "CD1_2": 4e-6, "CD2_1": 5e-6, "CD2_2": SCALE,
    }  # fmt: skip
    return fits.Header([(k, v) for k, v in {**cards, **changes}.items() if v is not None])


TRUTH = header()


def solve(h: fits.Header) -> PlateSolution:
    answer = ExistingWcs().solve(_none(), SHAPE, SolveHint(header=h, scale=(0.2, 0.23)))
    assert isinstance(answer, PlateSolution), answer
    return answer


def _none() -> Any:
    from astropy.table import Table

    return Table({"x": [0.0] * 0, "y": [0.0] * 0, "flux": [0.0] * 0, "fwhm": [0.0] * 0})


def right(h: fits.Header, tolerance: float = 0.02) -> bool:
    return same_place(TRUTH, h, SHAPE, tolerance)


def written_in(frame: Any, **cards: Any) -> fits.Header:
    """Return the true WCS in other coordinates."""
    here = SkyCoord(RA, DEC, unit="deg").transform_to(frame)
    north = SkyCoord(RA, DEC + 0.01, unit="deg").transform_to(frame)
    angle = here.position_angle(north).to_value(u.rad)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    cd = turn @ [[TRUTH["CD1_1"], TRUTH["CD1_2"]], [TRUTH["CD2_1"], TRUTH["CD2_2"]]]
    place = here.spherical
    return header(CRVAL1=place.lon.deg, CRVAL2=place.lat.deg, CD1_1=cd[0, 0], CD1_2=cd[0, 1], CD2_1=cd[1, 0],
                  CD2_2=cd[1, 1], **cards)  # fmt: skip


SWAPPED = {
    "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": DEC, "CRVAL2": RA, "CD1_1": TRUTH["CD2_1"],
    "CD1_2": TRUTH["CD2_2"], "CD2_1": TRUTH["CD1_1"], "CD2_2": TRUTH["CD1_2"],
}  # fmt: skip
DATE = FK5(equinox="J2023.34")
SAME = {
    "FK5 of date": written_in(DATE, RADESYS="FK5", EQUINOX=2023.34),
    "equinox of date alone": written_in(DATE, EQUINOX="J2023.34"),
    "TPV of date": written_in(DATE, RADESYS="FK5", EQUINOX=2023.34, PV1_1=1.0, PV2_1=1.0, PV1_7=0.0),
    "FK4": written_in(FK4(equinox="B1950"), RADESYS="FK4", EQUINOX=1950.0),
    "B1950 alone": written_in(FK4(equinox="B1950"), EQUINOX="B1950"),
    "galactic": written_in("galactic", CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"),
    "equinox as a text": header(RADESYS="FK5", EQUINOX="J2000"),
    "latitude first": header(**SWAPPED),
    "latitude first by PC": header(
        **{k: v for k, v in SWAPPED.items() if k[:2] != "CD"}, CD1_1=None, CD1_2=None, CD2_1=None, CD2_2=None,
        CDELT1=SCALE, CDELT2=-SCALE, PC1_1=TRUTH["CD2_1"] / SCALE, PC1_2=1.0, PC2_1=1.0, PC2_2=-TRUTH["CD1_2"] / SCALE,
    ),
    "degree": header(CUNIT1="degree", CUNIT2="degree"),
    "DEGREES": header(CUNIT1="DEGREES", CUNIT2="DEGREES"),
    "arcsec": header(
        CUNIT1="arcsec", CUNIT2="arcsec", CRVAL1=3600 * RA, CRVAL2=3600 * DEC,
        **{k: 3600 * TRUTH[k] for k in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")},
    ),
    "CDELT of 0 beside CD": header(CDELT1=0.0, CDELT2=0.0, PC1_1=1.0, PC2_2=1.0),
    "PC without CDELT beside CD": header(PC1_1=1.0, PC2_2=1.0),
    "CD written as PC too": header(PC1_1=TRUTH["CD1_1"], PC1_2=TRUTH["CD1_2"], PC2_1=TRUTH["CD2_1"], PC2_2=SCALE),
}  # fmt: skip


@pytest.mark.parametrize("h", SAME.values(), ids=SAME)
def test_every_way_to_write_one_wcs_is_it(h: fits.Header) -> None:
    solution = solve(h)
    assert right(solution.header)
    assert str(solution.header["CTYPE1"]).startswith("RA---")
    assert solution.header.get("EQUINOX", 2000.0) == 2000.0


AMBIGUOUS = {
    "PC beside CD": (header(PC1_1=0.9962, PC1_2=-0.0872, PC2_1=0.0872, PC2_2=0.9962, CDELT1=-SCALE, CDELT2=SCALE),
                     "several ways"),
    "an equinox of date beside ICRS": (header(EQUINOX=2023.34), "equinox is 2023.34"),
    "EPOCH": (header(EPOCH=1950.0), "EPOCH = 1950 may be an equinox"),
    "apparent place": (header(RADESYS="GAPPT", **{"DATE-OBS": "2023-05-04T03:12:00"}), "GAPPT"),
    "an equinox without a system": (header(RADESYS="UNKNOWN", EQUINOX=1950.0), "equinox is 1950"),
}  # fmt: skip


@pytest.mark.parametrize(("h", "words"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_contradicts_itself_is_given_in_all_its_readings(h: fits.Header, words: str) -> None:
    solution = solve(h)
    assert any(right(s.header) for s in (solution, *solution.alternatives))
    (doubt,) = solution.doubts_unless_verified
    assert doubt.kind == "ambiguous_wcs"
    assert words in doubt.text


@pytest.mark.parametrize(
    "h",
    [header(RADESYS="UNKNOWN"), header(RADESYS="GAPPT"), header(EQUINOX="of date"), SAME["CD written as PC too"]],
)
def test_one_reading_is_no_doubt(h: fits.Header) -> None:
    solution = solve(h)
    assert right(solution.header)
    assert solution.doubts_unless_verified == ()


@pytest.mark.parametrize(("cards", "severity"), [({"EQUINOX": 1950.0}, "serious"), ({"EPOCH": 1950.0}, "doubt")])
def test_a_reading_that_can_not_be_made_is_told(cards: dict[str, Any], severity: str) -> None:
    solution = solve(header(CTYPE1="RA---CAR", CTYPE2="DEC--CAR", CRVAL2=0.0, **cards))
    assert solution.alternatives == ()
    (doubt,) = solution.doubts_unless_verified
    assert (doubt.kind, doubt.severity) == ("ambiguous_wcs", severity)


def test_crota_beside_cd_is_tried_and_no_contradiction() -> None:
    """The standard lets CD count."""
    solution = solve(header(CDELT1=-SCALE, CDELT2=SCALE, CROTA1=5.0, CROTA2=5.0))
    assert right(solution.header)
    assert len(solution.alternatives) == 1
    assert solution.doubts_unless_verified == ()


def test_a_unit_of_no_angle_is_refused() -> None:
    answer = ExistingWcs().solve(_none(), SHAPE, SolveHint(header=header(CUNIT1="m", CUNIT2="m")))
    assert isinstance(answer, NotSolved)
    assert "CUNIT = 'm'" in answer.reason


def iraf(kind: str, parameters: str, lngcor: str, latcor: str) -> fits.Header:
    texts = [f'wtype={kind.lower()} axtype=ra {parameters}lngcor = "{lngcor}"',
             f'wtype={kind.lower()} axtype=dec {parameters}latcor = "{latcor}"']  # fmt: skip
    h = header(CTYPE1=f"RA---{kind}", CTYPE2=f"DEC--{kind}", WAT0_001="system=image")
    for axis, text in enumerate(texts, 1):
        for i in range(0, len(text), 68):
            h[f"WAT{axis}_{i // 68 + 1:03d}"] = text[i : i + 68]
    return fits.Header.fromstring(h.tostring())  # blanks at a card's end are lost


def planes(h: fits.Header, x: Any, y: Any) -> Any:
    cd = np.array([[h["CD1_1"], h["CD1_2"]], [h["CD2_1"], h["CD2_2"]]])
    return cd @ [np.asarray(x) + 1 - h["CRPIX1"], np.asarray(y) + 1 - h["CRPIX2"]]


def test_terms_of_tnx() -> None:
    """A simple polynomial in one axis, and Chebyshev's in the other."""
    h = iraf("TNX", "", "3. 3. 3. 2. -0.03 0.03 -0.03 0.03 1e-5 2e-4 1.5 -3e-4 0.8 0.4",
             "1. 2. 3. 1. -0.04 0.04 -0.02 0.02 1e-5 2e-5 -1e-5 3e-5 2e-5 1e-5")  # fmt: skip
    solution = solve(h)
    x, y = np.array([0.0, 649.0, 320.0, 100.0]), np.array([0.0, 499.0, 20.0, 400.0])
    xi, eta = planes(h, x, y)
    u_, v = xi / 0.04, eta / 0.02
    xi_ = xi + 1e-5 + 2e-4 * xi + 1.5 * xi**2 - 3e-4 * eta + 0.8 * xi * eta + 0.4 * eta**2
    eta_ = eta + 1e-5 + 2e-5 * u_ - 1e-5 * v + 3e-5 * u_ * v + (2 * v**2 - 1) * (2e-5 + 1e-5 * u_)
    expected = from_plane(3600 * xi_, 3600 * eta_, RA, DEC)
    assert np.array(make_wcs(solution.header).all_pix2world(x, y, 0)) == pytest.approx(np.array(expected), abs=1e-8)
    (plain,) = solution.alternatives
    assert right(plain.header)
    assert [(d.kind, d.severity) for d in plain.doubts] == [("unused_distortion", "note")]


def test_terms_of_zpx() -> None:
    h = iraf("ZPX", "projp0=0. projp1=1. projp3=337.74 ", "3. 2. 2. 2. -1. 1. -1. 1. 1e-5 0. 2e-4",
             "3. 2. 2. 2. -1. 1. -1. 1. 0. 0. 0.")  # fmt: skip
    x, y = np.array([0.0, 649.0]), np.array([0.0, 499.0])
    xi, eta = planes(h, x, y)
    xi = xi + 1e-5 + 2e-4 * eta
    r = np.radians(np.hypot(xi, eta))
    angle = r - 337.74 * r**3 + 3 * 337.74**2 * r**5
    expected = from_plane(*(3600 * v / r * np.tan(angle) for v in (xi, eta)), RA, DEC)
    found = np.array(make_wcs(solve(h).header).all_pix2world(x, y, 0))
    assert found == pytest.approx(np.array(expected), abs=1e-7)


def test_terms_that_can_not_be_read_are_a_doubt() -> None:
    h = iraf("TNX", "", "3. 3. 3. 2. -0.03 0.03 -0.03 0.03 1e-5", "3. 3. 3. 2. -0.03 0.03 -0.03 0.03 1e-5")
    solution = solve(h)
    assert right(solution.header)
    (doubt,) = solution.doubts
    assert (doubt.kind, doubt.severity) == ("unused_distortion", "doubt")
    assert "1 coefficients" in doubt.text


def believed(name: str, matched: int, rms: float = 0.1, offset: float = 0.0) -> Solved:
    unless = (Doubt("ambiguous_wcs", f"{name} unverified"),)
    solution = PlateSolution(fits.Header(), doubts=(Doubt("own", name),), doubts_unless_verified=unless)
    return Solved(solution, "existing", Scale(1.0, 0.0, 0.0), Check(30, 30, matched, 0.1, rms, offset))


@pytest.mark.parametrize(
    ("solutions", "name", "doubts"),
    [
        ([believed("a", 20), believed("b", 21)], "a", 1),
        ([believed("a", 10), believed("b", 21)], "b", 1),
        ([believed("a", 20, offset=5.0), believed("b", 20, offset=0.1)], "b", 1),
        ([believed("a", 2), believed("b", 20)], "b", 1),
        ([believed("a", 2), believed("b", 3)], "a", 2),
        ([attrs.evolve(believed("a", 2), check=None)], "a", 2),
    ],
)
def test_the_catalogue_chooses(solutions: list[Solved], name: str, doubts: int) -> None:
    best = chosen(solutions)
    assert best.doubts[0].text == name
    assert len(best.doubts) == doubts
    assert math.isfinite(best.off) == (best.check is not None)


def test_a_frames_header_gets_another_wcs_whole() -> None:
    h = written_in(DATE, RADESYS="FK5", EQUINOX=2023.34, WAT0_001="system=image", EXPTIME=3.0)
    out = with_wcs(h, TRUTH)
    assert right(out)
    assert [k for k in ("EQUINOX", "WAT0_001", "RADESYS") if k in out] == []
    assert out["EXPTIME"] == 3.0
