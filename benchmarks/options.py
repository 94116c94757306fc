"""Every documented option of the fits, one at a time on one simulated campaign: the light curves against truth.

    python benchmarks/options.py --frames 12 --size 800

The first row is the project as `lcf demo` writes it. Each other row changes what its first column says, in a copy of
the finished project, so that only what the option reaches is computed again. It takes five to ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from campaigns import campaign

from lcframework.project import Project
from lcframework.testing.campaign import CampaignTruth, evaluate_light_curves

BACKGROUND = "background"  # stands for the background that the first run fitted; the suffix follows

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"background": {"sep": {"boxes": 5, "mask_sources": True}}},
    {"sources": {"sep": {"threshold": 4.0}}},
    {"stars": {"strategy": "common_footprint"}},
    {"stars": {"strategy": "per_frame"}},
    {"cosmics": {"plugin": "none"}},
    {"stamps": {"star_size": 32, "roi_size": 40}},
    {"stamps": {"hot_pixels": "auto"}},
    {"psf": {"starred": {"subsampling_factor": 1}}},
    {"psf": {"starred": {"subsampling_factor": 3}}},
    {"psf": {"starred": {"subsampling_factor": 4}}},
    {"psf": {"starred": {"field_distortion": True}}},
    {"psf": {"starred": {"iterations_pixels": 40}}},
    {"psf": {"stars": 6}, "photometry": {"stars": 15}},
    {"photometry": {"psf_chi2": {"between": [0.0, 1.5]}}},
    {"photometry": {"aperture": 8.0}},
    {"photometry": {"starred": {"background_per_epoch": True}}},
    {"photometry": {"starred": {"starlet_background": True}}},
    {"normalization": {"ensemble": {"spatial_order": 1, "spatial_amplitude": 0.1}}},
    {"roi_model": {"starred": {"fix_astrometry": True}}},
    {"roi_model": {"starred": {"fix_astrometry": 0.05}}},
    {"roi_model": {"starred": {"background": False}}},
    {"roi_model": {"starred": {"starting_background": f"{BACKGROUND}.fits"}}},
    {"roi_model": {"starred": {"starting_background": f"{BACKGROUND}.npy", "optimize_background": False}}},
    {"roi_model": {"starred": {"regularization_scales": 3.0}}},
    {"roi_model": {"starred": {"regularization_high_frequency": 3.0}}},
    {"roi_model": {"starred": {"regularization_positivity": 0.0}}},
    {"roi_model": {"starred": {"regularization_point_sources": 0.1}}},
    {"roi_model": {"starred": {"regularization_flux_scatter": 1.0}}},
    {"roi_model": {"plugin": "joint"}},
)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a project file with a change in them."""
    out = dict(base)
    for key, value in change.items():
        out[key] = merged(out.get(key, {}), value) if isinstance(value, Mapping) else value
    return out


def as_toml(value: Any) -> str:
    """Return a value as TOML; tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


def describe(change: Mapping[str, Any], above: str = "") -> str:
    """Return what a change sets, as "[section] option = value"."""
    own = {k: v for k, v in change.items() if not isinstance(v, Mapping) or k == "psf_chi2"}
    inner = [describe(v, f"{above}.{k}".lstrip(".")) for k, v in change.items() if k not in own]
    mine = [f"[{above}] " + ", ".join(f"{k} = {as_toml(v)}" for k, v in own.items())] if own else []
    return ", ".join([*mine, *inner])


def backgrounds(folder: Path) -> None:
    """Write the background that a run fitted under the names that the variants ask for."""
    (path,) = (folder / "prepared_roi_cutouts").glob("*_background.fits")
    image = fits.getdata(path)
    fits.writeto(folder / f"{BACKGROUND}.fits", image, overwrite=True)
    np.save(folder / f"{BACKGROUND}.npy", np.asarray(image, float))


def measure(truth: CampaignTruth, folder: Path, change: Mapping[str, Any]) -> str:
    """Run a project with a change in it, and return the figures of its light curves."""
    path = folder / "project.toml"
    tables = merged(tomllib.loads(truth.project.read_text()), change)
    path.write_text("\n".join(f"{name} = {as_toml(table)}" for name, table in tables.items()) + "\n")
    project = Project.open(path)
    report = project.run()
    if report.exit_code not in (0, 3):
        return f"stopped: {report.message or report.bugs}"
    table = evaluate_light_curves(truth, project.light_curve_table())
    rms = {c: float(np.sqrt(np.mean(np.asarray(table[c], float) ** 2))) for c in ("scatter", "bound", "pull")}
    offset = float(np.median(np.asarray(table["offset"], float)))
    figures = f"{int(table['epochs'].min()):7d}{rms['scatter']:9.1f}{rms['scatter'] / rms['bound']:7.2f}"
    return f"{figures}{offset:+9.3f}{rms['pull']:7.2f}{report.units_done:7d}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=800, help="pixels a side of a frame")
    parser.add_argument("--folder", type=Path, help="where the campaign is or goes; default: a temporary folder")
    parser.add_argument("--only", default="", help="run the rows whose label holds this")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="options_"))
    truth = campaign(folder, options.frames, options.seed, options.size)
    print(f"{'option':88}{'epochs':>7}{'scatter':>9}{'ratio':>7}{'offset':>9}{'pull':>7}{'units':>7}", flush=True)
    first = folder / "runs" / "base"
    for i, change in enumerate(VARIANTS):
        label = describe(change) or "as it comes"
        if change and options.only not in label:
            continue
        place = folder / "runs" / f"option{i}" if change else first
        shutil.rmtree(place, ignore_errors=True)
        if change:
            shutil.copytree(first, place, symlinks=True)
        else:
            place.mkdir(parents=True)
            for shared in ("raw", "stars.ecsv"):
                (place / shared).symlink_to((folder / shared).resolve())
        print(f"{label:88}{measure(truth, place, change)}", flush=True)
        if not change:
            backgrounds(first)
        else:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
