"""Files that take no part are listed by their reason."""

from __future__ import annotations

import pytest

from lcframework.cli.status import _files
from lcframework.running.frame_status import FrameState, FrameStatus
from lcframework.running.project_status import Status


def status(count: int) -> Status:
    state = FrameState.NOT_SOLVED
    frames = [FrameStatus(f"f{i}.fits", state, f"of {40 + i} stars 1 lies near a source") for i in range(count)]
    return Status((), (*frames, FrameStatus("g.fits", FrameState.ELIMINATED, "no time")), ())


def test_many_files_with_one_reason_are_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    _files(status(67), every=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "  67 files (f0.fits, f1.fits, f2.fits, ...): not solved; of the first: of 40 stars 1 lies near a source"
    )
    assert lines[-1] == "  g.fits: eliminated: no time"
    assert len(lines) == 3


@pytest.mark.parametrize(("count", "every"), [(67, True), (5, False)])
def test_few_files_have_a_line_each(capsys: pytest.CaptureFixture[str], count: int, every: bool) -> None:
    _files(status(count), every)
    assert len(capsys.readouterr().out.splitlines()) == count + 1
