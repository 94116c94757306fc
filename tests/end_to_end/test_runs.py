"""A whole campaign: what comes out against the truth, what a second run does, what a change costs."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from scipy import stats

from lcframework.testing.campaign import evaluate_light_curves

JOINT = {
    "calculate_common_and_total_footprint": 1,
    "calculate_normalization_coefficient": 1,
    "calculate_absolute_zeropoints": 1,
    "prepare_calibrated_cutouts": 1,
    "model_calibrated_cutouts": 2,
}


FRAME_STAGES = (
    "read_convert_skysub_character_catalog", "plate_solving", "query_gaia_for_stars", "stamp_extraction",
    "psf_modeling", "star_photometry",
)  # fmt: skip


def within(chi2, freedom, probability=1e-4):
    """Whether a chi2 lies where it does but once in 1/probability on either side."""
    low, high = stats.chi2.ppf([probability, 1 - probability], freedom)
    return low < chi2 < high


def test_light_curve_against_truth(finished):
    table = evaluate_light_curves(finished.folder, finished.curve())
    assert list(table["name"]) == ["A", "B"]
    assert list(table["epochs"]) == [4, 4]
    # The scale of each source is free: 3 of 4 degrees of freedom are left for each.
    assert within(float(np.sum(table["pull"] ** 2 * 3)), 6)
    zeropoint_error = float(finished.curve()["zeropoint_error"][0])
    for row in table:
        common = finished.curve()[f"{row['name']}_d_flux_common"] / finished.curve()[f"{row['name']}_flux"]
        allowed = np.hypot(zeropoint_error, 1.086 * float(np.median(common)))
        assert abs(row["offset"]) < 4 * np.hypot(allowed, row["stated"] / 1000 / 2)


def test_star_fluxes_against_truth(finished):
    rows = finished.query(
        "select f.original_image_path, x.flux, x.flux_uncertainty, x.x, x.y, x.x_uncertainty, x.y_uncertainty"
        " from star_flux_in_frame x join frames f on f.id = x.frame_id"
    )
    truth = finished.truth
    ratio, error, shifts, frames = [], [], [], []
    for path, flux, flux_error, x, y, dx, dy in rows:
        mine = truth.fluxes[(truth.fluxes["frame"] == path.rsplit("/", 1)[1]) & (truth.fluxes["kind"] == "star")]
        nearest = mine[np.argmin(np.hypot(mine["x"] - x, mine["y"] - y))]
        frames.append(path)
        ratio.append(flux / (nearest["flux"] * nearest["transparency"]))
        error.append(np.hypot(flux_error / flux, 0.01))  # 1 % for the PSF's change over the field
        shifts += [(nearest["x"] - x) / np.hypot(dx, 0.05), (nearest["y"] - y) / np.hypot(dy, 0.05)]
    assert len(ratio) == 48  # of all 12 stars
    # The PSF ends with its stamp: a part of the flux, the same for all stars of a frame, lies outside.
    losses = {f: np.median([r for r, g in zip(ratio, frames, strict=True) if g == f]) for f in set(frames)}
    assert all(0.9 < loss < 1.01 for loss in losses.values())
    pulls = [(r / losses[f] - 1) / e for r, e, f in zip(ratio, error, frames, strict=True)]
    assert np.abs(pulls).max() < 5
    assert np.std(pulls) < 1.5
    # 0.05 pixel for differential refraction of stars a magnitude apart in colour.
    assert np.abs(np.subtract(shifts, np.median(shifts))).max() < 5


def test_coefficients_against_truth(finished):
    rows = finished.query(
        "select f.original_image_path, c.coefficient, c.coefficient_uncertainty from normalization_coefficients c"
        " join frames f on f.id = c.frame_id"
    )
    truth = {r["frame"]: r["transparency"] for r in finished.truth.frames}
    assert np.median([c for _, c, _ in rows]) == pytest.approx(1)
    assert all(0 < error < 0.01 for *_, error in rows)
    # A wide PSF loses more flux outside the stamp: the coefficient holds that too, and the region loses the same.
    ratio = np.array([c / truth[p.rsplit("/", 1)[1]] for p, c, _ in rows])
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.04)


def test_zeropoint_against_truth(finished):
    ((zeropoint, error, system),) = finished.query(
        "select zeropoint, zeropoint_uncertainty, system from absolute_zeropoints"
    )
    # The gauge: a median coefficient of 1.
    transparency = np.array([r["transparency"] for r in finished.truth.frames[:4]])
    expected = finished.truth.settings.zeropoint + 2.5 * np.log10(np.median(transparency))
    assert system == "AB"
    # Fainter by what falls outside the stamps.
    assert -0.12 < zeropoint - expected < 4 * error


def test_second_run_does_nothing(campaign):
    before = {p: p.stat().st_mtime_ns for p in campaign.folder.rglob("*.h5")}
    ended = campaign.run()
    assert ended.code == 0
    assert "Nothing to do" in ended.out
    assert {p: p.stat().st_mtime_ns for p in campaign.folder.rglob("*.h5")} == before


def test_frame_more_costs_its_work_and_the_joint_solutions(campaign):
    coefficients = "select frame_id, coefficient, coefficient_uncertainty from normalization_coefficients"
    old = campaign.query(coefficients)
    shutil.copy2(campaign.spare[0], campaign.folder / "raw")
    assert set(campaign.pending()) == {"read_convert_skysub_character_catalog"}
    done = campaign.done()
    assert done == JOINT | dict.fromkeys(FRAME_STAGES, 1) | {
        "calculate_common_and_total_footprint": 2,
        "star_photometry": 2,
    }
    assert len(campaign.curve()) == 5
    # The gauge holds: old coefficients stay where they are, within their errors.
    new = {frame: value for frame, value, _ in campaign.query(coefficients)}
    assert all(abs(new[frame] - value) < error for frame, value, error in old)
    assert max(new[frame] / value for frame, value, _ in old) == pytest.approx(1, abs=2e-3)


def test_why_names_the_changed_option(campaign):
    campaign.append("[psf.starred]\niterations_pixels = 2900")
    pending = campaign.pending()
    assert list(pending) == ["psf_modeling"]
    assert pending["psf_modeling"] == ["psf.starred.iterations_pixels: 3000 -> 2900"]
    ended = campaign.lcf("status", campaign.project, "--why")
    assert "iterations_pixels: 3000 -> 2900" in ended.out
    assert "4 units" in ended.out


def test_other_radius_leaves_the_old_field_alone(campaign):
    """Stars of a field that is no more cost nothing; going back finds its products again."""
    radius = next(row for row in campaign.project.read_text().splitlines() if row.startswith("radius"))
    campaign.edit(radius, "radius = 100.0")
    assert campaign.done("--stop", "psf_modeling")["psf_modeling"] == 4
    assert campaign.run("--dry-run", "--force", "psf_modeling").out.count("psf_modeling: 4 to do") == 1
    assert campaign.done("--stop", "star_photometry")["star_photometry"] == 4 + 1
    campaign.edit("radius = 100.0", radius)
    done = campaign.done("--stop", "psf_modeling")
    assert "psf_modeling" not in done
    assert campaign.query("select count(*) from combined_footprint where active") == [(1,)]


def test_workers_and_names_change_nothing(campaign):
    campaign.edit("workers = 1", "workers = 2")
    campaign.edit('name = "QUAD"', 'name = "renamed"')
    assert campaign.pending() == {}


def test_dry_run_writes_nothing(fresh):
    before = sorted(fresh.folder.rglob("*"))
    ended = fresh.run("--dry-run")
    assert ended.code == 0
    assert "read_convert_skysub_character_catalog: 4 to do" in ended.out
    assert "and what earlier stages bring" in ended.out
    assert sorted(fresh.folder.rglob("*")) == before
    assert fresh.lcf("status", fresh.project).code == 0
    assert sorted(fresh.folder.rglob("*")) == before


def test_dry_run_of_a_finished_campaign_writes_nothing(campaign):
    shutil.copy2(campaign.spare[0], campaign.folder / "raw")
    before = {p: p.stat().st_mtime_ns for p in campaign.folder.rglob("*") if p.is_file()}
    plan = campaign.run("--dry-run", "--force", "psf_modeling")
    assert "psf_modeling: 4 to do" in plan.out
    campaign.status()
    after = {p: p.stat().st_mtime_ns for p in campaign.folder.rglob("*") if p.is_file()}
    assert {p.name for p in after.keys() ^ before.keys()} <= {"database.sqlite3-wal", "database.sqlite3-shm"}
    assert campaign.query("select count(*) from frames") == [(4,)]


def test_part_of_the_chain(fresh):
    done = fresh.done("--stop", "plate_solving")
    assert list(done) == ["initialize_database", "read_convert_skysub_character_catalog", "plate_solving"]
    assert fresh.done("--start", "plate_solving", "--stop", "stamp_extraction").keys() == {
        "calculate_common_and_total_footprint", "query_gaia_for_stars", "stamp_extraction",
    }  # fmt: skip
    ended = fresh.run("--start", "stamp_extraction", "--stop", "plate_solving")
    assert ended.code == 1
    assert "comes before" in ended.err


def test_force_makes_a_stage_again_and_what_rests_on_it(campaign):
    done = campaign.done("--force", "calculate_normalization_coefficient")
    assert list(done) == ["calculate_normalization_coefficient"]  # the same answer: nothing rests on a new one
    done = campaign.done("--force", "star_photometry", "--stop", "calculate_normalization_coefficient")
    assert done == {"star_photometry": 4 + 1, "calculate_normalization_coefficient": 1}


def test_files_that_are_gone_are_made_again(campaign):
    before = campaign.curve()
    shutil.rmtree(campaign.folder / "prepared_roi_cutouts")
    done = campaign.done()
    assert done == {"prepare_calibrated_cutouts": 1, "model_calibrated_cutouts": 2}
    np.testing.assert_array_equal(np.array(campaign.curve()["A_flux"]), np.array(before["A_flux"]))
    assert "Nothing to do" in campaign.run().out


@pytest.mark.slow
def test_frame_whose_file_is_gone_is_made_again_with_what_rests_on_it(campaign):
    before = campaign.curve()
    (path,) = campaign.query("select path from products where unit = 'frame:1' and stage like 'read%'")[0]
    (campaign.folder / path).unlink()
    assert campaign.pending() == {"read_convert_skysub_character_catalog": [f"its file is gone: {path}"]}
    done = campaign.done()
    assert (campaign.folder / path).is_file()
    assert {stage: n for stage, n in done.items() if stage not in JOINT} == dict.fromkeys(FRAME_STAGES, 1) | {
        "star_photometry": 2
    }
    np.testing.assert_allclose(np.array(campaign.curve()["A_flux"]), np.array(before["A_flux"]), rtol=1e-6)
    assert "Nothing to do" in campaign.run().out


def test_documented_snippet(campaign, monkeypatch):
    monkeypatch.chdir(campaign.folder)
    with h5py.File("regions.h5", "r") as f:
        frames = f["frames"]  # main set is called frames
        frame = frames[list(f["frames"].keys())[1]]  # listing the frames and picking one.
        data = frame["data"]  # looking at data, but you can also go for `mask` or `noisemap`
        objs = sorted(data.keys())
        objs = objs[-5:]
        for obj in objs:
            assert np.isfinite(data[obj][:]).all()
        assert {"ROI", "QUAD"} <= set(data)
        np.testing.assert_array_equal(data["ROI"][()], data["QUAD"][()])
        assert tuple(frame["frame_shape"]) == (520, 520)
        (psf,) = [k for k in frame if k.startswith("psf_")]
        assert {"narrow_psf", "full_psf", "subsampling_factor", "distortion"} <= set(frame[psf])
        assert frame[psf]["narrow_psf"][()].sum() == pytest.approx(1, abs=1e-3)


def test_frames_that_a_selection_leaves_out_are_named(campaign):
    seeing = dict(campaign.query("select id, seeing_arcseconds from frames"))
    worst = max(seeing, key=seeing.get)
    limit = sorted(seeing.values())[-2] + 0.001
    campaign.append(f"[roi_cutouts]\nframes = {{ seeing_arcseconds = [0.0, {limit}] }}")
    campaign.done("--stop", "prepare_calibrated_cutouts")
    ((path,),) = campaign.query(f"select original_image_path from frames where id = {worst}")
    states = campaign.frames()
    state, comment = states.pop(path.rsplit("/", 1)[1])
    assert state == "left out later"
    assert comment.startswith(f"seeing_arcseconds = {seeing[worst]:.3g} lies outside [roi_cutouts] frames")
    assert set(states.values()) == {("used", "")}
    assert comment in campaign.lcf("status", campaign.project).out


def test_project_moved_elsewhere_has_nothing_to_do(campaign, tmp_path):
    shutil.move(campaign.folder, tmp_path / "elsewhere")
    moved = type(campaign)(tmp_path / "elsewhere", campaign.lcf)
    assert moved.done() == {}
    paths = {path for (path,) in moved.query("select original_image_path from frames")}
    assert paths == {str(p) for p in moved.raw}


@pytest.mark.slow
def test_excluded_frame_and_back(campaign):
    name = campaign.raw[1].name
    ended = campaign.lcf("exclude", campaign.project, name, "--why", "clouds")
    assert "1 frame excluded" in ended.out
    assert campaign.frames()[name] == ("eliminated", "excluded: clouds")
    assert set(campaign.done()) <= {*JOINT, "star_photometry"}
    assert len(campaign.curve()) == 3
    assert "1 frame taken back in" in campaign.lcf("exclude", campaign.project, name, "--undo").out
    assert set(campaign.done()) <= {*JOINT, "star_photometry"}
    assert len(campaign.curve()) == 4
    assert campaign.frames()[name] == ("used", "")


def test_exclude_what_is_not_there(campaign):
    ended = campaign.lcf("exclude", campaign.project, "nothing.fits", "--why", "typo")
    assert ended.code == 1
    assert 'no frame is called "nothing.fits"' in ended.err
    ended = campaign.lcf("exclude", campaign.project, campaign.raw[0].name, "--undo")
    assert ended.code == 1
    assert "not excluded" in ended.err


def test_excluded_in_the_project_file(campaign):
    name = campaign.raw[2].name
    campaign.edit('raw_dirs = ["raw"]', f'raw_dirs = ["raw"]\nexclude = ["{name}"]')
    campaign.done("--stop", "calculate_normalization_coefficient")
    assert campaign.frames()[name][0] == "eliminated"
    assert campaign.query("select count(*) from normalization_coefficients") == [(3,)]
    campaign.edit(f'exclude = ["{name}"]', "")
    assert campaign.run().code == 0
    assert campaign.frames()[name] == ("used", "")
