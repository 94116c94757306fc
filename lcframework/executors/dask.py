"""The executor ``dask``: units run on a Dask cluster, or on one that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lcframework.hookspecs import hookimpl
from lcframework.types import LcfError, NeedMissing

if TYPE_CHECKING:
    from lcframework.work import Task, Unit, UnitResult

ADDRESS = "DASK_SCHEDULER_ADDRESS"
#: Seconds that a result, which is small, may take from a worker.
PATIENCE = 30.0


class DaskExecutor:
    """Dask workers; they must see the workdir under the same path.

    The environment variable ``DASK_SCHEDULER_ADDRESS`` names a running scheduler; without it a cluster of single-thread
    processes is started here. Stages that want an accelerator run in the driver, so that one process owns the device.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._client: Any = None

    def run(self, task: Task[Any, Any, Any], batches: Sequence[Sequence[Unit[Any]]]) -> Iterator[list[UnitResult]]:
        """Yield the results of batches as they come."""
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
            except TimeoutError:  # its worker died with the result: a unit can be done twice
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
        """Let the workers go; a scheduler that was running before goes on."""
        if self._client is not None:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
            self._client = None


@hookimpl
def lcf_executors() -> dict[str, type[DaskExecutor]]:
    """Offer the executor of Dask clusters."""
    return {"dask": DaskExecutor}
