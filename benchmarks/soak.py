"""A campaign that grows: a batch of frames, a run; another batch, a run; and in every third batch a kill.

    python benchmarks/soak.py --frames 2000 --batches 20 --size 300

Prints what each batch's run costs in CPU and memory: both must stay flat, because a new frame costs its own work. At
the end the calibrated fluxes are compared with those of one run over all frames, in stated errors: with the decisions
of the grown project written into its file, and by its own. Fluxes in e-/s differ by one factor: the scale of a group is
fixed by its first frames, so that new ones leave old fluxes as they are; zero points take that back.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import tomli
from astropy.table import Table
from campaigns import LCF, environment

from lcframework.config.project_file import setting_path
from lcframework.project import Project
from lcframework.testing.campaign import simulate_campaign


@attrs.frozen
class Cost:
    """What a run took, with all processes that it started."""

    cpu: float  # s
    wall: float  # s
    mib: float  # of the largest process


def run(project: Path, cache: Path, kill_after: float = 0.0) -> Cost:
    """Run a project in a new process; kill it, with its workers, after so many seconds where that is asked for."""
    command = [*LCF, "run", str(project)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (project.parent / "output.log").open("a") as log:
        process = subprocess.Popen(command, env=os.environ | environment(cache), stdout=log, stderr=log,
                                   start_new_session=True)  # fmt: skip
        if kill_after:
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    if not kill_after and code not in (0, 3):
        raise SystemExit(f"the run failed ({code}); its output is in {project.parent / 'output.log'}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.perf_counter() - started, after.ru_maxrss / 1024)


def grow(folder: Path, options: argparse.Namespace, cache: Path) -> list[Cost]:
    """Add batches of frames to a campaign, with a run after each; return what the runs that finished took."""
    place = folder / "grown"
    draw = random.Random(options.seed)
    costs = []
    print(f"{'frames':>8}{'CPU s':>9}{'wall s':>9}{'MiB':>7}  killed after", flush=True)
    for batch in range(options.batches):
        first = batch * options.frames // options.batches
        last = (batch + 1) * options.frames // options.batches
        simulate_campaign(place, seed=options.seed, first=first, frames=last - first, size=options.size)
        killed = ""
        if batch % 3 == 2:
            seconds = draw.uniform(0.2, 0.9) * costs[-1].wall
            run(place / "project.toml", cache, seconds)
            killed = f"{seconds:.1f} s"
        costs.append(run(place / "project.toml", cache))
        cost = costs[-1]
        print(f"{last:8}{cost.cpu:9.1f}{cost.wall:9.1f}{cost.mib:7.0f}  {killed}", flush=True)
    return costs


def at_once(folder: Path, name: str, decided: bool, cache: Path) -> Table:
    """Return the light curve of one run over all frames; `decided`: with the decisions of the grown project."""
    grown, place = folder / "grown", folder / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for shared in ("raw", "stars.ecsv"):
        (place / shared).symlink_to((grown / shared).resolve())
    text = (grown / "project.toml").read_text()
    if decided:
        raw = tomli.loads(text)
        for state in Project.open(grown / "project.toml").settings():
            if state.by == "frames" and state.value is not None:
                put(raw, setting_path(state.setting), state.value)
        text = toml(raw)
    (place / "project.toml").write_text(text)
    run(place / "project.toml", cache)
    return curve(place)


def put(table: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set an option in nested tables."""
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value


def toml(table: dict[str, Any], name: str = "") -> str:
    """Return nested tables as TOML."""
    lines = [f"{json.dumps(k)} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict)]
    inner = [toml(v, f"{name}.{json.dumps(k)}" if name else json.dumps(k)) for k, v in table.items()
             if isinstance(v, dict)]  # fmt: skip
    return "\n".join([*([f"[{name}]"] if name else []), *lines, "", *inner])


def curve(place: Path) -> Table:
    """Return a project's light curve, in the order of time."""
    project = Project.open(place / "project.toml")
    table = Table(project.light_curve_table(next(iter(project.config.roi))))
    table.sort("mjd")
    return table


def compare(grown: Table, other: Table) -> str:
    """Say how far calibrated fluxes are apart at most, in stated errors."""
    if len(grown) != len(other) or not np.array_equal(grown["mjd"], other["mjd"]):
        return f"{len(grown)} epochs against {len(other)}"
    fluxes = [n for n in grown.colnames if n.endswith("_flux") and f"{n[:-5]}_d_flux" in grown.colnames]
    scale = 10 ** (-0.4 * (np.asarray(other["zeropoint"]) - np.asarray(grown["zeropoint"])))
    apart = [
        np.abs(np.asarray(grown[n]) - scale * np.asarray(other[n])) / np.asarray(grown[f"{n[:-5]}_d_flux"])
        for n in fluxes
    ]
    return f"at most {float(np.nanmax(apart)):.2g} of the stated errors apart"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=300, help="pixels a side of a frame")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the projects go; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak_"))
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / "jax"
    costs = grow(folder, options, cache)
    half = len(costs) // 2
    early, late = (float(np.median([c.cpu for c in part])) for part in (costs[1 : half + 1], costs[half:]))
    print(f"\nCPU of a batch, median of the later half over that of the earlier: {late / early:.2f}")
    print(f"memory, largest of the later half over that of the first run: "
          f"{max(c.mib for c in costs[half:]) / costs[0].mib:.2f}")  # fmt: skip
    grown = curve(folder / "grown")
    print(f"one run, by the same decisions: {compare(grown, at_once(folder, 'decided', True, cache))}")
    print(f"one run, by its own decisions: {compare(grown, at_once(folder, 'undecided', False, cache))}")


if __name__ == "__main__":
    main()
