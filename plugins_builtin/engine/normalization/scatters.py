"""How far stars and frames scatter beyond the errors of their fluxes: variance components by restricted likelihood.

Fisher scoring (Patterson and Thompson 1971, Biometrika 58, 545) that accounts for the leverage of each flux, so a star
that dominates the mean can't make its own scatter vanish.
"""

from __future__ import annotations

import numpy as np
import scipy  # its subpackages load when they are first used
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.normalization.flux_table import EnsembleState
from plugins_builtin.engine.normalization.normal_equations import Linearised
from plugins_builtin.engine.robust import clipped_variance, masked_median

#: A frame gets a scatter of its own only where its chi2 is less probable than this.
_FRAME_SIGNIFICANCE = 1e-3
#: What scatters by more than its own flux has no part in the solution; a larger variance says no more.
_LARGEST_VARIANCE = 1.0


def next_scatters(
    state: EnsembleState, normal: Linearised, limit: float, with_frames: bool, damping: float
) -> tuple[Float[Floats, " n"], Float[Floats, " f"], Float[Floats, " f"], float]:
    """Return the variances of stars and of frames after one scoring step, and two numbers on them.

    The third value is the factor by which a mean's variance is larger because its weights are estimated,
    ``1 + 4 sum p (1 - p) / nu`` (Meier 1953, Biometrics 9, 59); the fourth the largest relative change of a variance.
    """
    used = state.used
    inverse = np.where(used, 1.0 / normal.variance, 0.0)
    free = np.where(used, np.clip(1.0 - normal.leverage, 0.0, 1.0), 0.0)
    power = normal.model**2
    # A flux beyond the limit that is used counts as if at the limit, so that a step never follows one flux.
    deviation = normal.residual**2 * inverse
    if np.isfinite(limit):
        deviation = np.minimum(deviation, limit**2 * free)
    excess = power * inverse * (deviation / clipped_variance(limit) - free)
    # Row sums of the expected information, so that scatters that are nearly degenerate do not overshoot together.
    share = power * inverse
    others = (share**2).sum(axis=1, keepdims=True) - share**2
    total = np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
    curvature = share**2 * (free**2 + others / total**2)

    star = state.star_variance
    star_error = np.zeros_like(star)
    informed = free.sum(axis=0) > 0.5
    if informed.any():
        typical = _typical_variance(state, normal, informed)
        spread = np.where(typical > 0, np.maximum(typical, star), np.inf)
        star, star_error = _scoring_step(star, excess, curvature, 0, damping, typical, spread)
        star = np.where(informed, star, typical)

    frame = state.frame_variance
    if with_frames:
        freedom = free.sum(axis=1)
        significant = deviation.sum(axis=1) > scipy.special.chdtri(np.maximum(freedom, 1e-3), _FRAME_SIGNIFICANCE)
        active = (significant | (frame > 0)) & (freedom > 0.5)
        frame = np.where(active, _scoring_step(frame, excess, curvature, 1, damping)[0], 0.0)

    part = share / total
    # nu is 2 / (squared relative error of the flux's whole variance), and not less than it is for a single star.
    squared_error = np.minimum((share * star_error) ** 2, 0.5)
    inflation = 1.0 + 2.0 * np.sum(part * (1.0 - part) * squared_error, axis=1)
    change = np.abs(star - state.star_variance) + np.abs(frame - state.frame_variance)[:, None]
    return star, frame, inflation, float(np.max(share * change, initial=0.0))


def scoring_damping(iteration: int) -> float:
    """Return the fraction of a scoring step to take: leverages follow the scatters, and full steps would oscillate."""
    return 0.5 if iteration <= 20 else 10.0 / iteration


def _typical_variance(state: EnsembleState, normal: Linearised, informed: Bool[Bools, " n"]) -> float:
    """Return the median of the stars' intrinsic variances, in which bright stars count for more.

    The weights do not depend on a star's own scatter: one that is small by chance must not dominate.
    """
    measured = np.where(state.used, normal.variance / np.maximum(normal.model**2, 1e-300), np.nan)
    noise = masked_median(measured, state.used, 0) - state.star_variance
    order = np.argsort(np.where(informed, state.star_variance, np.inf), kind="stable")
    middle = np.median(state.star_variance[informed])
    weight = np.where(informed, 1.0 / (np.maximum(np.nan_to_num(noise), 0.0) + middle + 1e-12), 0.0)[order]
    half = np.searchsorted(np.cumsum(weight), 0.5 * weight.sum())
    return float(state.star_variance[order][half])


def _scoring_step(
    variance: Float[Floats, " components"],
    excess: Float[Floats, "f n"],
    curvature: Float[Floats, "f n"],
    axis: int,
    damping: float,
    centre: float = 0.0,
    spread: Float[Floats, " components"] | float = np.inf,
) -> tuple[Float[Floats, " components"], Float[Floats, " components"]]:
    """Return variance components after a bounded step of Fisher scoring on the restricted likelihood, and their errors.

    `centre` and `spread` are those of a Gaussian prior on the components.
    """
    weight = curvature.sum(axis=axis) + 2.0 / np.asarray(spread) ** 2
    weight = np.where(weight > 0, weight, np.inf)
    # The standard error of the component, beside which a smaller value is as good as zero.
    error = np.sqrt(2.0 / weight)
    low = np.where(variance > 0.1 * error, 0.25 * variance, 0.0)
    step = (excess.sum(axis=axis) - 2.0 * (variance - centre) / np.asarray(spread) ** 2) / weight
    high = np.minimum(4.0 * np.maximum(variance, error), _LARGEST_VARIANCE)
    return np.clip(variance + damping * step, np.minimum(low, high), high), error
