"""``lcf export``: files of a finished project, and the check of files before they are sent."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable
from sqlmodel import select

from lcframework.exporting import check_file, export_files
from lcframework.plugins import Plugins
from lcframework.project import Project
from lcframework.storage.tables import StarLevel
from lcframework.testing import example_project
from lcframework.types import LcfError, UnusableInput
from plugins_builtin.exporters import aavso, atlas, csv, exoclock, exofast, fits, pycs, skyportal, tns

MODULES = (aavso, atlas, csv, exoclock, exofast, fits, pycs, skyportal, tns)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return example_project(tmp_path_factory.mktemp("export") / "project")


@pytest.fixture(scope="module")
def plugins():
    """Return the exporters alone, whatever is installed."""
    return Plugins([(m.__name__.rpartition(".")[2], "lcframework 0", lambda m=m: m) for m in MODULES])


@pytest.fixture(scope="module")
def opened(project, plugins):
    """Return the project, and with it the exporters under test."""
    found = Project.open(project)
    return Project(found.config, found.toolbox, found.stages, plugins)


def test_check_says_line_and_column_of_each_fault(project, lcf, tmp_path):
    ended = lcf("export", project, "--format", "aavso", "-o", "observer=ABC", "--output", tmp_path)
    assert ended.code == 0, ended.err
    path = tmp_path / "EXAMPLE.aavso.txt"
    assert ended.out.split() == [str(path)]
    ended = lcf("export", "--check", path)
    assert (ended.code, ended.out) == (0, f"{path}: nothing is wrong (aavso)\n")
    path.write_text(path.read_text().replace(",SR,", ",red,", 1))
    ended = lcf("export", "--check", path, "--format", "aavso")
    assert ended.code == 1
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if ",red," in text)
    assert f"{path}: line {line}, column FILT: " in ended.out
    assert "1 fault found" in ended.err


def test_light_curves_of_comparison_stars(project, lcf, tmp_path):
    ended = lcf("export", project, "--stars", "--output", tmp_path)
    assert ended.out.split() == [str(tmp_path / "EXAMPLE_stars.ecsv")]
    stars = QTable.read(tmp_path / "EXAMPLE_stars.ecsv", format="ascii.ecsv")
    curve = Project.open(project).light_curve_table("EXAMPLE")
    assert stars["mjd"].value.tolist() == curve["mjd"].value.tolist()
    assert stars.meta["region"] == "EXAMPLE"
    with Project.open(project).session() as session:
        for letter, about in stars.meta["stars"].items():
            level = session.exec(select(StarLevel).where(StarLevel.gaia_id == about["id"])).one()
            flux, error = stars[f"{letter}_flux"].value, stars[f"{letter}_d_flux"].value
            assert about["left_out"] == level.comment
            assert abs(np.average(flux, weights=error**-2) - level.level) < 4 * error.mean() / np.sqrt(len(flux))
    # Files of a region and of its stars, in formats that name their files, do not replace each other.
    assert lcf("export", project, "--format", "pycs", "--output", tmp_path).code == 0
    assert lcf("export", project, "--stars", "--format", "pycs", "--output", tmp_path).code == 0
    assert len(list(tmp_path.glob("EXAMPLE_stars*.rdb"))) * 2 == len(list(tmp_path.glob("EXAMPLE*.rdb")))


def test_check_refuses_what_nobody_knows(lcf, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("hello\n")
    ended = lcf("export", "--check", path)
    assert ended.code == 1
    assert "of no format that is known here; name it by --format" in ended.err
    assert "no such file" in lcf("export", "--check", tmp_path / "b.txt").err
    assert "these do:" in lcf("export", "--check", path, "--format", "nothing").err
    assert lcf("export", "--check", path, "--output", tmp_path).code == 2
    assert lcf("export").code == 2


def test_each_format_is_recognised_by_its_own_exporter_alone(opened, plugins, tmp_path):
    tables = opened.light_curve_tables()
    options = {"exoclock": {"planet": "b", "source": "A"}}
    for name in plugins.names("lcf_exporters"):
        paths = export_files(opened, name, opened.exporter(name, options.get(name, {})), tables, tmp_path / name)
        assert paths
        for path in paths:
            checked = check_file(plugins, path)
            assert (checked.format, checked.path) == (name, path)
            assert [str(f) for f in checked.faults if f.column != "OBSCODE"] == []


def test_files_that_an_exporter_names(opened, tmp_path):
    tables = opened.light_curve_tables()
    paths = export_files(opened, "exofast", opened.exporter("exofast", {"source": "B"}), tables, tmp_path)
    assert [p.name for p in paths] == [f"n202402{d:02d}.Sloanr.ExampleCam.dat" for d in (20, 21, 22, 23)]


def test_one_region_that_is_refused_does_not_stop_the_others(opened, tmp_path):
    table = opened.light_curve_table()
    bad = table.copy()
    bad["band"] = "W"
    with pytest.raises(UnusableInput, match=r'^X: EXOFAST has no filter for the band "W"'):
        export_files(opened, "exofast", opened.exporter("exofast", {"source": "A"}), {"X": bad, "Y": table}, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_of_two_formats_must_be_named(plugins, tmp_path):
    path = tmp_path / "n20240220.V.cam.dat"
    path.write_text("###MJD m\n")
    with pytest.raises(LcfError, match="may be of the formats atlas, exofast"):
        check_file(plugins, path)
    assert check_file(plugins, path, "atlas").format == "atlas"


def test_a_light_curve_says_where_its_sources_are(opened):
    meta = opened.light_curve_table().meta
    assert (meta["ra"], meta["dec"]) == (150.0, -28.0)
    assert meta["positions"] == {"A": [150.0, -28.0], "B": [150.0003, -28.0]}


def test_lightkurve(opened):
    lightkurve = pytest.importorskip("lightkurve")
    table = opened.light_curve_table()
    curve = opened.lightkurve(source="B")
    assert isinstance(curve, lightkurve.LightCurve)
    assert curve.time.scale == "tdb"
    assert list(curve.time.jd) == pytest.approx(list(table["bjd_tdb"].value), abs=1e-8)
    assert list(curve.flux.value) == list(table["B_flux"].value)
    assert list(curve.flux_err.value) == list(table["B_d_flux"].value)
    assert "mag" in curve.colnames
    assert "A_flux" not in curve.colnames
    assert (curve.meta["band"], curve.meta["instrument"]) == ("r", "ExampleCam")
    assert len(curve.bin(time_bin_size=2.0).flux) == 2
    assert curve.normalize().flux.value.mean() == pytest.approx(1.0, abs=0.1)
    with pytest.raises(LcfError, match='no source "C"'):
        opened.lightkurve(source="C")
