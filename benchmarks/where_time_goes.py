"""Where a run's time goes: per stage the wall and CPU, the CPU of each of its steps, and the functions that take most.

    python benchmarks/where_time_goes.py --frames 24 --size 1200

A simulated campaign is run three times, each in a new folder and a new process, without worker processes so that all
is seen: cold (nothing compiled), warm, and warm under Python's profiler, which slows it down. Steps are the search for
what is pending, load, compute, save, the database's rows, what a stage joins in the end, and its plots. With the
defaults, 24 frames of 1200 x 1200 pixels, it takes two to three minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import os
import pstats
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
from campaigns import HERE, campaign, environment, workplace
from measuring import STEPS, draw_plots, machine, measured


def inside(path: Path, outcome: Path, profile: bool, functions: int) -> None:
    """Run a project in this process and write down its costs, and the profiler's tables."""
    from lcframework.executors.device import prepare_device

    prepare_device("cpu")
    from lcframework.project import Project

    project = Project.open(path)
    profiles: dict[str, cProfile.Profile] | None = {} if profile else None
    with measured(project, profiles) as costs:
        report = project.run()
        if report.exit_code not in (0, 3):
            sys.exit(f"{path}: {report.message or report.bugs}")
    plots = cProfile.Profile()
    with plots if profile else contextlib.nullcontext():
        draw_plots(project, costs)
    tables = {name: top(p, functions) for name, p in {**(profiles or {}), "plots": plots}.items()} if profile else {}
    rows = {name: attrs.asdict(c) for name, c in costs.items()}
    outcome.write_text(json.dumps({"costs": rows, "functions": tables}))


def top(profile: cProfile.Profile, most: int) -> list[tuple[float, int, str]]:
    """Return the functions with the greatest cumulative time, ours and what they call: seconds, calls, name."""
    stats = pstats.Stats(profile, stream=io.StringIO()).stats  # type: ignore[attr-defined]
    rows = []
    for (file, line, name), (_, calls, _, cumulative, callers) in stats.items():
        ours = "lcframework" in file or "plugins_builtin" in file
        called = any("lcframework" in c[0] or "plugins_builtin" in c[0] for c in callers)
        if (ours or called) and "benchmarks" not in file:
            short = "/".join(Path(file).parts[-2:]) if file not in ("", "~") else ""
            rows.append((cumulative, calls, f"{short}:{line} {name}" if short else name))
    return sorted(rows, reverse=True)[:most]


def print_costs(label: str, costs: dict[str, dict], frames: int) -> None:
    """Print a row a stage; milliseconds a frame."""
    print(f"\n{label}; ms a frame ({frames} frames), steps in CPU")
    print(f"{'stage':40}{'wall':>8}{'CPU':>8}" + "".join(f"{s:>9}" for s in STEPS))
    unit = 1e3 / frames
    total = [0.0] * (2 + len(STEPS))
    for stage, row in costs.items():
        plot, plot_wall = row["steps"].get("plot", 0.0), row["steps"].get("plot_wall", 0.0)
        figures = [row["wall"] + plot_wall, row["cpu"] + plot, *(row["steps"].get(s, 0.0) for s in STEPS)]
        total = [t + f for t, f in zip(total, figures, strict=True)]
        print(f"{stage:40}" + _line(figures, unit))
    print(f"{'all':40}" + _line(total, unit), flush=True)


def _line(figures: list[float], unit: float) -> str:
    return "".join(f"{unit * f:{8 if i < 2 else 9}.1f}" for i, f in enumerate(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=1200, help="pixels a side of a frame")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--functions", type=int, default=12, help="how many of each stage to list")
    parser.add_argument("--folder", type=Path, help="where the campaign is or goes; default: a temporary folder")
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(*options.inside, options.profile, options.functions)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="where_"))
    truth = campaign(folder, options.frames, options.seed, options.size)
    print(f"{options.frames} frames of {options.size} x {options.size} pixels; {machine()}", flush=True)
    cache = Path(tempfile.mkdtemp(prefix="jax_", dir=folder))
    for name in ("cold", "warm", "profiled"):
        place = workplace(truth, name, workers=1)
        outcome = place / "outcome.json"
        command = [sys.executable, str(HERE / "where_time_goes.py"), "--functions", str(options.functions)]
        command += [
            "--inside",
            str(place / "project.toml"),
            str(outcome),
            *(["--profile"] if name == "profiled" else []),
        ]
        with (place / "output.log").open("w") as log:
            done = subprocess.run(command, env=os.environ | environment(cache), stdout=log, stderr=subprocess.STDOUT)
        if done.returncode:
            raise SystemExit(f"the run failed ({done.returncode}); its output is in {place / 'output.log'}")
        found = json.loads(outcome.read_text())
        if name != "profiled":
            print_costs(name, found["costs"], options.frames)
    for stage, rows in found["functions"].items():
        print(f"\n{stage}: CPU ms a frame with all that is called inside, calls a frame (profiled)")
        for seconds, calls, function in rows:
            print(f"  {1e3 * seconds / options.frames:9.1f}{calls / options.frames:9.1f}  {function}")


if __name__ == "__main__":
    main()
