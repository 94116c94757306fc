from __future__ import annotations

import threading
import time
from importlib.metadata import entry_points
from typing import Any, ClassVar

import attrs
import pytest

from lcframework import testing
from lcframework.plugins import Plugins
from lcframework.types import UnusableInput
from lcframework.work import Ending, Outcome, Task, Unit, UnitKey

lcf_threads = pytest.importorskip("lcf_threads", reason="not installed: pip install plugin_examples/lcf-threads")


@attrs.frozen
class NumberKey(UnitKey):
    name: str


@attrs.frozen
class Square(Task[int, int, int]):
    """Squares a number in a moment; 13 brings bad luck."""

    seen: list[str] = attrs.field(factory=list, eq=False)  # the threads

    def load(self, unit: Unit[int]) -> int:
        self.seen.append(threading.current_thread().name)
        if unit.payload == 13:
            raise UnusableInput("13 brings bad luck")
        time.sleep(0.01)
        return unit.payload

    def compute(self, values: int) -> int:
        return values**2

    def save(self, unit: Unit[int], values: int, result: int) -> Outcome:
        return Outcome(token=str(result))


@attrs.frozen
class Light(Square):
    light: ClassVar[bool] = True


def units(count: int) -> list[list[Unit[int]]]:
    return [[Unit(NumberKey(f"n{i}"), f"n{i}", {"i": i}, i)] for i in range(count)]


def test_every_unit_is_done_once_and_one_failure_stops_no_other() -> None:
    executor = lcf_threads.Threads(4)
    task = Square("square", None)
    results = [r for batch in executor.run(task, units(30)) for r in batch]
    executor.close()
    by_name = {str(r.unit.key): r for r in results}
    assert len(results) == len(by_name) == 30
    assert {n: r.outcome.token for n, r in by_name.items() if r.ending is Ending.MADE} == {
        f"n{i}": str(i * i) for i in range(30) if i != 13
    }
    assert by_name["n13"].ending is not Ending.MADE
    assert "bad luck" in by_name["n13"].reason
    assert 1 < len(set(task.seen)) <= 4
    assert all(name.startswith("lcf") for name in task.seen)


@pytest.mark.parametrize(("workers", "kind"), [(1, Square), (4, Light)])
def test_light_tasks_and_one_worker_need_no_thread(workers: int, kind: type[Square]) -> None:
    task = kind("square", None)
    assert len(list(lcf_threads.Threads(workers).run(task, units(3)))) == 3
    assert set(task.seen) == {threading.current_thread().name}


def test_what_waits_is_dropped() -> None:
    executor = lcf_threads.Threads(2)
    task = Square("square", None)
    next(executor.run(task, units(500)))
    executor.close(kill=True)
    executor.close()  # again: nothing is left to close
    time.sleep(0.05)
    assert len(task.seen) < 20


def test_the_contract() -> None:
    if not hasattr(testing, "check_executor"):
        pytest.skip("this lcframework has no check_executor")
    testing.check_executor(lcf_threads.Threads)


def test_the_manager_takes_it() -> None:
    plugins = Plugins([("executor-threads", "here", lambda: lcf_threads)])
    assert plugins.plugins[0].problems == []
    offer: Any = plugins.get("lcf_executors", "threads", "[run] executor")
    assert offer.cls is lcf_threads.Threads


def test_it_is_announced() -> None:
    assert any(point.load() is lcf_threads for point in entry_points(group="lcframework", name="executor-threads"))
