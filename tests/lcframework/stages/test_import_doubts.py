"""What headers say against themselves is recorded with the frame, whatever the parser made of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.frames.raw_frames import read_raw
from lcframework.project import Project
from lcframework.stages.read_convert_skysub_character_catalog import ImportFrame, RawValues
from lcframework.types import FrameFlag

IMPORT = "read_convert_skysub_character_catalog"


def test_doubts_about_headers_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(3)
    header = fits.Header({"EXPTIME": 60.0, "GAIN": 1.5, "DATE-OBS": "2023-05-03T20:12:00", "UT": "03:12:00",
                          "FILTER": "Open", "FILTER2": "V"})  # fmt: skip
    header.append(("EXPTIME", 6.0), end=True)
    fits.PrimaryHDU(rng.normal(500, 10, (120, 140)).astype(np.float32), header).writeto(tmp_path / "raw/local.fits")
    header.remove("EXPTIME", remove_all=True)
    header["EXPTIME"], header["DATE-OBS"] = 60.0, "2023-05-04T03:12:00"
    fits.PrimaryHDU(rng.normal(500, 10, (120, 140)).astype(np.float32), header).writeto(tmp_path / "raw/plain.fits")
    (tmp_path / "project.toml").write_text("[roi.X]\nra = 10.0\ndec = 20.0\n[run]\nworkers = 1\n")
    report = Project.open(tmp_path / "project.toml").run(stop=IMPORT)
    assert not report.bugs, report.bugs
    with sqlite3.connect(tmp_path / "database.sqlite3") as connection:
        frames = connection.execute(
            "select original_image_path, exptime, mjd_start, band, flags, id from frames"
        ).fetchall()
        doubts = connection.execute("select frame_id, kind, severity, subject from doubts order by kind").fetchall()
    local, plain = sorted(frames)
    assert (local[1], local[3]) == (plain[1], plain[3]) == (60.0, "V")
    assert local[2] == pytest.approx(plain[2], abs=1e-8)
    assert doubts == [
        (local[5], "local_time", "doubt", ""), (local[5], "repeated_keyword", "doubt", "EXPTIME"),
    ]  # fmt: skip
    assert (bool(local[4] & FrameFlag.DOUBTED), bool(plain[4] & FrameFlag.DOUBTED)) == (True, False)


def test_a_doubt_about_a_header_is_made_once(tmp_path: Path) -> None:
    header = fits.Header({"EXPTIME": 60.0, "GAIN": 1.5, "DATE-OBS": "2023-05-04T03:12:00", "FILTER": "V"})
    header.append(("EXPTIME", 6.0), end=True)
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.random.default_rng(3).normal(500, 10, (120, 140)).astype(np.float32), header).writeto(path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "project.toml").write_text("[roi.X]\nra = 10.0\ndec = 20.0\n")
    toolbox = Project.open(tmp_path / "project.toml").toolbox
    raw = read_raw(path, toolbox.config.frames)
    [doubt] = raw.doubts
    assert doubt.kind == "repeated_keyword"
    assert ImportFrame(IMPORT, toolbox).compute(RawValues(path, raw, None, {})).doubts.count(doubt) == 1
