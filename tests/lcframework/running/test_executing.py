"""What an executor yields: every unit once, or a fault of the executor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest

from lcframework.plugins import PluginFault, Source
from lcframework.running.executing import results_of
from lcframework.types import LcfError
from lcframework.work import FrameKey, Outcome, Task, Unit, UnitResult, work

SOURCE = Source("lcf_executors", "lcf_executors", "mine", "executor-mine", "lcf-mine 0.2")


@attrs.frozen
class Nothing(Task[int, int, int]):
    def load(self, unit: Unit[int]) -> int:
        return unit.payload

    def compute(self, values: int) -> int:
        return values

    def save(self, unit: Unit[int], values: int, result: int) -> Outcome:
        return Outcome()


TASK = Nothing("nothing", None)  # type: ignore[arg-type]
BATCHES = [[Unit(FrameKey(i), str(i), {}, i)] for i in range(3)]


class Mine:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[Any]:
        for i, batch in enumerate(batches):
            if i == 1 and self.kind == "raises":
                raise KeyError("queue")
            if i == 1 and self.kind == "stops":
                raise LcfError("no cluster")
            if i != 1 or self.kind != "loses":
                yield "done" if self.kind == "talks" else work(task, batch)

    def close(self, kill: bool = False) -> None: ...


def ran(kind: str) -> list[UnitResult]:
    return [r for results in results_of(Mine(kind), SOURCE, TASK, BATCHES) for r in results]


def test_what_it_yields_is_passed_on() -> None:
    assert [r.unit.label for r in ran("right")] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("loses", "run lost 1 units of nothing, such as frame:1"),
        ("raises", "run raised KeyError: 'queue'"),
        ("talks", "run yielded something else than what lcframework.work.work returns"),
    ],
)
def test_its_faults_are_its_own(kind: str, words: str) -> None:
    with pytest.raises(PluginFault) as error:
        ran(kind)
    assert str(error.value).startswith(f"lcf_executors mine (executor-mine of lcf-mine 0.2): {words}")


def test_what_it_says_to_the_user_passes() -> None:
    with pytest.raises(LcfError, match=r"^no cluster$"):
        ran("stops")
