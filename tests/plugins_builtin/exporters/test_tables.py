"""FITS and Parquet are read back by astropy and pyarrow; files that hold a light curve whole are checked."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lcframework.testing import check_exporter
from plugins_builtin.exporters.csv import Csv
from plugins_builtin.exporters.ecsv import Ecsv
from plugins_builtin.exporters.fits import FitsTable
from plugins_builtin.exporters.parquet import Parquet
from plugins_builtin.exporters.votable import VoTable

WHOLE = {"ecsv": Ecsv, "csv": Csv, "votable": VoTable, "fits": FitsTable, "parquet": Parquet}


@pytest.mark.parametrize("name", ["fits", "parquet"])
def test_conforms(name, tmp_path):
    check_exporter(WHOLE[name](), tmp_path / f"curve.{WHOLE[name].suffix}")


@pytest.mark.filterwarnings("ignore:.*electron/s")
def test_fits_comes_back_with_units(curve, tmp_path):
    FitsTable().export(curve, tmp_path / "a.fits")
    back = Table.read(tmp_path / "a.fits", hdu="LIGHTCURVE")
    assert back.colnames == curve.colnames
    for name in curve.colnames:
        units = [str(getattr(table[name], "unit", None) or "").replace(" ", "") for table in (back, curve)]
        assert units[0] == units[1], name
        if back[name].dtype.kind == "f":
            values = (np.asarray(getattr(table[name], "value", table[name])) for table in (back, curve))
            np.testing.assert_array_equal(*values, name)
        else:
            assert back[name].tolist() == curve[name].tolist()
    header = fits.getheader(tmp_path / "a.fits", "LIGHTCURVE")
    number = curve.colnames.index("A_d_flux_common") + 1
    assert header[f"TUCD{number}"] == "stat.error.sys;phot.flux"
    assert (header["MAGSYS"], header["OBJECT"], header["TIMESYS"]) == ("AB", "J0248", "UTC")


def test_parquet_comes_back_with_units_and_nulls(curve, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    Parquet().export(curve, tmp_path / "a.parquet")
    back = parquet.read_table(tmp_path / "a.parquet")
    assert back.column_names == curve.colnames
    assert back.column("B_mag").to_pylist()[1] is None
    assert back.column("B_flux").to_pylist() == curve["B_flux"].value.tolist()
    assert back.column("band").to_pylist() == ["r"] * 8
    assert back.schema.field("A_flux").metadata[b"unit"] == b"electron / s"
    assert back.schema.field("bjd_tdb").metadata[b"unit"] == b"d"
    assert back.schema.metadata[b"magnitude_system"] == b"AB"
    assert back.schema.metadata[b"bjd_tdb"] == b"BJD in TDB, mid-exposure"


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_we_write_has_no_faults(name, curve, tmp_path):
    exporter = WHOLE[name]()
    path = tmp_path / f"a.{exporter.suffix}"
    exporter.export(curve, path)
    assert exporter.recognises(path)
    assert list(exporter.faults(path)) == []
    assert [n for n, cls in WHOLE.items() if cls().recognises(path)] == [name]


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_faults_have_their_place(name, curve, tmp_path):
    """A JD where an MJD belongs, a BJD of another day, an error of 0, and a magnitude that is not that of its flux."""
    exporter = WHOLE[name]()
    bad = Table(curve, copy=True)
    bad["mjd"][2] += 2400000.5
    bad["bjd_tdb"][4] += 1.0
    bad["A_d_flux"][5] = 0.0
    bad["A_mag"][6] += 0.1
    path = tmp_path / f"a.{exporter.suffix}"
    exporter.export(bad, path)
    faults = exporter.faults(path)
    assert {f.column for f in faults} == {"mjd", "bjd_tdb", "A_d_flux", "A_mag"}
    if name in ("csv", "ecsv"):
        lines = path.read_text().splitlines()
        first = next(n for n, line in enumerate(lines, 1) if line.startswith("1,") or line.startswith("1 "))
        places = {f.column: f.line for f in faults if f.column != "bjd_tdb"}
        assert places == {"mjd": first + 2, "A_d_flux": first + 5, "A_mag": first + 6}
    else:
        assert any(str(f).startswith("column A_mag: row 7: ") for f in faults)


def test_another_unit_is_a_fault(curve, tmp_path):
    bad = Table(curve, copy=True)
    bad["seeing"].unit = "deg"
    bad["colour"] = 1.0
    Ecsv().export(bad, tmp_path / "a.ecsv")
    faults = {f.column: f.message for f in Ecsv().faults(tmp_path / "a.ecsv")}
    assert faults == {
        "seeing": 'the unit is "deg", not "arcsec"',
        "colour": "no light curve has such a column",
    }


def test_what_can_not_be_read_is_a_fault(tmp_path):
    (tmp_path / "a.vot").write_text("<VOTABLE><RESOURCE>")
    (fault,) = VoTable().faults(tmp_path / "a.vot")
    assert "can't be read" in str(fault)
