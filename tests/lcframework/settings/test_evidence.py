"""What rules decide by: the gain, on pairs of frames that differ by their noise alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlmodel import Session, select

from lcframework.config.project_file import load
from lcframework.config.toolbox import select as select_tools
from lcframework.frames.header_gains import note_gains
from lcframework.frames.samples import pairs_alike
from lcframework.plugins import Plugins
from lcframework.settings.evidence import evidence
from lcframework.storage.connection import open_engine
from lcframework.storage.queries import frame_rows
from lcframework.storage.tables import Frame

GAIN = 2.0


def write_frame(path: Path, band: str, response: np.ndarray, level: float, rng: np.random.Generator) -> None:
    """Write a raw frame without a gain: a sky that rises by half, seen by pixels of unlike response."""
    electrons = rng.poisson(GAIN * level * response * np.linspace(0.8, 1.2, response.shape[1]))
    header = fits.Header({"EXPTIME": 60.0, "FILTER": band, "MJD-OBS": 60000.0 + len(list(path.parent.iterdir())) / 500})
    fits.writeto(path, (electrons / GAIN).round().astype(np.uint16), header)


def test_the_gain_by_frames_of_one_filter_each(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    project = tmp_path / "project.toml"
    project.write_text("[roi.T]\nra = 10.0\ndec = 20.0\n")
    rng = np.random.default_rng(5)
    response = {band: rng.normal(1.0, 0.02, (256, 256)) for band in "rg"}  # each filter's own
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        for i in range(8):
            path = tmp_path / "raw" / f"{i}.fits"
            write_frame(path, "rg"[i % 2], response["rg"[i % 2]], 4000.0, rng)
            session.add(Frame(id=i + 1, original_image_path=str(path), key=f"{i}"))
        session.commit()
        toolbox = select_tools(load(project), Plugins.installed())
        note_gains(session, toolbox)
        frames = session.exec(select(Frame)).all()
        assert [f.band for f in frames] == list("rgrgrgrg")
        assert {f.exptime for f in frames} == {60.0}
        measured = evidence(session, toolbox, "", frame_rows(session), 9).gain()
    engine.dispose()
    assert measured.pairs == 6
    assert measured.gain == pytest.approx(GAIN, abs=4 * max(measured.error, 0.02 * GAIN))


def test_pairs_are_of_one_kind_and_successive() -> None:
    assert pairs_alike("aAbaB", str.lower) == [("a", "A"), ("A", "a"), ("b", "B")]
    assert pairs_alike("ab", str.lower) == []
