"""The arithmetic of a number and of its error, against values that are worked out by hand."""

from __future__ import annotations

import csv

import pytest

from lcframework.ancestry.facts import figures, with_error
from lcframework.ancestry.numbers import redo
from lcframework.testing.finished_project import ROI


def parts(*errors: float):
    return [{"error": e, "in_d_flux": True} for e in errors] + [{"error": 99.0, "in_d_flux": False}]


def test_error_and_magnitude_by_hand():
    found = redo(100.0, parts(3.0, 4.0, 12.0), 25.0)
    assert found["d_flux"] == 13.0
    assert found["mag"] == pytest.approx(20.0)
    assert found["d_mag_down"] == pytest.approx(0.151202, abs=1e-6)  # 2.5 log10(100 / 87)
    assert found["d_mag_up"] == pytest.approx(0.132696, abs=1e-6)  # 2.5 log10(113 / 100)


@pytest.mark.parametrize(("flux", "none"), [(-5.0, {"mag", "d_mag_down", "d_mag_up"}), (2.0, {"d_mag_down"})])
def test_what_faint_fluxes_have_not(flux, none):
    found = redo(flux, parts(3.0), 25.0)
    assert {name for name, value in found.items() if value != value} == none


def test_numbers_as_texts():
    assert [figures(v, 4) for v in (1234567.0, 0.00012345, 0.0, 12.3456)] == ["1234567", "0.0001234", "0", "12.35"]
    assert with_error(4347.63, 18.3161, "e-/s") == "4347.63 ± 18.32 e-/s"


def test_the_parts_of_the_error_are_those_of_the_table(example):
    found = example.json(frame=3, source="A")["number"]
    with (example.folder / "prepared_roi_cutouts" / f"{ROI}_photometry_per_epoch.csv").open(newline="") as stream:
        row = next(r for r in csv.DictReader(stream) if r["frame_id"] == "3")
    budget = {b["name"]: b["error"] for b in found["budget"]}
    flux = float(row["A_flux"])
    assert budget["fit"] == 4.0  # the fit's covariance of the example is 16
    assert budget["normalization"] == pytest.approx(0.002 * flux)
    assert budget["extra scatter"] == 0.0
    assert (budget["common"], budget["zero point"]) == (1.0, 0.01)
    for name in ("d_flux", "mag", "d_mag_down", "d_mag_up"):
        assert found["redone"][name] == pytest.approx(float(row[f"A_{name}"]), rel=1e-6)
    assert sum(b["share_of_variance"] for b in found["budget"] if b["in_d_flux"]) == pytest.approx(1.0)
    assert found["differs"] == []
    assert found["system"] == "AB"


@pytest.mark.parametrize("column", ["A_flux", "A_d_flux", "A_mag", "A_d_flux_fit"])
def test_a_table_that_does_not_follow_is_noticed(example, column):
    path = example.folder / "prepared_roi_cutouts" / f"{ROI}_photometry_per_epoch.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[1][column] = str(1.00001 * float(rows[1][column]))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = example.ancestry(2)
    assert found.as_json()["number"]["differs"]
    assert any(line.problem for line in found.sections[0].lines)
