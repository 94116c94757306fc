"""Every way of writing a WCS, at every awkward place: read, stored, used for regions, footprints and stamps.

The truth is worked out here from the definitions (gnomonic projection by unit vectors, SIP and TPV polynomials), not by
the libraries that are tested.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.frames.stamp_wcs import header_text, moved
from lcframework.sky import geometry
from lcframework.sky.footprints import combine, contains
from lcframework.storage.frame_files import make_wcs, read_wcs, with_wcs, write_wcs
from lcframework.types import PlateSolution, SolveHint
from plugins_builtin.astrometry.star_match import refine
from plugins_builtin.astrometry.wcs_fit import open_wcs
from plugins_builtin.solvers.existing import ExistingWcs

SHAPE = (600, 900)
SCALE = 0.8  # arcsec
PLACES = {
    "plain": (150.0, 20.0),
    "over RA 0": (0.01, -30.0),
    "dec +89.5": (200.0, 89.5),
    "dec -89.5": (33.0, -89.5),
    "over the pole": (77.0, 89.98),
}
SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 6e-6, "A_1_1": -4e-6, "A_3_0": 5e-9, "B_0_2": 7e-6, "B_1_2": -4e-9}
# xi' = PV1_0 + PV1_1 xi + PV1_2 eta + PV1_3 r + PV1_4 xi^2 + PV1_5 xi eta + PV1_6 eta^2 + PV1_7 xi^3 ...; for axis 2
# xi and eta change places. Degrees.
TPV = {"PV1_0": 1e-5, "PV1_1": 1.001, "PV1_2": 3e-4, "PV1_4": 0.02, "PV1_5": -0.01, "PV1_7": 0.5,
       "PV2_0": -2e-5, "PV2_1": 0.999, "PV2_2": -2e-4, "PV2_4": -0.015, "PV2_6": 0.01, "PV2_7": 0.4}  # fmt: skip
DIALECTS = (
    "CD",
    "PC",
    "PC00i00j",
    "CROTA",
    "CDELT",
    "SIP",
    "SIP without its suffix",
    "TPV",
    "strings",
    "CD beside CDELT",
)
CASES = [*((d, 1) for d in DIALECTS), ("CD", -1), ("CROTA", -1), ("SIP", -1), ("TPV", -1)]


class Truth:
    """A WCS in a dialect, and what it means."""

    def __init__(self, dialect, place, parity=1):
        self.place, self.sip, self.tpv = place, dialect.startswith("SIP"), dialect == "TPV"
        angle = 0.0 if dialect == "CDELT" else np.radians(33.0)
        c, s = np.cos(angle), np.sin(angle)
        sx, sy = -parity * SCALE / 3600, SCALE / 3600
        # CROTA2 turns the axes after their scaling: CD = diag(CDELT) with the off-diagonals of the old convention.
        self.cd = np.array([[sx * c, -sy * s], [sx * s, sy * c]])
        self.header = self._header(dialect, angle, sx, sy)

    def _header(self, dialect, angle, sx, sy):
        kind = "TPV" if self.tpv else "TAN-SIP" if dialect == "SIP" else "TAN"
        h = fits.Header({"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}"})
        h["CRVAL1"], h["CRVAL2"], h["CRPIX1"], h["CRPIX2"] = *self.place, 470.25, 288.5
        names = {"PC": "PC{}_{}", "PC00i00j": "PC00{}00{}"}.get(dialect)
        if names or dialect in ("CROTA", "CDELT"):
            h["CDELT1"], h["CDELT2"] = sx, sy
        if dialect == "CROTA":
            h["CROTA1"], h["CROTA2"] = np.degrees(angle), np.degrees(angle)
        elif dialect != "CDELT":
            matrix = self.cd / np.array([[sx], [sy]]) if names else self.cd
            for (i, j), value in np.ndenumerate(matrix):
                h[(names or "CD{}_{}").format(i + 1, j + 1)] = value
        if dialect == "CD beside CDELT":
            h["CDELT1"], h["CDELT2"] = 1.0, 1.0
        h.update(SIP if self.sip else TPV if self.tpv else {})
        if dialect == "strings":
            for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                h[key] = f" {float(h[key])!r} "
            h["EQUINOX"] = "2000."
        return h

    def sky(self, x, y):
        """Return degrees of 0-based pixels."""
        u, v = np.asarray(x) + 1 - 470.25, np.asarray(y) + 1 - 288.5
        if self.sip:
            a, b = ({k[2:]: c for k, c in SIP.items() if k[0] == f and "ORDER" not in k} for f in "AB")
            u, v = (
                w + sum(c * u ** int(k[0]) * v ** int(k[2]) for k, c in terms.items()) for w, terms in ((u, a), (v, b))
            )
        xi, eta = self.cd[0, 0] * u + self.cd[0, 1] * v, self.cd[1, 0] * u + self.cd[1, 1] * v
        if self.tpv:
            xi, eta = _tpv(1, xi, eta), _tpv(2, eta, xi)
        (a0, d0), xi, eta = np.radians(self.place), np.radians(xi), np.radians(eta)
        towards = np.array([np.cos(d0) * np.cos(a0), np.cos(d0) * np.sin(a0), np.sin(d0)])
        east, north = (
            np.array([-np.sin(a0), np.cos(a0), 0.0]),
            np.array([-np.sin(d0) * np.cos(a0), -np.sin(d0) * np.sin(a0), np.cos(d0)]),
        )
        p = towards[:, None] + np.outer(east, xi) + np.outer(north, eta)
        return np.degrees(np.arctan2(p[1], p[0])) % 360, np.degrees(np.arctan2(p[2], np.hypot(p[0], p[1])))


def _tpv(axis, p, q):
    pv = [TPV.get(f"PV{axis}_{k}", 0.0) for k in range(8)]
    return pv[0] + pv[1] * p + pv[2] * q + pv[4] * p * p + pv[5] * p * q + pv[6] * q * q + pv[7] * p**3


def pixels(number=40, seed=0, margin=0.0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-margin, SHAPE[1] - 1 + margin, number), rng.uniform(-margin, SHAPE[0] - 1 + margin, number)


def stored(truth, tmp_path):
    """Return the WCS as the pipeline has it: believed by `existing`, written, read again."""
    empty = Table({name: np.zeros(0) for name in ("x", "y", "flux", "fwhm")})
    solution = ExistingWcs().solve(empty, SHAPE, SolveHint(header=truth.header, scale=(0.7, 0.9)))
    assert isinstance(solution, PlateSolution), solution
    write_wcs(tmp_path / "frame.wcs", solution.header)
    return read_wcs(tmp_path / "frame.wcs")


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dialect", "parity"), CASES)
def test_regions_and_footprints(tmp_path, dialect, parity, place):
    truth = Truth(dialect, place, parity)
    wcs = stored(truth, tmp_path)
    x, y = pixels()
    ra, dec = truth.sky(x, y)
    got = geometry.sky_to_pixel(wcs, ra, dec)
    np.testing.assert_allclose(got, [x, y], atol=2e-4)  # of a pixel: wcslib inverts TPV to that
    # One position alone is no other than among many: a region's pixel.
    alone = geometry.sky_to_pixel(wcs, ra[3], dec[3])
    np.testing.assert_allclose(np.ravel(alone), [x[3], y[3]], atol=2e-4)
    outline = geometry.outline(wcs, SHAPE)
    wide_x, wide_y = pixels(200, 1, 300.0)
    sky = truth.sky(wide_x, wide_y)
    edge = np.minimum.reduce([wide_x + 0.5, SHAPE[1] - 0.5 - wide_x, wide_y + 0.5, SHAPE[0] - 0.5 - wide_y])
    clear = np.abs(edge) > 3.0  # the outline's straight pieces cut the corners of a distorted edge
    found = contains(combine([outline], *place).common, *sky, *place)
    assert (found == (edge > 0))[clear].all()
    scale = geometry.scale_at(wcs, 450.0, 300.0)
    assert scale.pixel_scale == pytest.approx(SCALE, rel=0.02)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("dialect", ["CROTA", "SIP", "TPV", "strings"])
def test_stamps_keep_the_sky(tmp_path, dialect, place):
    truth = Truth(dialect, place)
    wcs = stored(truth, tmp_path)
    text = moved(header_text(wcs), wcs.wcs.crpix, (417, 203))
    stamp = make_wcs(fits.Header.fromstring(text, sep="\n"))
    x, y = np.array([0.0, 7.3, 31.0]), np.array([3.0, 0.2, 31.0])
    got = geometry.separation(*stamp.all_pix2world(x, y, 0), *truth.sky(x + 417, y + 203))
    assert got.max() < 1e-5


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("dialect", "parity"), CASES)
def test_refinement_from_any_dialect(dialect, parity, place):
    """A WCS that is 3 pixels off is fitted to the stars, whatever it was written in; SIP takes up what TPV said."""
    truth = Truth(dialect, place, parity)
    rough = truth.header.copy()
    rough["CRPIX1"] = float(rough["CRPIX1"]) + 3.0
    x, y = pixels(250, 2)
    rng = np.random.default_rng(3)
    ra, dec = truth.sky(x, y)
    magnitude = rng.uniform(14, 19, x.size)
    stars = Table({"ra": ra, "dec": dec, "magnitude": magnitude})
    sources = Table({"x": x + rng.normal(0, 0.05, x.size), "y": y + rng.normal(0, 0.05, x.size),
                     "flux": 10 ** (-0.4 * (magnitude - 20)), "fwhm": np.full(x.size, 3.0)})  # fmt: skip
    solution = ExistingWcs(refine=True).solve(sources, SHAPE, SolveHint(header=rough, stars=stars))
    assert isinstance(solution, PlateSolution)
    assert solution.refined
    gx, gy = (v.ravel() for v in np.meshgrid(np.linspace(0, 899, 7), np.linspace(0, 599, 5)))
    back = open_wcs(solution.header).all_world2pix(*truth.sky(gx, gy), 0)
    assert np.hypot(back[0] - gx, back[1] - gy).max() < (0.12 if truth.sip or truth.tpv else 0.05)
    again = refine(solution, sources, stars, SHAPE)
    assert again.rms == pytest.approx(solution.rms, rel=0.05)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_frame_rewritten_with_a_new_wcs_has_no_trace_of_the_old(dialect):
    old, new = Truth(dialect, PLACES["plain"]), Truth("SIP", PLACES["over RA 0"])
    header = with_wcs(old.header, new.header)
    x, y = pixels()
    got = geometry.separation(*make_wcs(header).all_pix2world(x, y, 0), *new.sky(x, y))
    assert got.max() < 1e-6
    plain = with_wcs(Truth("TPV", PLACES["plain"]).header, Truth(dialect, PLACES["dec -89.5"]).header)
    assert len([k for k in plain if k.startswith("PV")]) == (len(TPV) if dialect == "TPV" else 0)
