"""How well the ROI models measure simulated quads: scatter against the Cramer-Rao bound, offsets, pulls.

    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4
    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4 --psf fitted
    python benchmarks/roi_accuracy.py --epochs 12 40 --seeds 4 --psf varying

The bound is for a perfect model (PSF, galaxy and positions known): each epoch's fluxes, sky and registration free. It
is computed from the noiseless images and numerical derivatives, independently of the models. "perfect" is that model
fitted to the very same noise.

With `--psf fitted` the models get PSFs that `psf_starred` fits to ten stars an epoch, and the coefficient and the
registration that fluxes and positions of these stars give with that PSF, as in a run: where a PSF's light lies
relative to its centre is arbitrary, and cancels only then. With `--psf varying` the true PSF stretches and shears over
the field, by 4 % at its edges, and the fit has `field_distortion`. `--star-flux` is by how much the stars are brighter
than those of 1500 to 12000 e-/s; 0.35 is what a simulated campaign has on average, relative to its sky and its quad.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

import attrs
import numpy as np

from lcframework.testing.regions import Sky, Truth, quad, render_point, simulate
from lcframework.types import Cutouts, Floats, Kernels, PsfBatch, RoiFit, Stamps
from plugins_builtin.psf_models.starred import Starred as StarredPsf
from plugins_builtin.roi_models.joint import Joint
from plugins_builtin.roi_models.starred import Starred

MODELS = {
    "joint": Joint(),
    "starred": Starred(),
    "starred, interpolated point sources": Starred(point_sources="interpolated"),
}
MILLIMAG = 2500 / np.log(10)
FLUXES = np.geomspace(1500.0, 12000.0, 10)  # e-/s
_FIELD = 1000  # pixels
_STRETCH = 0.08  # relative, from one edge of the field to the other


def with_fitted_psfs(
    sky: Sky, cutouts: Cutouts, seed: int, fluxes: Floats, varying: bool, regularization: float
) -> Cutouts:
    """Return the cutouts as a run makes them from simulated stars of `fluxes` (n,) around the region.

    PSFs, fluxes and positions of the stars come from the plugins; the registration from the positions, the
    coefficients from the fluxes.
    """
    from lcframework.roi.registration import register
    from plugins_builtin.photometry.starred import StarredPhotometry

    rng = np.random.default_rng(seed + 5000)
    field, roi = rng.uniform(0, _FIELD, (len(fluxes), 2)), np.array([640.0, 420.0])
    batch, places = simulated_stars(sky, cutouts, field - roi, fluxes, rng, varying)
    plugin = StarredPsf(field_distortion=varying, regularization=regularization)
    kernels, precisions, residuals, transforms, covariances, coefficients = [], [], [], [], [], []
    for i, psf in enumerate(plugin.fit(attrs.evolve(batch, xy=np.tile(field, (len(cutouts), 1, 1))))):
        stamps = Stamps(batch.data[i], batch.noise[i], batch.mask[i], batch.offset[i])
        own = Kernels(plugin.at(psf, field), psf.subsampling_factor, psf.target_fwhm)
        stars = StarredPhotometry().measure(stamps, own)
        error = np.sqrt(np.einsum("nii->ni", stars.covariance))
        measured = field + np.stack([stars.x, stars.y], axis=-1)
        registration = register(field + places[i], measured, error[:, 1:], roi)
        weight = (fluxes / error[:, 0]) ** 2
        coefficients.append((np.average(stars.flux / fluxes, weights=weight), weight.sum() ** -0.5))
        kernels.append(plugin.at(psf, roi[None])[0])
        precisions.append(psf.precision)
        residuals.append(psf.mean_residual)
        transforms.append(registration.apply(cutouts.transform[i]))
        covariances.append(cutouts.registration_covariance[i] + registration.covariance)
    coefficient, error = np.array(coefficients).T
    scale = coefficient[:, None, None]
    return attrs.evolve(
        cutouts, data=cutouts.data / scale, noise=cutouts.noise / scale, normalization_error=error / coefficient,
        kernels=Kernels(np.array(kernels), psf.subsampling_factor, psf.target_fwhm),
        transform=np.array(transforms), registration_covariance=np.array(covariances),
        psf_precision=np.array(precisions), psf_residual=np.array(residuals),
    )  # fmt: skip


def simulated_stars(
    sky: Sky, cutouts: Cutouts, away: Floats, fluxes: Floats, rng: np.random.Generator, varying: bool
) -> tuple[PsfBatch, Floats]:
    """Return stamps of stars that lie `away` (n, 2) pixels from the region, and their places in them (e, n, 2)."""
    from plugins_builtin.engine.psf.distortion import distort

    e, n = len(cutouts), len(fluxes)
    stars = attrs.evolve(sky, stamp=sky.kernel // sky.subsampling)
    places = rng.uniform(-0.5, 0.5, (e, n, 2))
    model = np.zeros((e, n, stars.stamp, stars.stamp))
    for i, kernel in enumerate(cutouts.kernels.values):
        stretch = rng.normal(0.0, _STRETCH, 6) * varying
        for j in range(n):
            # The kernel is the one at the region: what the field adds is counted from there.
            own = distort(kernel, stretch, away[j] / _FIELD) if varying else kernel
            model[i, j] = fluxes[j] * render_point(stars, (stars.stamp - 1) / 2 + places[i, j], own)
    noise = np.sqrt(sky.sky_rms**2 + model / sky.exptime)
    data = model + noise * rng.standard_normal(model.shape)
    noise = np.sqrt(sky.sky_rms**2 + np.maximum(data, 0) / sky.exptime)
    nowhere = np.zeros((e, n, 2))
    seeing = cutouts.seeing / sky.scale
    return PsfBatch(data, noise, np.zeros(data.shape, bool), nowhere, nowhere, seeing, (_FIELD, _FIELD)), places


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
    parser.add_argument("--star-flux", type=float, default=1.0)
    parser.add_argument("--regularization", type=float, default=StarredPsf().regularization, help="of fitted PSFs")
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
                fluxes = arguments.star_flux * FLUXES
                varying = arguments.psf == "varying"
                fitted = with_fitted_psfs(sky, scene[0], seed, fluxes, varying, arguments.regularization)
                scene = (fitted, *scene[1:])
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
