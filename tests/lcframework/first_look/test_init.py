"""``lcf init --frames``: projects from small simulated frames, and what is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from click.testing import CliRunner

from lcframework.cli.init import command
from lcframework.first_look import star_tables, targets
from lcframework.first_look.index_stars import index_stars
from lcframework.first_look.raw_files import image_hdu
from lcframework.project import Project

RA, DEC, SCALE, SHAPE = 150.0, 10.0, 1.2, (300, 320)  # degrees, arcsec/pixel, (ny, nx)
SITE = {"SITELAT": "28 45 44", "SITELONG": "-17 52 45", "SITEELEV": 2300.0}


def frame_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [RA, DEC], [160.5, 150.5]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def write_night(folder: Path, ending: str = ".fits", count: int = 3, solved: bool = True, **cards: Any) -> None:
    """Write frames of 70 stars, with a WCS unless not `solved`, and these further cards."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(5)
    light = np.full(SHAPE, 300.0)
    for _ in range(70):
        x0, y0, flux = rng.uniform(10, 310), rng.uniform(10, 290), 10 ** rng.uniform(3.7, 5.2)
        light += flux / (2 * np.pi * 2.25) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 4.5)
    for i in range(count):
        header = frame_wcs().to_header() if solved else fits.Header()
        header.update({"DATE-OBS": f"2024-03-01T02:0{i}:00", "EXPTIME": 30.0, "GAIN": 2.0, "FILTER": "V"})
        header["INSTRUME"] = "Cam"
        for key, value in ({"OBJECT": "Thing 1"} | cards).items():
            header[key.replace("DATE_", "DATE-")] = value
        image = np.round(200 + (rng.poisson(light) + rng.normal(0, 6, SHAPE)) / 2).clip(0, 65535).astype(np.uint16)
        fits.PrimaryHDU(image, header).writeto(folder / f"f{i}{ending}")


@pytest.fixture(autouse=True)
def no_services(monkeypatch):
    """No network, and no index files but those that a test makes."""
    monkeypatch.setattr(targets, "reachable", lambda host: False)
    monkeypatch.setattr(star_tables, "reachable", lambda host: False)
    monkeypatch.setattr(star_tables, "index_stars", lambda *place: None)


def init(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command, [str(a) for a in arguments])
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def project(folder: Path) -> dict[str, Any]:
    return tomli.loads((folder / "project.toml").read_text())


def test_a_project_that_runs(tmp_path):
    write_night(tmp_path / "p" / "raw", **SITE, OBJCTRA="10 00 00", OBJCTDEC="+10 00 00")
    code, told = init(tmp_path / "p", "--frames", tmp_path / "p" / "raw")
    assert code == 0, told
    made = project(tmp_path / "p")
    assert made["telescope"] == pytest.approx({"latitude": 28.7622, "longitude": -17.8792, "elevation": 2300}, abs=1e-3)
    assert made["roi"] == {"Thing-1": {"ra": 150.0, "dec": 10.0, "point_sources": {"A": [150.0, 10.0]}}}
    assert set(made) == {"project", "telescope", "roi", "stars", "calibration"}
    assert sum(len(t) for t in made.values()) <= 15
    assert "1.2 arcsec/pixel" in told
    stars = Table.read(tmp_path / "p" / "frame_stars.ecsv")
    assert 50 <= len(stars) <= 75
    path = tmp_path / "p" / "project.toml"
    path.write_text(path.read_text() + "[run]\nworkers = 1\n")
    report = Project.open(path).run(stop="plate_solving")
    assert report.exit_code == 0, report.unusable
    code, told = init(tmp_path / "p", "--frames", tmp_path / "p" / "raw")
    assert code == 1
    assert "exists already" in told


def test_the_users_table_other_endings_and_calibration_beside(tmp_path):
    write_night(tmp_path / "night" / "light", ".FIT")
    write_night(tmp_path / "night" / "flats", ".FIT", IMAGETYP="Flat Field")
    write_night(tmp_path / "night" / "notes", ".FIT")
    Table({"RAJ2000": [150.0], "DEJ2000": [10.0], "Vmag": [12.0]}).write(tmp_path / "mine.ecsv")
    code, told = init(tmp_path / "p", "--frames", tmp_path / "night" / "light", "--stars", tmp_path / "mine.ecsv",
                      "--ra", 150.01, "--dec", 10.01, "--offline", "--latitude", 1, "--longitude", 2)  # fmt: skip
    assert code == 0, told
    made = project(tmp_path / "p")
    assert made["frames"] == {"raw_dirs": [str(tmp_path / "night" / "light")], "pattern": "*.FIT"}
    assert made["reduction"] == {"dirs": [str(tmp_path / "night" / "flats")], "pattern": "**/*.FIT"}
    assert made["stars"]["file"] == {
        "path": str(tmp_path / "mine.ecsv"), "columns": {"ra": "RAJ2000", "dec": "DEJ2000", "magnitude": "Vmag"},
    }  # fmt: skip
    assert made["telescope"] == {"latitude": 1, "longitude": 2}
    assert made["run"] == {"offline": True}


def test_calibration_frames_among_the_others(tmp_path):
    write_night(tmp_path / "p" / "raw")
    write_night(tmp_path / "more", IMAGETYP="bias")
    for path in (tmp_path / "more").iterdir():
        path.rename(tmp_path / "p" / "raw" / f"bias-{path.name}")
    code, told = init(tmp_path / "p", "--frames", tmp_path / "p" / "raw")
    assert code == 0, told
    assert project(tmp_path / "p")["reduction"] == {"dirs": ["raw"]}


@pytest.mark.parametrize(
    ("cards", "arguments", "words"),
    [
        ({"LATITUDE": 31.68, "LONGITUD": 110.88}, [], "--longitude 110.88 or --longitude -110.88"),
        ({}, ["--target", "Nowhere"], '--ra DEG --dec DEG: where "Nowhere" is can\'t be asked'),
        ({}, ["--ra", "10", "--dec", "10"], "is in no frame; the frames are centred on 150.0"),
        ({"DATE_OBS": "yesterday"}, [], "no header can be read"),
    ],
)
def test_what_frames_do_not_say_is_asked_for(tmp_path, cards, arguments, words):
    write_night(tmp_path / "raw", count=2, **cards)
    code, told = init(tmp_path / "p" / "q", "--frames", tmp_path / "raw", *arguments)
    assert code == 1
    assert words in told
    assert not (tmp_path / "p").exists()


def test_all_is_asked_for_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    write_night(tmp_path / "raw", count=2, solved=False, OBJECT="", LATITUDE=31.68, LONGITUD=110.88)
    code, told = init(tmp_path / "p", "--frames", tmp_path / "raw")
    assert code == 1
    assert [line.split(" ")[2] for line in told.splitlines() if line.startswith("  --")] == [
        "--longitude", "--pixel-scale", "--ra",
    ]  # fmt: skip
    assert "solve-field is not installed" in told


def test_nothing_is_left_where_the_project_can_not_be_opened(tmp_path, monkeypatch):
    write_night(tmp_path / "raw", count=2)
    monkeypatch.setattr(Project, "open", lambda *a: (_ for _ in ()).throw(OSError("no room")))
    code, _ = init(tmp_path / "p" / "q", "--frames", tmp_path / "raw")
    assert code == 1
    assert not (tmp_path / "p").exists()


def test_options_that_belong_together(tmp_path):
    assert "--ra belongs to --frames RAW" in init(tmp_path, "--ra", 3)[1]
    write_night(tmp_path / "raw", count=2)
    assert "is needed" in init(tmp_path / "p", "--frames", tmp_path / "raw", "--columns", "ra")[1]
    (tmp_path / "empty").mkdir()
    assert "no FITS file in" in init(tmp_path / "p", "--frames", tmp_path / "empty")[1]


def test_a_missing_gain_is_told(tmp_path):
    write_night(tmp_path / "raw", GAIN="", AGAIN_01=2.0)
    code, told = init(tmp_path / "p", "--frames", tmp_path / "raw")
    assert code == 0, told
    assert project(tmp_path / "p").get("header", {}).get("fits") in ({"gain_keyword": "AGAIN_01"}, None)


def test_a_name_service_is_asked_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "reachable", lambda host: True)
    monkeypatch.setattr(targets, "by_name", lambda name: (150.02, 10.01))
    write_night(tmp_path / "raw", count=2, RA=150.0, DEC=10.0)
    code, told = init(tmp_path / "p", "--frames", tmp_path / "raw")
    assert code == 0, told
    assert project(tmp_path / "p")["roi"]["Thing-1"]["ra"] == 150.02
    assert "Thing 1 is at 150.02000 +10.01000 by its name" in told


def test_what_is_told_replaces_what_headers_say(tmp_path):
    write_night(tmp_path / "raw", count=2, LATITUDE=31.68, LONGITUD=110.88)
    code, told = init(tmp_path / "p", "--frames", tmp_path / "raw", "--longitude", -110.88, "--elevation", 1268)
    assert code == 0, told
    assert project(tmp_path / "p")["telescope"] == {"latitude": 31.68, "longitude": -110.88, "elevation": 1268}
    write_night(tmp_path / "none", count=2)
    code, told = init(tmp_path / "q", "--frames", tmp_path / "none", "--latitude", 31.68)
    assert "--longitude DEG: it is not in the headers" in told
    assert "belong together" in init(tmp_path / "q", "--frames", tmp_path / "none", "--ra", 3)[1]
    assert "--columns belongs to" in init(tmp_path / "q", "--frames", tmp_path / "none", "--columns", "ra=x")[1]


def test_with_the_archive_there_is_little_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(star_tables, "reachable", lambda host: True)
    write_night(tmp_path / "p" / "raw", count=2, **SITE)
    code, told = init(tmp_path / "p", "--frames", tmp_path / "p" / "raw")
    assert code == 0, told
    made = project(tmp_path / "p")
    assert set(made) == {"project", "telescope", "roi"}  # the filter V is the survey's V
    assert not list((tmp_path / "p").glob("*.ecsv"))


def test_stars_of_index_files(tmp_path):
    """Positions are whole steps of a cube; magnitudes are in a table of their own."""
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(148, 152, 500), rng.uniform(8, 12, 500)
    mag = rng.uniform(5, 12, 500).astype(np.float32)
    a, d = np.radians(ra), np.radians(dec)
    xyz = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    steps = 2147483648.0
    numbers = np.round((xyz + 1.0) * steps).astype("<u4")

    def table(name: str, values: np.ndarray, form: str, **cards: Any) -> fits.BinTableHDU:
        hdu = fits.BinTableHDU.from_columns([fits.Column(name, form, array=values)])
        hdu.header.update({"AN_FILE": "SKDT", **cards})
        return hdu

    as_bytes = np.frombuffer(numbers.tobytes(), "u1").reshape(-1, 12)
    extent = np.frombuffer(np.array([-1.0, -1, -1, 1, 1, 1, steps], "<f8").tobytes(), "u1").reshape(-1, 8)
    primary = fits.PrimaryHDU(header=fits.Header({"ALLSKY": True}))
    head = {"ENDIAN": "04:03:02:01", "KDT_NDAT": 500, "KDT_DATA": "u32"}
    fits.HDUList([primary, table("kdtree_header_stars", np.zeros((1, 1), "u1"), "1B", **head),
                  table("kdtree_range_stars", extent, "8B"), table("kdtree_data_stars", as_bytes, "12B"),
                  table("MAG_V", mag, "1E")]).writeto(tmp_path / "index-test-07.fits")  # fmt: skip
    found = index_stars(150.0, 10.0, 1.0, [tmp_path])
    assert found is not None
    stars, magnitude = found
    near = np.hypot((ra - 150.0) * np.cos(np.radians(10)), dec - 10.0) < 0.99
    assert abs(len(stars) - near.sum()) <= 8
    nearest = [int(np.argmin(np.hypot(ra - s["ra"], dec - s["dec"]))) for s in stars]
    assert np.abs(ra[nearest] - stars["ra"]).max() < 1e-5
    assert np.abs(dec[nearest] - stars["dec"]).max() < 1e-5
    assert np.abs(mag[nearest] - stars[magnitude]).max() < 1e-3
    assert index_stars(150.0, 10.0, 1.0, [tmp_path / "nowhere"]) is None


@pytest.mark.parametrize(
    ("names", "number"), [(("SCI", "BPM"), 0), (("BPM", "SCI", "SCI"), 2), (("amp1", "amp2"), 1), (("APERTURE",), 0)]
)
def test_the_hdu_of_the_image_is_no_mask(tmp_path: Path, names: tuple[str, ...], number: int) -> None:
    images = [fits.ImageHDU(np.ones(SHAPE, np.int16), name=name) for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    assert image_hdu(tmp_path / "a.fits").hdu_data == number
