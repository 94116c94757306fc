"""Checks of plugins that fit stars: PSF models and photometry."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from lcframework.protocols import ComparisonStars, Photometry, PsfModel
from lcframework.testing.conformance import scenes
from lcframework.testing.conformance.contract import (
    asked_twice,
    check_array,
    check_plugin_class,
    check_pulls,
    check_status,
    name_of,
    require,
    unchanged,
)
from lcframework.types import PSF, CandidateStars, Kernels, PhotometryResult, PsfBatch, Stamps

Array = NDArray[Any]


def check_psf_model(plugin: Any, frames: int = 2, seed: int = 1) -> None:
    """Check a PSF model on a batch of frames whose PSF, two Gaussians, is known.

    Masked pixels contain invalid values and the last frame has a padded star. Fluxes must be right to 2 %, positions to
    0.05 pixel, the PSF to 4 % of its peak, and it must widen, by its own stated target and subsampling, to what was put
    in.
    """
    check_plugin_class(plugin, PsfModel)
    who = name_of(plugin)
    scene = scenes.stars_of_frames(seed, frames)
    batch = scene.batch
    verify = unchanged(who, {f.name: getattr(batch, f.name) for f in attrs.fields(PsfBatch) if f.name != "frame_shape"})
    answers = plugin.fit(batch)
    verify()
    require(isinstance(answers, list), who, f"fit returned a {type(answers).__name__}, not a list of PSFs")
    require(len(answers) == frames, who, f"fit returned {len(answers)} PSFs for {frames} frames")
    for i, psf in enumerate(answers):
        require(isinstance(psf, PSF), who, f"fit returned a list with a {type(psf).__name__}, not a PSF")
        _check_one_psf(plugin, psf, scene, i, who)


def _check_one_psf(plugin: Any, psf: PSF, scene: scenes.StarBatch, frame: int, who: str) -> None:
    batch = scene.batch
    n, size = batch.data.shape[1], batch.data.shape[2]
    which = f"frame {frame}"
    check_status(psf.status, who, f"{which}: the fit")
    m = psf.narrow.shape[0]
    for name, kernel in (("narrow", psf.narrow), ("full", psf.full)):
        check_array(kernel, (m, m), who, f"{which}: {name}")
        require(abs(kernel.sum() - 1.0) < 0.01, who, f"{which}: {name} sums to {kernel.sum():.4f}, not to 1")
    require(psf.subsampling_factor >= 1, who, f"{which}: subsampling_factor is {psf.subsampling_factor}")
    require(psf.target_fwhm >= 0, who, f"{which}: target_fwhm is {psf.target_fwhm}")
    require(
        0.6 < psf.reduced_chi2 < 1.6, who, f"{which}: reduced chi2 {psf.reduced_chi2:.2f} on data with true noise maps"
    )
    padded = np.asarray(batch.mask[frame]).all(axis=(1, 2))
    amplitude = check_array(psf.amplitude, (n,), who, f"{which}: amplitude", finite=False)[~padded]
    ratio = amplitude / scene.flux[frame][~padded]
    require(
        np.all(abs(ratio - 1) < 0.02),
        who,
        f"{which}: amplitudes are {ratio.min():.3f} to {ratio.max():.3f} of the fluxes",
    )
    offset = check_array(psf.offset, (n, 2), who, f"{which}: offset", finite=False)[~padded]
    off = offset - scene.xy[frame][~padded]
    common = np.hypot(*off.mean(axis=0))
    require(
        common < 0.03,
        who,
        f"{which}: positions are {common:.3f} pixels off in common: is the kernel's centre (m - 1) / 2?",
    )
    require(np.abs(off).max() < 0.05, who, f"{which}: positions are up to {np.abs(off).max():.3f} pixels off")
    truth = scene.psf[frame].image(size, 0.0, 0.0)
    kernels = plugin.at(psf, batch.xy[frame])
    check_array(kernels, (n, m, m), who, f"{which}: at(psf, xy)")
    sums = kernels.sum(axis=(1, 2))
    require(
        np.all(abs(sums - 1) < 0.01),
        who,
        f"{which}: kernels of at(psf, xy) sum to {sums.min():.4f} to {sums.max():.4f}",
    )
    for kernel in (psf.narrow, kernels[0]):
        image = _on_pixels(kernel, size, psf.subsampling_factor, psf.target_fwhm)
        worst = np.abs(image - truth).max() / truth.max()
        require(
            worst < 0.04, who, f"{which}: widened to its stated target, the PSF is off by {worst:.1%} of the true peak"
        )


def _on_pixels(kernel: Array, size: int, subsampling: int, target_fwhm: float) -> Array:
    """Return the kernel's image on a stamp of `size` pixels, whatever the kernel's own size."""
    small, m = size * subsampling, len(kernel)
    require((small - m) % 2 == 0, "PSF", f"a kernel of {m} small pixels can't be centred on a stamp of {small}")
    if m < small:
        kernel = np.pad(kernel, (small - m) // 2)
    elif m > small:
        cut = (m - small) // 2
        kernel = kernel[cut : m - cut, cut : m - cut]
    return scenes.widened(kernel, 0.0, 0.0, size, subsampling, target_fwhm)


def check_comparison_stars(plugin: Any, seed: int = 1) -> None:
    """Check a choice of comparison stars: valid indices, the same each time, also with one star, or without colours."""
    check_plugin_class(plugin, ComparisonStars)
    who = name_of(plugin)
    rng = np.random.default_rng(seed)
    for n, wanted in ((30, 10), (10, 10), (5, 10), (1, 1)):
        candidates = CandidateStars(
            np.sort(rng.uniform(5, 300, n)), rng.uniform(20, 900, n), rng.uniform(14, 19, n),
            np.where(rng.uniform(size=n) < 0.5, np.nan, rng.uniform(0, 2, n)), rng.uniform(size=n) < 0.1,
        )  # fmt: skip
        verify = unchanged(who, attrs.asdict(candidates, recurse=False))
        found = [np.asarray(plugin.choose(candidates, wanted)).tolist() for _ in range(2)]
        verify()
        require(found[0] == found[1], who, "two calls with the same stars choose differently")
        valid = len(set(found[0])) == len(found[0]) and set(found[0]) <= set(range(n))
        require(valid, who, f"chose {found[0]} of {n} stars: indices from 0, each once, are needed")
        require(0 < len(found[0]) <= wanted, who, f"chose {len(found[0])} stars where {wanted} were wanted")


def check_photometry(plugin: Any, seed: int = 1) -> None:
    """Check photometry on a star in epochs of different seeing, whose images follow the definition of the kernels.

    Fluxes and positions must be right within the stated errors, and these errors must agree with the noise; masked
    pixels contain invalid values. A stamp that is all masked must give a failed status.
    """
    check_plugin_class(plugin, Photometry)
    who = name_of(plugin)
    require(isinstance(getattr(plugin, "joint", None), bool), who, "needs the attribute joint: True or False")
    for target_fwhm in (2.0, 0.0):
        scene = scenes.epochs_of_a_star(seed, target_fwhm=target_fwhm)
        given = dict(data=scene.stamps.data, noise=scene.stamps.noise, mask=scene.stamps.mask)
        verify = unchanged(who, given | dict(kernels=scene.kernels.values))
        answer = asked_twice(functools.partial(plugin.measure, scene.stamps, scene.kernels), who, "measure")
        verify()
        _check_measurement(answer, scene, who, f"target FWHM {target_fwhm:g}")
        if getattr(plugin, "apertures", False):
            _check_aperture(plugin, answer, scene, who)
            _check_discs(plugin, answer, scene, who)
    _check_all_masked(plugin, scenes.epochs_of_a_star(seed + 1), who)


def _check_measurement(answer: Any, scene: scenes.StarStamps, who: str, which: str) -> None:
    require(isinstance(answer, PhotometryResult), who, f"measure returned a {type(answer).__name__}")
    n, *shape = scene.stamps.data.shape
    for name in ("flux", "x", "y", "background", "reduced_chi2"):
        check_array(getattr(answer, name), (n,), who, f"{which}: {name}")
    covariance = check_array(answer.covariance, (n, 3, 3), who, f"{which}: covariance")
    require(np.allclose(covariance, covariance.transpose(0, 2, 1)), who, f"{which}: covariances are not symmetric")
    require(np.all(np.linalg.eigvalsh(covariance) > 0), who, f"{which}: a covariance is not positive definite")
    check_array(answer.model, (n, *shape), who, f"{which}: model")
    check_array(answer.outliers, (n, *shape), who, f"{which}: outliers")
    require(answer.outliers.dtype == bool, who, f"{which}: outliers must be booleans")
    require(len(answer.status) == n, who, f"{which}: {len(answer.status)} statuses for {n} stamps")
    for status in answer.status:
        check_status(status, who, f"{which}: a stamp")
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    check_pulls((answer.flux - scene.flux) / sigma[:, 0], who, f"{which}: flux")
    check_pulls((answer.x - scene.xy[:, 0]) / sigma[:, 1], who, f"{which}: x")
    check_pulls((answer.y - scene.xy[:, 1]) / sigma[:, 2], who, f"{which}: y")
    ideal = _photon_limit(scene)
    loss = np.median(sigma[:, 0] / ideal)
    require(0.8 < loss < 1.6, who, f"{which}: stated flux errors are {loss:.2f} of what the noise allows")
    chi2 = np.median(answer.reduced_chi2)
    require(0.8 < chi2 < 1.25, who, f"{which}: the median reduced chi2 is {chi2:.2f} on data with true noise maps")
    flagged = answer.outliers[~scene.stamps.mask].mean()
    require(flagged < 0.005, who, f"{which}: flagged {flagged:.1%} of clean pixels as outliers")


def _check_aperture(plugin: Any, plain: PhotometryResult, scene: scenes.StarStamps, who: str) -> None:
    radius = 0.35 * min(scene.stamps.data.shape[1:])
    answer = plugin.measure(attrs.evolve(scene.stamps, aperture=radius), scene.kernels)
    sigma = np.sqrt(answer.covariance[:, 0, 0])
    which = f"with an aperture of {radius:g} pixels"
    require(np.all(sigma > np.sqrt(plain.covariance[:, 0, 0])), who, f"{which}: flux errors are those of PSF fluxes")
    check_pulls((answer.flux - scene.flux) / sigma, who, f"{which}: flux")


def _check_discs(plugin: Any, plain: PhotometryResult, scene: scenes.StarStamps, who: str) -> None:
    """Check the residual light in discs, where the plugin measures it."""
    n, size = len(scene.flux), min(scene.stamps.data.shape[1:])
    radii = np.tile(size * np.array([0.2, 0.35]), (n, 1))
    answer = plugin.measure(attrs.evolve(scene.stamps, radii=radii), scene.kernels)
    light, covariance = np.asarray(answer.residual_light), np.asarray(answer.residual_covariance)
    if light.shape[1:] == (0,):
        return
    which = "with discs of two radii"
    require(light.shape == (n, 2), who, f"{which}: residual_light has the shape {light.shape}, not {(n, 2)}")
    require(covariance.shape == (n, 2, 2), who, f"{which}: residual_covariance has the shape {covariance.shape}")
    require(np.allclose(answer.flux, plain.flux), who, f"{which}: fluxes are not the PSF's alone")
    for k in range(2):
        sigma = np.sqrt(answer.covariance[:, 0, 0] + covariance[:, k, k])
        check_pulls((answer.flux + light[:, k] - scene.flux) / sigma, who, f"{which}: flux with disc {k + 1}")


def _photon_limit(scene: scenes.StarStamps) -> Array:
    """Return each stamp's flux error where position and background are known."""
    unit = scene.noiseless / scene.flux[:, None, None]
    weight = np.where(scene.stamps.mask, 0.0, scene.stamps.noise**-2.0)
    return np.asarray(np.sum(unit**2 * weight, axis=(1, 2)) ** -0.5)


def _check_all_masked(plugin: Any, scene: scenes.StarStamps, who: str) -> None:
    mask = scene.stamps.mask.copy()
    mask[0] = True
    stamps = Stamps(scene.stamps.data, scene.stamps.noise, mask, scene.stamps.offset)
    kernels = Kernels(scene.kernels.values, scene.kernels.subsampling_factor, scene.kernels.target_fwhm)
    answer = plugin.measure(stamps, kernels)
    check_status(answer.status[0], who, "a stamp without usable pixels", usable=False)
    require(not answer.status[0].usable, who, "a stamp without usable pixels has a usable status")
    sigma = np.sqrt(answer.covariance[1:, 0, 0])
    check_pulls((answer.flux[1:] - scene.flux[1:]) / sigma, who, "fluxes beside a stamp without usable pixels")
