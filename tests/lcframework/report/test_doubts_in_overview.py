"""The first panel of the report names what speaks against the numbers."""

from __future__ import annotations

from lcframework.report.builtin_panels.overview import _doubts_table, _doubts_tile
from lcframework.running.doubts import Cause
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
