"""Files and regions with names that could be paths, are no text, or too long: each has a place within the workdir."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lcframework.config.project_file import ConfigError, load
from lcframework.project import Project
from lcframework.report import write_report
from lcframework.roi.cutout_files import stem
from lcframework.types import LcfError

ODD = [
    b"..fits",
    b"...fits",
    b".hidden.fits",
    b"caf\xe9.fits",
    b"a\nb\x07.fits",
    b"x" * 250 + b".fits",
    b" .fits",
    b"-rf.fits",
    "é\N{RIGHT-TO-LEFT OVERRIDE}☂.fits".encode(),
    b"con.fits",
    b"a:b*c?.fits",
    b"%s{0}<b>.fits",
    b"_sources.fits",
]
HEADER = {"EXPTIME": 60.0, "GAIN": 1.5, "DATE-OBS": "2024-01-01T01:00:00", "INSTRUME": "../x", "FILTER": "r"}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(1)
    for number, name in enumerate(ODD):
        image = rng.normal(500 + number, 20, (64, 64)).astype(np.float32)
        fits.PrimaryHDU(image, fits.Header(HEADER)).writeto(tmp_path / "one.fits", overwrite=True)
        os.rename(tmp_path / "one.fits", os.fsencode(tmp_path / "raw") + b"/" + name)
    path = tmp_path / "project.toml"
    path.write_text('[frames]\npattern = "*"\n[roi.X]\nra = 1.0\ndec = 2.0\n[run]\nworkers = 1\noffline = true\n')
    return path


@pytest.mark.slow
def test_names_of_raw_files(project, lcf):
    ended = lcf("run", project, "--stop", "read_convert_skysub_character_catalog")
    assert ended.code == 0, ended.err
    keys = [str(key) for key in Project.open(project).frames()["key"]]
    assert len({key.casefold() for key in keys}) == len(ODD)
    made = project.parent / "frames"
    assert {p.parent for key in keys for p in made.glob(f"{key}.fits")} == {made}
    assert len([p for p in made.iterdir() if p.name.endswith("_sources.fits")]) == len(ODD)
    assert all(key.isprintable() and not key.startswith(".") and len(key.encode()) <= 120 for key in keys)
    assert Project.open(project).run(stop="read_convert_skysub_character_catalog").units_done == 0
    answer = json.loads(lcf("status", project, "--json").out)
    assert len(answer["frames"]) == len(ODD)
    assert lcf("status", project, "--all", "--why").code == 0
    assert "caf" in write_report(Project.open(project)).read_text()


def test_reasons_with_names_that_are_no_text(project, lcf):
    for path in (project.parent / "raw").iterdir():
        path.write_bytes(b"no FITS, " + os.fsencode(path.name))
    ended = lcf("run", project, "--stop", "read_convert_skysub_character_catalog")
    assert ended.code == 3, ended.err
    assert r"caf\xe9.fits can't be read as FITS" in lcf("status", project, "--all").out
    assert lcf("status", project, "--json").code == 0
    assert lcf("exclude", project, os.fsdecode(b"caf\xe9.fits"), "--why", os.fsdecode(b"\xe9")).code == 0


@pytest.mark.parametrize(
    "name", [".", "..", "...", "a/b", "", " ", "a\\u0000b", "a\\nb", "x" * 101, "é" * 51], ids=range(10)
)
def test_names_of_regions_that_are_refused(tmp_path, name):
    (tmp_path / "p.toml").write_text(f'[roi."{name}"]\nra = 1.0\ndec = 2.0\n')
    with pytest.raises(ConfigError, match="becomes part of file names"):
        load(tmp_path / "p.toml")


@pytest.mark.parametrize("name", ["x.y", ".x", "x..", "J0248+19", "x" * 100, "Σ"])
def test_names_of_regions_that_are_taken(tmp_path, name):
    (tmp_path / "p.toml").write_text(f'[roi."{name}"]\nra = 1.0\ndec = 2.0\n')
    assert list(load(tmp_path / "p.toml").roi) == [name]


def test_names_of_groups_fit_into_file_names():
    long = {stem("x" * 100, "i" * 68, band * 68) for band in "ab"}
    assert len(long) == 2
    assert all(len(name) < 200 for name in long)
    assert stem("X", "../x", "r") == stem("X", "../x", "r")
    assert Path(stem("X", "../x", "..")).name == stem("X", "../x", "..")


@pytest.mark.parametrize("option", ['workdir = "{}"', 'workdir = "a/{}/b"'])
@pytest.mark.parametrize("name", ["w" * 5000, "a/" * 3000, "a\\u0000b", "a\\nb"], ids=["name", "path", "zero", "line"])
def test_workdirs_that_no_file_system_has(tmp_path, lcf, option, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / "p.toml").write_text(f"[project]\n{option.format(name)}\n[roi.X]\nra = 1.0\ndec = 2.0\n")
    for command in ("run", "status"):
        ended = lcf(command, tmp_path / "p.toml")
        assert ended.code == 1
        assert "can't be a path" in ended.err
        assert len(ended.err) < 1000


@pytest.mark.parametrize(
    "text",
    [
        '[frames]\nraw_dirs = ["{}"]',
        '[reduction]\ndirs = ["{}"]',
        '[plugins]\nlocal = ["{}"]',
        '[stars]\nplugin = "file"\n[stars.file]\npath = "{}"',
    ],
    ids=["raw", "calibration", "plugins", "stars"],
)
@pytest.mark.parametrize("name", ["w" * 5000, "a\\u0000b"], ids=["long", "zero"])
def test_other_paths(tmp_path, text, name):
    (tmp_path / "raw").mkdir()
    (tmp_path / "p.toml").write_text(f"{text.format(name)}\n[roi.X]\nra = 1.0\ndec = 2.0\n[run]\noffline = true\n")
    with pytest.raises(LcfError, match="can't be a path"):
        Project.open(tmp_path / "p.toml").status()
