"""From a finished fit to the light curves that a ROI model returns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats, HighResolution, RoiFit
from plugins_builtin.engine.roi.apertures import with_residual_light
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.joint_fit import State, background_image, high_resolution, status_of
from plugins_builtin.engine.roi.newton import covariances
from plugins_builtin.engine.roi.psf_error import Fitted, without_misfit
from plugins_builtin.engine.roi.starred_errors import random_covariance
from plugins_builtin.engine.roi.starred_fit import Solution


def joint_result(epochs: Epochs, state: State) -> RoiFit:
    """Return the light curves of a joint fit."""
    k = len(state.scene.offset)
    found = state.found
    random, common, shared = covariances(found, k)
    flux = np.where(found.seen, state.local.flux, np.nan)
    usable = epochs.usable
    with np.errstate(invalid="ignore", divide="ignore"):
        chi2 = found.chi2 / np.maximum(found.pixels - found.seen.sum(axis=1) - 1, 1)
    mean = np.array([np.nanmean(f) if np.isfinite(f).any() else 0.0 for f in flux.T])
    background, model, transform = high_resolution(
        epochs, state.scene.offset, mean, lambda t, size: background_image(epochs, state.scene, t, size)
    )
    fitted = Fitted(
        state.scene.offset, state.local.flux, state.local.sky, state.local.shift, found.model,
        state.weights.inverse_variance, state.prior.shift_covariance, found.seen, background, transform,
    )  # fmt: skip
    flux, random = _measured(epochs, fitted, random)
    return RoiFit(
        flux=flux,
        covariance=random,
        common_covariance=common,
        offset=state.scene.offset,
        offset_covariance=shared[: 2 * k, : 2 * k],
        translation=np.where(usable[:, None], state.local.shift, 0.0),
        high_resolution=HighResolution(background, model, transform),
        model=found.model,
        outliers=state.weights.outliers,
        reduced_chi2=np.where(usable, chi2, np.nan),
        status=status_of(state),
        loss_history=np.array(state.history),
    )


def starred_result(solution: Solution, shape: tuple[int, ...]) -> RoiFit:
    """Return the light curves of a fit of STARRED's objective, on stamps of `shape` (e, ny, nx).

    The error that is common to all epochs comes from the unknown background under the point sources. The joint fit's
    Gaussian process gives an estimate of it, the starlets' penalty does not. The difference between the two models'
    fluxes is added to it: neither background is known better than that.
    """
    epochs, values = solution.epochs, solution.values
    k = values.flux.shape[1]
    seen = solution.joint.found.seen
    model, iv = solution.objective.model(values), solution.objective.inverse_variance
    shift = values.translation - solution.alignment.translation
    random = random_covariance(solution, seen)
    _, common, shared = covariances(solution.joint.found, k)
    flux = np.where(seen, values.flux, np.nan)
    moved = flux * _relative_difference(flux, solution.joint.local.flux, random)
    common = common + moved[:, :, None] * moved[:, None, :]
    pixels = (iv > 0).sum(axis=(1, 2))
    chi2 = (iv * (epochs.data - model) ** 2).sum(axis=(1, 2)) / np.maximum(pixels - seen.sum(axis=1) - 1, 1)
    mean = np.array([np.nanmean(f) if np.isfinite(f).any() else 0.0 for f in flux.T])
    sharp = values.h + np.tensordot(mean, solution.objective.gaussians(values.c)[0], 1)
    transform = solution.alignment.array_transform(epochs)
    fitted = Fitted(
        solution.offset, values.flux, values.sky, shift, model, iv, solution.shift_covariance, seen, values.h, transform
    )
    crop = np.s_[:, : shape[1], : shape[2]]
    flux, random = _measured(epochs, fitted, random)
    return RoiFit(
        flux=flux,
        covariance=random,
        common_covariance=common,
        offset=solution.offset,
        offset_covariance=shared[: 2 * k, : 2 * k],
        translation=np.where(epochs.usable[:, None], shift, 0.0),
        high_resolution=HighResolution(values.h, sharp, transform),
        model=model[crop],
        outliers=solution.outliers[crop],
        reduced_chi2=np.where(epochs.usable, chi2, np.nan),
        status=solution.status(),
        loss_history=np.array(solution.history),
    )


def _measured(
    epochs: Epochs, fitted: Fitted, random: Float[Floats, "e k k"]
) -> tuple[Float[Floats, "e k"], Float[Floats, "e k k"]]:
    """Return the fluxes, to which what the PSFs miss is added, and their random covariance with the PSFs' noise."""
    corrected, by_psf = without_misfit(epochs, fitted)
    flux, random = with_residual_light(epochs, corrected, random)
    return flux, random + by_psf


def _relative_difference(
    flux: Float[Floats, "e k"], other: Float[Floats, "e k"], covariance: Float[Floats, "e k k"]
) -> Float[Floats, " k"]:
    """Return the relative difference of two light curves of each source, as a mean over all epochs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(1 / np.einsum("ekk->ek", covariance))
    total = (weight * np.nan_to_num(flux) ** 2).sum(axis=0)
    difference: Floats = (weight * np.nan_to_num(flux * (flux - other))).sum(axis=0) / np.maximum(total, 1e-30)
    return difference
