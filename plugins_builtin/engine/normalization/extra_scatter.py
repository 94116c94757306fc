"""The random scatter of fluxes beyond their errors, frame by frame, as the stars show it.

Scintillation, the response of single pixels, a PSF that is not quite right: what the comparison stars suffer from frame
to frame, a source among them suffers too. It is measured on what a star's flux differs by from its neighbours in time,
so that slow changes, a star's own or those of the light's path over the detector, are not taken for noise. Its size is
the typical star's. How it goes from frame to frame (scintillation grows with airmass) is each frame's excess over what
the stars' scatters lead to expect, drawn to the mean of all frames by as much as its own uncertainty demands (empirical
Bayes; Efron and Morris 1973, J. Am. Stat. Assoc. 68, 117).
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.normalization.ensemble import EnsembleFit, FluxTable
from plugins_builtin.engine.robust import clipped_variance, robust_scatter

#: Stars with fewer fluxes have no scatter to speak of.
_FEWEST = 5


@attrs.frozen(eq=False)
class _Steps:
    """Squares of what fluxes differ by from their neighbours in time, relative; all 0 where there is none."""

    square: Float[Floats, "f n"]
    noise: Float[Floats, "f n"]  # what the errors make of it
    share: Float[Floats, "f n"]  # times a scatter's variance


def extra_scatter(fit: EnsembleFit, table: FluxTable, limit: float) -> Float[Floats, " f"]:
    """Return the relative standard deviation of fluxes beyond their errors.

    Parameters
    ----------
    fit : EnsembleFit
        The solution; its frames are in order of time.
    table : FluxTable
        What it was solved from.
    limit : float
        At which fluxes were clipped, sigma.
    """
    state, normal, used = fit.state, fit.linearised, fit.state.used
    model = np.where(used, normal.model, 1.0)
    noise = np.where(used, table.variance / model**2, 0.0)
    free = np.clip(1.0 - normal.leverage, 0.05, 1.0)
    steps = _steps(np.where(used, normal.residual / model / np.sqrt(free), 0.0), noise, used)
    whole = steps.noise + steps.share * state.star_variance
    square = steps.square
    if np.isfinite(limit):
        square = np.minimum(square, limit**2 * whole) / clipped_variance(limit)
    excess = square - steps.noise
    there = steps.share > 0
    weight = np.where(there, 1.0 / np.where(there, whole, 1.0) ** 2, 0.0)
    stars = np.maximum(_ratio(np.sum(weight * excess, axis=0), np.sum(weight * steps.share, axis=0)), 0.0)
    typical = _typical(stars, _ratio(steps.noise.sum(axis=0), steps.share.sum(axis=0)), there.sum(axis=0))
    due = np.sum(weight * steps.share * stars, axis=1)
    frames = due > 1e-6 * np.sum(weight * steps.noise, axis=1)
    variance = np.full(len(used), typical)
    if frames.any() and typical > 0:
        factor = np.sum(weight * excess, axis=1)[frames] / due[frames]
        doubt = 2.0 * np.sum(weight, axis=1)[frames] / due[frames] ** 2
        variance[frames] = typical * np.maximum(_drawn_together(factor, doubt), 0.0)
    return np.asarray(np.sqrt(variance))


def _steps(relative: Float[Floats, "f n"], noise: Float[Floats, "f n"], used: Bool[Bools, "f n"]) -> _Steps:
    """Return the squared differences of each flux from the mean of the star's fluxes before and after it."""
    steps = _Steps(*(np.zeros_like(relative) for _ in range(3)))
    for star in range(relative.shape[1]):
        at = np.flatnonzero(used[:, star])
        if len(at) < 2:
            continue
        value, variance = relative[at, star], noise[at, star]
        # The first and the last flux have one neighbour: it stands for both.
        before, after = np.r_[1, 0 : len(at) - 1], np.r_[1 : len(at), len(at) - 2]
        lone = before == after
        steps.square[at, star] = (value - 0.5 * (value[before] + value[after])) ** 2
        around = np.where(lone, variance[before], 0.25 * (variance[before] + variance[after]))
        steps.noise[at, star] = variance + around
        steps.share[at, star] = np.where(lone, 2.0, 1.5)
    return steps


def _ratio(top: Float[Floats, " n"], bottom: Float[Floats, " n"]) -> Float[Floats, " n"]:
    return np.asarray(top / np.where(bottom > 0, bottom, np.inf))


def _typical(star_variance: Float[Floats, " n"], noise: Float[Floats, " n"], count: Int[Ints, " n"]) -> float:
    """Return the median of the stars' variances, weighted by how well each is known."""
    known = count >= min(_FEWEST, max(int(count.max(initial=0)), 1))
    if not known.any():
        return 0.0
    values = star_variance[known]
    # The weight leaves out a star's own scatter: one that comes out small by chance must not become the rule.
    weight = 1.0 / (noise[known] + float(np.median(values)) + 1e-12)
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def _drawn_together(factor: Float[Floats, " frames"], doubt: Float[Floats, " frames"]) -> Float[Floats, " frames"]:
    """Return factors drawn to their mean, by as much as their own variances `doubt` are of the whole spread."""
    weight = 1.0 / doubt
    mean = float(np.sum(weight * factor) / weight.sum())
    spread = robust_scatter(factor) ** 2
    true = max(spread - float(np.median(doubt)), 0.0)
    return np.asarray((factor * true + mean * doubt) / (true + doubt))
