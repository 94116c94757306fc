"""A small project with known truth: two instruments, five stars, one region, and frames with every kind of fate."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlmodel import Session

from lcframework import Project
from lcframework.plugins import Plugins
from lcframework.roi.cutout_files import FOLDER, FitFile, PreparedEpochs, stem, write_cutouts, write_fit
from lcframework.roi.epochs import filled
from lcframework.roi.light_curves import join, per_night, write_light_curve
from lcframework.storage.frame_files import write_frame, write_table, write_wcs
from lcframework.storage.psf_files import write_psf
from lcframework.storage.stamp_files import Stamp, write_stamps
from lcframework.storage.tables import (
    AbsoluteZeropoint,
    CatalogStarPhotometry,
    CombinedFootprint,
    Frame,
    FrameFootprint,
    NormalizationCoefficient,
    Product,
    PsfRow,
    RoiInFrame,
    Star,
    StarFlux,
    StarInFrame,
    StarLevel,
    StarResidual,
)
from lcframework.testing.regions import Sky, moffat_kernel, quad, render_point, simulate
from lcframework.types import PSF, FitState, FitStatus, HighResolution, RoiFit

FIELD = "0123456789abcdef"
GROUPS = (("CamA", "r", 6), ("CamB", "g", 3))
LEVELS = np.array([900.0, 400.0, 200.0, 120.0, 60.0])
NAMES = tuple("abcde")
IDS = tuple(f"51{k}" for k in range(5))
ZEROPOINTS = {"CamA": 24.5, "CamB": 24.9}
RMS, EXPTIME, SIZE, KERNEL = 0.25, 300.0, 20, 40
TOML = """
[project]
name = "TINY"
[frames]
raw_dirs = ["raw"]
[header]
plugin = "fits"
[roi.Q]
ra = 150.0
dec = -28.0
[roi.Q.point_sources]
A = [150.00014, -27.99985]
B = [150.00020, -28.00005]
C = [149.99991, -28.00017]
D = [149.99983, -27.99993]
[plate_solving]
plugin = "existing"
[stars]
plugin = "file"
[stars.file]
path = "stars.ecsv"
[calibration]
plugin = "file"
[calibration.file]
path = "stars.ecsv"
[roi_model]
plugin = "joint"
[run]
offline = true
"""
STAR_SKY = Sky(np.zeros((1, 2)), np.ones((1, 1)), stamp=SIZE, kernel=KERNEL)


def make_project(folder, plugins):
    """Write the project and return what is true of it."""
    (folder / "raw").mkdir(parents=True)
    (folder / "project.toml").write_text(TOML)
    Table({"source_id": IDS, "ra": [150.0] * 5, "dec": [-28.0] * 5}).write(folder / "stars.ecsv", format="ascii.ecsv")
    project = Project.open(folder / "project.toml", plugins)
    rng = np.random.default_rng(11)
    truth = SimpleNamespace(project=project, coefficient={}, fits={})
    rows, frame_id = sky_rows(), 0
    for index, (instrument, band, count) in enumerate(GROUPS):
        ids = list(range(frame_id + 1, frame_id + 1 + count))
        frame_id += count
        for i in ids:
            rows += frame_rows(folder, i, instrument, band, rng, truth)
        for k, star in enumerate(IDS):
            rows.append(StarLevel(combined_footprint_hash=FIELD, instrument=instrument, band=band, gaia_id=star,
                                  level=LEVELS[k], level_error=LEVELS[k] * 5e-4, intrinsic_scatter=0.0))  # fmt: skip
        rows.append(AbsoluteZeropoint(
            combined_footprint_hash=FIELD, instrument=instrument, band=band, catalog="file",
            catalog_band=f"{band}_sdss", system="AB", zeropoint=ZEROPOINTS[instrument],
            zeropoint_uncertainty=0.006, scatter=0.01, stars=5,
        ))  # fmt: skip
        measured = ids[:-1] if index == 0 else ids  # the last one of the first has no epoch: its seeing is too bad
        rows += region_rows(project, instrument, band, measured, truth, index)
    rows += misfits(frame_id)
    rows.append(product("model_calibrated_cutouts", "light_curve:Q", f"{FOLDER}/Q_photometry_per_epoch.csv"))
    with Session(project.engine()) as session:
        session.add_all(rows)
        session.commit()
    table = join(list(truth.fits.values()))
    write_light_curve(folder / FOLDER, "Q", table, per_night(table, "ABCD", 0.0), ["AB"])
    return truth


def product(stage, unit, path="", state="made", reason=""):
    mark = f"{stage}:{unit}"
    return Product(stage=stage, unit=unit, fingerprint=mark, token=mark, components={}, state=state, reason=reason,
                   path=path, seconds=0.5)  # fmt: skip


def sky_rows():
    square = [[150.05, -28.05], [149.95, -28.05], [149.95, -27.95], [150.05, -27.95]]
    rows = [CombinedFootprint(hash=FIELD, strategy="roi_disk", rois=["Q"], ra=150.0, dec=-28.0, radius=0.04,
                              common=square, total=[square])]  # fmt: skip
    for k, star in enumerate(IDS):
        rows.append(Star(combined_footprint_hash=FIELD, gaia_id=star, name=NAMES[k], ra=150.0 + 0.01 * (k - 2),
                         dec=-28.0 + 0.01 * (k % 3), pmra=0.0, pmdec=0.0, ref_epoch=2016.0,
                         magnitude=24.5 - 2.5 * np.log10(LEVELS[k])))  # fmt: skip
        for instrument, band, _ in GROUPS:
            rows.append(CatalogStarPhotometry(
                catalog="file", band=f"{band}_sdss", gaia_id=star, system="AB", mag_err=0.01,
                mag=ZEROPOINTS[instrument] - 2.5 * np.log10(LEVELS[k]) + 0.01 * (k - 2),
            ))  # fmt: skip
    return rows


def frame_rows(folder, i, instrument, band, rng, truth):
    """Write a frame's image, stamps and PSF; return its rows."""
    key, mjd, shape = f"frame_{i:02d}", 60300.0 + i + 0.1, (90, 100)
    seeing = 3.4 if i == GROUPS[0][2] else float(rng.uniform(0.8, 1.4))
    coefficient = float(rng.uniform(0.8, 1.1))
    truth.coefficient[i] = coefficient
    image = rng.normal(0, RMS, shape)
    write_frame(folder / f"frames/{key}.fits", image, np.zeros(shape, np.uint8), fits.Header())
    sources = Table({"x": [20.0, 60.0], "y": [30.0, 50.0], "flux": [9.0, 5.0], "fwhm": [4.0, 4.0], "a": [1.7, 1.7],
                     "b": [1.6, 1.6], "theta": [0.0, 0.0], "flags": [0, 1]})  # fmt: skip
    write_table(folder / f"frames/{key}_sources.fits", sources)
    write_wcs(folder / f"frames/{key}.wcs", frame_wcs().to_header())
    kernel = moffat_kernel(STAR_SKY, seeing, rng)
    stamps, fluxes, residuals, measured = {}, [], [], []
    for k, star in enumerate(IDS):
        place = rng.uniform(-0.5, 0.5, 2)
        unit = render_point(STAR_SKY, place + (SIZE - 1) / 2, kernel)
        flux = coefficient * LEVELS[k]
        noise = np.sqrt(RMS**2 + flux * unit / EXPTIME)
        data = flux * unit + noise * rng.standard_normal(unit.shape)
        error = 1 / np.sqrt((unit**2 / noise**2).sum())
        fitted = float((data * unit / noise**2).sum() * error**2)
        corner = (10 * k, 5)
        stamps[star] = Stamp(data, noise, np.zeros(unit.shape, np.uint8), corner, (0.0, 0.0), "")
        centre = np.add(corner, (SIZE - 1) / 2)
        residuals.append(data - fitted * unit)
        fluxes.append(StarFlux(
            combined_footprint_hash=FIELD, frame_id=i, gaia_id=star, psf_ref="ref", flux=fitted, flux_uncertainty=error,
            x=centre[0] + place[0], y=centre[1] + place[1], x_offset=0.0, y_offset=0.0, x_uncertainty=0.01,
            y_uncertainty=0.01, background=0.0, chi2=float((residuals[-1] ** 2 / noise**2).mean()), status="converged",
        ))  # fmt: skip
        measured.append(StarResidual(
            combined_footprint_hash=FIELD, frame_id=i, gaia_id=star, instrument=instrument, band=band, used=True,
            residual=fitted / flux - 1, residual_error=error / flux,
        ))  # fmt: skip
    stamps_path, psf_path = f"regions/{key}/stamps.h5", f"regions/{key}/psf.h5"
    write_stamps(folder / stamps_path, stamps, shape)
    psf = PSF(kernel, kernel, 2, 2.0, FitStatus(FitState.CONVERGED), 1.0, frame_shape=shape, star_chi2=np.ones(5),
              residuals=np.array(residuals), outliers=np.zeros((5, SIZE, SIZE), bool),
              loss_history=np.array([900.0, 500.0, 480.0, 700.0, 600.0, 590.0]))  # fmt: skip
    write_psf(folder / psf_path, psf, list(IDS))
    frame = Frame(
        id=i, original_image_path=str(folder / "raw" / f"{key}.fits"), key=key, image_relpath=f"frames/{key}.fits",
        sources_relpath=f"frames/{key}_sources.fits", wcs_relpath=f"frames/{key}.wcs", band=band,
        instrument=instrument, mjd=mjd, exptime=EXPTIME,
        gain=2.0, width=100, height=90, plate_solved=True, solver="existing", pixel_scale=0.21,
        seeing_pixels=seeing / 0.21, seeing_arcseconds=seeing, sky_level_electron_per_second=5.0,
        background_rms_electron_per_second=RMS,
        roi_in_footprint=True,
    )  # fmt: skip
    where = {"combined_footprint_hash": FIELD, "frame_id": i}
    square = [[150.04, -28.05], [149.95, -28.05], [149.95, -27.96], [150.04, -27.96]]
    return [
        frame, FrameFootprint(frame_id=i, polygon=square),
        RoiInFrame(frame_id=i, roi="Q", roi_in_footprint=True, x=50.0, y=45.0, bjd_tdb=mjd + 2400000.505, airmass=1.2),
        PsfRow(**where, psf_ref="ref", path=psf_path, chi2=1.0 + 0.01 * i, subsampling_factor=2, stars="a,b,c,d,e",
               status="converged", evaluations=50),
        NormalizationCoefficient(**where, instrument=instrument, band=band, coefficient=coefficient,
                                 coefficient_uncertainty=1e-3 * coefficient, scatter=2e-3, stars=5),
        *fluxes, *measured, *(StarInFrame(**where, gaia_id=s, x=10.0, y=10.0, signal_to_noise=100.0) for s in IDS),
        product("read_convert_skysub_character_catalog", f"frame:{i}", f"frames/{key}.fits"),
        product("stamp_extraction", f"frame:{i}:{FIELD}", stamps_path),
        product("psf_modeling", f"frame:{i}:{FIELD}", psf_path), product("star_photometry", f"frame:{i}:{FIELD}"),
    ]  # fmt: skip


def frame_wcs():
    """Return the WCS of all frames: the region is in the middle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, -28.0], [51.0, 46.0]
    wcs.wcs.cdelt = [-0.21 / 3600, 0.21 / 3600]
    return wcs


def region_rows(project, instrument, band, ids, truth, seed):
    """Write the cutouts and the fit of one group; the fit is the truth, with one source too faint in one epoch."""
    e = len(ids)
    cutouts, points, sky = simulate(quad(e, seed, stamp=24, kernel=40), seed)
    flux, error = sky.flux.copy(), np.full(sky.flux.shape, 4.0)
    flux[0, 3] = -2.0
    high = np.full((48, 48), 0.01)
    high[20:28, 20:28] = 1.0
    transform = np.array([[-2 / 0.21, 0, 23.5], [0, 2 / 0.21, 23.5]])
    fit = RoiFit(
        flux, error[:, :, None] ** 2 * np.eye(4), np.eye(4) * np.ones((e, 1, 1)), points.offset, np.eye(8) * 1e-6,
        sky.shift, HighResolution(high, high, transform), sky.noiseless, np.zeros(cutouts.mask.shape, bool),
        np.linspace(0.9, 1.6, e), FitStatus(FitState.CONVERGED, 12), np.array([100.0, 10.0, 5.0, 4.9]),
    )  # fmt: skip
    mjd = np.array([60300.0 + i + 0.1 for i in ids])
    zeropoint = ZEROPOINTS[instrument]
    text = [str(WCS(naxis=2).to_header())] * e
    columns = filled(
        e, frame_id=np.array(ids), mjd=mjd, bjd_tdb=mjd + 2400000.505, band=band, instrument=instrument,
        seeing=cutouts.seeing, exptime=EXPTIME, pixel_scale=0.21, angle_to_north=0.0, background_rms=RMS,
        normalization_coefficient=np.array([truth.coefficient[i] for i in ids]),
        relative_normalization_error=1e-3, relative_extra_scatter=0.0,
    )  # fmt: skip
    epochs = PreparedEpochs(cutouts, columns, sky.shift, text, zeropoint, 0.006, "AB")
    content = FitFile(instrument, band, list("ABCD"), fit, columns, zeropoint, 0.006, "AB")
    truth.fits[instrument] = content
    name = stem("Q", instrument, band)
    write_cutouts(project.workdir / FOLDER / f"cutouts_{name}.h5", epochs)
    write_fit(project.workdir / FOLDER / f"{name}_fit.h5", content)
    key = f"Q:{instrument}:{band}"
    return [
        product("calculate_normalization_coefficient", f"{FIELD}:{instrument}:{band}"),
        product("prepare_calibrated_cutouts", key, f"{FOLDER}/cutouts_{name}.h5"),
        product("model_calibrated_cutouts", f"fit:{key}", f"{FOLDER}/{name}_fit.h5"),
    ]


def misfits(last):
    """Return the rows of files that did not make it."""
    broken = Frame(id=last + 1, original_image_path="/raw/broken.fits", key="broken", eliminated=True,
                   comment="the FITS file ends early <here>")  # fmt: skip
    away = Frame(id=last + 2, original_image_path="/raw/away.fits", key="away", mjd=60390.0, plate_solved=True,
                 band="r", instrument="CamA", seeing_arcseconds=1.0, sky_level_electron_per_second=4.0,
                 comment="contains no region of interest")  # fmt: skip
    new = Frame(id=last + 3, original_image_path="/raw/new.fits", key="new")
    stage = "read_convert_skysub_character_catalog"
    return [
        broken, away, new,
        product(stage, f"frame:{broken.id}", state="unusable", reason="the FITS file ends early <here>"),
        product(stage, f"frame:{away.id}"),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def plugins():
    """What is installed, loaded once."""
    return Plugins.installed()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, plugins):
    """The project, shared by tests that only read."""
    return make_project(tmp_path_factory.mktemp("tiny"), plugins)


@pytest.fixture
def fresh(tmp_path, tiny, plugins):
    """A project of a test's own."""
    folder = tmp_path / "fresh"
    shutil.copytree(tiny.project.workdir, folder)
    return SimpleNamespace(**{**vars(tiny), "project": Project.open(folder / "project.toml", plugins)})


@pytest.fixture
def odd_band(tmp_path, plugins, monkeypatch):
    """A project with a band whose name would end the page's scripts, if it were written as it is."""
    monkeypatch.setitem(globals(), "GROUPS", (("CamA", "<!--<script>", 6), GROUPS[1]))
    return make_project(tmp_path / "odd", plugins)
