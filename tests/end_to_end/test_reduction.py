"""Star fluxes by PSF photometry of raw frames in two filters, with bias, dark and flat and without, against truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlmodel import select

from lcframework.project import Project
from lcframework.storage.tables import Frame, StarFlux
from lcframework.testing.conformance.scenes import Mixture
from lcframework.testing.detector import Detector

pytest.importorskip("ccdproc")
pytestmark = pytest.mark.slow

CAMERA = Detector(shape=(320, 340), seed=9)
EXPTIME, SKY, SCALE = 60.0, 8.0, 0.5  # s, e-/s a pixel, arcsec a pixel
TOML = """
[roi.target]
ra = 150.0
dec = 10.0
exclusion_radius = 5.0
[run]
workers = 1
offline = true
[plate_solving]
pixel_scale = [0.4, 0.6]
[stars]
plugin = "file"
radius = 150.0
magnitude = [10.0, 20.0]
[stars.file]
path = "stars.ecsv"
[psf]
stars = 12
[photometry]
stars = 30
"""
REDUCED = '[reduction]\nplugin = "auto"\n'
NOT_REDUCED = '[reduction]\nplugin = "none"\n'


def sky_to_pixels() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 10.0], [171.0, 161.0]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def stars() -> Table:
    """Return stars all over the field, 30 pixels and more apart; none near the region, in the middle."""
    rng = np.random.default_rng(3)
    places: list[np.ndarray] = [np.array([170.0, 160.0])]
    while len(places) < 25:
        place = rng.uniform(22, [318, 298])
        if all(np.hypot(*(place - p)) > 34 for p in places):
            places.append(place)
    x, y = np.array(places[1:]).T
    flux = 10 ** rng.uniform(3.4, 4.1, len(x))
    ra, dec = sky_to_pixels().all_pix2world(x, y, 0)
    return Table({"source_id": [f"s{i}" for i in range(len(x))], "ra": ra, "dec": dec,
                  "phot_g_mean_mag": 25 - 2.5 * np.log10(flux), "x": x, "y": y, "flux": flux})  # fmt: skip


def write(path: Path, data: np.ndarray, header: fits.Header) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, header).writeto(path)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    folder, truth, rng = tmp_path_factory.mktemp("reduced"), stars(), np.random.default_rng(4)
    ny, nx = CAMERA.shape
    light = SKY + sum(
        row["flux"] * Mixture().image(ny, row["x"] - (nx - 1) / 2, row["y"] - (ny - 1) / 2, nx) for row in truth
    )
    for band in "ri":
        for i in range(2):
            header = CAMERA.header("Light Frame", EXPTIME, band)
            header.update(sky_to_pixels().to_header())
            write(folder / f"raw/{band}{i}.fits", CAMERA.read(rng, EXPTIME, light, band), header)
        for i in range(12):
            flat = CAMERA.read(rng, 5.0, 6500.0 + 100 * i, band)
            write(folder / f"calibration/{band}{i}.fits", flat, CAMERA.header("Flat Field", 5.0, band))
    for i in range(12):
        write(folder / f"calibration/bias{i}.fits", CAMERA.read(rng, 0.0), CAMERA.header("Bias Frame", 0.0))
        write(folder / f"calibration/dark{i}.fits", CAMERA.read(rng, 120.0), CAMERA.header("Dark Frame", 120.0))
    truth["source_id", "ra", "dec", "phot_g_mean_mag"].write(folder / "stars.ecsv")
    return folder, truth


def measured(folder: Path, truth: Table, settings: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return, by frame, the ratios of measured to true fluxes, their stated errors, and the stars' radii."""
    (folder / "project.toml").write_text(TOML + settings)
    project = Project.open(folder / "project.toml")
    report = project.run(stop="star_photometry")
    assert report.exit_code == 0, report.message or report.unusable
    flux = {str(row["source_id"]): row for row in truth}
    out = {}
    with project.session() as session:
        for frame in session.exec(select(Frame)):
            rows = session.exec(select(StarFlux).where(StarFlux.frame_id == frame.id)).all()
            assert len(rows) > 15
            true = np.array([flux[r.gaia_id]["flux"] for r in rows])
            radius = np.array([np.hypot(flux[r.gaia_id]["x"] - 0.47 * 340, flux[r.gaia_id]["y"] - 0.52 * 320)
                               for r in rows])  # fmt: skip
            fluxes, errors = (np.array([getattr(r, n) for r in rows]) for n in ("flux", "flux_uncertainty"))
            out[Path(frame.original_image_path).name] = fluxes / true, errors / true, radius
    return out


def test_star_fluxes_in_two_filters(campaign):
    folder, truth = campaign
    for name, (ratio, error, _) in measured(folder, truth, REDUCED).items():
        # The PSF's stamp and the flat's normalization leave one factor for all stars of a frame; 0.1 % for the flat's
        # noise under a star and the vignetted sky, whose noise is that of the frame's middle.
        pulls = (ratio / np.median(ratio) - 1) / np.hypot(error, 0.001)
        print(name, f"scatter {np.std(ratio):.4f}, errors {np.median(error):.4f}, pulls {np.std(pulls):.2f}")
        assert np.abs(pulls).max() < 4.5
        assert np.std(pulls) < 1.4
    for name, (ratio, error, radius) in measured(folder, truth, NOT_REDUCED).items():
        pulls = (ratio / np.median(ratio) - 1) / np.hypot(error, 0.001)
        far, near = radius > np.percentile(radius, 70), radius < np.percentile(radius, 30)
        lost = 1 - np.mean(ratio[far]) / np.mean(ratio[near])
        print(name, f"without: scatter {np.std(ratio):.4f}, pulls {np.std(pulls):.1f}, lost far out {lost:.3f}")
        assert np.std(pulls) > 5
        assert lost > 0.05
