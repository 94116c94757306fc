"""Clusters of Dask workers: processes of this machine, a scheduler that runs already, or jobs of a batch system."""

from __future__ import annotations

import logging
import os
from typing import Any

import attrs

from lcframework.options import positive, true_or_false, whole_number
from lcframework.types import NeedMissing

log = logging.getLogger(__name__)

#: The environment variable that gives the address of a running scheduler to a project that names no cluster.
ADDRESS = "DASK_SCHEDULER_ADDRESS"
#: The resource of a worker that owns an accelerator; a scheduler gives such a worker one fit at a time.
GPU = "GPU"
LOCAL = "local"
#: Batch systems by the names of dask-jobqueue's classes, and the name that each has for who is charged.
_SYSTEMS = {
    "slurm": ("SLURMCluster", "account"),
    "pbs": ("PBSCluster", "account"),
    "moab": ("MoabCluster", "account"),
    "sge": ("SGECluster", "project"),
    "lsf": ("LSFCluster", "project"),
    "oar": ("OARCluster", "project"),
}
#: Seconds for an answer from a scheduler.
_ANSWER = 15
#: How many workers may be lost with a batch in hand before it counts as what kills them: others kill workers too, and a
#: new one takes a while before its first fit.
_LOSSES = {"distributed.scheduler.allowed-failures": 10}


def a_cluster(instance: Any, attribute: Any, value: str) -> None:
    """Accept the name of a kind of cluster, or the address of a scheduler."""
    if value not in (LOCAL, *_SYSTEMS) and "://" not in value:
        raise ValueError(
            f'{attribute.name} must be "{LOCAL}", a batch system ({", ".join(_SYSTEMS)}) or a scheduler such as '
            f'"tcp://host:8786", got {value!r}'
        )


@attrs.define
class ClusterOptions:
    """Where the workers of a Dask cluster run.

    Attributes
    ----------
    workers : int
        Worker processes, with one thread each; 0: one for each core of this machine, or one job of a batch system.
    cluster : str
        ``"local"``: processes of this machine, or the scheduler of ``DASK_SCHEDULER_ADDRESS`` where that is set; the
        address of a scheduler; or a batch system.
    cores, memory, walltime : int, str, str
        Of one job. It holds one worker for each core, or one where `gpu`.
    queue, account : str
        Of the batch system; empty: its default.
    gpu : bool
        Whether a job asks for a GPU, which its one worker owns.
    directives, prologue : list of str
        Lines for the batch system, and commands before the worker starts.
    interface : str
        The network interface by which workers reach the driver; empty: Dask's choice.
    patience : float
        Seconds without any worker after which the run gives up.
    """

    workers: int = attrs.field(default=0, validator=whole_number(0))
    cluster: str = attrs.field(default=LOCAL, validator=a_cluster)
    cores: int = attrs.field(default=1, validator=whole_number(1))
    memory: str = "4GB"
    walltime: str = "01:00:00"
    queue: str = ""
    account: str = ""
    gpu: bool = attrs.field(default=False, validator=true_or_false)
    directives: list[str] = attrs.field(factory=list)
    prologue: list[str] = attrs.field(factory=list)
    interface: str = ""
    patience: float = attrs.field(default=600.0, validator=positive)

    @property
    def address(self) -> str:
        """The address of the scheduler that is used; empty where a cluster is started."""
        if "://" in self.cluster:
            return self.cluster
        return os.environ.get(ADDRESS, "") if self.cluster == LOCAL else ""

    @property
    def on_this_machine(self) -> bool:
        """Whether the workers are processes of this machine."""
        return self.cluster == LOCAL and not self.address


def connect(options: ClusterOptions) -> Any:
    """Return a Dask client of a cluster, which is started where it does not run.

    Raises
    ------
    NeedMissing
        Where Dask is not installed or does not start, the scheduler does not answer, or the batch system can't be used.
    """
    try:
        from distributed import Client
    except ImportError:
        raise NeedMissing('[run] executor = "dask" needs Dask: pip install "lcframework[dask]"') from None
    if options.address:
        try:
            return Client(options.address, timeout=_ANSWER)
        except (OSError, ValueError) as error:
            raise NeedMissing(
                f"no Dask scheduler answers at {options.address} ({error}): start it with `dask scheduler`, or name "
                f"another in [run.dask] cluster or {ADDRESS}"
            ) from None
    import dask

    with dask.config.set(_LOSSES):
        try:
            return Client(local_cluster(options.workers) if options.on_this_machine else batch_cluster(options))
        except AssertionError:  # all that Dask says when a thread of its own does not start in ten seconds
            raise NeedMissing(
                "Dask did not start within ten seconds: the machine is too busy. Run again when it has less to do"
            ) from None


def local_cluster(workers: int) -> Any:
    """Start worker processes with one thread on this machine."""
    from distributed import LocalCluster

    count = workers or os.cpu_count() or 1
    return LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")


def batch_cluster(options: ClusterOptions) -> Any:
    """Submit jobs with workers to a batch system; jobs that end are replaced.

    Raises
    ------
    NeedMissing
        Where dask-jobqueue is not installed, or refuses an option.
    """
    try:
        import dask_jobqueue
    except ImportError:
        raise NeedMissing(
            f'[run.dask] cluster = "{options.cluster}" needs dask-jobqueue: pip install "lcframework[dask]"'
        ) from None
    name, _ = _SYSTEMS[options.cluster]
    try:
        cluster = getattr(dask_jobqueue, name)(**job(options))
    except (ValueError, OSError, RuntimeError) as error:
        raise NeedMissing(f'[run.dask] cluster = "{options.cluster}" can\'t be used: {error}') from None
    jobs = -(-options.workers // _workers_of_job(options)) or 1
    log.info("each of %d jobs of %s runs:\n%s", jobs, options.cluster, cluster.job_script())
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


def job(options: ClusterOptions) -> dict[str, Any]:
    """Return the arguments of dask-jobqueue's classes for a job."""
    _, charged = _SYSTEMS[options.cluster]
    given: dict[str, Any] = {
        "cores": options.cores,
        "memory": options.memory,
        "processes": _workers_of_job(options),
        "walltime": options.walltime,
        "job_extra_directives": list(options.directives),
        "job_script_prologue": list(options.prologue),
        "scheduler_options": {"dashboard_address": ":0", "dashboard": False},
    }
    given.update({"queue": options.queue} if options.queue else {})
    given.update({charged: options.account} if options.account else {})
    given.update({"interface": options.interface} if options.interface else {})
    if options.gpu:
        # One task at a time, whatever the job's cores are: they serve the threads of that task.
        given["worker_extra_args"] = ["--resources", f"{GPU}=1", "--nthreads", "1"]
        given["job_extra_directives"] += [line for line in (_GPU_LINES.get(options.cluster),) if line]
    return given


#: What asks for one GPU where the batch system has a common way; elsewhere it is one of the `directives`.
_GPU_LINES = {"slurm": "--gpus=1"}


def _workers_of_job(options: ClusterOptions) -> int:
    return 1 if options.gpu else options.cores
