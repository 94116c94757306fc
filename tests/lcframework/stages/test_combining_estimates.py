"""The joint unit of star photometry: estimates of frames as arrays, and the records of what the stars chose."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lcframework.stages.combining_estimates import (
    CombineEstimates,
    FrameFile,
    GroupEstimates,
    GroupPayload,
    as_arrays,
    combines,
)
from lcframework.storage.estimate_files import FrameEstimates
from lcframework.work import FieldGroupKey, Unit


def frame(number: int, stars: dict[str, float], discs: int = 2) -> FrameEstimates:
    rows = [{"combined_footprint_hash": "f", "frame_id": number, "gaia_id": g, "flux": flux, "flux_uncertainty": 2.0,
             "x": 1.0 * number} for g, flux in stars.items()]  # fmt: skip
    light = np.arange(len(rows) * discs, dtype=float).reshape(len(rows), discs)
    return FrameEstimates(rows, 2.0 * np.arange(1, discs + 1), light, np.ones((len(rows), discs, discs)))


def test_a_star_that_a_frame_lacks_is_nan_there():
    group = GroupEstimates(
        [frame(1, {"a": 10.0, "c": 30.0}), frame(2, {"b": 20.0, "c": 31.0}, discs=3)], ["a", "b", "c"]
    )
    found = as_arrays(group)
    np.testing.assert_array_equal(found.psf_flux, [[10.0, np.nan, 30.0], [np.nan, 20.0, 31.0]])
    np.testing.assert_array_equal(found.light[0], [[0.0, 1.0], [np.nan, np.nan], [2.0, 3.0]])
    assert found.light.shape == (2, 3, 2)  # what all frames have
    assert found.psf_variance[1, 2] == 4.0
    np.testing.assert_array_equal(found.radii, [[2.0, 4.0], [2.0, 4.0]])


def test_records_hold_fluxes_scales_and_the_choice():
    group = GroupEstimates([frame(1, {"a": 10.0}), frame(2, {"a": 11.0})], ["a"])
    payload = GroupPayload("f", "cam", "r", (FrameFile(1, "one"), FrameFile(2, "two")), (7,))
    task = CombineEstimates("star_photometry", SimpleNamespace())
    unit = Unit(FieldGroupKey("f", "cam", "r"), "2 frames", {}, payload)
    outcome = task.save(unit, group, task.compute(group))
    tables = [(r.table, r.where.get("frame_id")) for r in outcome.records]
    assert ("star_flux_in_frame", 7) in tables
    assert ("estimator_scales", 7) in tables
    (row,) = next(r.rows for r in outcome.records if r.table == "star_flux_in_frame" and r.where["frame_id"] == 2)
    assert (row["flux"], row["psf_flux"], row["weights"], row["x"]) == (11.0, 11.0, [1.0], 2.0)
    (choice,) = next(r.rows for r in outcome.records if r.table == "estimator_weights")
    assert (choice["radii"], choice["stars"], choice["frames"]) == ([], 1, 2)
    assert outcome.summary.startswith("not calibrated")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, True), ({"estimator": "psf"}, False), ({"aperture": 5.0}, False), ({"joint": True}, False),
     ({"apertures": False}, False)],
)  # fmt: skip
def test_who_combines(changed, expected):
    given = {"estimator": "combined", "aperture": 0.0, "joint": False, "apertures": True} | changed
    settings = SimpleNamespace(estimator=given["estimator"], aperture=given["aperture"])
    tool = SimpleNamespace(instance=SimpleNamespace(joint=given["joint"], apertures=given["apertures"]))
    toolbox = SimpleNamespace(
        config_for=lambda instrument: SimpleNamespace(photometry=settings), tool=lambda section, instrument: tool
    )
    assert combines(toolbox, "cam") is expected
