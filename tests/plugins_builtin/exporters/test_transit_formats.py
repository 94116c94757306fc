"""EXOFAST, ExoClock and the AAVSO's exoplanet report, read back by what their specifications say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from exported_curves import curve_of

from lcframework.types import UnusableInput
from plugins_builtin.exporters.aavso_exoplanet import AavsoExoplanet
from plugins_builtin.exporters.exoclock import ExoClock
from plugins_builtin.exporters.exofast import Exofast

REPORT = {
    "observer": "ABC", "star": "HAT-P-32", "planet": "HAT-P-32 b", "detrend": ("airmass", "x"),
    "priors": {"Period": (2.15, 1e-6), "ecc": (0.0,)}, "results": {"Tc": (2460360.705, 3e-4), "Rp/R*": (0.15, 0.001)},
}  # fmt: skip


def written(exporter, curve, folder):
    """Write all files of a light curve, as `lcf export` does, and return their paths."""
    paths = []
    for name, part in exporter.files(curve).items():
        exporter.export(part, folder / name)
        paths.append(folder / name)
    return paths


def test_exofast_has_a_file_a_night_with_the_name_that_readtran_takes_apart(star, tmp_path):
    paths = written(Exofast(detrend=("airmass", "x")), star, tmp_path)
    assert [p.name for p in paths] == ["n20240220.V.Cam-1.dat", "n20240221.V.Cam-1.dat"]
    assert all(len(p.name.split(".")) == 4 for p in paths)
    time, flux, error, airmass, x = np.loadtxt(paths[0]).T
    np.testing.assert_allclose(time, star["bjd_tdb"].value[:4], rtol=0, atol=1e-8)
    median = np.median([200.0, 210.0, 190.0, 205.0])
    np.testing.assert_allclose(flux, np.array([200.0, 210.0, 190.0, 205.0]) / median, atol=1e-7)
    np.testing.assert_allclose(error, 5.0 / median, atol=1e-7)
    np.testing.assert_allclose(airmass, [1.1, 1.11, 1.12, 1.13], atol=1e-6)
    np.testing.assert_allclose(x, 511.25)
    assert all(Exofast().recognises(p) and not Exofast().faults(p) for p in paths)


@pytest.mark.parametrize(("band", "filters", "name"), [
    ("r", {}, "Sloanr"), ("R", {}, "R"), ("G", {"g": "V"}, "V"), ("b_stromgren", {}, "b"),
])  # fmt: skip
def test_exofast_filters(band, filters, name, tmp_path):
    names = Exofast(filters=filters).files(curve_of(band, sources=("A",)))
    assert {n.split(".")[1] for n in names} == {name}


def test_exofast_writes_sources_apart(curve, tmp_path):
    names = [p.name for p in written(Exofast(), curve, tmp_path)]
    assert names == [f"n2024022{d}.Sloanr.Cam-1-{s}.dat" for d in (0, 1) for s in "AB"]
    with pytest.raises(UnusableInput, match="name one of A, B"):
        Exofast().export(curve, tmp_path / "x")


def test_exofast_refuses_what_it_can_not_say(star, tmp_path):
    with pytest.raises(UnusableInput, match=r'no filter for the band "G".*filters'):
        Exofast().files(curve_of("G", sources=("A",)))
    star["bjd_tdb"] = np.nan
    with pytest.raises(UnusableInput, match=r"\[telescope\]"):
        Exofast().export(star, tmp_path / "x")


@pytest.mark.parametrize(
    "exporter", [Exofast(detrend=("seeing",)), AavsoExoplanet(**{**REPORT, "detrend": ("seeing",)})]
)
def test_a_column_to_detrend_by_must_be_known_in_all_epochs(exporter, star, tmp_path):
    star["seeing"][1] = np.nan
    with pytest.raises(UnusableInput, match="detrend: seeing is not known in all epochs"):
        exporter.export(star[:4], tmp_path / "x")


def test_exofast_faults(tmp_path):
    path = tmp_path / "n20240220.W.Cam.dat"
    path.write_text("# time flux error\n2460360.7 200.0 0.01\n60360.8 199.0 0.01 1.1\n2460360.6 201.0 0.01\n")
    assert [str(f) for f in Exofast().faults(path)] == [
        'EXOFAST has no filter "W", the second part of the file\'s name',
        "line 1: comments, names of columns and empty lines are not allowed",
        "line 3: 4 values: BJD_TDB, flux, error are wanted, and as many more in each line",
        "line 4, column 1 (BJD_TDB): the times must rise",
        "column 2 (flux): the flux must be relative, about 1; its median is 200.5",
    ]


def test_exoclock_says_what_the_form_asks(star, tmp_path):
    paths = written(ExoClock(planet="HAT-P-32b"), star, tmp_path)
    assert len(paths) == 2
    head = dict(re.findall(r"^#([^:\n]+): (.*)$", paths[0].read_text(), re.MULTILINE))
    assert head == {
        "Planet": "HAT-P-32b", "Time format": "BJD_TDB", "Time stamp": "Mid-exposure", "Flux format": "Flux",
        "Filter": "V", "Exposure time in seconds": "120",
    }  # fmt: skip
    time, flux, error = np.loadtxt(paths[1]).T
    np.testing.assert_allclose(time, star["bjd_tdb"].value[4:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(flux * 200.5, [201.0, 199.0, 200.0, 202.0], atol=1e-5)
    np.testing.assert_allclose(error * 200.5, 5.0, atol=1e-5)
    (path, *_) = written(ExoClock(planet="HAT-P-32b", time="JD_UTC"), star, tmp_path)
    np.testing.assert_allclose(np.loadtxt(path)[:, 0], star["mjd"].value[:4] + 2400000.5, rtol=0, atol=1e-8)
    assert ExoClock().recognises(path)
    assert not ExoClock().faults(path)


def test_exoclock_refuses_and_finds_faults(star, tmp_path):
    with pytest.raises(UnusableInput, match="-o planet="):
        ExoClock().export(star[:4], tmp_path / "x")
    star["exptime"] = np.nan
    with pytest.raises(UnusableInput, match=r"exptime.*once more"):
        ExoClock(planet="b").export(star[:4], tmp_path / "x")
    path = tmp_path / "a.txt"
    path.write_text(
        "#Planet: b\n#Time format: MJD\n#Time stamp: Mid-exposure\n#Flux format: Flux\n#Filter: V\n60360 1 0.1\n"
    )
    assert [str(f) for f in ExoClock().faults(path)] == [
        "the comment Exposure time in seconds is missing",
        'line 2, column Time format: "MJD" is none of BJD_TDB, HJD_UTC, JD_UTC',
        "line 6, column 1 (time): 60360 is out of range for a Julian date: between 2.41502e+06 and 2.48807e+06",
    ]


def test_exoplanet_report(star, tmp_path):
    exporter = AavsoExoplanet(**REPORT)
    paths = written(exporter, star, tmp_path)
    lines = paths[0].read_text(encoding="ascii").splitlines()
    head = dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    assert lines[0] == "#TYPE=EXOPLANET"
    expected = {
        "OBSCODE": "ABC", "DELIM": ",", "DATE_TYPE": "BJD_TDB", "OBSTYPE": "CCD", "STAR_NAME": "HAT-P-32",
        "EXOPLANET_NAME": "HAT-P-32 b", "BINNING": "1x1", "EXPOSURE_TIME": "120", "MEASUREMENT_TYPE": "Rnflux",
        "FILTER": "V", "DETREND_PARAMETERS": "AIRMASS, X(FITS)", "PRIORS": "Period=2.15 +/- 1e-06,ecc=0",
        "RESULTS": "Tc=2460360.705 +/- 0.0003,Rp/R*=0.15 +/- 0.001",
    }  # fmt: skip
    assert {k: head[k] for k in expected} == expected
    assert json.loads(head["RESULTS-XC"])["Tc"] == {
        "value": "2460360.705", "uncertainty": "0.0003", "units": "BJD_TDB",
    }  # fmt: skip
    assert "#DATE,DIFF,ERR,DETREND_1,DETREND_2" in lines
    rows = np.array([line.split(",") for line in lines if not line.startswith("#")], float)
    np.testing.assert_allclose(rows[:, 0], star["bjd_tdb"].value[:4], rtol=0, atol=1e-8)
    np.testing.assert_allclose(rows[:, 1], np.array([200.0, 210.0, 190.0, 205.0]) / 202.5, atol=1e-7)
    np.testing.assert_allclose(rows[:, 2], 5.0 / 202.5, atol=1e-7)
    np.testing.assert_allclose(rows[:, 4], 512.25)  # the first pixel of FITS is 1
    assert exporter.recognises(paths[0])
    assert not exporter.faults(paths[0])


@pytest.mark.parametrize("lacking", ["star", "planet", "priors", "results"])
def test_exoplanet_report_refuses_without_what_it_must_say(lacking, star, tmp_path):
    with pytest.raises(UnusableInput, match=f"the report wants {lacking}"):
        AavsoExoplanet(**{k: v for k, v in REPORT.items() if k != lacking}).export(star[:4], tmp_path / "x")


@pytest.mark.parametrize("named", ["G_open", "g_OPEN"])
def test_exoplanet_report_takes_the_users_filter_whatever_the_case(named, tmp_path):
    path = tmp_path / "a.aavso-exoplanet.txt"
    AavsoExoplanet(**REPORT, filters={named: "CV"}).export(curve_of("g_open", sources=("A",))[:4], path)
    assert "#FILTER=CV" in path.read_text().splitlines()


def test_exoplanet_report_refuses_a_band_without_a_filter(tmp_path):
    with pytest.raises(UnusableInput, match='no filter for the band "G"'):
        AavsoExoplanet(**REPORT).export(curve_of("G", sources=("A",))[:4], tmp_path / "x")


def test_exoplanet_faults(star, tmp_path):
    exporter = AavsoExoplanet(**REPORT)
    (path, _) = written(exporter, star, tmp_path)
    text = (
        path.read_text()
        .replace("=ABC", "=none")
        .replace("BJD_TDB\n", "MJD\n", 1)
        .replace("AIRMASS, X(FITS)", "AIRMASS")
    )
    text = text.replace("#FILTER=V\n", "").replace("\n2460360.71", "\n60360.71", 1)
    path.write_text(text)
    found = {f.column or str(f): f.message for f in exporter.faults(path)}
    assert found["OBSCODE"].startswith("no observer's code")
    assert found["DATE_TYPE"].startswith('"MJD" is none of')
    assert found["DETREND_PARAMETERS"] == "1 parameters for 2 columns DETREND"
    assert "out of range for a Julian date" in found["DATE"]
    assert "the parameter FILTER is missing" in found
