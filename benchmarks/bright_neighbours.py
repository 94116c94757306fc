"""Simulated quads with a bright star beside them: are their light curves as good as their errors?

    python benchmarks/bright_neighbours.py --model joint starred

Prints for each star (its distance, its magnitude; the quasar's images have 18.5 to 19.6 mag) and each model how far the
images' fluxes scatter, in mmag, the pull, and the offset in mmag with the error that all epochs share; and the doubts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table
from campaigns import LCF, environment

from lcframework.testing.campaign import evaluate_light_curves, simulate_campaign

STARS = ((4.2, 14.0), (6.0, 13.0), (6.0, 14.0), (9.0, 12.5), (12.0, 11.0))


def measure(place: Path, model: str, cache: Path) -> None:
    """Run a campaign with one model, and print what became of each image."""
    project = place / "project.toml"
    text = project.read_text().split("\n[roi_model]")[0]
    project.write_text(f'{text}\n[roi_model]\nplugin = "{model}"\n')
    done = subprocess.run(
        [*LCF, "run", str(project)], env=os.environ | environment(cache), capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(done.stdout + done.stderr)
    curve = Table.read(place / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.ecsv")
    for row in evaluate_light_curves(place, curve):
        name = row["name"]
        common = 1085.7 * np.nanmedian(curve[f"{name}_d_flux_common"] / curve[f"{name}_flux"])
        print(f"  {model:8}{name}  scatter {row['scatter']:6.1f}  pull {row['pull']:5.2f}  "
              f"offset {1e3 * row['offset']:+7.1f} +- {common:.1f}", flush=True)  # fmt: skip
    for line in (done.stdout + done.stderr).splitlines():
        if line.startswith(("Serious", "Doubt")):
            print(f"  {line[:110]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["joint", "starred"])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=400, help="pixels a side of a frame")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the projects go; default: a temporary folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="bright_neighbours_"))
    for distance, magnitude in STARS:
        print(f"{magnitude} mag at {distance} arcsec", flush=True)
        place = folder / f"{distance:g}_{magnitude:g}"
        if not place.exists():
            simulate_campaign(
                place, seed=options.seed, frames=options.frames, size=options.size, saturated_stars=0,
                bright_neighbours=1, neighbour_distance=distance, neighbour_magnitude=magnitude,
            )  # fmt: skip
        for model in options.model:
            measure(place, model, folder / "jax")


if __name__ == "__main__":
    main()
