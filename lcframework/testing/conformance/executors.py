"""The check of executors: every unit once, in the right process, whatever becomes of it."""

from __future__ import annotations

import inspect
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs

from lcframework.executors import Executor, SendsFits
from lcframework.testing.conformance.contract import require
from lcframework.types import NeedMissing, UnusableInput
from lcframework.work import Ending, Outcome, Task, Toolbox, Unit, UnitKey, UnitResult


@attrs.frozen
class _NumberKey(UnitKey):
    prefix = "number"
    number: int


class _Halves(Task[int, int, int]):
    """Halves even numbers; three odd ones end in other ways."""

    def load(self, unit: Unit[int]) -> int:
        return unit.payload

    def compute(self, values: int) -> int:
        if values == 1:
            raise UnusableInput("1 can't be used")
        if values == 3:
            raise NeedMissing("3 needs something")
        if values == 5:
            raise RuntimeError("5 is a bug")
        return values // 2

    def save(self, unit: Unit[int], values: int, result: int) -> Outcome:
        return Outcome(token=str(result), summary=str(os.getpid()))


class _OnTheDevice(_Halves):
    accelerator = True


class _Light(_Halves):
    light = True


_ENDINGS = {1: Ending.UNUSABLE, 3: Ending.MISSING, 5: Ending.BUG}


def check_executor(kind: type[Any], workers: int = 2) -> None:
    """Check an executor on small tasks, some of which fail.

    Each unit of each batch must be answered once, with its own ending. Light tasks must run in this process, and so
    must those that use the accelerator, unless the executor is one that :class:`~lcframework.executors.SendsFits`. It
    must close at any time, twice too.

    Parameters
    ----------
    kind : type
        The executor's class.
    workers : int
        The number that it is made with.

    Raises
    ------
    AssertionError
        States which requirement is not fulfilled, and what to do.
    """
    who = getattr(kind, "__name__", str(kind))
    for name in ("run", "close"):
        method = getattr(kind, name, None)
        wanted = list(inspect.signature(getattr(Executor, name)).parameters)
        require(callable(method), who, f"has no method {name}({', '.join(wanted[1:])})")
        given = list(inspect.signature(cast(Any, method)).parameters)
        require(given == wanted, who, f"{name} takes {given[1:]}; it is called with {wanted[1:]}")
    kind(workers).close()
    executor = kind(workers)
    try:
        _check_run(executor, _Halves, who)
        require(list(executor.run(_task(_Halves), [])) == [], who, "answers although it was given no batch")
        for task in (_OnTheDevice, _Light):
            results = _check_run(executor, task, who)
            if task.accelerator and isinstance(executor, SendsFits):
                continue
            elsewhere = [r for r in results if r.ending is Ending.MADE and r.outcome.summary != str(os.getpid())]
            what = "uses the accelerator" if task.accelerator else "is light"
            require(not elsewhere, who, f"runs a task that {what} in another process; run it in this one")
    finally:
        executor.close()
    executor.close()
    stopped = kind(workers)
    answers = stopped.run(_task(_Halves), _batches())
    next(answers)
    answers.close()
    stopped.close(kill=True)


def _number(result: UnitResult) -> int:
    return cast(_NumberKey, result.unit.key).number


def _task(kind: type[_Halves]) -> _Halves:
    config = SimpleNamespace(run=SimpleNamespace(device="cpu"))
    return kind("example", cast(Toolbox, SimpleNamespace(workdir=Path(tempfile.gettempdir()), config=config)))


def _batches() -> list[list[Unit[int]]]:
    units = [Unit(_NumberKey(n), f"number {n}", {"stage": "example"}, n) for n in (*range(7), *range(8, 20, 2))]
    return [units[:3], units[3:4], *([u] for u in units[4:8]), units[8:]]


def _check_run(executor: Any, task: type[_Halves], who: str) -> list[UnitResult]:
    batches = _batches()
    results: list[UnitResult] = []
    for answer in executor.run(_task(task), batches):
        require(isinstance(answer, list) and all(isinstance(r, UnitResult) for r in answer), who,
                "run must yield what lcframework.work.work returns for a batch: a list of UnitResult")  # fmt: skip
        keys = [r.unit.key for r in answer]
        require(keys in [[u.key for u in b] for b in batches], who, "an answer does not hold the units of one batch")
        results += answer
    answered = sorted(_number(r) for r in results)
    given = sorted(u.payload for b in batches for u in b)
    require(answered == given, who, f"answers for the units {answered} where {given} were given: each once is needed")
    for result in results:
        number = _number(result)
        ending = _ENDINGS.get(number, Ending.MADE)
        require(result.ending is ending, who, f"a unit that ends as {ending} comes back as {result.ending}")
        if ending is Ending.MADE:
            require(
                result.outcome.token == str(number // 2), who, f"number {number} came back as {result.outcome.token}"
            )
    return results
