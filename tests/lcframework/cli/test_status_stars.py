"""What `lcf status` says of reference stars."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lcframework.cli.status import _stars, as_dict
from lcframework.running.project_status import Status
from lcframework.stars.records import StarRecord


def told(stars: list[StarRecord], capsys: pytest.CaptureFixture[str]) -> list[str]:
    _stars(Status((), (), (), tuple(stars)))
    return capsys.readouterr().out.splitlines()


def record(name: str, usable: int, **more: Any) -> StarRecord:
    return StarRecord(name, f"id-{name}", 4, usable, **{"verdicts": {}, **more})


def test_stars_are_counted_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    stars = [
        record("a", 4),
        record("b", 3, verdicts={"edge": 1}),
        record("c", 0, verdicts={"saturated": 4}),
        record("d", 4, left_out="no single star in 3 of 4 frames: extended"),
        record("e", 4, note="variable: much"),
        StarRecord("f", "id-f", 0, 0, {}),  # in no frame yet
    ]
    assert told(stars, capsys) == [
        "",
        "5 reference stars: 2 usable throughout, 1 in a part of their frames, 2 not used",
        "  star b: edge in 1 of 4 frames",
        "  star c: saturated in 4 of 4 frames",
        "  star d: no single star in 3 of 4 frames: extended",
        "  star e: variable: much",
    ]
    as_json = json.loads(json.dumps(as_dict(Status((), (), (), tuple(stars)))))["stars"]
    assert as_json[1] == {"name": "b", "gaia_id": "id-b", "frames": 4, "usable": 3, "verdicts": {"edge": 1},
                          "left_out": "", "note": ""}  # fmt: skip


def test_a_crowd_is_cut_short_and_no_star_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told([record(str(i), 0, verdicts={"edge": 4}) for i in range(40)], capsys)
    assert len(lines) == 2 + 25 + 1
    assert lines[-1] == "  ... and 15 other stars; --json and the report have them all"
    assert told([], capsys) == []
