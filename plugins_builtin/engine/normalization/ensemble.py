"""The inhomogeneous ensemble: transparencies of frames and levels of stars from all fluxes at once.

The model of the flux of star s in frame f is ``m_fs = L_s (u_f . B_fs)``. ``B_fs`` is ``(1, ...)``, with terms in the
position on the detector where these are fitted, and ``u_f0`` is the frame's coefficient. Fluxes enter linearly, not as
magnitudes, so zero and negative ones count like any other. The variance of a flux is
``sigma^2 + m^2 (tau_s^2 + phi_f^2)``: that of the measurement, the star's intrinsic scatter and the frame's.

A Gauss-Newton step solves for all unknowns together: the frames' blocks are eliminated, and a dense system in the
stars' log levels remains (the ensemble of Honeycutt 1992, PASP 104, 435, there in magnitudes). The scatters maximise
the restricted likelihood (Patterson and Thompson 1971, Biometrika 58, 545), by Fisher scoring. It accounts for the
leverage of each flux, so a star that dominates the mean can't make its own scatter vanish.

The terms in position have a Gaussian prior about 0. Where its width is not given, it maximises the same likelihood:
under a sky of even transparency it vanishes, and the terms with it.
"""

from __future__ import annotations

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.normalization.prior_width import next_width
from plugins_builtin.engine.robust import clipped_variance, masked_median

# A frame gets a scatter of its own only where its chi2 is less probable than this.
_FRAME_SIGNIFICANCE = 1e-3
# If a larger share of the fluxes of a frame or star would be clipped, they are scatter, not outliers.
_MAX_CLIPPED_IN_FRAME = 0.25
_MAX_CLIPPED_IN_STAR = 0.3


@attrs.frozen(eq=False)
class FluxTable:
    """The fluxes that the ensemble is solved from."""

    flux: Float[Floats, "f n"]
    variance: Float[Floats, "f n"]  # of the measurement
    valid: Bool[Bools, "f n"]
    basis: Float[Floats, "f n terms"]  # 1, then terms in position
    prior: float  # relative standard deviation of the terms in position, or where its search begins
    prior_is_fitted: bool = False  # whether the fluxes tell it


@attrs.frozen(eq=False)
class EnsembleState:
    """Estimates at one iteration."""

    terms: Float[Floats, "f terms"]
    prior: float  # relative standard deviation of the terms in position
    log_level: Float[Floats, " n"]
    star_variance: Float[Floats, " n"]  # relative
    frame_variance: Float[Floats, " f"]  # relative
    used: Bool[Bools, "f n"]

    @property
    def level(self) -> Float[Floats, " n"]:
        """Levels of the stars."""
        return np.exp(self.log_level)


@attrs.frozen(eq=False)
class Linearised:
    """The normal equations at a state, reduced to the stars, and the covariances that follow."""

    residual: Float[Floats, "f n"]
    model: Float[Floats, "f n"]
    variance: Float[Floats, "f n"]
    leverage: Float[Floats, "f n"]
    term_variance: Float[Floats, "f terms"]
    information: Float[Floats, " n"]  # of the stars' log levels
    level_covariance: Float[Floats, "n n"]  # of the log levels
    coefficient_variance: Float[Floats, " f"]  # without the part that is common to all frames
    step_terms: Float[Floats, "f terms"]
    step_log_level: Float[Floats, " n"]


@attrs.frozen(eq=False)
class EnsembleFit:
    """A solved ensemble."""

    state: EnsembleState
    linearised: Linearised
    inflation: Float[Floats, " f"]  # of the coefficients' variances: the weights are estimates themselves
    iterations: int
    converged: bool


def solve_ensemble(
    table: FluxTable, start: EnsembleState, sigma_clip: float, max_iterations: int, tolerance: float = 1e-2
) -> EnsembleFit:
    """Return levels, transparencies and scatters, with outliers clipped.

    Parameters
    ----------
    table : FluxTable
        Fluxes of frames and stars that are connected: of each two, a chain of common stars and frames joins them.
    start : EnsembleState
        As :func:`plugins_builtin.engine.normalization.ensemble_start.robust_start` gives it.
    sigma_clip : float
        Fluxes further from the model than this many standard deviations are left out.
    max_iterations : int
        Bound on the number of Gauss-Newton steps.
    tolerance : float
        Converged when no coefficient moves by more than this fraction of its standard error, and the selection stays.
    """
    state = start
    converged = False
    iteration = 0
    inflation: Floats = np.ones(len(table.flux))
    for iteration in range(1, max_iterations + 1):
        # The limit decreases while the scatters settle: a scatter that starts too small must not clip its own evidence.
        limit = sigma_clip * max(1.0, 1.5 - 0.1 * (iteration - 1))
        settled = limit == sigma_clip
        normal = linearise(table, state)
        # The selection is frozen for the last iterations, so that a flux at the limit can't flip for ever.
        used = state.used if iteration > 0.7 * max_iterations else _select(table, state, normal, limit)
        same = settled and np.array_equal(used, state.used)
        if not same:
            state = attrs.evolve(state, used=used)
            normal = linearise(table, state)
        star_variance, frame_variance, inflation, drift = _scatters(state, normal, limit, settled, _damping(iteration))
        state, change = _advance(state, normal)
        prior, moved = _next_prior(state, normal) if table.prior_is_fitted else (table.prior, 0.0)
        state = attrs.evolve(state, star_variance=star_variance, frame_variance=frame_variance, prior=prior)
        if same and change < tolerance and max(drift, moved) < 0.02:
            converged = True
            break
    return EnsembleFit(state, linearise(table, state), inflation, iteration, converged)


def linearise(table: FluxTable, state: EnsembleState) -> Linearised:
    """Return the normal equations at `state`, solved, with the covariances of frames and stars.

    A common factor of all levels is undetermined. The stars fix it: the mean of the log levels, weighted by their
    information, is held. Then the errors of the frames' coefficients are nearly independent of each other.
    """
    transmission = np.einsum("fnk,fk->fn", table.basis, state.terms)
    level = np.where(np.isfinite(state.log_level), state.level, 0.0)
    model = transmission * level
    scatter = state.star_variance + state.frame_variance[:, None]
    variance = table.variance + model**2 * scatter
    weight = np.where(state.used, 1.0 / variance, 0.0)
    residual = np.where(state.used, table.flux - model, 0.0)

    slope = level[:, None] * table.basis  # of the model by the frame's terms
    weighted = weight[..., None] * slope
    penalty = _penalty(state)
    block = np.swapaxes(weighted, 1, 2) @ slope + penalty
    gradient = np.einsum("fnk,fn->fk", weighted, residual) - np.einsum("fkl,fl->fk", penalty, state.terms)
    cross = np.swapaxes(weighted, 1, 2) * model[:, None, :]
    inverse = np.linalg.inv(block + np.where(state.used.any(1), 0.0, 1.0)[:, None, None] * np.eye(block.shape[-1]))
    gain = inverse @ cross  # (f, k, n)

    information = np.sum(weight * model**2, axis=0)
    flat = cross.reshape(-1, cross.shape[-1])
    system = np.diag(information) - flat.T @ gain.reshape(flat.shape)
    right = np.sum(weight * model * residual, axis=0) - np.einsum("fkn,fk->n", gain, gradient)
    level_covariance = gauged_inverse(system, information)
    step_level = level_covariance @ right
    step_terms = np.einsum("fkl,fl->fk", inverse, gradient) - gain @ step_level

    spread = gain @ level_covariance  # minus the covariance of terms and log levels
    term_covariance = inverse + spread @ np.swapaxes(gain, 1, 2)
    of_terms = np.einsum("fnk,fkl,fnl->fn", slope, term_covariance, slope, optimize=True)
    of_both = np.einsum("fnk,fkn->fn", slope, spread)
    of_level = model**2 * np.diag(level_covariance)
    leverage = (of_terms - 2.0 * model * of_both + of_level) / variance
    return Linearised(
        residual=table.flux - model,
        model=model,
        variance=variance,
        leverage=leverage,
        term_variance=np.diagonal(term_covariance, axis1=1, axis2=2),
        information=information,
        level_covariance=level_covariance,
        coefficient_variance=_own_variance(state, inverse, gain, level_covariance),
        step_terms=step_terms,
        step_log_level=step_level,
    )


def _penalty(state: EnsembleState) -> Float[Floats, "f terms terms"]:
    """Return the precision (inverse variance) of the prior on the terms in position."""
    k = state.terms.shape[-1]
    penalty = np.zeros((len(state.terms), k, k))
    diagonal = np.arange(1, k)
    penalty[:, diagonal, diagonal] = (1.0 / (state.prior * _scale(state)) ** 2)[:, None]
    return penalty


def _scale(state: EnsembleState) -> Float[Floats, " f"]:
    """Return the coefficients that the prior is relative to; not quite zero where no light came through."""
    coefficient = np.abs(state.terms[:, 0])
    return np.asarray(np.maximum(coefficient, 1e-6 * np.max(coefficient, initial=1e-30)))


def _next_prior(state: EnsembleState, normal: Linearised) -> tuple[float, float]:
    """Return the next standard deviation of the terms in position, and how far it moved."""
    scale = _scale(state)[:, None]
    return next_width(state.prior, state.terms[:, 1:] / scale, normal.term_variance[:, 1:] / scale**2)


def gauged_inverse(system: Float[Floats, "n n"], information: Float[Floats, " n"]) -> Float[Floats, "n n"]:
    """Invert the stars' system, in which a common factor of all levels is undetermined; unused stars get zeros."""
    used = information > 0
    inverse = np.zeros_like(system)
    if not used.any():
        return inverse
    direction = information[used] / np.linalg.norm(information[used])
    # Stiff enough that the gauge's own variance is negligible beside the smallest variance of a level.
    stiff = 1e4 * information[used].max() * np.outer(direction, direction)
    inverse[np.ix_(used, used)] = np.linalg.inv(system[np.ix_(used, used)] + stiff)
    return inverse


def _own_variance(
    state: EnsembleState,
    inverse: Float[Floats, "f terms terms"],
    gain: Float[Floats, "f terms n"],
    level_covariance: Float[Floats, "n n"],
) -> Float[Floats, " f"]:
    """Return the coefficients' variances, less the mode of the levels' errors that moves all coefficients alike.

    Without terms in position there is no such mode. With them there is one: a slope of the levels over the sky can be
    exchanged for a slope in all frames. No ratio of coefficients depends on it.
    """
    coefficient = state.terms[:, 0]
    own = inverse[:, 0, 0]
    weight = np.where(state.used.any(axis=1), coefficient / own, 0.0)
    pull = gain[:, 0, :]
    common = weight @ pull / max(float(weight @ coefficient), 1e-300)
    rest = pull - coefficient[:, None] * common
    variance: Floats = own + np.einsum("fn,nm,fm->f", rest, level_covariance, rest, optimize=True)
    return variance


def _advance(state: EnsembleState, normal: Linearised) -> tuple[EnsembleState, float]:
    """Return the state after the step, and the largest move of a coefficient, in standard errors."""
    step = np.clip(normal.step_log_level, -0.5, 0.5)
    error = np.sqrt(normal.coefficient_variance)
    moved = np.abs(normal.step_terms[:, 0]) / error
    frames = np.asarray(state.used.any(axis=1))
    new = attrs.evolve(
        state,
        terms=state.terms + np.where(frames[:, None], normal.step_terms, 0.0),
        log_level=state.log_level + step,
    )
    return new, float(np.max(moved[frames], initial=0.0))


def _select(table: FluxTable, state: EnsembleState, normal: Linearised, limit: float) -> Bool[Bools, "f n"]:
    """Return which fluxes are within `limit` standard deviations of the model that the other fluxes give."""
    candidates = table.valid & np.isfinite(state.log_level)
    # A flux that was used has pulled the model towards it; the deviation of another has the model's error in it too.
    spread = np.where(state.used, 1.0 - normal.leverage, 1.0 + normal.leverage)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.abs(normal.residual) / np.sqrt(normal.variance * np.maximum(spread, 1e-9))
    # A flux that alone determines its frame can't deviate: its residual is rounding.
    deviation = np.where(candidates & (spread > 1e-6), deviation, 0.0)
    count = candidates.sum(axis=1)
    allowed = np.where(count >= 3, np.maximum(1, (count * _MAX_CLIPPED_IN_FRAME).astype(int)), 0)
    beyond = deviation > limit
    clipped = beyond & (beyond.sum(axis=1) <= allowed)[:, None]
    in_star = candidates.sum(axis=0)
    variable = (clipped.sum(axis=0) > _MAX_CLIPPED_IN_STAR * in_star) & (in_star > 3)
    selected: Bools = candidates & ~(clipped & ~variable)
    return selected


def _scatters(
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


def _damping(iteration: int) -> float:
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
    return np.clip(variance + damping * step, low, 4.0 * np.maximum(variance, error)), error
