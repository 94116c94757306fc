"""PyCS3, SkyPortal, ATLAS and TNS, read back by what their readers and specifications say."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, get_body_barycentric
from astropy.table import Table
from astropy.time import Time
from exported_curves import curve_of

from lcframework.types import UnusableInput
from plugins_builtin.exporters.atlas import Atlas
from plugins_builtin.exporters.pycs import Pycs
from plugins_builtin.exporters.skyportal import SkyPortal
from plugins_builtin.exporters.tns import Tns


def read_csv(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def read_rdb(path, image):
    """Read one image as `pycs3.gen.lc_func.rdbimport` does: two lines of head, comments, values between blanks."""
    lines = path.read_text().splitlines()
    headers = lines[0].split()
    assert [len(h) for h in headers] == [len(u) for u in lines[1].split()]
    rows = [line.split() for line in lines[2:] if line[0] != "#" and len(line.strip()) >= 5]
    assert {len(r) for r in rows} == {len(headers)}
    columns = ("mhjd", f"mag_{image}", f"magerr_{image}", "mbjd")
    assert {r[headers.index("flag")] for r in rows} <= {"True", "False"}
    return np.array([[float(r[headers.index(c)]) for c in columns] for r in rows]).T


def test_pycs_times_are_heliocentric_and_barycentric(curve, tmp_path):
    ((name, part),) = Pycs().files(curve).items()
    assert name == "J0248_r.rdb"
    Pycs().export(part, tmp_path / name)
    mhjd, mag, error, mbjd = read_rdb(tmp_path / name, "B")
    seen = [0, 3, 4, 5, 6, 7]  # B is lost in the second epoch, and below 3 sigma in the third
    mjd = curve["mjd"].value[seen]
    # Light reaches the sun before the Earth, or after, by the Earth's way along the line of sight.
    times = Time(mjd, format="mjd", scale="utc")
    way = get_body_barycentric("earth", times) - get_body_barycentric("sun", times)
    delay = way.dot(SkyCoord(42.2031, 19.22528, unit="deg").cartesian).to_value("m") / 299792458.0 / 86400
    assert np.all(np.abs(delay) > 1e-4)
    np.testing.assert_allclose(mhjd, mjd + delay, rtol=0, atol=2e-6)
    np.testing.assert_allclose(mbjd, curve["bjd_tdb"].value[seen] - 2400000.5, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mag, curve["B_mag"].value[seen], atol=1e-5)
    np.testing.assert_allclose(error, 1.085736 * 5 / curve["B_flux"].value[seen], atol=1e-5)
    text = (tmp_path / name).read_text()
    assert "2 epochs were left out" in text
    assert "mhjd: heliocentric Julian date (UTC) - 2400000.5" in text
    assert not Pycs().faults(tmp_path / name)
    Pycs(sources=("A",)).export(part, tmp_path / name)
    assert len(read_rdb(tmp_path / name, "A")[0]) == 8


@pytest.mark.parametrize("unknown", [slice(None), slice(1)], ids=["in all epochs", "in one"])
def test_pycs_leaves_out_barycentric_times_that_are_not_known(unknown, curve, tmp_path):
    curve["bjd_tdb"][unknown] = np.nan
    path = tmp_path / "a.rdb"
    Pycs(sources=("A",)).export(curve, path)
    lines = path.read_text().splitlines()
    assert lines[0].split("\t")[:2] == ["mhjd", "telescope"]
    assert len([line for line in lines[2:] if not line.startswith("#")]) == len(curve)
    assert not re.search("mbjd|nan", path.read_text())
    assert not Pycs().faults(path)


def test_pycs_refuses_several_bands_and_what_has_no_magnitudes(tmp_path):
    from astropy.table import vstack

    both = vstack([curve_of("r"), curve_of("g")])
    assert list(Pycs().files(both)) == ["J0248_r.rdb", "J0248_g.rdb"]
    with pytest.raises(UnusableInput, match="here are g, r: choose one"):
        Pycs().export(both, tmp_path / "x")
    plain = curve_of(zeropoint=np.nan)
    with pytest.raises(UnusableInput, match=r"not calibrated.*\[calibration\].*zeropoint=25"):
        Pycs().export(plain, tmp_path / "x")
    Pycs(zeropoint=25.0).export(plain, tmp_path / "a.rdb")
    assert read_rdb(tmp_path / "a.rdb", "A")[1][0] == pytest.approx(25 - 2.5 * np.log10(200), abs=1e-5)


def test_bands_whose_names_differ_by_a_mark_have_files_of_their_own():
    from astropy.table import vstack

    both = vstack([curve_of("r", sources=("A",)), curve_of("r'", sources=("A",))])
    assert {name: str(part["band"][0]) for name, part in Pycs().files(both).items()} == {
        "J0248_r.rdb": "r", "J0248_r-2.rdb": "r'",
    }  # fmt: skip


def test_pycs_faults(curve, tmp_path):
    path = tmp_path / "a.rdb"
    Pycs().export(curve, path)
    lines = path.read_text().splitlines()
    assert Pycs().recognises(path)
    lines[1] = lines[1].replace("====\t====", "====\t===", 1)
    lines[4] = lines[4].replace("60360.", "2460360.", 1)
    lines[5] += "\textra"
    path.write_text("\n".join(lines) + "\n")
    assert [(f.line, f.column) for f in Pycs().faults(path)] == [(2, ""), (5, "mhjd"), (6, "")]


def test_skyportal_keeps_every_flux(curve, tmp_path):
    files = SkyPortal(instrument_id=7).files(curve)
    assert list(files) == ["J0248_A.skyportal.csv", "J0248_B.skyportal.csv"]
    for name, part in files.items():
        SkyPortal(instrument_id=7).export(part, tmp_path / name)
        assert SkyPortal().recognises(tmp_path / name)
        assert not SkyPortal().faults(tmp_path / name)
    rows = read_csv(tmp_path / "J0248_B.skyportal.csv")
    assert list(rows[0]) == ["mjd", "flux", "fluxerr", "zp", "magsys", "filter", "instrument_id"]
    np.testing.assert_allclose([float(r["flux"]) for r in rows], curve["B_flux"].value)
    np.testing.assert_allclose([float(r["mjd"]) for r in rows], curve["mjd"].value, rtol=0, atol=1e-8)
    assert {(r["magsys"], r["filter"], float(r["zp"]), float(r["fluxerr"])) for r in rows} == {
        ("ab", "sdssr", 24.5, 5.0)
    }


@pytest.mark.parametrize(
    ("band", "system", "filters", "expected"),
    [
        ("V", "Vega", {}, ("bessellv", "vega")),
        ("g_ps1", "AB", {}, ("ps1::g", "ab")),
        ("G", "Vega", {"G": "gaia::g"}, ("gaia::g", "vega")),
    ],
)
def test_skyportal_filters(band, system, filters, expected, tmp_path):
    SkyPortal(filters=filters).export(curve_of(band, system, ("A",)), tmp_path / "a.csv")
    rows = read_csv(tmp_path / "a.csv")
    assert {(r["filter"], r["magsys"]) for r in rows} == {expected}


def test_skyportal_refuses_what_it_can_not_say(tmp_path):
    with pytest.raises(UnusableInput, match='no filter for the band "G"'):
        SkyPortal().export(curve_of("G", sources=("A",)), tmp_path / "x")
    with pytest.raises(UnusableInput, match="not calibrated"):
        SkyPortal().export(curve_of(zeropoint=np.nan, sources=("A",)), tmp_path / "x")


def test_skyportal_faults_of_magnitudes_without_limits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("mjd,mag,magerr,magsys,filter\n60360.1,19.0,0.1,AB,sdssr\n2460360.1,19.0,0.1,ab,\n")
    assert [str(f) for f in SkyPortal().faults(path)] == [
        "line 1: the column limiting_mag is missing",
        'line 2, column magsys: "AB" is none of ab, vega',
        "line 3, column mjd: 2460360.1 is out of range for a modified Julian date: between 15020 and 88070",
        "line 3, column filter: it is empty",
    ]


def test_atlas_has_microjanskys_at_the_beginning_of_exposures(curve, tmp_path):
    for name, part in Atlas().files(curve).items():
        Atlas().export(part, tmp_path / name)
        assert Atlas().recognises(tmp_path / name)
        assert not Atlas().faults(tmp_path / name)
    text = (tmp_path / "J0248_B.atlas.txt").read_text()
    assert text.startswith("###MJD m dm uJy duJy F err chi/N RA Dec x y maj min phi apfit mag5sig Sky Obs\n")
    table = Table.read(text.replace("###", ""), format="ascii.basic")
    start = curve["mjd"].value - 60.0 / 86400  # half of two minutes
    np.testing.assert_allclose(table["MJD"], start, rtol=0, atol=1e-6)
    per_electron = 10 ** (0.4 * (23.9 - 24.5))
    np.testing.assert_allclose(table["uJy"], curve["B_flux"].value * per_electron, rtol=1e-5)
    np.testing.assert_allclose(table["duJy"], 5.0 * per_electron, rtol=1e-5)
    np.testing.assert_allclose(table["m"][[0, 3]], curve["B_mag"].value[[0, 3]], atol=1e-3)
    assert np.isnan(table["m"][1])
    assert table["uJy"][1] < 0
    assert (table["RA"][0], table["Dec"][0]) == (42.2034, 19.22528)
    np.testing.assert_allclose(table["x"], 513.25, atol=0.01)
    np.testing.assert_allclose(table["maj"], 3.6)
    np.testing.assert_allclose(table["mag5sig"], 24.5 - 2.5 * np.log10(20.0), atol=0.01)


def test_atlas_and_tns_refuse_other_magnitudes_than_ab(star, tmp_path):
    star.meta["magnitude_system"] = "Vega"
    for exporter in (Atlas(), Tns()):
        with pytest.raises(UnusableInput, match=r"these of V are Vega: set \[calibration\]"):
            exporter.export(star, tmp_path / "x")


def test_atlas_faults(curve, tmp_path):
    (name, part), _ = Atlas().files(curve).items()
    Atlas().export(part, tmp_path / name)
    lines = (tmp_path / name).read_text().splitlines()
    values = lines[3].split()
    values[1] = "12.000"
    lines[3] = " ".join(values)
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    (fault,) = Atlas().faults(tmp_path / name)
    assert (fault.line, fault.column) == (4, "m")
    assert "is not the AB magnitude of" in fault.message


def test_tns_photometry(curve, tmp_path):
    exporter = Tns(instrument=172, observer="A. Observer")
    for name, part in exporter.files(curve).items():
        exporter.export(part, tmp_path / name)
        assert exporter.recognises(tmp_path / name)
        assert not exporter.faults(tmp_path / name)
    rows = read_csv(tmp_path / "J0248_B.tns.csv")
    np.testing.assert_allclose(Time([r["obsdate"] for r in rows], scale="utc").mjd, curve["mjd"].value, atol=1e-8)
    assert [bool(r["flux"]) for r in rows] == [True, False, False, True, True, True, True, True]
    assert float(rows[0]["flux"]) == pytest.approx(curve["B_mag"].value[0], abs=6e-4)
    assert float(rows[1]["limiting_flux"]) == pytest.approx(24.5 - 2.5 * np.log10(25.0), abs=6e-3)
    assert float(rows[2]["limiting_flux"]) == pytest.approx(24.5 - 2.5 * np.log10(35.0), abs=6e-3)
    assert {(r["flux_units"], r["filter_value"], r["instrument_value"], r["exptime"]) for r in rows} == {
        ("1", "22", "172", "120")
    }


def test_tns_report(curve, tmp_path):
    curve["B_flux"][0] = -1.0 * curve["B_flux"].unit
    options = {"source": "B", "report": True, "reporter": "A. Observer (Somewhere)", "group": 5, "instrument": 172}
    exporter = Tns(**options)
    ((name, part),) = exporter.files(curve).items()
    assert name == "J0248.tns.json"
    exporter.export(part, tmp_path / name)
    report = json.loads((tmp_path / name).read_text())["at_report"]["0"]
    assert (report["ra"]["value"], report["dec"]["value"]) == ("42.203400", "19.225280")
    assert Time(report["discovery_datetime"]).mjd == pytest.approx(curve["mjd"].value[3], abs=1e-8)
    assert Time(report["non_detection"]["obsdate"]).mjd == pytest.approx(curve["mjd"].value[2], abs=1e-8)
    assert len(report["photometry"]["photometry_group"]) == 5
    assert not exporter.faults(tmp_path / name)
    with pytest.raises(UnusableInput, match="-o reporter="):
        Tns(report=True).export(part, tmp_path / "x")
    with pytest.raises(UnusableInput, match="-o archive="):
        Tns(**options | {"source": "A"}).export(curve, tmp_path / "x")


def test_tns_faults(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "obsdate,flux,flux_error,limiting_flux,flux_units,filter_value,instrument_value,exptime,observer,comments\n"
        "20240220,18.1,0.1,,1,22,0,60,,\n2024-02-20 04:48:00,,,,AB,22,0,60,,\n"
    )
    assert [(f.line, f.column) for f in Tns().faults(path)] == [(2, "obsdate"), (3, "flux_units"), (3, "flux")]
    (tmp_path / "a.json").write_text('{"at_report": {"0": {"ra": {"value": "400"}, "dec": {"value": "0"}}}}')
    texts = [str(f) for f in Tns().faults(tmp_path / "a.json")]
    assert "report 0: photometry is missing" in texts
    assert any("400 is out of range" in t for t in texts)
