"""The ancestry of a number of a campaign that ran: each section against the database and the files."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pages
import pytest

from lcframework import __version__

FRAME = 2


@pytest.fixture(scope="module")
def found(finished) -> dict[str, Any]:
    """What `lcf why --json` says of source A in a frame."""
    ended = finished.lcf("why", finished.project, "QUAD", "A", FRAME, "--json")
    assert ended.code == 0, ended.err
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


@pytest.fixture(scope="module")
def frame(finished) -> dict[str, Any]:
    """The frame's row."""
    names = [r[1] for r in finished.query("pragma table_info(frames)")]
    [row] = finished.query(f"select * from frames where id = {FRAME}")
    return dict(zip(names, row, strict=True))


@pytest.fixture(scope="module")
def published(finished) -> dict[str, str]:
    path = finished.folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv"
    with path.open(newline="") as stream:
        return next(r for r in csv.DictReader(stream) if r["frame_id"] == str(FRAME))


def test_the_arithmetic_gives_the_published_number(found, published):
    number = found["number"]
    assert found["exists"]
    assert number["flux"] == float(published["A_flux"])
    squares = sum(b["error"] ** 2 for b in number["budget"] if b["in_d_flux"])
    assert math.sqrt(squares) == pytest.approx(float(published["A_d_flux"]), rel=1e-6)
    mag = number["zeropoint"] - 2.5 * math.log10(number["flux"])
    assert mag == pytest.approx(float(published["A_mag"]), abs=1e-6)
    assert number["differs"] == []
    for name in ("d_flux", "mag", "d_mag_down", "d_mag_up"):
        assert number["redone"][name] == pytest.approx(float(published[f"A_{name}"]), rel=1e-6)
    seen = number["in_frame"]
    assert seen["flux_e_per_s"] == pytest.approx(number["flux"] * found["normalization"]["coefficient"])


def test_the_raw_file_by_its_checksum(found, frame, finished):
    raw = found["raw_file"]
    contents = Path(raw["path"]).read_bytes()
    assert raw["digest"] == frame["raw_digest"] == hashlib.sha256(contents).hexdigest()[:40]
    assert (raw["state"], raw["compared_by"], raw["size_bytes"]) == ("unchanged", "contents", len(contents))


def test_what_the_header_said(found, frame):
    header = found["header"]
    assert header["parser"]["plugin"] == frame["header_parser"] == "fits"
    assert header["parser"]["package"] == f"lcframework {__version__}"
    for name, column in (("exptime_s", "exptime"), ("gain_e_per_unit", "gain"), ("mjd", "mjd"), ("band", "band")):
        assert header[name] == frame[column]
    assert header["header"]["time_reference"] == "start"
    assert header["header"]["mjd"] == pytest.approx(frame["mjd_start"], abs=1e-9)
    assert header["differs"] == []


def test_sky_wcs_and_place(found, frame, finished):
    assert found["sky"]["level_e_per_s"] == frame["sky_level_electron_per_second"]
    assert found["wcs"]["solver"] == frame["solver"]
    assert (found["wcs"]["matched_stars"], found["wcs"]["rms_pixels"]) == (
        frame["wcs_matched"],
        frame["wcs_rms_pixels"],
    )
    query = f"select x, y, bjd_tdb, airmass from rois_in_frames where frame_id = {FRAME}"
    place = found["footprint"]
    assert [tuple(place[n] for n in ("x_pixels", "y_pixels", "bjd_tdb", "airmass"))] == finished.query(query)
    assert found["calibration"]["masters"] == []


def test_the_stars_and_their_residuals(found, finished):
    query = f"select gaia_id, residual, residual_error, used from star_residuals where frame_id = {FRAME}"
    rows = {r[0]: r[1:] for r in finished.query(query)}
    stars = {s["gaia_id"]: s for s in found["reference_stars"]["stars"]}
    assert len(rows) >= 5
    for gaia_id, (residual, error, used) in rows.items():
        assert stars[gaia_id]["residual"] == residual
        assert stars[gaia_id]["pull"] == pytest.approx(residual / error)
        assert stars[gaia_id]["used"] == bool(used)
    fluxes = dict(finished.query(f"select gaia_id, flux from star_flux_in_frame where frame_id = {FRAME}"))
    assert {i: s["flux_e_per_s"] for i, s in stars.items() if s["flux_e_per_s"] is not None} == fluxes
    assert all(s["why_not"] for s in stars.values() if not s["usable"])


def test_psf_coefficient_and_zero_point(found, finished):
    [(chi2, status)] = finished.query(f"select chi2, status from PSFs where frame_id = {FRAME}")
    assert (found["psf"]["chi2"], found["psf"]["status"]) == (chi2, status)
    assert (finished.folder / found["psf"]["file"]).exists()
    query = (
        f"select coefficient, coefficient_uncertainty, stars from normalization_coefficients where frame_id = {FRAME}"
    )
    norm = found["normalization"]
    assert finished.query(query) == [(norm["coefficient"], norm["coefficient_error"], norm["stars"])]
    zero = found["zero_point"]
    query = "select zeropoint, zeropoint_uncertainty, system, catalog, stars from absolute_zeropoints"
    names = ("zeropoint", "zeropoint_error", "system", "survey", "stars")
    assert finished.query(query) == [tuple(zero[n] for n in names)]


def test_the_model_of_the_region(found, published):
    model = found["region_model"]
    assert model["chi2"] == pytest.approx(float(published["reduced_chi2"]))
    assert model["plugin"][0]["plugin"] == "joint"
    at = model["sources"].index("A")
    assert math.sqrt(model["covariance"][at][at]) == pytest.approx(float(published["A_d_flux_fit"]))
    assert model["fluxes_e_per_s"][at] == pytest.approx(float(published["A_flux"]))
    assert model["status"] == "converged"


def test_decisions_doubts_and_who_made_it(found, finished):
    decided = {d["setting"]: d for d in found["decisions"] if d["decided_by"] == "frames"}
    rows = dict(finished.query("select setting, why from settings where value is not null and value != 'null'"))
    assert {name: d["why"] for name, d in decided.items()} == {n: w for n, w in rows.items() if n in decided}
    assert "stamps.star_size" in decided
    flags = [n for n in ("DOUBTED", "SUN_UP") if n in found["doubts"]["frame_flags"]]
    assert flags == []
    steps = {(p["stage"], p["unit"]): p for p in found["made_by"]["products"]}
    for stage, unit, fingerprint, run in finished.query("select stage, unit, fingerprint, run_id from products"):
        if (stage, unit) in steps:
            assert (steps[stage, unit]["fingerprint"], steps[stage, unit]["run"]) == (fingerprint, run)
    stages = [p["stage"] for p in found["made_by"]["products"]]
    assert len(set(stages)) == 11  # all but the one that makes the tables
    assert found["made_by"]["runs"][0]["lcframework"] == __version__
    assert all(p["out_of_date_because"] == [] for p in steps.values())


def test_it_is_readable_at_a_glance_and_complete_on_request(finished, found):
    short = finished.lcf("why", finished.project, "A", FRAME).out
    whole = finished.lcf("why", finished.project, "A", FRAME, "--full").out
    assert len(short.splitlines()) < 95
    assert "arithmetic" in short
    assert all(f"star {s['name']} " in whole for s in found["reference_stars"]["stars"])
    assert found["made_by"]["products"][0]["fingerprint"][:12] in whole


def times(folder: Path) -> dict[Path, int]:
    """Return when each file was written; what SQLite shares between readers lies in memory."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-shm", "-wal"))}


def test_nothing_is_written_and_nothing_locked(finished):
    database = finished.folder / "database.sqlite3"
    before = times(finished.folder)
    digest = hashlib.sha256(database.read_bytes()).hexdigest()
    assert finished.lcf("why", finished.project, "A", FRAME).code == 0
    assert times(finished.folder) == before
    assert hashlib.sha256(database.read_bytes()).hexdigest() == digest


def test_a_raw_file_that_changed_or_is_away_is_noticed(campaign):
    path = campaign.raw[FRAME - 1]
    stat = path.stat()
    with path.open("r+b") as stream:  # the last byte of the header's padding and the time are kept
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    raw = json.loads(campaign.lcf("why", campaign.project, "A", FRAME, "--json").out)["raw_file"]
    assert (raw["state"], raw["path"]) == ("changed", str(path))
    assert raw["digest_now"] == hashlib.sha256(path.read_bytes()).hexdigest()[:40] != raw["digest"]
    assert "CHANGED since it was imported" in campaign.lcf("why", campaign.project, "A", FRAME).out
    path.unlink()
    with sqlite3.connect(campaign.folder / "database.sqlite3") as connection:  # a copy knows the files of its original
        connection.execute("update frames set original_image_path = ? where id = ?", (str(path), FRAME))
    found = json.loads(campaign.lcf("why", campaign.project, "A", FRAME, "--json").out)
    assert found["raw_file"]["state"] == "away"
    assert found["header"]["parser"]["plugin"] == "fits"  # the only one that was asked
    assert found["number"]["flux"]  # it is still what was published


def test_what_is_out_of_date_says_so(campaign):
    campaign.append("[roi_cutouts]\nframes = { seeing_arcseconds = [0.0, 0.1] }")
    found = json.loads(campaign.lcf("why", campaign.project, "A", FRAME, "--json").out)
    [step] = [p for p in found["made_by"]["products"] if p["stage"] == "prepare_calibrated_cutouts"]
    assert any("seeing_arcseconds" in why for why in step["out_of_date_because"])
    assert "+frames = { seeing_arcseconds = [0.0, 0.1] }" in found["made_by"]["project_file_changed"]


@pytest.mark.slow
def test_why_a_frame_is_not_in_the_light_curve(campaign):
    """Excluded by its user, and by a limit on the seeing: each after a run."""
    seeing = dict(campaign.query("select id, seeing_arcseconds from frames"))
    worst = max(seeing, key=lambda i: seeing[i])
    other = next(i for i in seeing if i != worst)
    [(key,)] = campaign.query(f"select key from frames where id = {other}")
    campaign.append(f"[roi_cutouts]\nframes = {{ seeing_arcseconds = [0.0, {seeing[worst] - 1e-3:.6f}] }}")
    assert campaign.lcf("exclude", campaign.project, key, "--why", "a trail").code == 0
    assert campaign.run().code == 0
    found = json.loads(campaign.lcf("why", campaign.project, "A", worst, "--json").out)
    assert (found["exists"], found["number"]) == (False, None)
    assert found["absence"]["stage"] == "prepare_calibrated_cutouts"
    assert f"seeing_arcseconds = {seeing[worst]:.3g} lies outside" in found["absence"]["reason"]
    assert found["psf"]["chi2"] > 0  # it came as far as that
    out = campaign.lcf("why", campaign.project, "A", key).out
    assert "taken out: excluded: a trail" in out
    assert "--undo` takes it back in" in out


def test_it_answers_soon(finished):
    start = time.process_time()
    finished.lcf("why", finished.project, "A", FRAME)
    assert time.process_time() - start < 3


def test_every_member_of_the_answer_is_documented(found):
    page = pages.read("why.md")
    assert [name for name in found if f"`{name}`" not in page] == []
