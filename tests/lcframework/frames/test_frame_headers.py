"""Headers of frames that are to be reduced: read once, and again where the file changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlmodel import Session

from lcframework.frames.found_file import FoundFile
from lcframework.frames.reduction import Calibrations, FramePlan
from lcframework.project import Project
from lcframework.storage.connection import open_engine

TOML = """
[roi.target]
ra = 150.0
dec = 10.0
[reduction]
plugin = "ccdproc"
dirs = []
[reduction.ccdproc]
missing = "skip"
band_keywords = ["FILTER"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project.toml").write_text(TOML)
    return Project.open(tmp_path / "project.toml")


def write(path: Path, band: str) -> None:
    header = fits.Header({"IMAGETYP": "light", "FILTER": band, "EXPTIME": 30.0})
    fits.PrimaryHDU(np.zeros((20, 30), np.int16), header).writeto(path, overwrite=True)


def planned(project: Project, path: Path, contents: str) -> FramePlan:
    """Return the plan of a frame with a digest of its contents, as a run of its own makes it."""
    engine = open_engine("", project.workdir)
    with Session(engine) as session:
        calibrations = Calibrations(session, project.toolbox, lambda header, path: "")
        plan = calibrations.frame(FoundFile(1, str(path), "key", raw_digest=contents))
        calibrations.record()
        session.commit()
    engine.dispose()
    return plan


def test_a_changed_file_is_read_again(project, tmp_path):
    path = tmp_path / "frame.fits"
    for band, contents in (("r", "first"), ("i", "second")):
        write(path, band)
        assert planned(project, path, contents).exposure.band == band


def test_an_unchanged_file_is_not_read_again(project, tmp_path):
    path = tmp_path / "frame.fits"
    write(path, "r")
    planned(project, path, "first")
    path.unlink()
    assert planned(project, path, "first").exposure.band == "r"
