"""The random error of comparison stars' fluxes: a factor on their pixels' noise, and a scatter in proportion to flux.

Both are measured on the differences of a star's flux from its neighbours in time. So slow changes, of a star or of its
place on the detector, don't count as noise; they are a star's intrinsic scatter in the normalization.
"""

from __future__ import annotations

import numpy as np

from lcframework.stars.estimator_weights import FEWEST_FRAMES, FEWEST_STARS, robust_sigma
from lcframework.types import Floats
from lcframework.types.robust import finite_median

_FACTORS = (0.7, 5.0)
_SCATTERS = (1e-6, 0.5)
_ROUNDS = 5
#: Differences of ln variance beyond this count in proportion, not squared: variable stars are no rule.
_TYPICAL = 0.2


def error_terms(residual: Floats, noise: Floats, factor: float | None = None) -> tuple[float, float]:
    """Return the factor c and the scatter s for which ``c^2 noise^2 + s^2`` is the variance of the stars' residuals.

    Parameters
    ----------
    residual : (f, n) array
        Relative, leave-one-out, frames in order of time; nan where not measured.
    noise : (f, n) array
        Relative standard deviations from the noise of the pixels.
    factor : float, optional
        A factor that is given; the scatter alone is fitted.

    Returns
    -------
    factor, scatter : float
        (1, 0) where stars or frames are too few.
    """
    from scipy.optimize import least_squares

    residual, noise = steps(residual, noise)
    count = np.isfinite(residual).sum(axis=0)
    sigma = robust_sigma(residual)
    typical = finite_median(np.where(np.isfinite(residual), noise, np.nan), 0)
    known = (count >= FEWEST_FRAMES - 2) & np.isfinite(sigma) & (sigma > 0) & np.isfinite(typical) & (typical > 0)
    if known.sum() < FEWEST_STARS:
        return factor or 1.0, 0.0
    residual, noise = residual[:, known], noise[:, known]
    others = ensemble_variance(sigma[known])
    # The mean logarithm of a variance from few values is too small.
    few = 1.0 / (count[known] - 1)
    low, high = np.log(_FACTORS)
    bounds = ([np.log(_SCATTERS[0]), low], [np.log(_SCATTERS[1]), high])
    x = np.log([float(np.clip(np.quantile(sigma[known], 0.2), 2 * _SCATTERS[0], 0.5 * _SCATTERS[1])), 1.05])
    if factor is not None:
        bounds, x = ([bounds[0][0]], [bounds[1][0]]), x[:1]

    def model(x: Floats, noise: Floats) -> Floats:
        c = factor if factor is not None else np.exp(x[1])
        return np.asarray((c * noise) ** 2 + np.exp(2 * x[0]))

    # Noise differs from frame to frame, so pulls are asked to be 1, not variances to agree with those of a mean noise.
    for _ in range(_ROUNDS):
        pull = robust_sigma(residual / np.sqrt(model(x, noise) + others))
        target = np.log(model(x, typical[known])) + 2 * np.log(pull) + few

        def misfit(x: Floats, target: Floats = target) -> Floats:
            return np.asarray(np.log(model(x, typical[known])) - target)

        x = least_squares(misfit, x, bounds=bounds, loss="soft_l1", f_scale=_TYPICAL).x
    return float(factor if factor is not None else np.exp(x[1])), float(np.exp(x[0]))


def steps(residual: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Return each flux less the mean of the star's fluxes before and after it, and its noise, of a single flux's size.

    The first and the last flux of a star have none: nan. For independent values of equal noise it is that noise.
    """
    difference, of_it = np.full_like(residual, np.nan), np.full_like(residual, np.nan)
    for j in range(residual.shape[1]):
        at = np.flatnonzero(np.isfinite(residual[:, j]) & np.isfinite(noise[:, j]))
        if len(at) < 3:
            continue
        value, variance = residual[at, j], noise[at, j] ** 2
        difference[at[1:-1], j] = (value[1:-1] - 0.5 * (value[:-2] + value[2:])) / np.sqrt(1.5)
        of_it[at[1:-1], j] = np.sqrt((variance[1:-1] + 0.25 * (variance[:-2] + variance[2:])) / 1.5)
    return difference, of_it


def ensemble_variance(sigma: Floats) -> Floats:
    """Return the variance (n,) of the weighted mean of the other stars, from the scatters (n,) against it."""
    information = 1.0 / np.maximum(sigma, 1e-6) ** 2
    others = information.sum() - information
    return np.asarray(1.0 / np.maximum(others, 1e-30))
