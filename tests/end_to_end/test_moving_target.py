"""A target that moves among stars: its light curve by a table of positions, and what an edit of the table costs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.sky.geometry import from_plane, separation
from lcframework.testing.campaign import read_truth, simulate_campaign

pytestmark = pytest.mark.slow
RATE = (6.0, -3.0)  # arcsec an hour east and north
MAGNITUDE = 18.6
STEP = 0.02  # days


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, campaign_in: Callable[[Path], Any]) -> Any:
    """Return a finished campaign of one night in which a source of constant brightness crosses half of the frame."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("moving") / "campaign"
    simulate_campaign(
        folder, seed=5, frames=5, size=440, stars=12, saturated_stars=0, faint_stars=6, field_galaxies=0,
        target="single", lens_galaxies=0, variation=0.0, cadence=0.03, target_motion=RATE, exptime=60.0,
    )  # fmt: skip
    write_table(folder)
    campaign = campaign_in(folder)
    campaign.edit("exclusion_radius = 3.5", 'ephemeris = "table"\n[roi.QUAD.table]\npath = "track.csv"')
    campaign.append('workers = 1\n[roi_model]\nplugin = "joint"\n[psf]\nstars = 6')
    ended = campaign.run()
    assert ended.code == 0, ended.out + ended.err
    return campaign


def frames(folder: Path) -> Table:
    fluxes = read_truth(folder).fluxes
    found = fluxes[fluxes["kind"] == "target"]
    found.sort("mjd")
    return found


def write_table(folder: Path, later_than: float = np.inf, north: float = 0.0) -> None:
    """Write the target's places; after `later_than` they are `north` arcsec off."""
    truth, mjd = read_truth(folder), frames(folder)["mjd"]
    first = next(row["mjd"] for row in frames(folder) if row["frame"] == "quad_0000.fits")
    times = np.arange(mjd.min() - 3 * STEP, mjd.max() + 15 * STEP, STEP)
    hours = (times - first) * 24.0
    away = north * np.clip((times - later_than) / STEP, 0.0, 1.0)
    ra, dec = from_plane(RATE[0] * hours, RATE[1] * hours + away, truth.settings.ra, truth.settings.dec)
    Table({"mjd_utc": times, "ra": ra, "dec": dec}).write(folder / "track.csv", overwrite=True)


def test_its_magnitude_is_right_in_all_frames(moved: Any) -> None:
    curve = moved.curve()
    assert len(curve) == 5
    pulls = (curve["A_mag"] - MAGNITUDE) / np.hypot(curve["A_d_mag_up"], curve["zeropoint_error"])
    assert np.abs(pulls).max() < 4.0
    assert np.sqrt(np.mean(pulls**2)) < 2.0
    assert np.max(curve["A_d_mag_up"]) < 0.04


def test_frames_say_where_it_was(moved: Any) -> None:
    rows = moved.query("select f.mjd, r.ra, r.dec, r.trail, r.position_error, r.x, r.y from rois_in_frames r "
                       "join frames f on f.id = r.frame_id order by f.mjd")  # fmt: skip
    truth, found = read_truth(moved.folder), np.array(rows)
    first = next(row["mjd"] for row in frames(moved.folder) if row["frame"] == "quad_0000.fits")
    hours = (found[:, 0] - first) * 24.0
    expected = from_plane(RATE[0] * hours, RATE[1] * hours, truth.settings.ra, truth.settings.dec)
    assert separation(found[:, 1], found[:, 2], *expected).max() < 1e-3
    np.testing.assert_allclose(found[:, 3], np.hypot(*RATE) / 60.0, rtol=1e-3)
    assert (found[:, 4] < 1e-3).all()
    assert np.ptp(found[:, 5]) > 60
    np.testing.assert_allclose(found[:, 5:], np.array([list(r) for r in frames(moved.folder)["x", "y"]]), atol=1.0)


def test_prefetch_asks_for_what_a_run_did(moved: Any) -> None:
    ended = moved.lcf("prefetch", moved.project)
    assert ended.code == 0, ended.out + ended.err
    assert "stars that QUAD passes" in ended.out


def test_reference_stars_keep_clear_of_the_track(moved: Any) -> None:
    rows = moved.query("select ra, dec from stars where active")
    stars, path = np.array(rows), np.array(moved.query("select ra, dec from rois_in_frames"))
    apart = [separation(stars[:, 0], stars[:, 1], ra, dec) for ra, dec in path]
    assert np.min(apart) > 3.5
    (field,) = moved.query("select ra, dec, radius from combined_footprint where active")
    assert (separation(path[:, 0], path[:, 1], *field[:2]) < 3600 * field[2]).all()


def test_its_model_has_no_background_and_its_astrometry_is_relative(moved: Any) -> None:
    (path,) = (moved.folder / "prepared_roi_cutouts").glob("*_astrometry.json")
    assert '"east_arcsec"' in path.read_text()
    (image,) = (moved.folder / "prepared_roi_cutouts").glob("*_background.fits")
    assert np.all(fits.getdata(image) == 0)


def test_an_edit_of_the_table_costs_what_it_changes(moved: Any, campaign_in: Any, tmp_path: Path) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(moved.folder, folder)
    edited = campaign_in(folder)
    assert edited.done() == {}
    times = np.sort(frames(folder)["mjd"])
    write_table(folder)  # the same contents
    assert edited.done() == {}
    write_table(folder, later_than=float(times[-1]) + 12 * STEP, north=1.0)  # after the last frame
    done = edited.done()
    assert done["calculate_common_and_total_footprint"] >= 5
    assert "stamp_extraction" not in done
    assert "psf_modeling" not in done
    gap = int(np.argmax(np.diff(times)))
    late = len(times) - gap - 1
    write_table(folder, later_than=float(times[gap + 1]) - 1.5 * STEP, north=0.3)  # some steps after those before
    done = edited.done()
    assert done["stamp_extraction"] == late
    assert done["model_calibrated_cutouts"] == 2


def test_a_star_that_it_passes_is_a_doubt_of_that_frame(moved: Any, campaign_in: Any, tmp_path: Path) -> None:
    folder = tmp_path / "passing"
    shutil.copytree(moved.folder, folder)
    passing = campaign_in(folder)
    assert passing.query("select * from doubts where kind = 'star_passed'") == []
    stars = Table.read(folder / "stars.ecsv")
    (there,) = passing.query("select ra, dec, frame_id from rois_in_frames order by frame_id desc limit 1")
    faint = dict(zip(stars.colnames, stars[0], strict=True)) | {"source_id": "99", "phot_g_mean_mag": 20.4}
    stars.add_row(faint | {"ra": there[0], "dec": there[1] + 0.8 / 3600, "pmra": 0.0, "pmdec": 0.0})
    stars.write(folder / "stars.ecsv", overwrite=True)
    passing.run("--stop", "query_gaia_for_stars")
    ((frame, subject, text),) = passing.query("select frame_id, subject, text from doubts where kind = 'star_passed'")
    assert (frame, subject) == (there[2], "QUAD")
    assert "magnitude 20.4 (99) is 0.80 arcsec from the target of QUAD" in text
    assert passing.query("select id from frames where flags & 32") == [(frame,)]


def test_without_the_ephemeris_it_is_not_measured(moved: Any, campaign_in: Any, tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    shutil.copytree(moved.folder, folder)
    fixed = campaign_in(folder)
    fixed.edit('ephemeris = "table"', 'ephemeris = "fixed"')
    pending = fixed.pending()
    assert any("rois.QUAD" in why for why in pending["calculate_common_and_total_footprint"])
    ended = fixed.run()
    assert ended.code in (0, 3), ended.out + ended.err
    curve = fixed.curve()
    away = np.abs(curve["mjd"] - next(r["mjd"] for r in frames(folder) if r["frame"] == "quad_0000.fits")) > 0.05
    faint = ~np.isfinite(curve["A_mag"]) | (np.abs(curve["A_mag"] - MAGNITUDE) > 0.3)
    assert faint[away].all()


def test_frames_outside_the_table_are_set_aside_with_the_reason(moved: Any, campaign_in: Any, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(moved.folder, folder)
    short = campaign_in(folder)
    table = Table.read(folder / "track.csv")
    last = float(frames(folder)["mjd"].max())
    table[table["mjd_utc"] < last - 1e-3].write(folder / "track.csv", overwrite=True)
    short.run("--stop", "calculate_common_and_total_footprint")
    left = [comment for _, comment in short.frames().values() if "not guessed" in comment]
    assert len(left) == 1
    assert all("QUAD: " in comment and "track.csv has positions from MJD" in comment for comment in left)
    assert short.query("select count(*) from rois_in_frames where roi_in_footprint") == [(4,)]
