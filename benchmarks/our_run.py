"""Run a project in a process of its own; write down seconds and CPU a stage, peak memory and light curves.

Started by versus_lightcurver.py and scaling.py; a second ROI model runs on the products of the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path


def set_model(project: Path, model: str) -> None:
    """Make the project file ask for this ROI model."""
    text = re.sub(r"\n\[roi_model\]\nplugin = .*\n", "", project.read_text())
    project.write_text(f'{text}\n[roi_model]\nplugin = "{model}"\n')


def run_once(path: Path, model: str, draw: bool) -> dict:
    """Return what one run of a project did, with the light curve's path."""
    from measuring import cpu_seconds, measured

    from lcframework.project import Project

    set_model(path, model)
    project = Project.open(path)
    with measured(project) as costs:
        report = project.run()
    if report.exit_code not in (0, 3):
        sys.exit(f"{path}: {report.message or report.bugs}")
    seconds = {stage.name: stage.seconds for stage in report.stages}
    cpu = {name: c.cpu for name, c in costs.items()}
    if draw:
        from lcframework.report import draw as draw_plots

        started, spent = time.perf_counter(), cpu_seconds()
        draw_plots(project, workers=project.config.run.workers)
        seconds["plots"], cpu["plots"] = time.perf_counter() - started, cpu_seconds() - spent
    curve = path.with_name(f"light_curve_{model}.ecsv")
    project.light_curve_table(next(iter(project.config.roi))).write(curve, overwrite=True)
    worker = max(c.worker_mib for c in costs.values())
    return {
        "seconds": seconds,
        "cpu": cpu,
        "worker_mib": worker,
        "light_curve": str(curve),
        "unusable": [str(u) for u in report.unusable],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("outcome", type=Path, help="JSON file to write")
    parser.add_argument("--models", nargs="+", default=["starred"])
    parser.add_argument("--plots", action="store_true", help="draw the plots too, after the first model")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    begun = time.perf_counter()

    from measuring import cpu_seconds, peak_mib

    from lcframework.executors.device import prepare_device

    prepare_device(options.device)
    runs = {m: run_once(options.project, m, options.plots and i == 0) for i, m in enumerate(options.models)}
    own, workers = peak_mib()
    outcome = {
        "runs": runs,
        "wall": time.perf_counter() - begun,
        "cpu": cpu_seconds(),
        "peak_mib": own,
        "peak_worker_mib": max(workers, *(r["worker_mib"] for r in runs.values())),
        "cache": os.environ.get("JAX_COMPILATION_CACHE_DIR", ""),
    }
    options.outcome.write_text(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()
