from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner

import lcframework
from lcframework import testing
from lcframework.types import NeedMissing

lcf_nights = pytest.importorskip("lcf_nights", reason="not installed: pip install plugin_examples/lcf-nights")

CHILE = -70.73  # degrees: local noon is at 16:43 UT
AUSTRALIA = 149.07  # degrees: local noon is at 2:04 UT
SITES = {"Cam": CHILE}


def frames() -> Table:
    """Two nights in Chile: the first lasts from 23:00 UT to 9:00 UT, over midnight; its second frame is left out."""
    return Table(rows=[
        {"mjd": 60300.0 + h / 24.0, "instrument": "Cam", "band": b, "eliminated": e, "seeing_arcseconds": s,
         "sky_level_electron_per_second": 2.0}
        for h, b, e, s in ((23, "r", False, 1.0), (25, "g", True, None), (27, "r", False, 1.4), (33, "g", False, 1.1),
                           (47, "r", False, 0.7))
    ])  # fmt: skip


def test_no_night_crosses_local_noon() -> None:
    hours = np.array([17.0, 23.0, 25.0, 40.0, 41.0])
    assert lcf_nights.night_of(60300.0 + hours / 24.0, CHILE).tolist() == [60300, 60300, 60300, 60300, 60301]
    assert lcf_nights.night_of(np.array([60300.9, 60301.1]), 0.0).tolist() == [60300, 60300]
    assert lcf_nights.night_of(np.array([60300.4]), 150.0).tolist() == [60300]  # 9:36 UT is 19:36 in Australia


def test_what_a_night_was_like() -> None:
    first, second = lcf_nights.nights(frames(), SITES)
    assert first == {"night": 60300, "evening": "2023-12-22", "frames": 3, "left_out": 1, "hours": 10.0, "seeing": 1.1,
                     "sky": 2.0}  # fmt: skip
    assert (second["evening"], second["frames"], second["hours"], second["seeing"]) == ("2023-12-23", 1, 0.0, 0.7)
    (only,) = lcf_nights.nights(frames(), SITES, band="g")
    assert (only["frames"], only["left_out"], only["seeing"]) == (1, 1, 1.1)
    assert lcf_nights.nights(frames()[:0], SITES) == []


def test_each_instrument_has_the_nights_of_its_own_place() -> None:
    """Frames at 25:00 and 27:00 UT are in the middle of Chile's night, and on both sides of noon in Australia."""
    two = frames()[1:3]
    two["eliminated"] = False
    assert [row["frames"] for row in lcf_nights.nights(two, SITES)] == [2]
    two["instrument"] = ["Other"] * 2
    assert [row["frames"] for row in lcf_nights.nights(two, {**SITES, "Other": AUSTRALIA})] == [1, 1]


def test_an_unknown_longitude_is_refused() -> None:
    two = frames()
    two["instrument"] = ["Cam", "No name", "Cam", "Cam", "Cam"]
    with pytest.raises(NeedMissing, match=r'not known for No name: give it.*\[instrument\."No name"\.telescope\]'):
        lcf_nights.nights(two, SITES)
    assert len(lcf_nights.nights(two, SITES, band="r")) == 2  # the frame of No name is one in g


def test_a_night_without_a_usable_frame() -> None:
    (row,) = lcf_nights.nights(frames()[1:2], SITES)
    assert (row["frames"], row["left_out"], row["seeing"], row["hours"]) == (0, 1, None, 0.0)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    telescope = SimpleNamespace(longitude=CHILE)
    config = SimpleNamespace(for_instrument=lambda name: SimpleNamespace(telescope=telescope))
    opened = SimpleNamespace(frames=frames, config=config)
    monkeypatch.setattr(lcframework.Project, "open", lambda path: opened)
    path = tmp_path / "project.toml"
    path.touch()
    return path


def called(*arguments: Any) -> str:
    ended = CliRunner().invoke(lcf_nights.command, [str(a) for a in arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_the_command(project: Path) -> None:
    lines = called(project).splitlines()
    assert lines[0].split() == ["evening", "frames", "out", "hours", "seeing", "sky"]
    assert lines[1].split() == ["2023-12-22", "3", "1", "10.0", "1.10", "2.00"]
    assert [row["night"] for row in json.loads(called(project, "--json"))] == [60300, 60301]
    assert "No frame" in called(project, "--band", "z")


def test_the_contract() -> None:
    if not hasattr(testing, "check_command"):
        pytest.skip("this lcframework has no check_command")
    testing.check_command(lcf_nights.command, "nights")


def test_it_is_announced() -> None:
    (point,) = entry_points(group="lcframework", name="command.nights")
    assert point.value == "lcf_nights"
    assert isinstance(lcf_nights.lcf_commands()["nights"], click.Command)
