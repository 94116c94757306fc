"""The inhomogeneous ensemble: transparencies of frames and levels of stars from all fluxes at once.

The model of the flux of star s in frame f is ``m_fs = L_s (u_f . B_fs) exp(q . T_fs)``. ``B_fs`` is ``(1, ...)``, with
terms in the position on the detector where these are fitted, and ``u_f0`` is the frame's coefficient. ``T_fs`` are the
terms of a response that all frames share. Fluxes enter linearly, not as magnitudes, so zero and negative ones count
like any other. The variance of a flux is ``sigma^2 + m^2 (tau_s^2 + phi_f^2)``: that of the measurement, the star's
intrinsic scatter and the frame's.

A Gauss-Newton step solves for all unknowns together: the frames' blocks are eliminated, and a dense system in the
stars' log levels and the response remains (the ensemble of Honeycutt 1992, PASP 104, 435, there in magnitudes and
without terms in position). The scatters maximise the restricted likelihood.

The terms in position have Gaussian priors about 0, the frames' one and the response another. Where their widths are not
given, they maximise the same likelihood: under a sky of even transparency they vanish, and the terms with them.
Where two pointings see a slope each, only the priors tell a response from slopes of the frames; so all are solved for
together, and the response's error, beside that of the levels, is in the error of each coefficient.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.normalization.flux_table import EnsembleState, FluxTable
from plugins_builtin.engine.normalization.normal_equations import (
    Linearised,
    linearise,
    prior_scale,
    variance_at_reference,
)
from plugins_builtin.engine.normalization.prior_width import NOTHING, next_width
from plugins_builtin.engine.normalization.scatters import next_scatters, scoring_damping

# If a larger share of the fluxes of a frame or star would be clipped, they are scatter, not outliers.
_MAX_CLIPPED_IN_FRAME = 0.25
_MAX_CLIPPED_IN_STAR = 0.3
# One step changes a level by no more than this, in its logarithm, and the response anywhere by no more than this.
_LARGEST_LEVEL_STEP, _LARGEST_RESPONSE_STEP = 0.5, 0.2
# Half a frame off. A response is what a flat field leaves, or vignetting: a prior of this width hardly holds back what
# a drift shows of it, and keeps what a drift shows little of from growing without bound where fluxes are off by
# something else, such as the phase of undersampled stars.
_WIDEST_RESPONSE = 0.1


@attrs.frozen(eq=False)
class EnsembleFit:
    """A solved ensemble; terms in position whose prior vanished are not in it."""

    table: FluxTable
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
        star_variance, frame_variance, inflation, drift = next_scatters(
            state, normal, limit, settled, scoring_damping(iteration)
        )
        state, change = _advance(table, state, normal)
        state, moved = _next_priors(state, normal) if table.prior_is_fitted else (state, 0.0)
        state = attrs.evolve(state, star_variance=star_variance, frame_variance=frame_variance)
        table, state = _without_vanished(table, state)
        if same and change < tolerance and max(drift, moved) < 0.02:
            converged = True
            break
    return EnsembleFit(table, state, linearise(table, state), inflation, iteration, converged)


def _next_priors(state: EnsembleState, normal: Linearised) -> tuple[EnsembleState, float]:
    """Return the state with the next widths of the priors on terms in position, and how far these moved."""
    scale = prior_scale(state)[:, None]
    prior, moved = next_width(state.prior, state.terms[:, 1:] / scale, normal.term_variance[:, 1:] / scale**2)
    shared, shared_moved = next_width(state.response_prior, state.response, normal.response_variance)
    if shared >= _WIDEST_RESPONSE:
        shared, shared_moved = _WIDEST_RESPONSE, 0.0 if state.response_prior == _WIDEST_RESPONSE else shared_moved
    return attrs.evolve(state, prior=prior, response_prior=shared), max(moved, shared_moved)


def _without_vanished(table: FluxTable, state: EnsembleState) -> tuple[FluxTable, EnsembleState]:
    """Return both without the terms whose prior has become so narrow that they are nothing but work."""
    if not table.prior_is_fitted:
        return table, state
    terms = 1 if state.prior <= NOTHING else state.terms.shape[1]
    shared = 0 if state.response_prior <= NOTHING else len(state.response)
    if (terms, shared) == (state.terms.shape[1], len(state.response)):
        return table, state
    state = attrs.evolve(state, terms=state.terms[:, :terms], response=state.response[:shared])
    return table.with_terms(terms, shared), state


def _advance(table: FluxTable, state: EnsembleState, normal: Linearised) -> tuple[EnsembleState, float]:
    """Return the state after the step, and the largest move of a coefficient at the reference, in standard errors."""
    level_step = np.clip(normal.step_log_level, -_LARGEST_LEVEL_STEP, _LARGEST_LEVEL_STEP)
    frames = np.asarray(state.used.any(axis=1))
    tilt = np.max(np.abs(table.shared @ normal.step_response), initial=0.0, where=table.valid)
    response_step = normal.step_response / max(1.0, tilt / _LARGEST_RESPONSE_STEP)
    new = attrs.evolve(
        state,
        terms=state.terms + np.where(frames[:, None], normal.step_terms, 0.0),
        response=state.response + response_step,
        log_level=state.log_level + level_step,
    )
    before, after = (s.terms[:, 0] * s.response_at(table.shared_at_reference) for s in (state, new))
    error = np.sqrt(variance_at_reference(table, state, normal)) * state.response_at(table.shared_at_reference)
    return new, float(np.max((np.abs(after - before) / error)[frames], initial=0.0))


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
