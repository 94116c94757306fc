"""Work on a batch: one exception costs one unit, and what plugins did comes with the results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from lcframework.plugins import Source, asked
from lcframework.types import NeedMissing
from lcframework.work import Ending, FrameKey, Outcome, Unit, work
from lcframework.work.task import BatchTask

MOFFAT = Source("other", "other", "moffat")
TOOLBOX = SimpleNamespace(workdir=Path())


@attrs.frozen
class Halves(BatchTask[int, int, int]):
    """Halves even numbers all together; an odd one fails the whole batch."""

    batches_seen: list[int] = attrs.field(factory=list)

    def load(self, unit: Unit[int]) -> int:
        return unit.payload

    def compute_batch(self, batch: Sequence[int]) -> list[int | Exception]:
        self.batches_seen.append(len(batch))
        return asked(MOFFAT, "halve", self.halve, batch)

    def halve(self, batch: Sequence[int]) -> list[int]:
        if -1 in batch:
            raise NeedMissing("no card")
        if any(value % 2 for value in batch):
            raise ValueError("odd")
        print("halving")
        return [value // 2 for value in batch]

    def save(self, unit: Unit[int], values: int, result: int) -> Outcome:
        return Outcome(summary=str(result))


def units(*values: int) -> list[Unit[Any]]:
    return [Unit(FrameKey(i), f"frame_{i}", {}, value) for i, value in enumerate(values)]


def test_one_exception_loses_one_unit(capsys: pytest.CaptureFixture[str]) -> None:
    task = Halves("halves", TOOLBOX)  # type: ignore[arg-type]
    results = work(task, units(2, 3, 8, 6))
    assert [r.ending for r in results] == [Ending.MADE, Ending.BUG, Ending.MADE, Ending.MADE]
    assert [r.outcome.summary for r in results] == ["1", "", "4", "3"]
    assert results[1].reason.startswith("[other] moffat: halve raised ValueError: odd")
    assert task.batches_seen == [4, 1, 1, 1, 1]
    calls = results[0].calls
    assert [c.unit for c in calls] == ["frame_0 and 3 others", "frame_0", "frame_1", "frame_2", "frame_3"]
    assert [bool(c.error) for c in calls] == [True, False, True, False, False]
    assert [c.printed for c in calls] == ["", "halving\n", "", "halving\n", "halving\n"]
    assert [r.calls for r in results[1:]] == [(), (), ()]
    assert capsys.readouterr().out == ""


def test_a_task_that_leaves_python_loses_its_unit() -> None:
    class Leaving(Halves):
        def halve(self, batch: Sequence[int]) -> list[int]:
            if 3 in batch:
                sys.exit(1)
            return [value // 2 for value in batch]

        def save(self, unit: Unit[int], values: int, result: int) -> Outcome:
            if values == 8:
                sys.exit(2)
            return Outcome()

    results = work(Leaving("leaving", TOOLBOX), units(2, 3, 8))  # type: ignore[arg-type]
    assert [r.ending for r in results] == [Ending.MADE, Ending.BUG, Ending.BUG]
    assert results[2].reason.startswith("SystemExit: 2 (")


def test_a_need_is_not_asked_for_again() -> None:
    task = Halves("halves", TOOLBOX)  # type: ignore[arg-type]
    results = work(task, units(2, -1))
    assert [r.ending for r in results] == [Ending.MISSING, Ending.MISSING]
    assert task.batches_seen == [2]
