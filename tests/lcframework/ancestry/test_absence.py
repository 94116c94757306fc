"""Where the light curve has no number, the first step that did not pass the frame on is named, with its reason."""

from __future__ import annotations

import csv

import h5py
import pytest

from lcframework.testing.finished_project import FIELD, ROI

GROUP = "ExampleCam:r"


@pytest.fixture
def gone(example):
    """A function that takes frame 2 out of the published table, as a run would that does not measure it."""

    def remove(*statements: str, prepared: bool = True):
        example.sql(*statements)
        if not prepared:
            with h5py.File(example.folder / "prepared_roi_cutouts" / f"cutouts_{ROI}_ExampleCam_r.h5", "a") as file:
                file["frame_id"][1] = 99
        path = example.folder / "prepared_roi_cutouts" / f"{ROI}_photometry_per_epoch.csv"
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(r for r in rows if r["frame_id"] != "2")
        return example.json()["absence"]

    return remove


def unusable(stage: str, unit: str, reason: str) -> str:
    return f"update products set state='unusable', reason='{reason}' where stage='{stage}' and unit='{unit}'"


def deleted(stage: str, unit: str) -> str:
    return f"delete from products where stage='{stage}' and unit='{unit}'"


FRAME = f"frame:2:{FIELD}"
CASES = [
    ("taken out", "read_convert_skysub_character_catalog", "excluded: a trail",
     ["update frames set eliminated=1, comment='excluded: a trail' where id=2"]),
    ("taken out", "read_convert_skysub_character_catalog", "excluded by [frames] exclude",
     ["update frames set eliminated=1, comment='excluded by [frames] exclude' where id=2"]),
    ("taken out", "read_convert_skysub_character_catalog", "is truncated",
     ["update frames set eliminated=1, comment='it is truncated' where id=2",
      unusable("read_convert_skysub_character_catalog", "frame:2", "it is truncated")]),
    ("not made yet", "read_convert_skysub_character_catalog", "not imported yet",
     [deleted("read_convert_skysub_character_catalog", "frame:2")]),
    ("not used", "plate_solving", "it has no WCS: too few sources",
     ["update frames set plate_solved=0, comment='not solved: too few sources' where id=2"]),
    ("not made yet", "plate_solving", "not solved yet",
     ["update frames set plate_solved=0, attempted_plate_solve=0 where id=2"]),
    ("not used", "calculate_common_and_total_footprint", "does not cover the region: EXAMPLE lies 60.0 arcmin",
     ["update rois_in_frames set roi_in_footprint=0 where frame_id=2", "update footprints set polygon="
      "'[[150.1,-26.9],[149.9,-26.9],[149.9,-27.1],[150.1,-27.1]]' where frame_id=2"]),
    ("not made yet", "calculate_common_and_total_footprint", "covers EXAMPLE",
     ["delete from rois_in_frames where frame_id=2"]),
    ("not used", "stamp_extraction", "no room", [unusable("stamp_extraction", FRAME, "no room")]),
    ("not used", "psf_modeling", "the PSF fit failed", [unusable("psf_modeling", FRAME, "the PSF fit failed: noise")]),
    ("not made yet", "psf_modeling", "no PSF yet", [deleted("psf_modeling", FRAME)]),
    ("not used", "star_photometry", "no usable star", [unusable("star_photometry", FRAME, "no usable star")]),
    ("not used", "calculate_normalization_coefficient", "no star flux is left",
     [unusable("calculate_normalization_coefficient", f"{FIELD}:{GROUP}", "no star flux is left")]),
    ("left out", "calculate_normalization_coefficient", "no star gives it a normalization coefficient",
     ["delete from normalization_coefficients where frame_id=2"]),
    ("left out", "prepare_calibrated_cutouts", "seeing_arcseconds = 4.2 lies outside [roi_cutouts] frames: [0, 3]",
     ["update frames set seeing_arcseconds=4.2 where id=2"]),
    ("left out", "prepare_calibrated_cutouts", "its PSF is unlike the others",
     ["update frames set comment='prepare_calibrated_cutouts: EXAMPLE: its PSF is unlike the others' where id=2"]),
    ("not made yet", "model_calibrated_cutouts", "is to be written anew", []),
]  # fmt: skip


@pytest.mark.parametrize(("state", "stage", "reason", "statements"), CASES)
def test_the_step_that_did_not_pass_it_on(gone, state, stage, reason, statements):
    found = gone(*statements, prepared=state != "left out")
    assert (found["state"], found["stage"]) == (state, stage)
    assert reason in found["reason"]
    assert found["remedy"]


MOVING = 'ephemeris = "proper_motion"\n[roi.EXAMPLE.proper_motion]\npmra = 0.0\npmdec = 3.6e6\nref_epoch = 2020.0\n'


def test_a_moving_region_is_where_it_was_in_the_frame(gone, example):
    example.edit("[roi.EXAMPLE.point_sources]", f"{MOVING}[roi.EXAMPLE.point_sources]")
    square = "[[150.1,-26.9],[149.9,-26.9],[149.9,-27.1],[150.1,-27.1]]"  # a degree from [roi.EXAMPLE] ra, dec
    found = gone(
        "update rois_in_frames set roi_in_footprint=0, ra=150.0, dec=-27.5 where frame_id=2",
        f"update footprints set polygon='{square}' where frame_id=2",
    )
    assert "EXAMPLE lies 30.0 arcmin from its middle" in found["reason"]


def test_a_moving_region_without_a_place(gone, example):
    example.edit("[roi.EXAMPLE.point_sources]", f"{MOVING}[roi.EXAMPLE.point_sources]")
    why = "the table ends before it"
    found = gone(f"update rois_in_frames set roi_in_footprint=0, ra=null, dec=null, comment='{why}' where frame_id=2")
    assert found["reason"] == f"EXAMPLE has no place in it: {why}"
    assert "arcmin" not in found["reason"]


def test_a_psf_that_is_too_poor(gone, example):
    example.edit("[run]", "[photometry]\npsf_chi2 = { between = [0.0, 5.0] }\n[run]")
    found = gone("update PSFs set chi2=40 where frame_id=2", prepared=False)
    assert (found["state"], found["stage"]) == ("left out", "prepare_calibrated_cutouts")
    assert found["reason"].startswith("its PSF's chi2 of 40.00 exceeds 5.00")


def test_cutouts_that_can_not_be_made(gone, example):
    example.sql(unusable("prepare_calibrated_cutouts", f"{ROI}:{GROUP}", "no frame passes the selection"))
    (example.folder / "prepared_roi_cutouts" / f"cutouts_{ROI}_ExampleCam_r.h5").unlink()
    found = gone()
    assert (found["state"], found["stage"]) == ("not used", "prepare_calibrated_cutouts")
    assert "no frame passes the selection" in found["reason"]


def test_a_model_that_failed(gone):
    found = gone(unusable("model_calibrated_cutouts", f"fit:{ROI}:{GROUP}", "the model of EXAMPLE failed"))
    assert (found["state"], found["stage"]) == ("not used", "model_calibrated_cutouts")
    assert "the model of EXAMPLE failed" in found["reason"]


def test_no_model_is_selected(gone, example):
    example.edit("[run]", '[roi_model]\nplugin = "none"\n[run]')
    assert '[roi_model] plugin = "none"' in gone()["reason"]


def test_a_source_that_was_added_since(example):
    example.edit("B = [", "C = [150.0, -28.001]\nB = [")
    found = example.json(source="C")["absence"]
    assert "was made without it: it has A, B" in found["reason"]


def test_a_source_whose_core_is_masked(example):
    path = example.folder / "prepared_roi_cutouts" / f"{ROI}_photometry_per_epoch.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[1]["B_flux"] = "nan"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert "its core is masked" in example.json(source="B")["absence"]["reason"]
    assert example.json(source="A")["exists"]


def test_excluded_and_not_run_since(example):
    example.sql("update frames set eliminated=1, comment='excluded: a trail' where id=2")
    found = example.ancestry()
    assert found.exists  # the table still has it
    [line] = [line for line in found.sections[0].lines if line.label == "taken out since"]
    assert line.problem
    assert line.text.startswith("excluded: a trail")
