"""From a finished fit to the light curves that leave a ROI model."""

from __future__ import annotations

import numpy as np

from lcframework.types import HighResolution, RoiFit
from plugins_builtin.engine.roi_fit import State, background_image, high_resolution, status_of
from plugins_builtin.engine.roi_geometry import Epochs
from plugins_builtin.engine.roi_newton import covariances


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
