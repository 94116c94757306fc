"""A field of Tycho-2 stars around the exoplanet host HAT-P-32, as solvers with Debian's index files see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.types import SolveHint
from plugins_builtin.astrometry.wcs_fit import open_wcs

INDEX = Path("/usr/share/astrometry")
HAS_INDEX = any(INDEX.glob("index-tycho2-0*.fits"))
SHAPE = (500, 650)
HINT = SolveHint(31.04, 46.69, 1.0, (4.5, 6.0))
# ICRS, epoch 2000; V_T.
STARS = Table.read(Path(__file__).with_name("tycho2_stars.ecsv"))


def header(angle=179.5, parity=-1):
    """Return the true WCS of a frame, turned by an angle in degrees; parity -1 has east at the left of north."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    h = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 31.1, "CRVAL2": 46.7})
    h["CRPIX1"], h["CRPIX2"] = 330.0, 245.0
    for (i, j), value in np.ndenumerate(5.164 / 3600 * np.array([[parity * c, -s], [parity * s, c]])):
        h[f"CD{i + 1}_{j + 1}"] = value
    return h


def field(h, error=0.1, extra=0):
    """Return sources: the catalogue's stars with errors of their centroids in pixels, and others that it lacks."""
    rng = np.random.default_rng(7)
    x, y = WCS(h).all_world2pix(STARS["ra"], STARS["dec"], 0)
    inside = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1)
    x, y, flux = x[inside], y[inside], 10 ** (-0.4 * (np.asarray(STARS["magnitude"])[inside] - 15))
    x = np.concatenate([x + rng.normal(0, error, x.size), rng.uniform(0, SHAPE[1] - 1, extra)])
    y = np.concatenate([y + rng.normal(0, error, y.size), rng.uniform(0, SHAPE[0] - 1, extra)])
    flux = np.concatenate([flux, rng.uniform(10, 60, extra)])
    return Table({"x": x, "y": y, "flux": flux, "fwhm": np.full(x.size, 2.0)})


def no_field():
    """Return sources at random places."""
    rng = np.random.default_rng(0)
    sources = Table({"x": rng.uniform(0, 649, 25), "y": rng.uniform(0, 499, 25), "flux": rng.uniform(1, 9, 25)})
    sources["fwhm"] = 2.0
    return sources


def error_of(solution, truth):
    """Return how far a solution's pixels are from the true ones, on a grid over the frame."""
    y, x = (g.ravel() for g in np.mgrid[0 : SHAPE[0] : 50, 0 : SHAPE[1] : 50])
    px, py = open_wcs(solution.header).all_world2pix(*WCS(truth).all_pix2world(x, y, 0), 0)
    return np.hypot(px - x, py - y)
