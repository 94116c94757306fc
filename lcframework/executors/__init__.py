"""Executors, which run units of work: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult


class Executor(Protocol):
    """Runs batches of units; the runner makes it with the number of workers, and calls `close` at the end."""

    def __init__(self, workers: int) -> None:
        """Take the number of workers; 0 for one worker per core."""

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the result of :func:`lcframework.work.work` for each batch, in the order in which batches finish.

        Tasks that use the accelerator and light tasks run in this process.
        """

    def close(self, kill: bool = False) -> None:
        """Stop the workers; where `kill`, at once and without waiting for them."""
