"""The executor ``dask``: units run on the workers of a Dask cluster, fits too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from lcframework.executors.clusters import GPU, ClusterOptions, connect, log
from lcframework.executors.device import MEMORY_LIMIT, prepare_device
from lcframework.hookspecs import hookimpl
from lcframework.types import LcfError, NeedMissing

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult

#: Seconds that the transfer of a result, which is small, may take.
PATIENCE = 30.0
#: Batches that wait at each worker: it is not idle while results travel, and not all payloads are in memory at once.
_QUEUE = 2
#: Seconds between looks at the workers, and between lines about their absence.
_LOOK, _REMIND = 2.0, 60.0


@attrs.define
class DaskExecutor(ClusterOptions):
    """Runs units on Dask workers, which must have the workdir under the same path.

    Fits go to the workers like everything else; their batches are sized by a worker's memory or accelerator. Only where
    the workers are processes of this machine and it has an accelerator do fits stay in the driver, so that one process
    uses it. Where workers have the resource ``GPU``, they alone get fits.
    """

    _client: Any = attrs.field(init=False, default=None)
    _fits_here: bool | None = attrs.field(init=False, default=None)
    _seen: float = attrs.field(init=False, default=0.0)  # when a worker was last there
    _reminded: float = attrs.field(init=False, default=0.0)
    _known: tuple[float, dict[str, Any]] = attrs.field(init=False, default=(0.0, {}))  # when workers were asked for

    def batches(self, task: Task[Any, Any, Any], units: Sequence[Unit[Any]]) -> list[list[Unit[Any]]]:
        """Return batches of units; those of fits are sized on a worker, and as many as there are workers."""
        if not self._sent(task) or not task.accelerator:
            return task.batches(units)
        client = self._start(task)
        self._wait_for_workers(task)
        sized = client.submit(_sizes, task, list(units), pure=False, **self._needs(task))
        try:
            found = sized.result(timeout=self.patience)
        except _lost() as error:  # a TimeoutError is an OSError
            raise self._gave_up(task, error) from None
        # Jobs that still wait in a queue will take their share.
        share = max(1, -(-len(units) // max(1, len(self._workers_for(task)), self.workers)))
        return [[units[i] for i in batch[k : k + share]] for batch in found for k in range(0, len(batch), share)]

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches in the order in which they finish."""
        from lcframework.work import work

        if not self._sent(task):
            for own in batches:
                yield work(task, own)
            return
        self._start(task)
        queue: Iterator[Sequence[Unit[Any]]] = iter(batches)
        running: dict[Any, Sequence[Unit[Any]]] = {}
        while True:
            while len(running) < _QUEUE * max(1, len(self._workers_for(task))):
                batch = next(queue, None)
                if batch is None:
                    break
                running[self._submit(task, batch)] = batch
            if not running:
                return
            for future in self._finished(task, list(running)):
                batch = running.pop(future)
                try:
                    yield future.result(timeout=PATIENCE)
                except TimeoutError:  # the worker was lost with its result; to make a unit twice is allowed
                    running[self._submit(task, batch)] = batch
                except _lost() as error:
                    self.close(kill=True)
                    raise self._gave_up(task, error) from None
                future.release()

    def _sent(self, task: Task[Any, Any, Any]) -> bool:
        """Return whether a task goes to the workers."""
        if task.light:
            return False
        if not task.accelerator or not self.on_this_machine:
            return True
        if self._fits_here is None:
            self._fits_here = task.toolbox.config.run.device != "cpu" and _has_accelerator()
        return not self._fits_here

    def _submit(self, task: Task[Any, Any, Any], batch: Sequence[Unit[Any]]) -> Any:
        key = f"{task.stage}-{uuid4().hex}"  # Dask's own pages show the stage
        return self._client.submit(_work, task, list(batch), key=key, **self._needs(task))

    def _finished(self, task: Task[Any, Any, Any], futures: list[Any]) -> list[Any]:
        """Return those that have ended; waits for the first, as long as there are workers."""
        from distributed import wait

        while True:
            try:
                return list(wait(futures, timeout=_LOOK, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                self._look(task)
            except _lost():  # the results tell which
                return [f for f in futures if f.done()] or futures[:1]

    def _workers_for(self, task: Task[Any, Any, Any]) -> list[str]:
        """Return the addresses of the workers that may do a task."""
        workers = self._workers()
        return _owners(workers) or list(workers) if task.accelerator else list(workers)

    def _needs(self, task: Task[Any, Any, Any]) -> dict[str, Any]:
        owned = task.accelerator and (self.gpu or _owners(self._workers()))
        return {"resources": {GPU: 1}} if owned else {}

    def _workers(self) -> dict[str, Any]:
        """Return what the scheduler tells of its workers by their addresses, not older than a second."""
        now = time.monotonic()
        if now - self._known[0] > 1.0 or not self._known[1]:
            self._known = now, self._client.scheduler_info(n_workers=-1)["workers"]
        return self._known[1]

    def _look(self, task: Task[Any, Any, Any]) -> None:
        """Raise an error where there has been no worker for too long."""
        now = time.monotonic()
        if self._client.status == "running" and self._workers_for(task):
            self._seen = now
            return
        if self.on_this_machine and not self._coming():
            self.close(kill=True)
            raise self._gave_up(task, RuntimeError("all workers ended, the last one while it started"))
        if now - self._seen > self.patience:
            self.close(kill=True)
            raise LcfError(
                f"{task.stage}: no Dask worker has been there for {self.patience:g} s ([run.dask] patience). Start "
                "workers, or look at the queue of the batch system. What was finished is kept; run again to go on."
            )
        if now - max(self._seen, self._reminded) > _REMIND:
            self._reminded = now
            log.warning("%s waits for Dask workers: there has been none for %.0f s", task.stage, now - self._seen)

    def _coming(self) -> bool:
        """Return whether a worker of this machine is started again: one that ends while it starts is not."""
        return any(
            nanny.status.name in ("init", "starting", "running") for nanny in self._client.cluster.workers.values()
        )

    def _wait_for_workers(self, task: Task[Any, Any, Any]) -> None:
        while not self._workers_for(task):
            self._look(task)
            time.sleep(0.1)

    def _start(self, task: Task[Any, Any, Any]) -> Any:
        if self._client is None:
            self._client = connect(self)
            self._seen = time.monotonic()
            self._wait_for_workers(task)
            self._check_workdir(task.toolbox.workdir)
        return self._client

    def _check_workdir(self, workdir: Path) -> None:
        """Check that the workers see the files that the driver writes."""
        mark = workdir / f".seen_by_workers_{uuid4().hex}"
        mark.touch()
        try:
            blind = [address for address, sees in self._client.run(_sees, str(mark)).items() if not sees]
        finally:
            mark.unlink(missing_ok=True)
        if blind:
            self.close()
            raise NeedMissing(
                f"Dask workers do not see the workdir {workdir} ({', '.join(blind[:3])}): it must be on a file system "
                "that all share, under the same path"
            )

    def _gave_up(self, task: Task[Any, Any, Any], error: BaseException) -> LcfError:
        return LcfError(
            f"Dask gave up during {task.stage}: {type(error).__name__}: {error}. Workers were killed, perhaps "
            "for want of memory, or the scheduler is gone. What was finished is kept; run again to go on."
        )

    def close(self, kill: bool = False) -> None:
        """Stop the workers that were started here; an existing scheduler continues to run."""
        if self._client is not None:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
            self._client = None


# ---------------------------------------------------------------- on a worker


def _work(task: Task[Any, Any, Any], units: list[Unit[Any]]) -> list[UnitResult]:
    from lcframework.work import work

    _prepare(task)
    return work(task, units)


def _sizes(task: Task[Any, Any, Any], units: list[Unit[Any]]) -> list[list[int]]:
    """Return the batches that a task makes of units on this worker, as indices."""
    _prepare(task)
    place = {id(unit): i for i, unit in enumerate(units)}
    return [[place[id(unit)] for unit in batch] for batch in task.batches(units)]


def _prepare(task: Task[Any, Any, Any]) -> None:
    """Give a fit the device that the project asks for, and tell it the worker's limit of memory."""
    from distributed import get_worker

    if task.accelerator:
        limit = get_worker().memory_manager.memory_limit
        if limit:
            os.environ[MEMORY_LIMIT] = str(limit)
        prepare_device(task.toolbox.config.run.device)


def _sees(path: str) -> bool:
    return Path(path).exists()


# ---------------------------------------------------------------- in the driver


def _owners(workers: Mapping[str, Any]) -> list[str]:
    """Return the addresses of workers that own an accelerator."""
    return [address for address, worker in workers.items() if worker.get("resources", {}).get(GPU)]


def _has_accelerator() -> bool:
    import jax

    try:
        return bool(jax.devices()[0].platform != "cpu")
    except RuntimeError:
        return True  # the fit reports it


def _lost() -> tuple[type[BaseException], ...]:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    return KilledWorker, CancelledError, OSError


@hookimpl
def lcf_executors() -> dict[str, type[DaskExecutor]]:
    """Return the executor ``dask``."""
    return {"dask": DaskExecutor}
