"""Frames in every unit, with their sky or without it: the same e-/s, and noise maps that describe the noise."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.frames.stamping import noise_map
from lcframework.project import Project
from lcframework.storage.frame_files import read_frame
from lcframework.testing.conformance.scenes import Mixture
from lcframework.types import FrameFlag, PixelFlag

IMPORT = "read_convert_skysub_character_catalog"
SHAPE, GAIN, EXPTIME, SKY, READ_NOISE = (180, 200), 1.7, 50.0, 12.0, 5.0
STARS = [(40, 50, 3000.0), (150, 60, 900.0), (90, 130, 8000.0), (30, 150, 300.0), (170, 150, 1500.0)]


def star_light() -> np.ndarray:
    ny, nx = SHAPE
    psf = Mixture()
    return np.sum([f * psf.image(ny, x - (nx - 1) / 2, y - (ny - 1) / 2, nx) for x, y, f in STARS], axis=0)


def electrons() -> np.ndarray:
    """Return what was counted, with photon and read-out noise; the bias is not in it."""
    rng = np.random.default_rng(8)
    return rng.poisson((star_light() + SKY) * EXPTIME) + rng.normal(0, READ_NOISE, SHAPE)


FACTORS = {
    "adu": 1 / GAIN, "electron": 1.0, "adu/s": 1 / GAIN / EXPTIME, "electron/s": 1 / EXPTIME,
}  # fmt: skip


def imported(folder: Path, image: np.ndarray, unit: str, settings: str = "", **cards: object):
    (folder / "raw").mkdir(exist_ok=True)
    header = fits.Header({"EXPTIME": EXPTIME, "DATE-OBS": "2024-02-20T05:46:18", "BUNIT": unit})
    if unit.startswith("adu"):
        header["GAIN"] = GAIN
    header.update({k.replace("_", "-"): v for k, v in cards.items()})
    fits.PrimaryHDU(image.astype(np.float32), header).writeto(folder / "raw/a.fits", overwrite=True)
    (folder / "project.toml").write_text(f"[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n{settings}")
    report = Project.open(folder / "project.toml").run(stop=IMPORT)
    assert not report.bugs, report.bugs
    assert report.exit_code == 0, report.unusable
    connection = sqlite3.connect(folder / "database.sqlite3")
    query = "select background_rms_electron_per_second, sky_level_electron_per_second, flags, exptime from frames"
    row = connection.execute(query).fetchone()
    connection.close()
    return (*read_frame(folder / "frames/a.fits")[:2], *row)


def check_noise(image: np.ndarray, rms: float) -> None:
    """The rms is the sky's, and deviations from the truth are as large as the noise map says, on stars and off them."""
    assert rms == pytest.approx(np.sqrt(SKY * EXPTIME + READ_NOISE**2) / EXPTIME, rel=0.04)
    light = star_light()
    pulls = (image - light) / noise_map(image, rms, EXPTIME)
    for where, count in ((light < 0.01, 20000), (light > 3.0, 100)):
        chosen = pulls[where]
        assert len(chosen) > count
        assert np.std(chosen) == pytest.approx(1, abs=0.04 + 2.5 / np.sqrt(2 * len(chosen)))


@pytest.mark.parametrize("unit", list(FACTORS))
def test_every_unit_comes_out_the_same(tmp_path, unit):
    image, mask, rms, level, *_ = imported(tmp_path, electrons() * FACTORS[unit], unit, SATURATE=9e9)
    expected = electrons() / EXPTIME
    np.testing.assert_allclose(image, expected - SKY, atol=0.15)  # what the sky model is off by, most in the corners
    assert level == pytest.approx(SKY, abs=0.05)
    check_noise(image, rms)
    assert not mask.any()


@pytest.mark.parametrize("unit", list(FACTORS))
def test_saturation_is_in_the_unit_of_the_file(tmp_path, unit):
    peak = 0.6 * electrons().max() * FACTORS[unit]
    _, mask, *_ = imported(tmp_path, electrons() * FACTORS[unit], unit, SATURATE=peak)
    np.testing.assert_array_equal((mask & PixelFlag.SATURATED) > 0, electrons() * FACTORS[unit] >= peak)


@pytest.mark.parametrize("unit", list(FACTORS))
@pytest.mark.parametrize("plugin", ["sep", "none"])
def test_frames_without_their_sky(tmp_path, unit, plugin):
    """The sky's noise stays in a frame whose sky was subtracted: it is measured, not reckoned from the level."""
    settings = f'[background]\nplugin = "{plugin}"\nsubtract = false\n'
    image, _, rms, level, *_ = imported(tmp_path, (electrons() - SKY * EXPTIME) * FACTORS[unit], unit, settings)
    np.testing.assert_allclose(image, electrons() / EXPTIME - SKY, rtol=1e-5, atol=1e-4)  # nothing more is taken off
    assert abs(level) < 0.05
    check_noise(image, rms)


def stored(folder: Path, form: str) -> str:
    """Write the counts as integers in one of the forms in which files come; return the settings that read them."""
    counts = np.round(electrons() / GAIN + 500).astype(np.uint16)
    cards = fits.Header({"EXPTIME": EXPTIME, "DATE-OBS": "2024-02-20T05:46:18", "GAIN": GAIN})
    raw = folder / "raw"
    raw.mkdir()
    if form in ("unsigned", "gz"):
        fits.PrimaryHDU(counts, cards).writeto(raw / ("a.fits.gz" if form == "gz" else "a.fits"))
    elif form == "big-endian floats":
        fits.PrimaryHDU(counts.astype(">f8"), cards).writeto(raw / "a.fits")
    elif form in ("RICE_1", "GZIP_2", "HCOMPRESS_1"):
        image = fits.CompImageHDU(counts.astype(np.int16), cards, compression_type=form)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(raw / "a.fits.fz")
    elif form == "headers of three HDUs":
        wrong, right = fits.Header({"EXPTIME": 1.0, "GAIN": 9.0}), fits.Header({"EXPTIME": EXPTIME})
        image = fits.ImageHDU(counts, fits.Header({"GAIN": GAIN}))
        right["DATE-OBS"] = cards["DATE-OBS"]
        fits.HDUList([fits.PrimaryHDU(header=wrong), fits.ImageHDU(header=right), image]).writeto(raw / "a.fits")
        return "hdu_data = 2\nhdu_headers = [0, 1]"
    elif form == "trimmed":
        framed = np.full((SHAPE[0] + 12, SHAPE[1] + 20), 65000, np.uint16)
        framed[6:-6, 10:-10] = counts
        fits.PrimaryHDU(framed, cards).writeto(raw / "a.fits")
        return "trim_vertical = 6\ntrim_horizontal = 10"
    return ""


FORMS = ["unsigned", "gz", "RICE_1", "GZIP_2", "HCOMPRESS_1", "big-endian floats", "headers of three HDUs", "trimmed"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_comes_out_the_same(tmp_path, form):
    settings = stored(tmp_path, form)
    (tmp_path / "project.toml").write_text(
        f'[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n[frames]\npattern = "*.fits*"\n{settings}\n'
    )
    assert Project.open(tmp_path / "project.toml").run(stop=IMPORT).exit_code == 0
    image, mask, _ = read_frame(tmp_path / "frames/a.fits")
    (row,) = Project.open(tmp_path / "project.toml").frames()
    # Rounding to whole counts adds gain^2 / 12 to the variance.
    sky_noise = np.sqrt(SKY * EXPTIME + READ_NOISE**2 + GAIN**2 / 12) / EXPTIME
    assert row["background_rms_electron_per_second"] == pytest.approx(sky_noise, rel=0.04)
    assert (row["exptime"], row["gain"]) == (EXPTIME, GAIN)
    np.testing.assert_allclose(image, electrons() / EXPTIME - SKY, atol=0.1 + GAIN / EXPTIME)
    assert not mask.any()


SITE = "[telescope]\nlatitude = -24.6\nlongitude = -70.4\n"


def test_sun_and_time_are_flagged_and_told(tmp_path, lcf):
    date = {"DATE_OBS": "2024-02-20T16:46:18"}
    *_, flags, _ = imported(tmp_path, electrons(), "electron", SITE, **date)
    assert flags == FrameFlag.SUN_UP
    told = lcf("status", tmp_path / "project.toml").err
    assert "Doubt: the sun was above the horizon. 1 frame: a.fits. Check that times and [telescope] are right." in told
    *_, flags, _ = imported(tmp_path, electrons(), "electron", SITE, DATE_OBS="2088-02-20T05:46:18")
    assert flags & FrameFlag.ODD_TIME
    assert "the time lies before 1972 or in the future" in lcf("status", tmp_path / "project.toml").err


@pytest.mark.parametrize(("latitude", "down"), [(-60.0, True), (60.0, False)])
def test_region_below_the_horizon_is_flagged(tmp_path, lcf, latitude, down):
    """A region at declination 80 never rises in the far south."""
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 80.0, "CRPIX1": 90.0, "CRPIX2": 90.0,
           "CDELT1": -2e-4, "CDELT2": 2e-4}  # fmt: skip
    imported(
        tmp_path,
        electrons(),
        "electron",
        f"[telescope]\nlatitude = {latitude}\nlongitude = 0.0\n[plate_solving]\nverify = false\n"
        '[stars]\nplugin = "none"\n',
        **wcs,
    )
    project = tmp_path / "project.toml"
    project.write_text(project.read_text().replace("dec = 20.0", "dec = 80.0"))
    footprints = "calculate_common_and_total_footprint"
    assert Project.open(project).run(stop=footprints).exit_code == 0
    told = "a region of interest was below the horizon" in lcf("status", project).err
    (frame,) = Project.open(project).frames()
    assert (bool(frame["flags"] & FrameFlag.TARGET_DOWN), told) == (down, down)


def test_times_that_no_frame_can_have_are_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "parse.py").write_text("def parse_header(h):\n    return dict(exptime=5.0, gain=1.0, mjd=2460310.75)\n")
    fits.PrimaryHDU(electrons().astype(np.float32)).writeto(tmp_path / "raw/a.fits")
    (tmp_path / "project.toml").write_text(
        '[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n[header]\nplugin = "file"\n[header.file]\n'
        'path = "parse.py"\n'
    )
    report = Project.open(tmp_path / "project.toml").run(stop=IMPORT)
    assert report.exit_code == 3
    assert "it looks like a Julian date, and would be MJD 60310.25" in report.unusable[0].reason
