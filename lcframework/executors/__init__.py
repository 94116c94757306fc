"""Executors, which run units of work: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult


class Executor(Protocol):
    """Runs batches of units; the runner makes it with the number of workers, and calls `close` at the end.

    Where it is an attrs class, its further fields are its options in ``[run.NAME]``.
    """

    def __init__(self, workers: int) -> None:
        """Take the number of workers; 0 for one worker per core."""

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the result of :func:`lcframework.work.work` for each batch, in the order in which batches finish.

        Light tasks run in this process; so do tasks that use the accelerator, unless the executor is a
        :class:`SendsFits`.
        """

    def close(self, kill: bool = False) -> None:
        """Stop the workers; where `kill`, at once and without waiting for them."""


@runtime_checkable
class SendsFits(Protocol):
    """An executor whose workers do fits too; it sizes their batches by the memory or accelerator of a worker."""

    def batches(self, task: Task[Any, Any, Any], units: Sequence[Unit[Any]]) -> list[list[Unit[Any]]]:
        """Return batches of a task's units."""
        ...
