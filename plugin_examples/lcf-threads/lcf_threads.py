"""The executor ``threads``: units run in threads of one process, for where no further process can be started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from lcframework.hookspecs import hookimpl

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult


class Threads:
    """Runs units in threads; lcframework makes it with the number of workers, and closes it at the end."""

    def __init__(self, workers: int) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches in the order in which they finish.

        Tasks that use the accelerator, and light ones, run in the calling thread, as everyone's executor must do it.
        """
        from lcframework.work import work

        if task.accelerator or task.light or self._workers == 1:
            for batch in batches:
                yield work(task, batch)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="lcf")
        queue = iter(batches)
        running: set[Future[list[UnitResult]]] = set()
        while True:
            # A short queue: the payloads of a thousand frames need not be in memory at once.
            while len(running) < 2 * self._workers and (waiting := next(queue, None)) is not None:
                running.add(self._pool.submit(work, task, waiting))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    def close(self, kill: bool = False) -> None:
        """Stop the threads; where `kill`, what waits is dropped, and nothing is waited for.

        A thread can't be killed: it finishes its batch, whose result nobody takes.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=not kill, cancel_futures=True)
            self._pool = None


@hookimpl
def lcf_executors() -> dict[str, type]:
    """Offer the executor under the name that [run] executor picks."""
    return {"threads": Threads}
