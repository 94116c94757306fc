from __future__ import annotations

import csv

import astropy.units as u
import numpy as np
import pytest
from astropy.io.votable import parse, validate
from astropy.table import QTable, Table
from astropy.time import Time
from astropy.timeseries import TimeSeries

from lcframework.roi.light_curves import with_units
from lcframework.testing import check_exporter
from lcframework.types import UnusableInput
from plugins_builtin.exporters.aavso import Aavso
from plugins_builtin.exporters.csv import Csv
from plugins_builtin.exporters.ecsv import Ecsv
from plugins_builtin.exporters.votable import VoTable

EXPORTERS = {"ecsv": Ecsv, "votable": VoTable, "aavso": Aavso, "csv": Csv}


def light_curve(band="r"):
    """Return what a run publishes: two sources, of which one is lost in an epoch, and one epoch without zero point."""
    table = Table()
    table["frame_id"] = np.arange(1, 5)
    table["mjd"] = 60360.25 + np.arange(4)
    table["bjd_tdb"] = table["mjd"] + 2400000.505
    table["band"], table["instrument"] = [band] * 4, ["Cam"] * 4
    table["zeropoint"], table["zeropoint_error"] = [24.5, 24.5, 24.5, np.nan], 0.01
    table["reduced_chi2"], table["seeing"], table["flags"] = 1.02, 0.9, [0, 2, 0, 0]
    for name, flux in (("A", [200.0, 210.0, 190.0, 205.0]), ("B", [20.0, -3.0, 10.0, 22.0])):
        flux = np.array(flux)
        table[f"{name}_flux"], table[f"{name}_d_flux"] = flux, 5.0
        table[f"{name}_d_flux_fit"], table[f"{name}_d_flux_common"] = 4.5, 2.0
        mag = np.where(flux > 0, table["zeropoint"] - 2.5 * np.log10(np.abs(flux)), np.nan)
        table[f"{name}_mag"], table[f"{name}_d_mag_down"], table[f"{name}_d_mag_up"] = mag, 0.03, 0.025
    out = with_units(table, ["AB"])
    out.meta["roi"] = "J0248"
    return out


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_conforms(name, tmp_path):
    exporter = EXPORTERS[name]()
    check_exporter(exporter, tmp_path / f"curve.{exporter.suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [f"curve.{exporter.suffix}"]


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_files_are_replaced_whole(name, tmp_path):
    """Who reads the former file while another is written over it reads it to its end."""
    path = tmp_path / "curve"
    path.write_text("the former one")
    with path.open() as reader:
        EXPORTERS[name]().export(light_curve(), path)
        assert reader.read() == "the former one"
    assert "the former one" not in path.read_text()


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_a_failure_leaves_the_former_file(name, tmp_path, monkeypatch):
    path = tmp_path / "curve"
    path.write_text("the former one")

    def full(self, target):
        raise OSError("no space left on the device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space left"):
        EXPORTERS[name]().export(light_curve(), path)
    assert path.read_text() == "the former one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("series", [False, True])
def test_ecsv_comes_back_whole(series, tmp_path):
    curve = light_curve()
    given = curve
    if series:
        given = TimeSeries(time=Time(curve["mjd"].value, format="mjd", scale="utc"))
        for column in curve.colnames:
            given[column] = curve[column]
    Ecsv().export(given, tmp_path / "a.ecsv")
    back = QTable.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert back.colnames == curve.colnames
    for name in curve.colnames:
        assert np.array_equal(back[name], curve[name]) or np.array_equal(back[name], curve[name], equal_nan=True)
        assert getattr(back[name], "unit", None) == getattr(curve[name], "unit", None)
    if not series:
        assert back.meta["magnitude_system"] == "AB"


def test_csv_leaves_the_unknown_empty(tmp_path):
    curve = light_curve()
    Csv().export(curve, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == curve.colnames
    assert rows[1]["B_mag"] == ""
    assert float(rows[1]["B_flux"]) == -3.0
    np.testing.assert_array_equal([float(r["A_flux"]) for r in rows], curve["A_flux"].value)


def test_votable_has_units_ucds_and_time_systems(tmp_path):
    curve = light_curve()
    path = tmp_path / "a.vot"
    VoTable().export(curve, path)
    file = parse(path)
    table = file.get_first_table()
    fields = {f.name: f for f in table.fields}
    assert list(fields) == curve.colnames
    assert fields["A_flux"].unit.to_string("vounit") == "'electron'.s**-1"
    assert fields["A_flux"].ucd == "phot.flux"
    assert fields["A_d_flux_common"].ucd == "stat.error.sys;phot.flux"
    assert fields["B_mag"].description.startswith("AB magnitude of B")
    assert fields["seeing"].unit == u.arcsec
    systems = {s.ID: s for s in file.resources[0].time_systems}
    assert systems[fields["mjd"].ref].timescale == "UTC"
    assert systems[fields["bjd_tdb"].ref].refposition == "BARYCENTER"
    back = table.to_table()
    np.testing.assert_allclose(np.asarray(back["bjd_tdb"]), curve["bjd_tdb"].value, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(np.asarray(back["A_flux"]), curve["A_flux"].value)
    assert np.isnan(np.ma.filled(back["B_mag"][1], np.nan))
    assert validate(str(path), output=None)


def aavso_rows(path):
    lines = path.read_text(encoding="ascii").splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert head[0] == "#TYPE=Extended"
    columns = head[-1][1:].split(",")
    return head, [dict(zip(columns, line.split(","), strict=True)) for line in lines if not line.startswith("#")]


def test_aavso_rows_are_the_light_curve(tmp_path):
    curve = light_curve()
    Aavso(observer="ABC").export(curve, tmp_path / "a.txt")
    head, rows = aavso_rows(tmp_path / "a.txt")
    assert {"#OBSCODE=ABC", "#DELIM=,", "#DATE=JD", "#OBSTYPE=CCD"} <= set(head)
    first = [r for r in rows if r["NAME"] == "J0248 A"]
    assert len(first) == 3  # the fourth epoch has no zero point
    np.testing.assert_allclose([float(r["DATE"]) for r in first], curve["mjd"].value[:3] + 2400000.5, atol=1e-6)
    np.testing.assert_allclose([float(r["MAG"]) for r in first], curve["A_mag"].value[:3], atol=6e-5)
    np.testing.assert_allclose([float(r["MERR"]) for r in first], 1.0857 * 5 / curve["A_flux"].value[:3], atol=6e-5)
    assert {r["FILT"] for r in rows} == {"SR"}
    assert {r["CNAME"] for r in rows} == {"ENSEMBLE"}
    assert "AB magnitudes" in first[0]["NOTES"]
    assert first[1]["NOTES"].endswith("flags 2")


def test_aavso_writes_what_was_not_seen_as_fainter_than(tmp_path):
    Aavso().export(light_curve(), tmp_path / "a.txt")
    rows = [r for r in aavso_rows(tmp_path / "a.txt")[1] if r["NAME"] == "J0248 B"]
    assert [r["MAG"][0] == "<" for r in rows] == [False, True, True]
    # At no flux the limit is three sigma; at two sigma, five.
    np.testing.assert_allclose(float(rows[1]["MAG"][1:]), 24.5 - 2.5 * np.log10(15.0), atol=6e-4)
    np.testing.assert_allclose(float(rows[2]["MAG"][1:]), 24.5 - 2.5 * np.log10(25.0), atol=6e-4)
    assert rows[1]["MERR"] == "na"


@pytest.mark.parametrize(
    ("band", "options", "expected"),
    [
        ("V", {}, "V"),
        ("r_sdss", {}, "SR"),
        ("Ic", {}, "I"),
        ("F814W", {}, "O"),
        ("R", {"filters": {"r": "CR"}}, "CR"),
        ("R", {}, "R"),
        ("I", {}, "I"),
        ("U", {}, "U"),
        ("r", {}, "SR"),
        ("i", {}, "SI"),
        ("u", {}, "SU"),
        ("i'", {}, "SI"),
        ("V_T", {}, "O"),
        ("B_T", {}, "O"),
        ("G", {}, "O"),
        ("z_ps1", {}, "ZS"),
        ("Bessell R", {}, "R"),
        ("SDSS_g", {}, "SG"),
        ("Clear", {}, "CV"),
        ("", {}, "CV"),
    ],
)
def test_aavso_filters(band, options, expected, tmp_path):
    Aavso(**options).export(light_curve(band), tmp_path / "a.txt")
    assert {r["FILT"] for r in aavso_rows(tmp_path / "a.txt")[1]} == {expected}


def test_aavso_says_what_another_band_is(tmp_path):
    Aavso().export(light_curve("V_T"), tmp_path / "a.txt")
    assert "band V_T" in aavso_rows(tmp_path / "a.txt")[1][0]["NOTES"]


def test_aavso_airmass_check_star_and_version(tmp_path):
    curve = light_curve()
    curve["airmass"] = [1.1, 1.2, np.nan, 1.4]
    curve.meta["check_star"] = [("c 12", 14.25), ("na", np.nan), ("c 12", 14.26), ("c 12", 14.27)]
    Aavso(names={"A": "V0748 And"}).export(curve, tmp_path / "a.txt")
    head, rows = aavso_rows(tmp_path / "a.txt")
    assert any(line.startswith("#SOFTWARE=lcframework 0") for line in head)
    assert [(r["AMASS"], r["KNAME"], r["KMAG"]) for r in rows[:3]] == [
        ("1.100", "c 12", "14.250"), ("1.200", "na", "na"), ("na", "c 12", "14.260"),
    ]  # fmt: skip
    assert {r["NAME"] for r in rows} == {"V0748 And", "J0248 B"}
    assert not any("VSX" in line for line in head)
    Aavso().export(curve, tmp_path / "a.txt")
    assert any("not the VSX's" in line for line in aavso_rows(tmp_path / "a.txt")[0])


def test_aavso_name_of_a_single_source(tmp_path):
    curve = light_curve()
    curve.remove_columns([c for c in curve.colnames if c.startswith("B_")])
    Aavso().export(curve, tmp_path / "a.txt")
    assert {r["NAME"] for r in aavso_rows(tmp_path / "a.txt")[1]} == {"J0248"}
    Aavso(object_name="SDSS J0248+1913").export(curve, tmp_path / "a.txt")
    assert {r["NAME"] for r in aavso_rows(tmp_path / "a.txt")[1]} == {"SDSS J0248+1913"}


def test_aavso_keeps_within_the_lengths_of_the_format(tmp_path):
    """A letter and an identifier of Gaia are longer than the 20 characters of KNAME; a name of over 30 is refused."""
    curve = light_curve()
    curve.meta["check_star"] = [("cd 4295806720123456789", 14.25)] * 4
    Aavso(observer="ABC").export(curve, tmp_path / "a.txt")
    assert {r["KNAME"] for r in aavso_rows(tmp_path / "a.txt")[1]} == {"4295806720123456789"}
    assert not Aavso().faults(tmp_path / "a.txt")
    with pytest.raises(UnusableInput, match="more than 30 letters"):
        Aavso(names={"A": "a name that is much too long for it"}).export(curve, tmp_path / "a.txt")


def test_aavso_refuses_what_has_no_magnitudes(tmp_path):
    curve = light_curve()
    curve["zeropoint"] = np.nan
    with pytest.raises(UnusableInput, match=r"set \[calibration\]"):
        Aavso().export(curve, tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()


def test_aavso_names_the_chart_of_the_projects_sequence(tmp_path):
    curve = light_curve()
    curve.meta["chart"] = "X16962MQ"
    for options, chart in (({}, "X16962MQ"), ({"chart": "X1"}, "X1")):
        Aavso(**options).export(curve, tmp_path / "a.txt")
        assert {r["CHART"] for r in aavso_rows(tmp_path / "a.txt")[1]} == {chart}


def test_aavso_faults(tmp_path):
    path = tmp_path / "a.txt"
    Aavso(observer="ABC").export(light_curve(), path)
    assert Aavso().recognises(path)
    assert not Aavso().faults(path)
    lines = path.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line[0] != "#")
    values = lines[first].split(",")
    changes = {1: "60360.25", 2: "19", 4: "r-band", 6: "ABS", 11: ""}
    lines[first] = ",".join(changes.get(i, v) for i, v in enumerate(values))
    lines[first + 1] += ",more"
    lines.insert(first + 2, "")
    lines[1] = "#OBSCODE=none"
    path.write_text("\n".join(lines) + "\n")
    found = [(f.line, f.column) for f in Aavso().faults(path)]
    row = [(first + 1, c) for c in ("DATE", "MAG", "FILT", "MTYPE", "AMASS")]
    assert found == [(2, "OBSCODE"), *row, (first + 2, ""), (first + 3, "")]
