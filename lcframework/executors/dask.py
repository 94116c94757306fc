"""The executor ``dask``: units run on an existing Dask cluster, or on one that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lcframework.hookspecs import hookimpl
from lcframework.types import LcfError, NeedMissing

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult

ADDRESS = "DASK_SCHEDULER_ADDRESS"
#: Seconds that the transfer of a result, which is small, may take.
PATIENCE = 30.0


class DaskExecutor:
    """Runs units on Dask workers, which must have the workdir under the same path.

    The environment variable ``DASK_SCHEDULER_ADDRESS`` gives the address of a running scheduler. Without it, a cluster
    of single-thread processes is started on this machine. Tasks that use the accelerator run in the driver, so that
    only one process uses the device.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._client: Any = None

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches in the order in which they finish."""
        from lcframework.work import work

        if task.accelerator or task.light:
            for batch in batches:
                yield work(task, batch)
            return
        client, as_completed = self._start()
        futures = {client.submit(work, task, list(batch), pure=False): batch for batch in batches}
        completed = as_completed(list(futures))
        for future in completed:
            batch = futures.pop(future)
            try:
                yield future.result(timeout=PATIENCE)
            except TimeoutError:  # the worker was lost with its result; to make a unit twice is allowed
                again = client.submit(work, task, list(batch), pure=False)
                futures[again] = batch
                completed.add(again)
            except self._lost() as error:
                self.close(kill=True)
                raise LcfError(
                    f"Dask gave up during {task.stage}: {type(error).__name__}: {error}. Workers were killed, perhaps "
                    "for want of memory, or the scheduler is gone. What was finished is kept; run again to go on."
                ) from None
            future.release()

    @staticmethod
    def _lost() -> tuple[type[Exception], ...]:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        return KilledWorker, CancelledError, OSError

    def _start(self) -> tuple[Any, Any]:
        try:
            from distributed import Client, LocalCluster, as_completed
        except ImportError:
            raise NeedMissing('[run] executor = "dask" needs Dask: pip install "lcframework[dask]"') from None
        if self._client is None:
            address = os.environ.get(ADDRESS)
            if address:
                self._client = Client(address)
            else:
                cluster = LocalCluster(
                    n_workers=self._workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
                )
                self._client = Client(cluster)
        return self._client, as_completed

    def close(self, kill: bool = False) -> None:
        """Stop the workers that were started here; an existing scheduler continues to run."""
        if self._client is not None:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
            self._client = None


@hookimpl
def lcf_executors() -> dict[str, type[DaskExecutor]]:
    """Return the executor ``dask``."""
    return {"dask": DaskExecutor}
