"""One campaign by each executor: the time, what each worker did, and whether the light curves are equal.

    python benchmarks/executors.py --frames 48 --workers 2 --kill 10

The executors are ``local``, ``dask``, and ``dask`` with a worker killed every so many seconds; with `--database URL`,
``local`` with that empty database too. Light curves are compared with the first, column by column.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table
from campaigns import campaign, environment, run_ours
from distributed import Client

from lcframework.executors.clusters import ClusterOptions, connect


@contextlib.contextmanager
def killed_every(seconds: float, client: Client) -> Iterator[list[int]]:
    """Kill one of a cluster's workers every so many seconds; the list holds the processes."""
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(seconds):
            workers = client.run(os.getpid, on_error="ignore")
            if workers:
                victim = random.choice(list(workers.values()))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

    thread = threading.Thread(target=kill)
    if seconds:
        thread.start()
    try:
        yield killed
    finally:
        ended.set()
        if seconds:
            thread.join()


def by_dask(options: argparse.Namespace, truth: object, cache: Path, kill: float) -> dict:
    """Run on a cluster that this process starts, so that it can look at the workers."""
    os.environ.update(environment(cache))
    with connect(ClusterOptions(options.workers)) as client, client.cluster as cluster:
        dask = run_section('executor = "dask"\n')
        client.get_task_stream(count=1)  # starts the record
        table = f'\n[run.dask]\ncluster = "{cluster.scheduler_address}"\n'
        with killed_every(kill, client) as killed:
            name = f"dask_killed_{kill:g}" if kill else "dask"
            done = run_ours(truth, name, cache, [options.model], plots=False, change=lambda text: dask(text) + table)
        tasks: collections.defaultdict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        for entry in client.get_task_stream(count=100_000):
            stage = str(entry["key"]).rsplit("-", 1)[0]
            tasks[stage][entry["worker"]] += 1
    return done | {"killed": len(killed), "tasks": {s: sorted(c.values()) for s, c in tasks.items()}}


def run_section(lines: str):
    """Return a function that adds lines to the section ``[run]`` of a project file."""
    return lambda text: text.replace("[run]\n", f"[run]\n{lines}")


def difference(a: Path, b: Path) -> str:
    """Say in which columns two light curves differ, and by how much at most, relative to the values."""
    first, second = (Table.read(path) for path in (a, b))
    if len(first) != len(second):
        return f"{len(second)} epochs instead of {len(first)}"
    worst = {}
    for name in first.colnames:
        one, other = (np.ma.filled(t[name], np.nan if t[name].dtype.kind == "f" else 0) for t in (first, second))
        if first[name].dtype.kind == "f":
            apart = np.nanmax(np.abs(one - other) / np.maximum(np.abs(one), 1e-30), initial=0.0)
        else:
            apart = float(np.any(one != other))
        if apart > 0:
            worst[name] = apart
    return ", ".join(f"{k} {v:.0e}" for k, v in worst.items()) or "equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", type=int, default=600, help="pixels a side of a frame")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", type=float, default=10.0, help="seconds between kills")
    parser.add_argument("--model", default="joint", help="ROI model")
    parser.add_argument("--database", help="URL of an empty database")
    parser.add_argument("--folder", type=Path, help="where the campaign is or goes; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="executors_"))
    cache = folder / "jax"
    truth = campaign(folder / "campaign", options.frames, 1, options.size)
    local = run_section(f"workers = {options.workers}\n")
    run_ours(truth, "compiling", cache, [options.model], plots=False, change=local)
    runs = {"local": run_ours(truth, "local", cache, [options.model], plots=False, change=local)}
    runs["dask"] = by_dask(options, truth, cache, 0.0)
    runs[f"dask, a kill every {options.kill:g} s"] = by_dask(options, truth, cache, options.kill)
    if options.database:
        server = f'[project]\ndatabase = "{options.database}"\n'
        runs["database"] = run_ours(
            truth, "database", cache, [options.model], plots=False,
            change=lambda text: local(text).replace("[project]\n", server),
        )  # fmt: skip
    reference = Path(runs["local"]["runs"][options.model]["light_curve"])
    for name, run in runs.items():
        curve = Path(run["runs"][options.model]["light_curve"])
        print(f"{name:30} {run['process']:7.1f} s   light curve: {difference(reference, curve)}")
        if "tasks" in run:
            print(f"{'':30} {run['killed']} workers killed; tasks of each worker:")
            for stage, counts in run["tasks"].items():
                print(f"{'':34} {stage}: {', '.join(map(str, counts))}")


if __name__ == "__main__":
    main()
