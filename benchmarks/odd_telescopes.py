"""Light curves of telescopes that are out of focus, trail or undersample, untuned, against the truth.

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
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from campaigns import environment

from lcframework.testing.campaign import CampaignTruth, evaluate_light_curves, simulate_campaign

#: What differs from the simulator's telescope, whose pixels are 0.21 arcsec.
KINDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "ring": {"defocus": 1.0, "seeing": (0.6, 1.0)},
    "wide-ring": {"defocus": 2.0, "seeing": (0.6, 1.0)},
    "trailed": {"guiding": 0.4},
    "undersampled": {"pixel_scale": 0.8, "seeing": (0.6, 1.1)},
    "one-pixel": {"pixel_scale": 1.1, "seeing": (0.6, 1.0)},
}
PROJECT = """
[telescope]
latitude = -24.6
longitude = -70.4
[roi.QUAD]
ra = 150.1137
dec = -28.3052
[roi.QUAD.point_sources]
A = [150.1137, -28.3052]
[stars]
plugin = "file"
[calibration]
plugin = "file"
band = "r_sdss"
[calibration.file]
system = "AB"
[run]
offline = true
"""


def project_text(settings: list[str]) -> str:
    """Return the project file, with each `table.key=value` in it."""
    tables = (s.partition("=")[0].rpartition(".") for s in settings)
    lines = [f"[{table}]\n{key} = {s.partition('=')[2]}\n" for s, (table, _, key) in zip(settings, tables, strict=True)]
    return PROJECT + "".join(lines)


def reduced(folder: Path, cache: Path) -> tuple[Table, list[str]]:
    """Run a project in a new process; return its light curve and its doubts."""
    command = [sys.executable, "-c", "from lcframework.cli.main import main; main()"]
    project = str(folder / "project.toml")
    variables = os.environ | environment(cache) | {"LCF_DISABLE_PLUGINS": "all"}
    done = subprocess.run([*command, "run", project, "--json"], env=variables, capture_output=True, text=True)
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
    return simulate_campaign(folder, seed=seed, frames=frames, **(options | KINDS[kind]))


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
            (folder / "project.toml").write_text(project_text(options.settings))
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
