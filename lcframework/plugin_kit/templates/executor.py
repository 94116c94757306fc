"""A way to run units of work for lcframework."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from lcframework.hookspecs import hookimpl

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult


class PluginClass:
    """Runs units in threads of this process.

    Parameters
    ----------
    workers : int
        As ``[run] workers``; 0: one for each core.
    """

    def __init__(self, workers: int) -> None:
        # CHECK: replace the threads by your scheduler. Nothing is started before `run` needs it.
        self._workers = workers or os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield what `work` returns for each batch, in the order in which batches finish."""
        from lcframework.work import work

        if task.accelerator or task.light:  # one process owns the device, and light work is not worth sending
            for batch in batches:
                yield work(task, batch)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers)
        futures: list[Future[list[UnitResult]]] = [self._pool.submit(work, task, batch) for batch in batches]
        for future in as_completed(futures):
            yield future.result()

    def close(self, kill: bool = False) -> None:
        """Stop the workers; where `kill`, at once. It may be called at any time, and twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=not kill, cancel_futures=True)
            self._pool = None


@hookimpl
def lcf_executors() -> dict[str, type]:
    """Offer it as ``[run] executor = "plugin_name"``."""
    return {"plugin_name": PluginClass}
