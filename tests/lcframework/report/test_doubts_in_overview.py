"""The first panel of the report names what speaks against the numbers."""

from __future__ import annotations

from pathlib import Path

from lcframework.project import Project
from lcframework.report.builtin_panels.overview import Overview, Tile, _doubts_table, _doubts_tile
from lcframework.report.results import read_results
from lcframework.running.doubts import Cause
from lcframework.testing import example_project
from lcframework.types import Severity

SERIOUS = Cause("moved", "the target <is> elsewhere", "Correct ra", Severity.SERIOUS, "stamp_extraction", ("a.fits",))
NOTE = Cause("idle", "a name has no effect", "", Severity.NOTE, "project")


def test_each_cause_is_a_row_with_what_to_do() -> None:
    table = str(_doubts_table([SERIOUS, NOTE]))
    for text in ("serious", "the target &lt;is&gt; elsewhere", "1 frame: a.fits", "Correct ra", "a name has no effect"):
        assert text in table
    assert _doubts_table([]) == ""


def test_only_doubts_that_touch_numbers_make_a_tile() -> None:
    (tile,) = _doubts_tile([SERIOUS, NOTE])
    assert (tile.value, tile.good) == ("1", False)
    assert list(_doubts_tile([NOTE])) == []


def test_what_stars_change_slowly_by_stands_beside_the_normalization(tmp_path: Path) -> None:
    project = Project.open(example_project(tmp_path / "example"))
    results = read_results(project)

    def tile(slow: float | None) -> Tile:
        for row in results.coefficients:
            row.slow_scatter = slow
        return next(t for t in Overview(results)._tiles() if t.what == "Normalization")

    assert tile(0.0027).more.endswith("frames; stars change slowly by 2.7 ppt beyond their errors")
    assert tile(0.0).more.endswith("frames")
    assert tile(None).more.endswith("frames")
