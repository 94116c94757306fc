"""Ways to run units of work: in this machine's processes, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult


class Executor(Protocol):
    """Runs batches of units; made with ``(workers)`` and used as a context manager's target by the runner."""

    def __init__(self, workers: int) -> None:
        """Take the number of workers; 0 for one per core."""

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches as they come, in any order: of each, what :func:`lcframework.work.work` gives.

        A task that wants an accelerator is done in this process, and so is one that is light.
        """

    def close(self, kill: bool = False) -> None:
        """Let the workers go; at once, and without waiting, where `kill`."""
