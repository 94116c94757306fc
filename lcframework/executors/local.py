"""The executor ``local``: spawned processes on this machine; stages that want an accelerator run in the driver."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from lcframework.hookspecs import hookimpl
from lcframework.stages.base import Stage, Unit, UnitResult, work
from lcframework.types import LcfError

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalExecutor:
    """Processes of this machine.

    Workers are spawned when the first stage needs them. A stage that wants an accelerator runs in the driver's own
    process, so that one process owns the device and compiles once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._workers_started: list[Any] = []

    def run(self, stage: Stage, batches: Sequence[Sequence[Unit]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches as they come."""
        if stage.accelerator or stage.light or self._workers == 1 or (len(batches) == 1 and self._pool is None):
            for batch in batches:
                yield work(stage, batch)
            return
        yield from self._run_in_pool(stage, batches)

    def _run_in_pool(self, stage: Stage, batches: Sequence[Sequence[Unit]]) -> Iterator[list[UnitResult]]:
        pool = self._start()
        queue = iter(batches)
        running: dict[Future[list[UnitResult]], Sequence[Unit]] = {}
        try:
            while True:
                # A short queue: payloads of a thousand frames need not be in memory at once.
                while len(running) < 2 * self._workers and (batch := next(queue, None)) is not None:
                    running[pool.submit(work, stage, batch)] = batch
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    yield future.result()
        except BrokenProcessPool:
            self.close(kill=True)
            raise LcfError(
                f"a worker process was killed during {stage.name}, perhaps for want of memory; what was "
                "finished is kept. Run again to go on, with fewer [run] workers if memory is short."
            ) from None

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
            others = multiprocessing.active_children()
            os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
            try:
                self._pool = ProcessPoolExecutor(
                    self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin
                )
                wait([self._pool.submit(os.getpid) for _ in range(self._workers)])
            finally:
                self._workers_started = [p for p in multiprocessing.active_children() if p not in others]
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value
        return self._pool

    def close(self, kill: bool = False) -> None:
        """Let the workers go."""
        if self._pool is None:
            return
        if kill:
            # The pool starts workers when work is handed in, also after those that the start saw.
            later = (getattr(self._pool, "_processes", None) or {}).values()
            for process in {*self._workers_started, *later}:
                process.kill()
        with contextlib.suppress(BrokenProcessPool):
            self._pool.shutdown(wait=not kill, cancel_futures=True)
        self._pool = None


def _begin() -> None:
    """Leave Ctrl-C to the driver, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    wait_for([sentinel])
    os._exit(1)


@hookimpl
def lcf_executors() -> dict[str, type[LocalExecutor]]:
    """Offer the executor of this machine."""
    return {"local": LocalExecutor}
