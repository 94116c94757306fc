"""A simulated campaign through lightcurver and through lcframework, cold and warm: seconds a stage, and accuracy.

    python benchmarks/versus_lightcurver.py --make-peer peer
    python benchmarks/versus_lightcurver.py --peer-python peer/bin/python

lightcurver gets the same frames, stars, point sources, stamp sizes and subsampling; its query of Gaia is answered from
the campaign's own table, and the headers' WCS is taken as solved. "Cold" is a first run with nothing compiled; "warm"
runs in a new folder and a new process, with what the cold run compiled. Plots are drawn in all runs: lightcurver draws
them within its stages, we after them. Run it on a quiet machine.

What is measured is kept in the folder, and tables are printed after every run: started again with the same --folder, it
goes on where it was stopped; after a change of the code remove `outcomes` there, or name another folder. With
--repeats the programs run in turns, and medians are printed. `--losses` compares the PSFs by STARRED's own Loss:
lightcurver's stamps, masks, noise and wavelet weights are given to our solver too.

How long it takes on two cores: lightcurver needs about 33 s a frame and half a minute to a minute besides, so 7 minutes
for 12 frames and 4 for 6; simulating 12 frames takes half a minute, our two runs take a minute or two, and the losses
two seconds a frame.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table
from campaigns import HERE, campaign, run_ours

from lcframework.testing.campaign import CampaignTruth, cramer_rao_scatter, evaluate_light_curves

PEER = ("lightcurver==1.2.4", "pandas<3")
# Middle of the exposure, as the truth has it.
HEADER_PARSER = """\
def parse_header(header):
    middle = header["MJD-OBS"] + 0.5 * header["EXPTIME"] / 86400.0
    return {"exptime": header["EXPTIME"], "gain": header["GAIN"], "mjd": middle}
"""
STAGES = {  # the table's rows, with the tasks of both in each
    "import, solving, footprint, stars": (
        "initialize_database",
        "read_convert_skysub_character_catalog",
        "plate_solving",
        "calculate_common_and_total_footprint",
        "query_gaia_for_stars",
    ),
    "stamps": ("stamp_extraction",),
    "PSF modelling": ("psf_modeling",),
    "star photometry": ("star_photometry",),
    "normalization, zero points, cutouts": (
        "calculate_normalization_coefficient",
        "calculate_absolute_zeropoints",
        "prepare_calibrated_cutouts",
    ),
    "ROI, model": ("model_calibrated_cutouts",),
    "plots (lightcurver's are in its stages)": ("plots",),
}


def make_peer(folder: Path) -> Path:
    """Build lightcurver's environment and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER], check=True)
    return python


def peer_settings(truth: CampaignTruth, workdir: Path) -> dict:
    """Return what peer_driver.py needs, with the options of the campaign's own project file."""
    project = tomllib.loads(truth.project.read_text())
    ((name, region),) = project["roi"].items()
    telescope = project["telescope"]
    config = {
        "workdir": str(workdir),
        "raw_dirs": [str((truth.directory / "raw").resolve())],
        "ROI": {name: {"coordinates": [region["ra"], region["dec"]]}},
        "ROI_size": region["exclusion_radius"],
        "telescope": {
            "name": telescope["name"],
            "imager_name": telescope["imager"],
            **{k: telescope[k] for k in ("latitude", "longitude", "elevation")},
        },
        "already_plate_solved": True,
        "plate_scale_interval": project["plate_solving"]["pixel_scale"],
        "ROI_disk_radius_arcseconds": project["stars"]["radius"],
        "star_min_gmag": project["stars"]["magnitude"][0],
        "star_max_gmag": project["stars"]["magnitude"][1],
        "stamp_size_stars": 24,
        "stamp_size_ROI": 32,
        "subsampling_factor": 2,
        "photometric_band": project["calibration"]["band"],
        "point_sources": region["point_sources"],
        "multiprocessing_cpu_count": 2,
    }
    return {
        "config": config,
        "catalog": str((truth.directory / "stars.ecsv").resolve()),
        "header_parser": HEADER_PARSER,
        "seconds": str(workdir / "seconds.json"),
    }


def run_peer(truth: CampaignTruth, python: Path, name: str, patience: float) -> dict:
    """Run lightcurver in a fresh folder: its seconds, and the path of its light curve."""
    runs = truth.directory.resolve() / "runs"
    runs.mkdir(exist_ok=True)
    workdir = Path(tempfile.mkdtemp(prefix=f"{name}_", dir=runs))
    settings = workdir / "settings.json"
    settings.write_text(json.dumps(peer_settings(truth, workdir)))
    # Neither our modules nor our compiled programs; no display.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "JAX_COMPILATION_CACHE_DIR")}
    environment |= {"MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
    started, spent = time.perf_counter(), cpu_of_children()
    with (workdir / "output.log").open("w") as log:
        command = [str(python), str(HERE / "peer_driver.py"), str(settings)]
        try:
            done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=patience)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"lightcurver took longer than --patience; its output is in {log.name}") from None
    elapsed, cpu = time.perf_counter() - started, cpu_of_children() - spent
    curves = sorted(workdir.rglob("*_photometry_per_epoch.csv"))
    if done.returncode or not curves:
        raise SystemExit(f"lightcurver failed ({done.returncode}); its output is in {workdir / 'output.log'}")
    seconds = json.loads((workdir / "seconds.json").read_text())
    psfs = sorted(str(p) for p in workdir.glob("psf_*.npz"))
    return {"seconds": seconds, "process": elapsed, "cpu": cpu, "light_curve": str(curves[0]), "psfs": psfs}


def run_cold(truth: CampaignTruth, name: str, cache: Path, models: list[str]) -> dict:
    """Run ours with nothing compiled, not even by a cold run that was interrupted."""
    shutil.rmtree(cache, ignore_errors=True)
    return run_ours(truth, name, cache, models)


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peer_curve(path: str) -> Table:
    """Return lightcurver's light curve in the columns that the truth is compared with."""
    table = Table.read(path, format="ascii.csv")
    sources = [n.removesuffix("_d_flux") for n in table.colnames if n.endswith("_d_flux")]
    names = ["mjd", "zeropoint", *(f"{s}_{kind}" for s in sources for kind in ("flux", "d_flux"))]
    converted = Table()
    for name in names:
        converted[name] = np.asarray(table[name], float)
    return converted


def tell(name: str, run: dict) -> None:
    """Print what a run took, and how busy the machine was: about 2 is this run's own."""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{name}: {run['process']:.1f} s, {run['cpu']:.1f} s of CPU{busy}", flush=True)


def median(runs: list[dict], tasks: tuple[str, ...]) -> float:
    return float(np.median([sum(r.get(t, 0.0) for t in tasks) for r in runs])) if runs else np.nan


def print_times(peer: list[dict], cold: list[dict], warm: list[dict], models: list[str]) -> None:
    """Print the medians: seconds, and how many times faster we are."""
    print(f"\nmedians of {len(cold)} cold, {len(peer)} lightcurver, {len(warm)} warm runs")
    print(f"\n{'stage':42}{'lightcurver':>12}{'cold':>9}{'ratio':>8}{'warm':>9}{'ratio':>8}")

    def line(label: str, theirs: float, colds: float, warms: float) -> None:
        ratios = [f"{theirs / t:8.1f}" if t > 0 and theirs > 0 else f"{'-':>8}" for t in (colds, warms)]
        texts = [f"{t:.{digits}f} s" if np.isfinite(t) else "-" for t, digits in ((theirs, 1), (colds, 2), (warms, 2))]
        print(f"{label:42}{texts[0]:>12}{texts[1]:>9}{ratios[0]}{texts[2]:>9}{ratios[1]}")

    theirs = [r["seconds"] for r in peer]
    for label, tasks in STAGES.items():
        for model in models if tasks == ("model_calibrated_cutouts",) else models[:1]:
            mine = [[r["runs"][model]["seconds"] for r in runs] for runs in (cold, warm)]
            name = label.replace("model", model) if tasks == ("model_calibrated_cutouts",) else label
            line(name, median(theirs, tasks), median(mine[0], tasks), median(mine[1], tasks))

    def whole(runs: list[dict]) -> float:
        return float(np.median([sum(r["runs"][models[0]]["seconds"].values()) for r in runs])) if runs else np.nan

    stages = tuple(t for tasks in STAGES.values() for t in tasks)
    line(f"all stages, ROI by {models[0]}", median(theirs, stages), whole(cold), whole(warm))
    for label, key in (("the process", "process"), ("CPU of the process", "cpu")):
        middle = (float(np.median([r[key] for r in runs])) if runs else np.nan for runs in (peer, cold, warm))
        line(f"{label} ({', '.join(models)})", *middle)


def print_accuracy(truth: CampaignTruth, curves: dict[str, Table]) -> None:
    """Print the figures of each source, and their rms over the sources."""
    columns = ("epochs", "scatter", "bound", "ratio", "offset", "stated", "pull")
    print(f"\n{'against truth (mmag; offset in mag)':38}" + "".join(f"{c:>9}" for c in columns))
    for label, curve in curves.items():
        table = evaluate_light_curves(truth, curve)
        for row in table:
            figures = f"{row['epochs']:9d}{row['scatter']:9.1f}{row['bound']:9.1f}{row['ratio']:9.2f}"
            print(
                f"{label + ', ' + row['name']:38}{figures}{row['offset']:+9.3f}{row['stated']:9.1f}{row['pull']:9.2f}"
            )
        scatter, bound, stated, pull = (
            float(np.sqrt(np.mean(np.asarray(table[c], float) ** 2))) for c in ("scatter", "bound", "stated", "pull")
        )
        offset = float(np.median(np.asarray(table["offset"], float)))
        figures = f"{'':9}{scatter:9.1f}{bound:9.1f}{scatter / bound:9.2f}{offset:+9.3f}{stated:9.1f}{pull:9.2f}"
        print(f"{label + ', rms (offset: median)':38}{figures}")
    least = cramer_rao_scatter(truth)
    targets = [r for r in least if r["name"] in truth.targets]
    print("Cramer-Rao bound, all epochs: " + ", ".join(f"{r['name']} {r['bound']:.1f} mmag" for r in targets))


def remembered(path: Path, name: str, run: Callable[[str], dict]) -> dict:
    """Return what a run measured, from the file of an earlier start where it is there."""
    if not path.exists():
        outcome = run(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(outcome, indent=1))
    return json.loads(path.read_text())


def print_losses(paths: list[str]) -> None:
    """Print STARRED's Loss of both programs' PSFs, on lightcurver's stamps."""
    from psf_losses import compare

    print(f"\n{'STARRED loss of the PSF':34}{'lightcurver':>13}{'ours':>11}{'difference':>12}")
    rows = []
    for path in paths:
        rows.append(compare(Path(path)))
        theirs, ours = rows[-1]
        print(f"{Path(path).stem:34}{theirs:13.2f}{ours:11.2f}{ours - theirs:+12.2f}", flush=True)
    difference = np.array([ours - theirs for theirs, ours in rows])
    if len(rows):
        print(
            f"ours is no higher in {(difference <= 0).sum()} of {len(rows)} frames; median {np.median(difference):+.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, help="interpreter of an environment with lightcurver 1.2.4")
    parser.add_argument("--make-peer", type=Path, metavar="FOLDER", help="build that environment here (2 GB; network)")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=1200, help="pixels a side of a frame")
    parser.add_argument("--models", nargs="+", default=["starred", "joint"], help="our ROI models")
    parser.add_argument("--repeats", type=int, default=1, help="how often all run, in turns; medians are printed")
    parser.add_argument("--losses", action="store_true", help="compare the PSFs by STARRED's Loss too")
    parser.add_argument("--patience", type=float, default=3600.0, help="seconds that one run of lightcurver may take")
    parser.add_argument("--folder", type=Path, help="where the campaign is or goes; default: a temporary folder")
    options = parser.parse_args()
    python = make_peer(options.make_peer) if options.make_peer else options.peer_python
    if python is None:
        parser.error("name lightcurver's interpreter with --peer-python, or have it built with --make-peer FOLDER")
    python = python.absolute()  # not resolved: the link tells Python its environment
    folder = options.folder or Path(tempfile.mkdtemp(prefix="versus_"))
    truth = campaign(folder, options.frames, options.seed, options.size)
    runs: dict[str, list[dict]] = {"cold": [], "lightcurver": [], "warm": []}
    ours = "+".join(options.models)
    for turn in range(options.repeats):
        cache = folder / f"jax_{ours}_{turn}"
        programs = {
            "cold": lambda name, cache=cache: run_cold(truth, name, cache, options.models),
            "lightcurver": lambda name: run_peer(truth, python, name, options.patience),
            "warm": lambda name, cache=cache: run_ours(truth, name, cache, options.models),
        }
        for program, run in programs.items():
            label = f"{program}_{turn}" if program == "lightcurver" else f"{program}_{ours}_{turn}"
            runs[program].append(remembered(folder / "outcomes" / f"{label}.json", label, run))
            tell(program, runs[program][-1])
            if runs["cold"] and (program != "cold" or turn):
                print_times(runs["lightcurver"], runs["cold"], runs["warm"], options.models)
    peer, warm = runs["lightcurver"], runs["warm"]
    curves = {"lightcurver": peer_curve(peer[-1]["light_curve"])}
    for model in options.models:
        curves[model] = Table.read(warm[-1]["runs"][model]["light_curve"])
    print_accuracy(truth, curves)
    if options.losses:
        print_losses(peer[-1]["psfs"])
    print(f"\nEverything is in {folder}")


if __name__ == "__main__":
    main()
