"""Light curves of telescopes that are out of focus, trail or undersample, or whose frames were resampled, untuned.

    python benchmarks/odd_telescopes.py --frames 12 --kinds usual ring wide-ring undersampled one-pixel trailed

Each kind is a simulated field of stars around a single source, with a project file that says where the telescope is and
what is looked at, and nothing else. Printed are the scatter about the truth, that of a perfect model (bound), the
offset, the pull, how many epochs have a flux, and the doubts of the run. `--set psf.starred.subsampling_factor=2` tries
a setting.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from campaigns import LCF, environment
from scipy.ndimage import gaussian_filter, shift

from lcframework.testing.campaign import CampaignTruth, evaluate_light_curves, simulate_campaign, untuned_toml

#: What differs from the simulator's telescope, whose pixels are 0.21 arcsec.
KINDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "ring": {"defocus": 1.0, "seeing": (0.6, 1.0)},
    "wide-ring": {"defocus": 2.0, "seeing": (0.6, 1.0)},
    "trailed": {"guiding": 0.4},
    "undersampled": {"pixel_scale": 0.8, "seeing": (0.6, 1.1)},
    "one-pixel": {"pixel_scale": 1.1, "seeing": (0.6, 1.0)},
    "faint": {"zeropoint": 22.0},
    "resampled": {"zeropoint": 22.0},
    "smoothed": {"zeropoint": 22.0},
}
_Image = np.ndarray[Any, np.dtype[Any]]


def _resampled(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image that was moved by a part of a pixel, by linear interpolation."""
    return np.asarray(shift(image, rng.uniform(-0.5, 0.5, 2), order=1, mode="nearest"))


def _smoothed(image: _Image, rng: np.random.Generator) -> _Image:
    """Return an image whose pixels share their noise as drizzled ones do."""
    return np.asarray(gaussian_filter(image, 0.8))


#: What a program made of the raw frames, by kind.
TREATED: dict[str, Callable[[_Image, np.random.Generator], _Image]] = {"resampled": _resampled, "smoothed": _smoothed}


def tables_of(settings: list[str]) -> str:
    """Return each `table.key=value` as lines of a project file."""
    lines = ""
    for setting in settings:
        name, _, value = setting.partition("=")
        table, _, key = name.rpartition(".")
        lines += f"[{table}]\n{key} = {value}\n"
    return lines


def reduced(folder: Path, cache: Path) -> tuple[Table, list[str]]:
    """Run a project in a new process; return its light curve and its doubts."""
    project = str(folder / "project.toml")
    variables = os.environ | environment(cache) | {"LCF_DISABLE_PLUGINS": "all"}
    done = subprocess.run([*LCF, "run", project, "--json"], env=variables, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        return Table(), [f"stopped: {done.stderr.strip()[:200]}"]
    doubts = [d["kind"] for d in json.loads(done.stdout)["doubts"]]
    curve = folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.csv"
    return (Table.read(curve) if curve.exists() else Table()), doubts


def simulated(folder: Path, kind: str, frames: int, seed: int) -> CampaignTruth:
    """Return a kind's campaign."""
    options: dict[str, Any] = {
        "size": 500, "seeing": (0.7, 1.4), "stars": 30, "saturated_stars": 2, "faint_stars": 30, "field_galaxies": 2,
        "target": "single", "lens_galaxies": 0,
    }  # fmt: skip
    truth = simulate_campaign(folder, seed=seed, frames=frames, **(options | KINDS[kind]))
    if kind in TREATED:
        rng = np.random.default_rng(seed)
        for path in sorted((folder / "raw").rglob("*.fits")):
            image, header = fits.getdata(path, header=True)
            fits.writeto(path, TREATED[kind](image.astype(float), rng).astype(np.float32), header, overwrite=True)
    return truth


def main() -> None:
    """Print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=[], metavar="TABLE.KEY=VALUE", dest="settings")
    options = parser.parse_args()
    print(f"{'kind':14}{'epochs':>8}{'scatter':>10}{'bound':>8}{'ratio':>8}{'offset':>9}{'pull':>7}  doubts")
    with tempfile.TemporaryDirectory() as place:
        for kind in options.kinds:
            folder = Path(place) / kind
            truth = simulated(folder, kind, options.frames, options.seed)
            truth.project.write_text(untuned_toml(truth.settings) + tables_of(options.settings))
            curve, doubts = reduced(folder, Path(place) / "compiled")
            told = ", ".join(sorted(set(doubts))) or "-"
            if not len(curve):
                print(f"{kind:14}{0:8}{'':42}  {told}", flush=True)
                continue
            (row,) = evaluate_light_curves(truth, curve)
            seen = int(np.isfinite(np.asarray(curve["A_flux"], float)).sum())
            print(f"{kind:14}{seen:8}{row['scatter']:10.1f}{row['bound']:8.1f}{row['ratio']:8.2f}{row['offset']:+9.3f}"
                  f"{row['pull']:7.2f}  {told}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
