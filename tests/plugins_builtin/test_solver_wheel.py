from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.types import NeedMissing, NotSolved, PlateSolution, SolveHint
from plugins_builtin.solver_wheel import Wheel
from plugins_builtin.wcs_fit import open_wcs

INDEX = Path("/usr/share/astrometry")
SHAPE = (500, 650)
STARS = Table.read(Path(__file__).with_name("tycho2_stars.ecsv"))
HINT = SolveHint(31.04, 46.69, 1.0, (4.5, 6.0))
with_index = pytest.mark.skipif(
    not any(INDEX.glob("index-tycho2-0*.fits")), reason="needs index files: apt install astrometry-data-tycho2"
)


@pytest.fixture
def engine():
    return pytest.importorskip("astrometry", reason="not installed: pip install 'lcframework[solve]'")


def header(angle, parity):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 31.1, "CRVAL2": 46.7})
    h["CRPIX1"], h["CRPIX2"] = 330.0, 245.0
    for (i, j), value in np.ndenumerate(5.164 / 3600 * np.array([[parity * c, -s], [parity * s, c]])):
        h[f"CD{i + 1}_{j + 1}"] = value
    return h


def field(h):
    rng = np.random.default_rng(7)
    x, y = WCS(h).all_world2pix(STARS["ra"], STARS["dec"], 0)
    inside = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1)
    x, y = x[inside] + rng.normal(0, 0.1, inside.sum()), y[inside] + rng.normal(0, 0.1, inside.sum())
    flux = 10 ** (-0.4 * (np.asarray(STARS["magnitude"])[inside] - 15))
    return Table({"x": x, "y": y, "flux": flux, "fwhm": np.full(x.size, 2.0)})


@with_index
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("angle", "parity"), [(179.5, -1), (33.0, 1)])
@pytest.mark.parametrize("sip_order", [0, 1])
def test_solves_simulated_sources(angle, parity, sip_order):
    truth = header(angle, parity)
    solution = Wheel(index_dir=INDEX, sip_order=sip_order).solve(field(truth), SHAPE, HINT)
    assert isinstance(solution, PlateSolution)
    y, x = (g.ravel() for g in np.mgrid[0 : SHAPE[0] : 50, 0 : SHAPE[1] : 50])
    px, py = open_wcs(solution.header).all_world2pix(*WCS(truth).all_pix2world(x, y, 0), 0)
    assert np.median(np.hypot(px - x, py - y)) < 0.1
    assert np.max(np.hypot(px - x, py - y)) < 0.3
    assert solution.matched > 10


@with_index
@pytest.mark.usefixtures("engine")
def test_sources_of_no_sky_are_not_solved():
    rng = np.random.default_rng(0)
    sources = Table({"x": rng.uniform(0, 649, 25), "y": rng.uniform(0, 499, 25), "flux": rng.uniform(1, 9, 25)})
    sources["fwhm"] = 2.0
    answer = Wheel(index_dir=INDEX).solve(sources, SHAPE, SolveHint(31.04, 46.69, 0.3, (5.0, 5.3)))
    assert isinstance(answer, NotSolved)
    assert "pixel_scale" in answer.reason


@pytest.mark.usefixtures("engine")
def test_index_files_are_a_need(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(NeedMissing, match="index_dir"):
            Wheel(index_dir=folder).solve(field(header(0, 1)), SHAPE, HINT)


@pytest.mark.usefixtures("engine")
def test_too_few_sources():
    assert "3 sources" in Wheel().solve(field(header(0, 1))[:3], SHAPE, HINT).reason


def test_the_package_is_a_need(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "astrometry":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NeedMissing, match=r"lcframework\[solve\]"):
        Wheel().solve(field(header(0, 1)), SHAPE, HINT)
