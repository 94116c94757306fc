"""Two telescopes, three bands and regions that overlap, in one project; and runs that are limited to some of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import attrs
import h5py
import numpy as np
import pytest
import two_telescopes as two
from astropy.table import Table

from lcframework.storage import psf_files
from lcframework.types import source_names

EPOCHS = 2
#: What runs leave in the folder.
MADE = ("frames", "regions*", "prepared_roi_cutouts", "database*", "cache", "lcf.log", ".lock")
FRAME_STAGES = ("stamp_extraction", "psf_modeling", "star_photometry")
#: Groups of (region, instrument, band): what each run of `in_parts` has to do.
RUNS = {"--band r": 3, "--roi WEST": 2, "": 1}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, campaign_in):
    """Return the project that nobody ran, and its truth."""
    pytest.importorskip("galsim")
    folder = tmp_path_factory.mktemp("bands") / "two"
    truth = two.simulate(folder, EPOCHS, near=False)
    return campaign_in(folder), truth


@pytest.fixture(scope="module")
def in_parts(simulated):
    """Return the project, run in three parts; and what each part said, and left behind."""
    campaign, truth = simulated
    said = []
    for options in RUNS:
        report = campaign.run_json(*options.split())
        assert report["exit_code"] == 0
        said.append((report, {roi: curve(campaign, roi) for roi in two.REGIONS}))
    return campaign, truth, said


def curve(campaign, roi):
    path = campaign.folder / "prepared_roi_cutouts" / f"{roi}_photometry_per_epoch.csv"
    return Table.read(path, format="ascii.csv") if path.exists() else None


def done(report):
    return {s["name"]: s["done"] for s in report["stages"] if s["done"]}


def groups_of(table):
    return sorted(set(zip(table["instrument"].tolist(), table["band"].tolist(), strict=True)))


def pulls(campaign, truth, rois):
    """Return (measured - true magnitude) / error of every source, instrument, band and epoch."""
    out = []
    for roi in rois:
        for row in curve(campaign, roi):
            for name in source_names(row.colnames):
                mine = truth[(truth["name"] == f"{roi}.{name}") & (truth["instrument"] == row["instrument"])]
                mine = mine[mine["band"] == row["band"]]
                true = mine[np.argmin(np.abs(mine["mjd"] - row["mjd"]))]
                assert abs(true["mjd"] - row["mjd"]) < 1e-4
                random = 1.086 * np.hypot(row[f"{name}_d_flux"], row[f"{name}_d_flux_common"]) / row[f"{name}_flux"]
                out.append((row[f"{name}_mag"] - true["mag"]) / np.hypot(random, row["zeropoint_error"]))
    return np.array(out)


# ---------------------------------------------------------------- what comes out


def test_every_source_in_every_band_of_every_instrument(in_parts):
    campaign, truth, _ = in_parts
    assert groups_of(curve(campaign, "WEST")) == [
        ("Large-WIDE", "g"), ("Large-WIDE", "r"), ("Tiny Cam/2", "i"), ("Tiny Cam/2", "r"),
    ]  # fmt: skip
    # TINY does not see the eastern region.
    assert groups_of(curve(campaign, "EAST")) == [("Large-WIDE", "g"), ("Large-WIDE", "r")]
    assert len(curve(campaign, "WEST")) == 4 * EPOCHS
    found = pulls(campaign, truth, two.REGIONS)
    assert len(found) == 2 * 4 * EPOCHS + 2 * EPOCHS
    assert np.abs(found).max() < 4.5
    assert np.mean(found**2) < 2.0


def test_zero_points_and_coefficients_by_field_instrument_and_band(in_parts):
    campaign, _, _ = in_parts
    rows = campaign.query(
        "select c.rois, z.instrument, z.band, z.catalog_band, z.zeropoint, z.zeropoint_uncertainty"
        " from absolute_zeropoints z join combined_footprint c on c.hash = z.combined_footprint_hash"
    )
    assert len(rows) == 6
    for _, instrument, band, catalog_band, zeropoint, error in rows:
        telescope = "TINY" if instrument.startswith("Tiny") else "WIDE"
        assert catalog_band == band
        assert error < 0.02
        # Clouds, air, and what falls outside the stamps dim by up to half a magnitude.
        assert -0.5 < zeropoint - two.SETTINGS[telescope]["zeropoint"] < 3 * error
    counts = campaign.query(
        "select instrument, band, count(*) from normalization_coefficients group by 1, 2 order by 1, 2"
    )
    assert counts == [("Large-WIDE", "g", 2 * EPOCHS), ("Large-WIDE", "r", 2 * EPOCHS),
                      ("Tiny Cam/2", "i", EPOCHS), ("Tiny Cam/2", "r", EPOCHS)]  # fmt: skip


def test_settings_of_one_instrument(in_parts):
    campaign, truth, _ = in_parts
    factors = campaign.query("select distinct f.instrument, p.subsampling_factor from PSFs p join frames f"
                             " on f.id = p.frame_id order by 1")  # fmt: skip
    assert factors == [("Large-WIDE", 2), ("Tiny Cam/2", 3)]
    rows = campaign.query(
        "select original_image_path, instrument, airmass, pixel_scale, angle_to_north, gain, key, time_source from"
        " frames f join rois_in_frames r on r.frame_id = f.id where r.roi = 'WEST'"
    )
    assert len(rows) == 4 * EPOCHS
    angle_of = {"WIDE": 0.0, "TINY": two.TURNED}
    shapes = {}
    for path, instrument, airmass, scale, angle, gain, key, _ in rows:
        telescope = "TINY" if instrument.startswith("Tiny") else "WIDE"
        settings = two.SETTINGS[telescope]
        expected = truth[truth["frame"] == path.rsplit("/", 1)[1]]["airmass"][0]
        assert airmass == pytest.approx(expected, abs=0.02)  # the other site has it below the horizon
        assert scale == pytest.approx(settings["pixel_scale"], rel=1e-3)
        assert abs(abs(angle) - angle_of[telescope]) < 2
        assert gain == settings["gain"]
        shapes[telescope] = stamp_shapes(campaign, key)
    assert shapes == {"WIDE": {"WEST": 28, "EAST": 28, "star": 24}, "TINY": {"WEST": 22, "star": 20}}


def stamp_shapes(campaign, key):
    with h5py.File(campaign.folder / "regions.h5") as file:
        data = file["frames"][key]["data"]
        return {n if n in two.REGIONS else "star": data[n].shape[0] for n in data if n != "ROI"}


def test_star_of_both_fields(in_parts):
    """A star within reach of both regions is measured for each, with one flux."""
    campaign, _, _ = in_parts
    rows = campaign.query(
        "select a.flux, b.flux, a.flux_uncertainty from star_flux_in_frame a join star_flux_in_frame b"
        " on a.frame_id = b.frame_id and a.gaia_id = b.gaia_id"
        " where a.combined_footprint_hash < b.combined_footprint_hash"
    )
    assert len(rows) > 10
    # The fields' PSFs rest on different stars.
    assert all(abs(a / b - 1) < 0.02 for a, b, _ in rows)
    assert np.median([abs(a - b) / error for a, b, error in rows]) < 3


# ---------------------------------------------------------------- filters


def test_parts_do_each_piece_of_work_once(in_parts):
    _, _, said = in_parts
    for (report, _), groups in zip(said, RUNS.values(), strict=True):
        work = done(report)
        for stage in FRAME_STAGES:
            assert work[stage] == groups * EPOCHS + groups * (stage == "star_photometry")
        for stage in ("calculate_normalization_coefficient", "calculate_absolute_zeropoints",
                      "prepare_calibrated_cutouts"):  # fmt: skip
            assert work[stage] == groups
    # Fits, and the tables that they belong to.
    assert [done(report)["model_calibrated_cutouts"] for report, _ in said] == [3 + 2, 2 + 1, 1 + 1]
    assert [done(report).get("read_convert_skysub_character_catalog", 0) for report, _ in said] == [4 * EPOCHS, 0, 0]


def test_parts_say_what_they_leave_out(in_parts):
    _, _, said = in_parts
    left = [{s["name"]: s["left_out"] for s in report["stages"] if s["left_out"]} for report, _ in said]
    assert left[0] == {"plate_solving": 2 * EPOCHS}
    assert left[1] == dict.fromkeys(["query_gaia_for_stars"], EPOCHS)
    assert left[2] == {}
    assert said[0][0]["only"] == {"roi": [], "band": ["r"], "instrument": []}


def test_rows_of_what_is_left_out_stay(in_parts):
    _, _, said = in_parts
    first, second, third = (tables for _, tables in said)
    assert groups_of(first["WEST"]) == [("Large-WIDE", "r"), ("Tiny Cam/2", "r")]
    assert groups_of(first["EAST"]) == groups_of(second["EAST"]) == [("Large-WIDE", "r")]
    for roi in two.REGIONS:
        before, after = first[roi], third[roi]
        after = after[after["band"] == "r"]
        for column in before.colnames:
            np.testing.assert_array_equal(before[column], after[column])


@pytest.fixture
def campaign(in_parts, tmp_path, campaign_in):
    """Return a copy of the finished project."""
    shutil.copytree(in_parts[0].folder, tmp_path / "two")
    return campaign_in(tmp_path / "two")


def test_changed_option_for_one_band_keeps_the_rows_of_the_others(campaign):
    """Fits out of date that the filter leaves out stay in the table, and stay pending."""
    before = curve(campaign, "WEST")
    campaign.append("[roi_cutouts]\nframes = { seeing_arcseconds = [0.0, 2.9] }")
    report = campaign.run_json("--band", "i", "--roi", "WEST")
    assert done(report) == {"prepare_calibrated_cutouts": 1, "model_calibrated_cutouts": 2}
    after = curve(campaign, "WEST")
    assert groups_of(after) == groups_of(before)
    others = before["band"] != "i"
    np.testing.assert_array_equal(before[others]["A_flux"], after[after["band"] != "i"]["A_flux"])
    pending = {s["name"]: len(s["pending"]) for s in campaign.status()["stages"] if s["pending"]}
    assert pending == {"prepare_calibrated_cutouts": 5}
    ended = campaign.run("--instrument", "Large-WIDE")
    assert "Left out by --instrument Large-WIDE: prepare_calibrated_cutouts 1, and what rests on them." in ended.out
    assert done(campaign.run_json()) == {"prepare_calibrated_cutouts": 1, "model_calibrated_cutouts": 2}
    assert campaign.pending() == {}


def test_forced_part(campaign):
    """Force touches what the filter admits, and nothing else."""
    query = "select unit, token from products where stage = 'psf_modeling'"
    before, levels = dict(campaign.query(query)), campaign.query("select * from star_levels where band != 'i'")
    plan = campaign.run("--dry-run", "--force", "psf_modeling", "--band", "i")
    assert f"psf_modeling: {EPOCHS} to do" in plan.out
    force = ("--force", "psf_modeling", "--force", "calculate_normalization_coefficient")
    report = campaign.run_json(*force, "--band", "i")
    assert done(report)["psf_modeling"] == EPOCHS
    assert done(report)["calculate_normalization_coefficient"] == 1
    after = dict(campaign.query(query))
    assert sum(after[u] != token for u, token in before.items()) == EPOCHS
    assert campaign.query("select * from star_levels where band != 'i'") == levels
    assert campaign.pending() == {}


@pytest.mark.slow
def test_psfs_of_other_kinds_are_accounted_for(campaign):
    """A PSF of another size is padded; one of another sampling leaves its frame out, with the reason."""
    rows = campaign.query(
        "select f.id, f.key, p.path from PSFs p join frames f on f.id = p.frame_id where f.instrument = 'Large-WIDE'"
        " and f.band = 'g' order by f.id"
    )
    last, key, _ = rows[-1]
    files = [campaign.folder / file for frame, _, file in rows if frame == last]  # of both fields
    psfs = [psf_files.read_psf(file) for file in files]
    force = ("--force", "prepare_calibrated_cutouts", "--band", "g")
    before = curve(campaign, "WEST")
    with contextlib.closing(sqlite3.connect(campaign.folder / "database.sqlite3")) as database, database:
        database.execute("delete from product_files where stage = 'psf_modeling'")  # as by an earlier version
    for file, psf in zip(files, psfs, strict=True):
        psf_files.write_psf(file, attrs.evolve(psf, narrow=np.pad(psf.narrow, 2), full=np.pad(psf.full, 2)), [])
    assert campaign.run(*force).code == 0
    np.testing.assert_allclose(curve(campaign, "WEST")["A_flux"], before["A_flux"], rtol=1e-3)
    for file, psf in zip(files, psfs, strict=True):
        psf_files.write_psf(file, attrs.evolve(psf, subsampling_factor=3), [])
    assert campaign.run(*force).code == 0
    assert len(curve(campaign, "WEST")) == len(before) - 1
    state, comment = campaign.frames()[f"{key}.fits"]
    assert state == "left out later"
    assert "its PSF's subsampling factor is 3, that of most frames 2" in comment
    for file, psf in zip(files, psfs, strict=True):
        psf_files.write_psf(file, psf, [])
    assert campaign.run(*force).code == 0
    assert campaign.frames()[f"{key}.fits"] == ("used", "")


def test_frame_that_serves_one_region_and_not_the_other(campaign):
    """A PSF that fits badly in one field keeps the frame from that field's region, and status says so."""
    ((frame, key),) = campaign.query("select id, key from frames where key = 'wide_g_0001'")
    field = "(select hash from combined_footprint where rois like '%EAST%')"
    with contextlib.closing(sqlite3.connect(campaign.folder / "database.sqlite3")) as database, database:
        database.execute(f"update PSFs set chi2 = 50 where frame_id = {frame} and combined_footprint_hash = {field}")
    campaign.append("[photometry]\npsf_chi2 = { between = [0.0, 5.0] }")
    assert campaign.run().code == 0
    assert len(curve(campaign, "EAST")) == 2 * EPOCHS - 1
    assert len(curve(campaign, "WEST")) == 4 * EPOCHS
    assert campaign.frames()[f"{key}.fits"] == ("used", "but not for EAST: a selection leaves it out")
    assert f"{key}.fits: used: but not for EAST" in campaign.lcf("status", campaign.project).out


TINY_LEFT_OUT = '[instrument."Tiny Cam/2".normalization]\nflux_chi2 = { between = [1e8, 1e9] }\n'


def test_group_that_can_not_be_normalised_any_more_leaves_the_light_curve(campaign):
    before = curve(campaign, "WEST")
    text = campaign.project.read_text()
    campaign.append(TINY_LEFT_OUT)
    report = campaign.run_json()
    assert report["exit_code"] == 3
    said = {u["stage"]: u["reason"] for u in report["unusable"]}
    assert "no star flux is left" in said["calculate_normalization_coefficient"]
    assert "its frames can't be normalised: no star flux is left" in said["prepare_calibrated_cutouts"]
    after = curve(campaign, "WEST")
    assert groups_of(after) == [("Large-WIDE", "g"), ("Large-WIDE", "r")]
    assert campaign.run().code == 3
    campaign.project.write_text(text)
    assert campaign.run().code == 0
    np.testing.assert_allclose(curve(campaign, "WEST")["A_flux"], before["A_flux"], rtol=1e-3)


def test_region_that_an_instrument_does_not_show_any_more(campaign):
    with sqlite3.connect(campaign.folder / "database.sqlite3") as database:
        tiny = "(select id from frames where instrument = 'Tiny Cam/2' and band = 'i')"
        database.execute(f"update rois_in_frames set roi_in_footprint = 0 where roi = 'WEST' and frame_id in {tiny}")
    report = campaign.run_json("--start", "prepare_calibrated_cutouts")
    assert [u["reason"] for u in report["unusable"]] == ["no frame of Tiny Cam/2 i that takes part shows WEST any more"]
    assert ("Tiny Cam/2", "i") not in groups_of(curve(campaign, "WEST"))
    assert ("Tiny Cam/2", "r") in groups_of(curve(campaign, "WEST"))
    assert campaign.run("--start", "prepare_calibrated_cutouts").code == 0  # that it looks elsewhere is no fault


def test_status_and_export_of_a_part(campaign, tmp_path):
    ended = campaign.lcf("status", campaign.project, "--json", "--instrument", "Tiny Cam/2", "--band", "r")
    status = json.loads(ended.out)
    assert {f["file"] for f in status["frames"]} == {f"tiny_r_000{i}.fits" for i in range(EPOCHS)}
    made = {s["name"]: s["made"] for s in status["stages"]}
    assert made["psf_modeling"] == EPOCHS
    assert made["prepare_calibrated_cutouts"] == 1
    ended = campaign.lcf("export", campaign.project, "--format", "csv", "--band", "i", "--output", tmp_path)
    assert ended.code == 0
    assert ended.out.split() == [str(tmp_path / "WEST.csv")]  # the other region has no such epoch
    assert set(Table.read(tmp_path / "WEST.csv")["band"]) == {"i"}
    ended = campaign.lcf("export", campaign.project, "--band", "i", "--roi", "EAST", "--output", tmp_path)
    assert ended.code == 1
    assert "no epoch of EAST is left by --roi EAST --band i" in ended.err


def test_letters_of_one_instrument_are_checked(campaign):
    campaign.append('[instrument."Tiny Cam/2".psf]\nexclude = ["zz"]')
    ended = campaign.run("--start", "psf_modeling", "--stop", "psf_modeling")
    assert ended.code == 1
    assert '[instrument."Tiny Cam/2".psf] names zz; the reference stars are a, b, ' in ended.err


def test_fields_that_follow_from_all_frames_need_all_of_them(simulated, tmp_path, campaign_in):
    """With another strategy than `roi_disk` a filter does not keep frames from being imported and solved."""
    shutil.copytree(simulated[0].folder, tmp_path / "two", ignore=shutil.ignore_patterns(*MADE))
    campaign = campaign_in(tmp_path / "two")
    campaign.edit('plugin = "file"\nradius', 'plugin = "file"\nstrategy = "common_footprint"\nradius')
    done = campaign.done("--band", "r", "--stop", "calculate_common_and_total_footprint")
    assert done["read_convert_skysub_character_catalog"] == 4 * EPOCHS
    assert done["calculate_common_and_total_footprint"] == 4 * EPOCHS + 1


def test_settings_of_an_instrument_that_no_frame_has_are_named(campaign):
    said = (
        '[instrument."Tiny Cam"] has no effect so far: no imported frame is of that instrument; '
        'did you mean "Tiny Cam/2"?'
    )
    assert campaign.status()["doubts"] == []
    campaign.append('[instrument."Tiny Cam".stamps]\nstar_size = 22')
    assert said in [d["text"] for d in campaign.status()["doubts"]]


@pytest.mark.parametrize("command", ["run", "status", "export"])
def test_unknown_names_are_usage_errors(campaign, command):
    for option, message in (
        (("--roi", "WESTT"), 'the project has no region "WESTT"; did you mean "WEST"?'),
        (("--band", "z"), 'the project has no band "z"; allowed: g, i, r'),
        (("--instrument", "Tiny Cam"), 'the project has no instrument "Tiny Cam"; did you mean "Tiny Cam/2"?'),
    ):
        ended = campaign.lcf(command, campaign.project, *option)
        assert ended.code == 2
        assert message in " ".join(ended.err.split())
    assert campaign.query("select count(*) from runs") == [(3,)]


def test_unknown_band_of_frames_that_nobody_imported(simulated, tmp_path, campaign_in, lcf):
    """Which bands there are is known once the frames are imported: then the run stops."""
    shutil.copytree(simulated[0].folder, tmp_path / "new", ignore=shutil.ignore_patterns(*MADE))
    new = campaign_in(tmp_path / "new")
    ended = new.run("--band", "z")
    assert ended.code == 2
    assert 'the project has no band "z"; allowed: g, i, r' in ended.err
    assert new.query("select count(*) from products where stage = 'plate_solving'") == [(0,)]
    assert new.run("--roi", "NORTH").code == 2
    assert lcf("status", new.project, "--band", "g").code == 0


# ---------------------------------------------------------------- longer


@pytest.mark.slow
def test_pulls_with_overlapping_regions(tmp_path, campaign_in):
    """Three regions, two of them within each other's stamps; five epochs of four groups."""
    pytest.importorskip("galsim")
    truth = two.simulate(tmp_path / "two", 5, near=True)
    campaign = campaign_in(tmp_path / "two")
    assert campaign.run().code == 0
    found = pulls(campaign, truth, ["WEST", "EAST", "NEAR"])
    assert len(found) == (2 * 4 + 1 * 2 + 1 * 4) * 5
    print(f"{len(found)} magnitudes: mean pull {found.mean():+.2f}, rms {np.sqrt(np.mean(found**2)):.2f}")
    assert np.sqrt(np.mean(found**2)) < 1.4
    assert abs(found.mean()) < 0.6
    assert np.abs(found).max() < 4.5
