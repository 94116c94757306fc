"""The random scatter of fluxes beyond their errors, for each frame, measured on the comparison stars.

Its causes (scintillation, the response of single pixels, errors of the PSF) affect the comparison stars and a source
among them alike. It is measured on the differences of a star's flux from its neighbours in time, so that slow changes,
of the star or of its position on the detector, do not count as noise. Its size is that of the typical star. Its change
from frame to frame (scintillation grows with airmass) is each frame's excess over what is expected from the stars'
scatters. That excess is shrunk towards the mean of all frames, by more where it is less certain (empirical Bayes; Efron
and Morris 1973, J. Am. Stat. Assoc. 68, 117).

A frame whose stars disagree has a scatter of its own in the solution. Where that is far beyond the usual one (a cloud's
edge, a dome in the beam), it is the source's as much as the stars', however slowly it comes and goes.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.normalization.ensemble import EnsembleFit
from plugins_builtin.engine.robust import clipped_variance, robust_scatter

#: Stars with fewer fluxes are not used for the typical scatter.
_FEWEST = 5
#: A frame's own scatter counts where it is so many times the usual one.
_FAR_BEYOND = 3.0


@attrs.frozen(eq=False)
class _Steps:
    """Squared differences of fluxes from their neighbours in time, relative; all 0 where there is no neighbour."""

    square: Float[Floats, "f n"]
    noise: Float[Floats, "f n"]  # its expectation from the errors alone
    share: Float[Floats, "f n"]  # its expectation from a scatter of variance 1


def extra_scatter(fit: EnsembleFit, limit: float) -> Float[Floats, " f"]:
    """Return the relative standard deviation of fluxes beyond their errors.

    Parameters
    ----------
    fit : EnsembleFit
        The solution; its frames are in order of time.
    limit : float
        The limit beyond which fluxes were clipped, sigma.

    Returns
    -------
    (f,) array
    """
    state, normal, used = fit.state, fit.linearised, fit.state.used
    model = np.where(used, normal.model, 1.0)
    noise = np.where(used, fit.table.variance / model**2, 0.0)
    free = np.clip(1.0 - normal.leverage, 0.05, 1.0)
    steps = _steps(np.where(used, normal.residual / model / np.sqrt(free), 0.0), noise, used)
    whole = steps.noise + steps.share * state.star_variance
    square = steps.square
    if np.isfinite(limit):
        square = np.minimum(square, limit**2 * whole) / clipped_variance(limit)
    excess = square - steps.noise
    has_steps = steps.share > 0
    weight = np.where(has_steps, 1.0 / np.where(has_steps, whole, 1.0) ** 2, 0.0)
    stars = np.maximum(_ratio(np.sum(weight * excess, axis=0), np.sum(weight * steps.share, axis=0)), 0.0)
    typical = _typical(stars, _ratio(steps.noise.sum(axis=0), steps.share.sum(axis=0)), has_steps.sum(axis=0))
    expected = np.sum(weight * steps.share * stars, axis=1)
    frames = expected > 1e-6 * np.sum(weight * steps.noise, axis=1)
    variance = np.full(len(used), typical)
    if frames.any() and typical > 0:
        factor = np.sum(weight * excess, axis=1)[frames] / expected[frames]
        factor_variance = 2.0 * np.sum(weight, axis=1)[frames] / expected[frames] ** 2
        variance[frames] = typical * np.maximum(_shrunk_to_mean(factor, factor_variance), 0.0)
    own = np.where(state.frame_variance > _FAR_BEYOND**2 * typical, typical + state.frame_variance, 0.0)
    return np.asarray(np.sqrt(np.maximum(variance, own)))


def _steps(relative: Float[Floats, "f n"], noise: Float[Floats, "f n"], used: Bool[Bools, "f n"]) -> _Steps:
    """Return the squared differences of each flux from the mean of the star's fluxes before and after it."""
    steps = _Steps(*(np.zeros_like(relative) for _ in range(3)))
    for star in range(relative.shape[1]):
        at = np.flatnonzero(used[:, star])
        if len(at) < 2:
            continue
        value, variance = relative[at, star], noise[at, star]
        # The first and the last flux have one neighbour, which is used twice.
        before, after = np.r_[1, 0 : len(at) - 1], np.r_[1 : len(at), len(at) - 2]
        single = before == after
        steps.square[at, star] = (value - 0.5 * (value[before] + value[after])) ** 2
        around = np.where(single, variance[before], 0.25 * (variance[before] + variance[after]))
        steps.noise[at, star] = variance + around
        steps.share[at, star] = np.where(single, 2.0, 1.5)
    return steps


def _ratio(top: Float[Floats, " n"], bottom: Float[Floats, " n"]) -> Float[Floats, " n"]:
    return np.asarray(top / np.where(bottom > 0, bottom, np.inf))


def _typical(star_variance: Float[Floats, " n"], noise: Float[Floats, " n"], count: Int[Ints, " n"]) -> float:
    """Return the median of the stars' variances, weighted by the inverse of their uncertainty."""
    known = count >= min(_FEWEST, max(int(count.max(initial=0)), 1))
    if not known.any():
        return 0.0
    values = star_variance[known]
    # The weight does not depend on a star's own scatter: one that is small by chance must not dominate.
    weight = 1.0 / (noise[known] + float(np.median(values)) + 1e-12)
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def _shrunk_to_mean(
    factor: Float[Floats, " frames"], factor_variance: Float[Floats, " frames"]
) -> Float[Floats, " frames"]:
    """Return factors shrunk towards their mean, by the share of their own variances in the variance between them."""
    weight = 1.0 / factor_variance
    mean = float(np.sum(weight * factor) / weight.sum())
    spread = robust_scatter(factor) ** 2
    intrinsic = max(spread - float(np.median(factor_variance)), 0.0)
    return np.asarray((factor * intrinsic + mean * factor_variance) / (intrinsic + factor_variance))
