"""How true fluxes are where the PSF changes over the field: stars that took no part in the PSF, against truth.

    python benchmarks/psf_field.py
    python benchmarks/psf_field.py --scenes coma --stars 30 60 150 --variation 0 2 --frames 8

Simulated frames of 1000 pixels a side with `--stars` stars for the PSF and `--held-out` others, which the photometry
`starred` measures with the PSF at their places. "off" is the scatter of measured over true flux beyond that of the
noise, "trend" half the range over the field of a quadratic in the position through it, both in ppt. "noise" is what the
noise alone scatters them by. CPU is that of the PSF, a frame, once it is compiled.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import attrs
import numpy as np

from lcframework.testing.psf_scenes import FieldOptics, StarScene, simulate_field
from lcframework.types import Kernels, PsfBatch, Stamps
from plugins_builtin.engine.psf.field_basis import IMAGES
from plugins_builtin.photometry.starred import StarredPhotometry
from plugins_builtin.psf_models.starred import Starred

SCENES = {
    "constant": FieldOptics(2.5),
    "undersampled": FieldOptics(1.2),
    "coma": FieldOptics(2.5, coma=0.8),
    "rotation": FieldOptics(2.5, rotation=0.3),
    "corners": FieldOptics(2.0, corners=0.35, curvature=0.3),
    "undersampled, coma, corners": FieldOptics(1.2, coma=0.6, corners=0.3, curvature=0.3),
}


def part(batch: PsfBatch, which: slice) -> PsfBatch:
    """Return some of the stars."""
    names = ("data", "noise", "mask", "xy", "offset")
    return attrs.evolve(batch, **{name: getattr(batch, name)[:, which] for name in names})


def ratios(scene: StarScene, stars: int, plugin: Starred) -> tuple[np.ndarray, np.ndarray, list[int], float]:
    """Return the held-out stars' measured over true fluxes, their errors, the orders and the CPU a frame, seconds."""
    batch = scene.batch
    plugin.fit(part(batch, slice(0, stars)))
    start = time.process_time()
    psfs = plugin.fit(part(batch, slice(0, stars)))
    spent = (time.process_time() - start) / len(psfs)
    found, errors, orders = [], [], []
    for f, psf in enumerate(psfs):
        held = slice(stars, None)
        stamps = Stamps(batch.data[f, held], batch.noise[f, held], batch.mask[f, held], batch.offset[f, held])
        kernels = plugin.at(psf, batch.xy[f, held])
        measured = StarredPhotometry().measure(stamps, Kernels(kernels, psf.subsampling_factor, psf.target_fwhm))
        found.append(measured.flux / scene.flux[f, held])
        errors.append(np.sqrt(measured.covariance[:, 0, 0]) / scene.flux[f, held])
        orders.append({0: 0, 2: 1, 5: 2}[len(psf.distortion.get(IMAGES, ()))])
    return np.array(found), np.array(errors), orders, spent


def summary(scene: StarScene, stars: int, found: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Return the scatter beyond the noise, the trend over the field, and the noise, ppt; means over frames."""
    beyond, trends = [], []
    for f, ratio in enumerate(found):
        u, v = (2.0 * scene.batch.xy[f, stars:] / 999.0 - 1.0).T
        terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
        usual = np.median(ratio)
        weight = 1.0 / np.hypot(errors[f], 0.003)
        fitted = terms @ np.linalg.lstsq(terms * weight[:, None], (ratio / usual - 1.0) * weight, rcond=None)[0]
        trends.append(0.5 * np.ptp(fitted))
        pulls = np.abs(ratio / usual - 1.0)
        # The s for which deviations over hypot(error, s) have the median modulus of a normal deviate.
        grid = np.geomspace(1e-5, 1.0, 400)
        medians = np.array([np.median(pulls / np.hypot(errors[f], s)) for s in grid])
        beyond.append(grid[np.argmin(medians > 0.6745)] if medians[0] > 0.6745 else 0.0)
    return 1e3 * np.mean(beyond), 1e3 * np.mean(trends), 1e3 * float(np.median(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--stars", nargs="+", type=int, default=[60])
    parser.add_argument("--variation", nargs="+", default=["0", "1", "2", "auto"])
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--faintest", type=float, default=300.0, help="e-/s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| scene | stars | variation | orders | off | trend | noise | CPU, s |\n|---|---|---|---|---|---|---|---|")
    for name in options.scenes:
        for stars in options.stars:
            scene = simulate_field(
                SCENES[name], options.frames, stars + options.held_out, seed=options.seed,
                flux=(options.faintest, 1e4),
            )  # fmt: skip
            for variation in options.variation:
                plugin = Starred(variation=variation if variation == "auto" else int(variation))
                found, errors, orders, spent = ratios(scene, stars, plugin)
                chosen = ", ".join(f"{o} ({n})" for o, n in sorted(Counter(orders).items()))
                off, trend, noise = summary(scene, stars, found, errors)
                print(f"| {name} | {stars} | {variation} | {chosen} | {off:.1f} | {trend:.1f} | {noise:.1f} "
                      f"| {spent:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
