"""Magnitudes are reported in the band that they were calibrated in, and in its system."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from astropy.table import vstack
from exported_curves import curve_of

from lcframework.types import UnusableInput
from plugins_builtin.exporters.aavso import Aavso
from plugins_builtin.exporters.skyportal import SkyPortal
from plugins_builtin.exporters.tns import Tns
from plugins_builtin.shared.calibrated_bands import BandCalibration, reported_filter


def calibrated(band: str, survey_band: str, system: str) -> dict[str, str]:
    return {"instrument": "Cam 1", "band": band, "survey": "gaia", "survey_band": survey_band, "system": system}


def curve(*calibrations: dict[str, str]) -> Any:
    """A light curve in the bands that were calibrated, of one source."""
    parts = [curve_of(c["band"], c["system"], ("A",)) for c in calibrations]
    table = vstack(parts, metadata_conflicts="silent")
    table.meta["magnitude_system"] = "/".join(sorted({c["system"] for c in calibrations}))
    table.meta["calibration"] = list(calibrations)
    return table


@pytest.mark.parametrize(
    ("band", "survey_band", "code"),
    [
        ("V", "V", "V"),
        ("r", "r_sdss", "SR"),
        ("R", "R", "R"),
        ("Rc", "R", "R"),
        ("I", "Ic", "I"),
        ("z", "z", "SZ"),
        ("z_ps1", "z", "ZS"),
        ("Clear", "V", "CV"),
        ("Clear", "r_sdss", "CR"),
        ("", "R", "CR"),
        ("Green", "V", "TG"),
        ("V", "V_T", "V"),  # of no code: the notes name it
        ("V", "", "V"),  # nothing is known
        ("F814W", "Ic", "O"),
    ],
)
def test_a_filter_calibrated_by_its_own_band(band: str, survey_band: str, code: str) -> None:
    assert reported_filter(band, BandCalibration("gaia", survey_band, "AB"), {}) == code


@pytest.mark.parametrize(
    ("band", "survey_band"),
    [("B", "r_sdss"), ("V", "r_sdss"), ("V", "G"), ("R", "r_sdss"), ("z", "r_sdss"), ("Clear", "i_sdss"), ("", "G")],
)
def test_a_filter_calibrated_by_another_band_is_refused(band: str, survey_band: str) -> None:
    with pytest.raises(UnusableInput, match=rf"calibrated by {survey_band} of the survey gaia"):
        reported_filter(band, BandCalibration("gaia", survey_band, "AB"), {})
    assert reported_filter(band, BandCalibration("gaia", survey_band, "AB"), {band: "SR"}) == "SR"


@pytest.mark.parametrize("exporter", [Aavso(), SkyPortal(), Tns()], ids=["aavso", "skyportal", "tns"])
def test_no_exporter_calls_red_magnitudes_blue(exporter: Any, tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="the filter B were calibrated by r_sdss"):
        exporter.export(curve(calibrated("B", "r_sdss", "AB")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    exporter.export(curve(calibrated("r", "r_sdss", "AB")), tmp_path / "out")


def test_each_band_has_its_own_system(tmp_path: Path) -> None:
    both = curve(calibrated("r", "r_sdss", "AB"), calibrated("V", "V", "Vega"))
    SkyPortal().export(both, tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert {(row["filter"], row["magsys"]) for row in rows} == {("sdssr", "ab"), ("bessellv", "vega")}
    assert SkyPortal().faults(tmp_path / "s.csv") == []
    Aavso().export(both, tmp_path / "a.txt")
    lines = [line.split(",") for line in (tmp_path / "a.txt").read_text().splitlines() if line[0] != "#"]
    notes = {(line[4], line[-1].split(";")[1].strip(), line[-1].split(";")[2].strip()) for line in lines}
    assert notes == {("SR", "AB magnitudes", "zero point of r_sdss"), ("V", "Vega magnitudes", "zero point of V")}
    with pytest.raises(UnusableInput, match="these of V are Vega"):
        Tns().export(both, tmp_path / "t.csv")
