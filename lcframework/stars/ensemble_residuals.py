"""Leave-one-out residuals of stars' light curves: each star against the weighted ensemble of the others.

A robust, weighted mean without a model of its own, for comparing ways to measure the same stars. The published
coefficients come from the selected normalization.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats
from lcframework.types.robust import SIGMA_PER_MAD, finite_median

_ROUNDS = 12
#: No star counts for better than this, relative: the ensemble must not rest on one star.
_LEAST_SCATTER = 5e-4
#: Residuals beyond so many of a star's scatters count as if they lay there.
_HUBER = 3.0
_FIRST_SCATTER = 0.02


@attrs.frozen(eq=False)
class EnsembleCurves:
    """Light curves of stars relative to their ensemble."""

    residual: Floats  # (f, n) relative, of each star against the others, median 0; nan where not measured
    transparency: Floats  # (f,) nan where a frame has no star
    level: Floats  # (n,) e-/s at transparency 1


def ensemble_curves(flux: Floats) -> EnsembleCurves:
    """Return the residuals of light curves against their leave-one-out ensemble.

    Parameters
    ----------
    flux : (f, n) array
        e-/s; nan where not measured. Values that are not positive are left out.
    """
    measured = np.isfinite(flux) & (flux > 0)
    value = np.where(measured, flux, np.nan)
    scatter = np.full(flux.shape[1], _FIRST_SCATTER)
    transparency = finite_median(value / finite_median(value, 0), 1)
    residual = level = np.full_like(value, np.nan)
    for _ in range(_ROUNDS):
        level = finite_median(value / transparency[:, None], 0)
        relative = np.nan_to_num(value / level)
        known = measured & np.isfinite(transparency)[:, None] & np.isfinite(level)
        sigma = np.maximum(scatter, _LEAST_SCATTER)
        off = np.abs(relative / np.where(known, transparency[:, None], 1.0) - 1.0)
        weight = np.where(known, np.minimum(1.0, _HUBER * sigma / np.maximum(off, 1e-9)) / sigma**2, 0.0)
        total, norm = (weight * relative).sum(axis=1), weight.sum(axis=1)
        transparency = np.where(norm > 0, total / np.where(norm > 0, norm, 1.0), np.nan)
        others = norm[:, None] - weight
        alone = others <= 1e-9 * norm[:, None]
        mean = (total[:, None] - weight * relative) / np.where(alone, 1.0, others)
        usable = known & ~alone & (mean > 0)
        residual = np.where(usable, relative / np.where(usable, mean, 1.0) - 1.0, np.nan)
        residual = residual - finite_median(residual, 0)
        scatter = np.nan_to_num(SIGMA_PER_MAD * finite_median(np.abs(residual), 0), nan=1.0)
    scale = float(finite_median(transparency[:, None], 0)[0])
    return EnsembleCurves(residual, transparency / scale, level * scale)
