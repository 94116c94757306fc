"""Asks an executor to do work, and makes sure that no unit is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lcframework.executors import Executor, SendsFits
from lcframework.plugins import Source, asked, fault
from lcframework.types import LcfError
from lcframework.work import Task, Unit, UnitResult


def batches_of(
    executor: Executor, source: Source, task: Task[Any, Any, Any], units: Sequence[Unit[Any]]
) -> list[list[Unit[Any]]]:
    """Return batches of units: the executor's own where it does fits, else the task's.

    Raises
    ------
    PluginFault
        Where it raises anything unexpected, or loses units.
    """
    if not isinstance(executor, SendsFits):
        return task.batches(units)
    batches: list[list[Unit[Any]]] = asked(source, "batches", lambda: executor.batches(task, units))
    lost = {str(unit.key) for unit in units} - {str(unit.key) for batch in batches for unit in batch}
    if lost:
        raise fault(source, f"batches lost {len(lost)} units of {task.stage}, such as {min(lost)}")
    return batches


def results_of(
    executor: Executor, source: Source, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]
) -> Iterator[list[UnitResult]]:
    """Yield the results of batches as the executor has them.

    Raises
    ------
    PluginFault
        Where it raises anything unexpected, yields anything else, or loses units.
    """
    left = {str(unit.key) for batch in batches for unit in batch}
    try:
        for results in executor.run(task, batches):
            if not isinstance(results, list) or not all(isinstance(r, UnitResult) for r in results):
                raise fault(source, "run yielded something else than what lcframework.work.work returns")
            left -= {str(result.unit.key) for result in results}
            yield results
    except (LcfError, GeneratorExit):
        raise
    except Exception as error:
        raise fault(source, f"run raised {type(error).__name__}: {error}") from error
    if left:
        raise fault(source, f"run lost {len(left)} units of {task.stage}, such as {min(left)}")
