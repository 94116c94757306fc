"""The executor ``local``: units run in processes of this machine; tasks that use the accelerator run in the driver."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import TYPE_CHECKING, Any

from lcframework.executors.processes import pool_of
from lcframework.hookspecs import hookimpl
from lcframework.types import LcfError, NeedMissing

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult

#: Modules that the work of every stage needs; without this list each worker would load them at first use.
_IMPORTED = (
    "lcframework.stages", "lcframework.frames.raw_frames", "lcframework.sky.ephemerides", "astropy.table",
    "astropy.wcs", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.spatial",
)  # fmt: skip


class LocalExecutor:
    """Runs units in processes of this machine.

    Workers are started when a stage first needs them. A task that uses the accelerator runs in the driver's process, so
    that only one process uses the device and programs are compiled once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._workers_started: list[Any] = []

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches in the order in which they finish."""
        from lcframework.work import work

        if task.accelerator or task.light or self._workers == 1 or (len(batches) == 1 and self._pool is None):
            for batch in batches:
                yield work(task, batch)
            return
        yield from self._run_in_pool(task, batches)

    def _run_in_pool(
        self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]
    ) -> Iterator[list[UnitResult]]:
        from lcframework.work import work
        from lcframework.work.time_limit import ended_for_time

        queue: Iterator[Sequence[Unit[Any]]] = iter(batches)
        running: dict[Future[list[UnitResult]], Sequence[Unit[Any]]] = {}
        while True:
            try:
                pool = self._start()
                # A short queue: payloads of a thousand frames need not be in memory at once.
                while len(running) < 2 * self._workers and (batch := next(queue, None)) is not None:
                    try:
                        running[pool.submit(work, task, batch)] = batch
                    except BrokenProcessPool:
                        queue = chain([batch], queue)
                        raise
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    results = future.result()
                    del running[future]
                    yield results
            except (BrokenProcessPool, EOFError):  # EOFError: the process that forks workers was killed
                self.close(kill=True)
                if not ended_for_time(task.toolbox.workdir):
                    raise LcfError(
                        f"a worker process was killed during {task.stage}, perhaps for want of memory; what was "
                        "finished is kept. Run again to go on, with fewer [run] workers if memory is short."
                    ) from None
                # A unit hung, and its worker was ended: the next one that gets the unit says so. The others go on.
                queue, running = chain(list(running.values()), queue), {}

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            others = multiprocessing.active_children()
            try:
                self._pool = pool_of(self._workers, _IMPORTED)
            except (OSError, ImportError, NotImplementedError) as error:
                raise NeedMissing(
                    f"this machine starts no worker processes: {type(error).__name__}: {error}. They need semaphores "
                    "(in Linux /dev/shm, writable) and room for processes. [run] workers = 1 does without"
                ) from None
            finally:
                self._workers_started = [p for p in multiprocessing.active_children() if p not in others]
        return self._pool

    def close(self, kill: bool = False) -> None:
        """Stop the workers; where `kill`, at once and without waiting for them."""
        if kill:
            # The pool may have started more workers later, when units were submitted.
            later = (getattr(self._pool, "_processes", None) or {}).values()
            for process in {*self._workers_started, *later}:
                process.kill()
        if self._pool is None:  # also where the start was interrupted
            return
        with contextlib.suppress(BrokenProcessPool):
            self._pool.shutdown(wait=not kill, cancel_futures=True)
        self._pool = None


@hookimpl
def lcf_executors() -> dict[str, type[LocalExecutor]]:
    """Return the executor ``local``."""
    return {"local": LocalExecutor}
