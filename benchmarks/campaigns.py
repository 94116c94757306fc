"""What the benchmarks of whole runs share: a campaign's folder for each run, and runs of ours in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lcframework.testing.campaign import CampaignTruth, read_truth, simulate_campaign

HERE = Path(__file__).resolve().parent
#: The command `lcf` of this copy of the repository, with :func:`environment`.
LCF = [sys.executable, "-c", "from lcframework.cli.main import main; main()"]


def campaign(folder: Path, frames: int, seed: int, size: int) -> CampaignTruth:
    """Return a campaign of exactly so many frames: the one in the folder, or a new one."""
    if (folder / "truth" / "summary.json").exists():
        truth = read_truth(folder)
        settings = truth.settings
        if (settings.seed, settings.size, len(truth.frames)) != (seed, size, frames):
            raise SystemExit(f"{folder} holds another campaign: name another folder with --folder, or remove it")
        return truth
    print(f"simulating {frames} frames of {size} x {size} pixels in {folder} ...", flush=True)
    return simulate_campaign(folder, seed=seed, frames=frames, size=size)


def workplace(truth: CampaignTruth, name: str, workers: int = 0, change: Callable[[str], str] | None = None) -> Path:
    """Return a fresh folder with the campaign's project file, changed by `change`, its raw frames and its catalogue."""
    place = truth.directory / "runs" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for shared in ("raw", "stars.ecsv"):
        (place / shared).symlink_to((truth.directory / shared).resolve())
    text = truth.project.read_text()
    if workers:
        text = text.replace("[run]\n", f"[run]\nworkers = {workers}\n")
    (place / "project.toml").write_text(change(text) if change else text)
    return place


def environment(cache: Path) -> dict[str, str]:
    """Return the variables of a run of ours: where our modules are, and where JAX keeps what it compiled."""
    roots = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(roots)}


def run_ours(
    truth: CampaignTruth,
    name: str,
    cache: Path,
    models: list[str],
    plots: bool = True,
    change: Callable[[str], str] | None = None,
) -> dict:
    """Run ours in a new process and a fresh folder; `cache` is where JAX keeps what it compiled."""
    place = workplace(truth, name, change=change)
    outcome = place / "outcome.json"
    command = [sys.executable, str(HERE / "our_run.py"), str(place / "project.toml"), str(outcome)]
    command += ["--models", *models, *(["--plots"] if plots else [])]
    started = time.perf_counter()
    with (place / "output.log").open("w") as log:
        done = subprocess.run(command, env=os.environ | environment(cache), stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"our run failed ({done.returncode}); its output is in {place / 'output.log'}")
    return json.loads(outcome.read_text()) | {"process": time.perf_counter() - started}
