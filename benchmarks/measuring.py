"""What the benchmarks measure of a run, around the stages' own methods: seconds of the wall and of CPU."""

from __future__ import annotations

import contextlib
import cProfile
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import attrs

from lcframework.project import Project
from lcframework.running import runner
from lcframework.running.recording import Recorder
from lcframework.running.runner import Runner

#: Steps of a stage: methods of it, of its tasks, of the driver and its recorder, that have no other of them inside.
OF_STAGE = {"find": "units"}
OF_TASK = {"load": "load", "compute": "compute_batch", "save": "save"}
OF_RUNNER = {"record": (Recorder, "record"), "join": (runner, "finish")}
STEPS = (*OF_STAGE, *OF_TASK, *OF_RUNNER, "plot")
#: Which stage the kinds of plots show.
PLOTS = {
    "sources": "read_convert_skysub_character_catalog",
    "footprints": "calculate_common_and_total_footprint",
    "psf": "psf_modeling",
    "star_photometry": "star_photometry",
    "normalization": "calculate_normalization_coefficient",
    "roi": "model_calibrated_cutouts",
    "light_curves": "model_calibrated_cutouts",
}


@attrs.define
class Costs:
    """What a stage took; `steps` are seconds of CPU of this process."""

    wall: float = 0.0
    cpu: float = 0.0
    worker_mib: float = 0.0  # the largest worker's peak so far
    steps: dict[str, float] = attrs.field(factory=dict)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of all that it started; those that live are seen on Linux alone."""
    fields = (f[11:15] for f in _started())  # user, system, and those of the children that have ended
    return sum(os.times()[:4]) + sum(map(int, chain(*fields))) / os.sysconf("SC_CLK_TCK")


def peak_mib() -> tuple[float, float]:
    """Return the largest memory of this process so far, and of the largest of those that it started, in MiB.

    The system tells of a worker that has ended only where this process was its parent.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10
    own, ended = (resource.getrusage(w).ru_maxrss / unit for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own, max([ended, *(_peak_of(int(f[0])) for f in _started())])


def _started() -> list[list[str]]:
    """Return the numbers of ``/proc/<pid>/stat`` of this process' descendants; in place of the name, the process."""
    parents: dict[int, list[list[str]]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = path.read_text().rpartition(")")
            fields = [head.split()[0], *rest.split()[1:]]
            parents.setdefault(int(fields[1]), []).append(fields)
    found, todo = [], [os.getpid()]
    while todo:
        mine = parents.get(todo.pop(), [])
        found += mine
        todo += [int(f[0]) for f in mine]
    return found


def _peak_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return 0.0


@contextlib.contextmanager
def measured(project: Project, profiles: dict[str, cProfile.Profile] | None = None) -> Iterator[dict[str, Costs]]:
    """Measure the stages of runs inside; with `profiles`, profile each stage too."""
    costs: dict[str, Costs] = {}
    before: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, new: Callable[..., Any]) -> None:
        before.append((owner, name, owner.__dict__.get(name)))
        setattr(owner, name, new)

    def stage_timed(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(driver: Runner, stage: Any, *rest: Any) -> Any:
            entry = costs.setdefault(stage.name, Costs())
            wall, cpu = time.perf_counter(), cpu_seconds()
            profile = (
                profiles.setdefault(stage.name, cProfile.Profile(time.process_time)) if profiles is not None else None
            )
            try:
                with profile or contextlib.nullcontext():
                    return original(driver, stage, *rest)
            finally:
                entry.wall += time.perf_counter() - wall
                entry.cpu += cpu_seconds() - cpu
                entry.worker_mib = peak_mib()[1]

        return timed

    def step_timed(
        original: Callable[..., Any], step: str, name: Callable[[tuple[Any, ...]], str]
    ) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return original(*args, **options)
            finally:
                steps = costs.setdefault(name(args), Costs()).steps
                steps[step] = steps.get(step, 0.0) + time.process_time() - started

        return timed

    replace(Runner, "_run_stage", stage_timed(Runner._run_stage))
    for step, (owner, method) in OF_RUNNER.items():
        replace(owner, method, step_timed(getattr(owner, method), step, lambda args: args[1].name))
    for stage in project.stages:
        for step, method in OF_STAGE.items():
            replace(type(stage), method, step_timed(getattr(type(stage), method), step, lambda args: args[0].name))
        for task in {type(t) for t in stage.tasks().values()}:
            for step, method in OF_TASK.items():
                replace(task, method, step_timed(getattr(task, method), step, lambda args: args[0].stage))
    try:
        yield costs
    finally:
        for owner, name, original in reversed(before):
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def draw_plots(project: Project, costs: dict[str, Costs]) -> None:
    """Draw the plots as ``lcf report`` does, and count them to their stages."""
    from lcframework.report import draw

    for kind, stage in PLOTS.items():
        wall, cpu = time.perf_counter(), cpu_seconds()
        draw(project, workers=project.config.run.workers, kinds=[kind])
        steps = costs.setdefault(stage, Costs()).steps
        steps["plot"] = steps.get("plot", 0.0) + cpu_seconds() - cpu
        steps["plot_wall"] = steps.get("plot_wall", 0.0) + time.perf_counter() - wall


def machine() -> str:
    """Say what is measured on, and how busy it is."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}{load}"
