"""Exposures that overlap in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import Session

from lcframework.frames.overlapping import overlapping
from lcframework.storage.connection import open_engine
from lcframework.storage.tables import Frame

DAY = 86_400.0


def doubts(folder: Path, *frames: tuple[float, float, str, str]) -> list[tuple[float, int]]:
    """Return the values of the doubts about frames (start, exposure, instrument, band) in s, and their numbers."""
    engine = open_engine("", folder)
    with Session(engine) as session:
        for i, (start, exptime, instrument, band) in enumerate(frames):
            where = {"original_image_path": f"/raw/{i}.fits", "key": f"{i}", "instrument": instrument, "band": band}
            session.add(Frame(id=i + 1, mjd=60000.0, mjd_start=60000.0 + start / DAY, exptime=exptime, **where))
        session.add(Frame(id=99, original_image_path="/raw/x.fits", key="x"))  # not imported
        session.commit()
        found = [(round(doubt.value, 2), len(names)) for doubt, names in overlapping(session)]
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("starts", "exptime", "expected"),
    [
        ([0, 65, 130, 195], 60.0, []),
        ([0, 65, 130, 195], 60_000.0, [(59_935.0, 3)]),  # milliseconds
        ([0, 59, 119, 178], 60.0, []),  # whole seconds
        ([0, 40, 110, 150], 60.0, [(20.0, 2)]),
        ([0, 40, 110, 180], 60.0, []),  # once: a clock was set
        ([0, 0, 65, 65], 60.0, []),  # one exposure in two files
    ],
)
def test_exposures_of_one_camera(tmp_path, starts, exptime, expected):
    assert doubts(tmp_path, *((s, exptime, "cam", "r") for s in starts)) == expected


def test_cameras_and_bands_are_told_apart(tmp_path):
    frames = [(30.0 * i, 60.0, f"cam{i % 2}", "r" if i < 6 else "gi"[i // 2 % 2]) for i in range(12)]
    assert doubts(tmp_path, *frames) == []
