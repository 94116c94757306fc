"""How well the ROI models measure simulated quads: scatter against the Cramer-Rao bound, offsets, pulls.

    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4
    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4 --psf fitted
    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4 --psf varying

The bound is for a perfect model (PSF, galaxy and positions known): each epoch's fluxes, sky and registration free. It
is computed from the noiseless images and numerical derivatives, independently of the models. "perfect" is that model
fitted to the very same noise.

With `--psf fitted` the models get PSFs that `psf_starred` fits to ten stars an epoch, and cutouts divided by a
coefficient from the fitted fluxes of these stars, as a run does. With `--psf varying` the true PSF stretches and shears
over the field, by 4 % at its edges, and the fit has `field_distortion`.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

import attrs
import numpy as np

from lcframework.testing.regions import Sky, Truth, quad, render_point, simulate
from lcframework.types import Cutouts, Kernels, PsfBatch, RoiFit
from plugins_builtin.roi_joint import Joint
from plugins_builtin.roi_starred import Starred

MODELS = {
    "joint": Joint(),
    "starred": Starred(),
    "starred, exact point sources": Starred(point_sources="exact"),
}
MILLIMAG = 2500 / np.log(10)
_STARS = 10
_STRETCH = 0.08  # relative, from one edge of the field to the other


def with_fitted_psfs(sky: Sky, cutouts: Cutouts, seed: int, varying: bool) -> Cutouts:
    """Return the cutouts with PSFs fitted to simulated stars, divided by a coefficient from the stars' fluxes."""
    from plugins_builtin.engine.distortion import distort
    from plugins_builtin.psf_starred import Starred as StarredPsf

    rng = np.random.default_rng(seed + 5000)
    e, n = len(cutouts), _STARS
    field = rng.uniform(0, 1000, (n, 2))
    roi = np.array([640.0, 420.0])
    flux = np.geomspace(1500.0, 12000.0, n)
    stars = attrs.evolve(sky, stamp=sky.kernel // sky.subsampling)
    places = rng.uniform(-0.5, 0.5, (e, n, 2))
    model = np.zeros((e, n, stars.stamp, stars.stamp))
    for i, kernel in enumerate(cutouts.kernels.values):
        stretch = rng.normal(0.0, _STRETCH, 6) * varying
        for j in range(n):
            # The kernel is the one at the region: what the field adds is counted from there.
            own = distort(kernel, stretch, (field[j] - roi) / 1000.0) if varying else kernel
            model[i, j] = flux[j] * render_point(stars, (stars.stamp - 1) / 2 + places[i, j], own)
    noise = np.sqrt(sky.sky_rms**2 + model / sky.exptime)
    data = model + noise * rng.standard_normal(model.shape)
    noise = np.sqrt(sky.sky_rms**2 + np.maximum(data, 0) / sky.exptime)
    batch = PsfBatch(
        data, noise, np.zeros(data.shape, bool), np.tile(field, (e, 1, 1)), np.zeros((e, n, 2)),
        cutouts.seeing / sky.scale, (1000, 1000),
    )  # fmt: skip
    plugin = StarredPsf(field_distortion=varying)
    psfs = plugin.fit(batch)
    kernels = np.array([plugin.at(psf, roi[None])[0] for psf in psfs])
    coefficient = np.array([np.nanmedian(psf.amplitude / flux) for psf in psfs])
    scale = coefficient[:, None, None]
    return attrs.evolve(
        cutouts, data=cutouts.data / scale, noise=cutouts.noise / scale,
        kernels=Kernels(kernels, psfs[0].subsampling_factor, psfs[0].target_fwhm),
    )  # fmt: skip


def perfect(sky: Sky, cutouts: Cutouts, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Return the fluxes (e, k) of a perfect model, and their covariance (e, k, k)."""
    e, k = truth.flux.shape
    flux, covariance = np.zeros((e, k)), np.zeros((e, k, k))
    for i in range(e):
        kernel = cutouts.kernels.values[i]
        transform = cutouts.transform[i]
        xy = truth.offset @ transform[:, :2].T + transform[:, 2] + truth.shift[i]
        points = [render_point(sky, p, kernel) for p in xy]
        by_y, by_x = np.gradient(truth.galaxy[i])
        moves = []
        for axis, slope in ((0, by_x), (1, by_y)):
            step = np.eye(2)[axis] * 1e-3
            ends = [
                sum(f * render_point(sky, p + s * step, kernel) for f, p in zip(truth.flux[i], xy, strict=True))
                for s in (1, -1)
            ]
            moves.append((ends[0] - ends[1]) / 2e-3 - slope)
        design = np.array([*points, np.ones_like(by_x), *moves]).reshape(k + 3, -1) / np.sqrt(truth.variance[i]).ravel()
        fisher = design @ design.T
        fisher[k + 1 :, k + 1 :] += np.linalg.inv(cutouts.registration_covariance[i])
        inverse = np.linalg.inv(fisher)
        noise = ((cutouts.data[i] - truth.noiseless[i]) / np.sqrt(truth.variance[i])).ravel()
        flux[i] = truth.flux[i] + (inverse @ (design @ noise))[:k]
        covariance[i] = inverse[:k, :k]
    return flux, covariance


def judge(fit: RoiFit | SimpleNamespace, truth: Truth, least: np.ndarray) -> dict[str, np.ndarray]:
    """Return figures per source."""
    magnitude = -MILLIMAG * np.log(np.maximum(fit.flux, 1e-3) / truth.flux)
    offset = np.median(magnitude, axis=0)
    error = np.sqrt(np.einsum("ekk->ek", fit.covariance))
    common = np.sqrt(np.einsum("ekk->ek", fit.common_covariance))
    difference = fit.flux - truth.flux
    level = np.average(difference / truth.flux, axis=0, weights=(truth.flux / error) ** 2)
    # Free of what is common, whose part is a factor on the whole curve.
    pull = (difference - level * truth.flux) / error * np.sqrt(len(error) / (len(error) - 1))
    deviation = MILLIMAG * (difference / truth.flux - level)
    return {
        "variance": (deviation**2).mean(axis=0) * len(error) / (len(error) - 1),
        "bound": ((MILLIMAG * least / truth.flux) ** 2).mean(axis=0),
        "offset": offset,
        "common": MILLIMAG * (common / truth.flux).mean(axis=0),
        "pull": pull,
        "chi2": np.nanmean(fit.reduced_chi2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 40])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--floor", type=float, default=0.0, help="hidden registration error, pixels")
    parser.add_argument("--psf", choices=("true", "fitted", "varying"), default="true")
    arguments = parser.parse_args()
    print(
        "| model | epochs | rms scatter, mmag | bound | ratio | median offset | largest | offset / stated | pull | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for epochs in arguments.epochs:
        scenes = []
        for seed in range(arguments.seeds):
            sky = quad(epochs, seed, hidden_shift=arguments.floor)
            scene = simulate(sky, seed)
            flux, covariance = perfect(sky, scene[0], scene[2])
            nothing = np.full_like(covariance, np.nan)
            best = SimpleNamespace(flux=flux, covariance=covariance, common_covariance=nothing, reduced_chi2=1.0)
            if arguments.psf != "true":
                scene = (with_fitted_psfs(sky, scene[0], seed, arguments.psf == "varying"), *scene[1:])
            scenes.append((*scene, best))
        for name in ["perfect", *arguments.models]:
            rows, seconds = [], []
            for cutouts, sources, truth, best in scenes:
                start = time.process_time()
                fit = best if name == "perfect" else MODELS[name].fit(cutouts, sources)
                seconds.append(time.process_time() - start)
                rows.append(judge(fit, truth, np.sqrt(np.einsum("ekk->ek", best.covariance))))
            scatter, least = (np.sqrt(np.mean([r[n] for r in rows])) for n in ("variance", "bound"))
            offset = np.abs([r["offset"] for r in rows])
            ratio = np.sqrt(np.mean([(r["offset"] / r["common"]) ** 2 for r in rows]))
            pull = np.std(np.concatenate([r["pull"].ravel() for r in rows]))
            print(
                f"| {name} | {epochs} | {scatter:.1f} | {least:.1f} | {scatter / least:.2f} "
                f"| {np.median(offset):.0f} | "
                f"{offset.max():.0f} | {ratio:.2f} | {pull:.2f} | {np.mean(seconds):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
