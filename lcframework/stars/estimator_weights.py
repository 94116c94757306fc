"""The weights of flux estimates by brightness, from the scatter of comparison stars, judged on held-out frames.

For a source of flux F the covariance of the estimates' residuals is that of stars of like brightness: a kernel in ln F
weighs the logarithms of their scatters and their correlations. The weights minimise the combination's variance; none is
negative, their sum is 1, and they are constant in time. A second way is the one estimate with the least scatter. Either
way replaces the PSF flux only where stars' frames that took no part in the choice say that it is better.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats
from lcframework.types.robust import SIGMA_PER_MAD, finite_median

#: Width of the kernel in ln F, and the effective number of stars that it is widened to; more stars for the judgement.
_WIDTH, _EFFECTIVE, _EFFECTIVE_JUDGES = 0.5, 7.0, 15.0
#: No kernel is widened beyond this share of the stars, so that few stars of different brightness are told apart.
_SHARE = 0.5
#: Share of the identity in the correlations: estimates are never taken for equal.
_SHRINKAGE = 0.15
#: Residuals beyond so many scatters count as if they lay there.
_WINSOR = 2.0
#: Scatter of normal values that are moved in to 2 scatters, as a fraction of their standard deviation.
_WINSORISED = 0.9594
#: Least stars and frames that can choose anything; with fewer the PSF flux serves.
FEWEST_STARS, FEWEST_FRAMES = 4, 5
#: Points of the table of weights, and how far below the faintest star, ln F, the PSF flux serves alone.
_POINTS, _BEYOND = 12, 1.2
#: A choice must beat the PSF flux by so many of its standard errors on held-out frames.
_SURE = 1.0


@attrs.frozen(eq=False)
class Choice:
    """Weights at the points of a table of brightness, and what held-out frames said of them."""

    log_flux: Floats  # (m,) increasing
    weights: Floats  # (m, k)
    held_out: Floats  # (3, n) ln scatter of each star on held-out frames: PSF, best single estimate, combination


@attrs.frozen(eq=False)
class _Scatter:
    """Robust scatters and correlations of the residuals of each star's estimates."""

    log_sigma: Floats  # (n, k)
    correlation: Floats  # (n, k, k)
    known: Bools  # (n,)


def choose_weights(residual: Floats, log_flux: Floats) -> Choice | None:
    """Return the weights that comparison stars choose; None where stars or frames are too few.

    Parameters
    ----------
    residual : (f, n, k) array
        Relative residuals of k estimates of n stars in f frames in order of time, the PSF's first; nan where not
        measured.
    log_flux : (n,) array
        The stars' brightness.
    """
    scatter = _scatter(residual)
    if (
        scatter.known.sum() < FEWEST_STARS
        or int((np.isfinite(residual).all(axis=2).sum(axis=1) > 0).sum()) < FEWEST_FRAMES
    ):
        return None
    held_out = _held_out(residual, log_flux, scatter.known)
    judged = np.asarray(np.isfinite(held_out).all(axis=0))
    bright = np.quantile(log_flux[scatter.known], [0.0, 1.0])
    points = np.linspace(bright[0], bright[1], _POINTS if bright[1] > bright[0] else 1)
    psf_alone = np.eye(residual.shape[2])[0]
    table = []
    for point in points:
        candidates = _candidates(point, log_flux, scatter, scatter.known)
        table.append(candidates[_best(point, log_flux, held_out, judged)])
    return Choice(np.concatenate([[points[0] - _BEYOND], points]), np.stack([psf_alone, *table]), held_out)


def _best(point: float, log_flux: Floats, held_out: Floats, judged: Bools) -> int:
    """Return which candidate serves at a brightness: PSF, best single, combination."""
    if judged.sum() < FEWEST_STARS:
        return 0
    kernel = _kernel(point, log_flux, judged, _EFFECTIVE_JUDGES)[judged]
    kernel = kernel / kernel.sum()
    gain = held_out[:1, judged] - held_out[1:, judged]  # (2, n)
    mean = gain @ kernel
    error = np.sqrt(((gain - mean[:, None]) ** 2) @ kernel**2)
    # Whichever gains more; where that gain is not sure, the other way's may be.
    order = [2, 1] if mean[1] >= mean[0] else [1, 2]
    return next((way for way in order if mean[way - 1] > _SURE * error[way - 1]), 0)


def _held_out(residual: Floats, log_flux: Floats, known: Bools) -> Floats:
    """Return each star's ln scatter in frames that took no part, by weights that other stars chose in the others."""
    f, n, _ = residual.shape
    # Blocks in time: neighbouring frames share what drifts, so they don't judge each other.
    blocks = np.arange(f) * min(4, max(2, f // 5)) // f % 2 == 0
    found = np.full((2, 3, n), np.nan)
    for fold, test in enumerate((blocks, ~blocks)):
        train = _scatter(residual[~test])
        for j in np.flatnonzero(known & train.known):
            others = train.known & (np.arange(n) != j)
            if not others.any():
                continue
            ways = _candidates(float(log_flux[j]), log_flux, train, others)
            curve = residual[test, j] @ np.stack(ways, axis=1)
            found[fold, :, j] = _scatter(curve[:, None, :]).log_sigma[0]
    with np.errstate(invalid="ignore"):
        return np.asarray(0.5 * (found[0] + found[1]))


def _candidates(point: float, log_flux: Floats, scatter: _Scatter, stars: Bools) -> list[Floats]:
    """Return the weights at a brightness of the three ways: PSF alone, the best single estimate, the combination."""
    kernel = _kernel(point, log_flux, stars, _EFFECTIVE)[stars]
    kernel = kernel / kernel.sum()
    sigma = np.exp(_robust_mean(scatter.log_sigma[stars], kernel))
    correlation = np.tensordot(kernel, scatter.correlation[stars], 1)
    identity = np.eye(len(sigma))
    correlation = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * identity
    return [identity[0], identity[np.argmin(sigma)], least_variance(correlation * sigma[:, None] * sigma)]


def least_variance(covariance: Floats) -> Floats:
    """Return the weights (k,) of least variance for a covariance (k, k): none negative, their sum 1.

    The least of x V x / 2 - sum(x) without negative x has the same directions as the least variance (both have the
    conditions of Kuhn and Tucker), so it is non-negative least squares.
    """
    from scipy.optimize import nnls

    k = len(covariance)
    factor = np.linalg.cholesky(covariance / np.trace(covariance) + 1e-9 * np.eye(k))
    x, _ = nnls(factor.T, np.linalg.solve(factor, np.ones(k)))
    return np.asarray(x / x.sum())


def _kernel(point: float, log_flux: Floats, stars: Bools, effective: float) -> Floats:
    """Return weights (n,) of stars by their likeness in brightness, `effective` of them or half of few, at the least.

    Were all of a few stars to count for each brightness, what bright stars gain by a disc and faint ones lose by it
    would be one sum.
    """
    count = float(stars.sum())
    width, most = _WIDTH, min(effective, max(_SHARE * count, 3.0), 0.99 * count)
    while True:
        kernel = np.where(stars, np.exp(-0.5 * ((log_flux - point) / width) ** 2), 0.0)
        if kernel.sum() > 1e-12 and kernel.sum() ** 2 / (kernel**2).sum() >= most:
            return np.asarray(kernel)
        width *= 1.25


def _robust_mean(values: Floats, kernel: Floats) -> Floats:
    """Return the weighted mean (k,) of values (n, k), those that are far off moved in: one variable star is no rule."""
    centre = finite_median(values, 0)
    spread = np.maximum(SIGMA_PER_MAD * finite_median(np.abs(values - centre), 0), 0.05)
    return np.asarray(kernel @ np.clip(values, centre - 2 * spread, centre + 2 * spread))


def robust_sigma(residual: Floats) -> Floats:
    """Return the robust standard deviations (n,) of residuals (f, n); nan where there are fewer than two values."""
    scatter = _scatter(residual[..., None])
    return np.asarray(np.where(scatter.known, np.exp(scatter.log_sigma[:, 0]), np.nan))


def _scatter(residual: Floats) -> _Scatter:
    """Return the scatters and correlations of residuals (f, n, k), whose outliers are moved in."""
    measured = np.asarray(np.isfinite(residual).all(axis=2))
    value = np.where(measured[..., None], residual, np.nan)
    value = value - finite_median(value, 0)
    sigma = SIGMA_PER_MAD * finite_median(np.abs(value), 0)
    known = (measured.sum(axis=0) >= 2) & (sigma > 0).all(axis=1)
    safe = np.where(known[:, None], sigma, 1.0)
    z = np.nan_to_num(np.clip(value / safe, -_WINSOR, _WINSOR))
    product = np.einsum("fnk,fnl->nkl", z, z)
    size = np.sqrt(np.einsum("nkk->nk", product))
    size = np.where(size > 0, size, 1.0)
    count = np.maximum(measured.sum(axis=0) - 1, 1)[:, None]
    log_sigma = np.log(safe * size / np.sqrt(count) / _WINSORISED)
    return _Scatter(log_sigma, product / (size[:, :, None] * size[:, None, :]), np.asarray(known))
