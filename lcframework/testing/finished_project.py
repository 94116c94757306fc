"""A small finished project with made-up products, on which the suites of stages, panels and commands run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlmodel import Session

from lcframework.project import Project
from lcframework.roi.cutout_files import FOLDER, FitFile, PreparedEpochs, stem, write_cutouts, write_fit
from lcframework.roi.epochs import filled
from lcframework.roi.light_curves import join, per_night, table_name, write_light_curve
from lcframework.storage.frame_files import write_frame, write_table, write_wcs
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
from lcframework.testing.conformance.scenes import Mixture
from lcframework.testing.regions import Sky, simulate
from lcframework.types import FitState, FitStatus, HighResolution, RoiFit

#: The region, and the instrument, band and field of reference stars that all frames share.
ROI, INSTRUMENT, BAND, FIELD = "EXAMPLE", "ExampleCam", "r", "0123456789abcdef"
FRAMES = 4
_RA, _DEC, _SCALE, _SIZE, _RMS, _ZEROPOINT = 150.0, -28.0, 0.5, 96, 0.3, 24.6
#: Magnitudes and places (pixels) of the reference stars.
_STARS = ((17.5, 20.0, 70.0), (18.0, 75.0, 25.0), (18.4, 30.0, 22.0))
_TOML = f"""[project]
name = "{ROI}"
[frames]
raw_dirs = ["raw"]
[telescope]
name = "Example"
latitude = -30.0
longitude = -70.0
elevation = 2000.0
[roi.{ROI}]
ra = {_RA}
dec = {_DEC}
[roi.{ROI}.point_sources]
A = [{_RA}, {_DEC}]
B = [{_RA + 3e-4}, {_DEC}]
[stars]
plugin = "file"
[stars.file]
path = "stars.ecsv"
[calibration]
plugin = "file"
[calibration.file]
path = "stars.ecsv"
[run]
workers = 1
offline = true
"""


def example_project(folder: Path, finished: bool = True) -> Path:
    """Write a project of four frames, a region of two sources and a light curve; return its project file.

    Parameters
    ----------
    folder : Path
        Is made, and must not have a project.
    finished : bool
        Whether it has products: rows of all tables that the twelve stages fill, imported frames and their WCS, and the
        light curve with its cutouts and fit. Stamps and PSFs have rows, but no files. Without it there is the project
        file alone.
    """
    (folder / "raw").mkdir(parents=True)
    path = folder / "project.toml"
    path.write_text(_TOML, encoding="utf-8")
    _star_table().write(folder / "stars.ecsv", format="ascii.ecsv")
    if finished:
        project = Project.open(path)
        with project.hold(), Session(project.engine()) as session:
            session.add_all([*_sky_rows(), *(row for i in range(FRAMES) for row in _frame_rows(folder, i + 1))])
            session.add_all(_products())
            session.commit()
        project.engine().dispose()
        _write_region(folder / FOLDER)
    return path


def _wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [_RA, _DEC], [(_SIZE + 1) / 2, (_SIZE + 1) / 2]
    wcs.wcs.cdelt = [-_SCALE / 3600, _SCALE / 3600]
    return wcs


def _star_table() -> Table:
    magnitude, x, y = np.array(_STARS).T
    sky = _wcs().all_pix2world(x, y, 0)
    same = np.ones(len(x))
    columns = {"ra": sky[0], "dec": sky[1], "phot_g_mean_mag": magnitude, "phot_bp_mean_mag": magnitude + 0.4,
               "phot_rp_mean_mag": magnitude - 0.6, "ref_epoch": 2016.0 * same, "r_mag": magnitude,
               "r_mag_err": 0.01 * same}  # fmt: skip
    return Table({"source_id": [str(i + 1) for i in range(len(x))], **columns})


def _sky_rows() -> list[Any]:
    field: dict[str, Any] = {"combined_footprint_hash": FIELD}
    square = [[_RA + a, _DEC + b] for a, b in ((0.01, -0.01), (-0.01, -0.01), (-0.01, 0.01), (0.01, 0.01))]
    rows: list[Any] = [CombinedFootprint(hash=FIELD, strategy="roi_disk", rois=[ROI], ra=_RA, dec=_DEC, radius=0.01,
                                         common=square, total=[square])]  # fmt: skip
    group: dict[str, Any] = {**field, "instrument": INSTRUMENT, "band": BAND}
    rows.append(AbsoluteZeropoint(**group, catalog="file", catalog_band="r", system="AB", zeropoint=_ZEROPOINT,
                                  zeropoint_uncertainty=0.01, scatter=0.01, stars=len(_STARS)))  # fmt: skip
    for star in _star_table():
        name, magnitude = str(star["source_id"]), float(star["r_mag"])
        rows.append(Star(**field, gaia_id=name, name="abc"[int(name) - 1], ra=float(star["ra"]), dec=float(star["dec"]),
                         pmra=0.0, pmdec=0.0, ref_epoch=2016.0, magnitude=magnitude))  # fmt: skip
        rows.append(CatalogStarPhotometry(catalog="file", band="r", gaia_id=name, mag=magnitude, mag_err=0.01,
                                          system="AB"))  # fmt: skip
        level = 10 ** (0.4 * (_ZEROPOINT - magnitude))
        rows.append(StarLevel(**group, gaia_id=name, level=level, level_error=1e-3 * level, intrinsic_scatter=0.0))
    return rows


def _frame_rows(folder: Path, i: int) -> list[Any]:
    """Write a frame's image, sources and WCS, and return its rows."""
    key, mjd, rng = f"example_{i}", 60359.0 + i, np.random.default_rng(i)
    image, fluxes = rng.normal(0.0, _RMS, (_SIZE, _SIZE)), []
    for magnitude, x, y in _STARS:
        fluxes.append(10 ** (0.4 * (_ZEROPOINT - magnitude)))
        image += fluxes[-1] * Mixture().image(_SIZE, x - (_SIZE - 1) / 2, y - (_SIZE - 1) / 2)
    write_frame(folder / f"frames/{key}.fits", image, np.zeros(image.shape, np.uint8), fits.Header())
    write_wcs(folder / f"frames/{key}.wcs", _wcs().to_header())
    columns = {"x": [s[1] for s in _STARS], "y": [s[2] for s in _STARS], "flux": fluxes, "flags": [0] * len(_STARS)}
    shape = {name: [value] * len(_STARS) for name, value in (("fwhm", 3.1), ("a", 1.4), ("b", 1.3), ("theta", 0.0))}
    write_table(folder / f"frames/{key}_sources.fits", Table({**columns, **shape}))
    frame = Frame(
        id=i, original_image_path=f"raw/{key}.fits", key=key, image_relpath=f"frames/{key}.fits",
        sources_relpath=f"frames/{key}_sources.fits", wcs_relpath=f"frames/{key}.wcs", band=BAND,
        instrument=INSTRUMENT, mjd=mjd, mjd_start=mjd - 6e-4, mjd_end=mjd + 6e-4, time_source="DATE-OBS", exptime=100.0,
        gain=2.0, saturation=60000.0, width=_SIZE, height=_SIZE, plate_solved=True, attempted_plate_solve=True,
        solver="existing", wcs_matched=3, wcs_rms_pixels=0.1, pixel_scale=_SCALE, angle_to_north=0.0, seeing_pixels=3.1,
        seeing_arcseconds=3.1 * _SCALE, ellipticity=0.05, sky_level_electron_per_second=4.0,
        background_rms_electron_per_second=_RMS, roi_in_footprint=True,
    )  # fmt: skip
    corners = [[_RA + a, _DEC + b] for a, b in ((0.007, -0.007), (-0.007, -0.007), (-0.007, 0.007), (0.007, 0.007))]
    centre = (_SIZE - 1) / 2
    field: dict[str, Any] = {"combined_footprint_hash": FIELD, "frame_id": i}
    rows: list[Any] = [
        frame, FrameFootprint(frame_id=i, polygon=corners),
        RoiInFrame(frame_id=i, roi=ROI, roi_in_footprint=True, x=centre, y=centre, bjd_tdb=mjd + 2400000.503,
                   airmass=1.2, altitude=56.0, azimuth=30.0, degrees_to_moon=90.0),
        PsfRow(**field, psf_ref="example", path=f"regions/{key}/psf_example.h5", chi2=1.0, subsampling_factor=2,
               stars="abc", status="converged"),
        NormalizationCoefficient(**field, instrument=INSTRUMENT, band=BAND, coefficient=1.0,
                                 coefficient_uncertainty=0.002, scatter=0.004, stars=len(_STARS)),
    ]  # fmt: skip
    for number, ((_, x, y), flux) in enumerate(zip(_STARS, fluxes, strict=True), 1):
        rows.append(StarInFrame(**field, gaia_id=str(number), x=x, y=y, masked_fraction=0.0, signal_to_noise=100.0))
        rows.append(StarFlux(**field, gaia_id=str(number), psf_ref="example", flux=flux, flux_uncertainty=0.01 * flux,
                             x=x, y=y, x_offset=0.0, y_offset=0.0, x_uncertainty=0.01, y_uncertainty=0.01,
                             background=0.0, chi2=1.0, status="converged"))  # fmt: skip
        rows.append(StarResidual(**field, gaia_id=str(number), instrument=INSTRUMENT, band=BAND, residual=0.0,
                                 residual_error=0.008, used=True))  # fmt: skip
    return rows


def _write_region(folder: Path) -> None:
    """Write the region's cutouts, a fit that is their truth, and the light curve that follows from it."""
    level = 1 + 0.1 * np.sin(np.arange(FRAMES))
    sky = Sky(np.array([[0.0, 0.0], [0.9, 0.0]]), np.outer(level, [200.0, 60.0]), stamp=24, kernel=40, scale=_SCALE)
    cutouts, points, truth = simulate(sky, 1)
    size = sky.stamp * sky.subsampling
    high = np.zeros((size, size))
    high[size // 2 - 4 : size // 2 + 4, size // 2 - 4 : size // 2 + 4] = 1.0
    transform = np.array([[-2 / _SCALE, 0, (size - 1) / 2], [0, 2 / _SCALE, (size - 1) / 2]])
    fit = RoiFit(
        truth.flux, 16.0 * np.tile(np.eye(2), (FRAMES, 1, 1)), np.tile(np.eye(2), (FRAMES, 1, 1)), points.offset,
        1e-6 * np.eye(4), truth.shift, HighResolution(high, high, transform), truth.noiseless, cutouts.mask,
        np.ones(FRAMES), FitStatus(FitState.CONVERGED, 12), np.array([100.0, 10.0, 5.0]),
    )  # fmt: skip
    mjd = 60359.0 + np.arange(1, FRAMES + 1)
    columns = filled(
        FRAMES, frame_id=np.arange(1, FRAMES + 1), mjd=mjd, bjd_tdb=mjd + 2400000.503, band=BAND,
        instrument=INSTRUMENT, seeing=cutouts.seeing, exptime=100.0, pixel_scale=_SCALE, angle_to_north=0.0,
        background_rms=_RMS, normalization_coefficient=1.0, relative_normalization_error=2e-3,
        relative_extra_scatter=0.0,
    )  # fmt: skip
    texts = [str(_wcs().to_header())] * FRAMES
    content = FitFile(INSTRUMENT, BAND, list(points.names), fit, columns, _ZEROPOINT, 0.01, "AB")
    name = stem(ROI, INSTRUMENT, BAND)
    write_cutouts(
        folder / f"cutouts_{name}.h5",
        PreparedEpochs(cutouts, columns, truth.shift, texts, _ZEROPOINT, 0.01, "AB"),
    )
    write_fit(folder / f"{name}_fit.h5", content)
    curve = join([content])
    write_light_curve(folder, ROI, curve, per_night(curve, points.names, -70.0), ["AB"])


def _products() -> list[Product]:
    """Return the products of the twelve stages."""
    group, frames = f"{INSTRUMENT}:{BAND}", range(1, FRAMES + 1)
    units = [("initialize_database", "project", "")]
    units += [("read_convert_skysub_character_catalog", f"frame:{i}", f"frames/example_{i}.fits") for i in frames]
    units += [("plate_solving", f"frame:{i}", f"frames/example_{i}.wcs") for i in frames]
    units += [("calculate_common_and_total_footprint", f"frame:{i}", "") for i in frames]
    units += [("calculate_common_and_total_footprint", "project", "")]
    units += [("query_gaia_for_stars", f"stars:{FIELD}", "")]
    for stage in ("query_gaia_for_stars", "stamp_extraction", "psf_modeling", "star_photometry"):
        units += [(stage, f"frame:{i}:{FIELD}", "") for i in frames]
    units += [("calculate_normalization_coefficient", f"{FIELD}:{group}", "")]
    units += [("calculate_absolute_zeropoints", f"{FIELD}:{group}", "")]
    name = stem(ROI, INSTRUMENT, BAND)
    units += [("prepare_calibrated_cutouts", f"{ROI}:{group}", f"{FOLDER}/cutouts_{name}.h5")]
    units += [("model_calibrated_cutouts", f"fit:{ROI}:{group}", f"{FOLDER}/{name}_fit.h5")]
    units += [("model_calibrated_cutouts", f"light_curve:{ROI}", f"{FOLDER}/{table_name(ROI, 'csv')}")]
    return [
        Product(stage=stage, unit=unit, path=path, fingerprint=f"{stage}:{unit}", token=f"{stage}:{unit}",
                components={}, state="made")
        for stage, unit, path in units
    ]  # fmt: skip
