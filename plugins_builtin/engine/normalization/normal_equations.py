"""The ensemble's normal equations at a state: reduced to what frames share, solved, and the covariances that follow."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.normalization.flux_table import EnsembleState, FluxTable


@attrs.frozen(eq=False)
class Linearised:
    """The normal equations at a state, solved, and the covariances that follow."""

    residual: Float[Floats, "f n"]
    model: Float[Floats, "f n"]
    variance: Float[Floats, "f n"]
    leverage: Float[Floats, "f n"]
    term_variance: Float[Floats, "f terms"]
    response_variance: Float[Floats, " shared"]
    information: Float[Floats, " n"]  # of the stars' log levels
    step_terms: Float[Floats, "f terms"]
    step_response: Float[Floats, " shared"]
    step_log_level: Float[Floats, " n"]
    inverse: Float[Floats, "f terms terms"]  # of the frames' own blocks
    gain: Float[Floats, "f terms m"]  # what frames' terms take of a change of the m log levels and response terms
    covariance: Float[Floats, "m m"]  # of log levels and response

    @property
    def level_covariance(self) -> Float[Floats, "n n"]:
        """Covariance of the log levels."""
        stars = len(self.step_log_level)
        return self.covariance[:stars, :stars]


def linearise(table: FluxTable, state: EnsembleState) -> Linearised:
    """Return the normal equations at `state`, solved, with the covariances of frames, stars and response.

    The frames' blocks are eliminated; a dense system in the stars' log levels and the response's terms, in that order,
    remains. A common factor of all levels is undetermined. The stars fix it: the mean of the log levels, weighted by
    their information, is held. Then the errors of the frames' coefficients are nearly independent of each other.
    """
    stars = len(state.log_level)
    level = np.where(np.isfinite(state.log_level), state.level, 0.0)
    light = level * state.response_at(table.shared)
    model = np.einsum("fnk,fk->fn", table.basis, state.terms) * light
    scatter = state.star_variance + state.frame_variance[:, None]
    variance = table.variance + model**2 * scatter
    weight = np.where(state.used, 1.0 / variance, 0.0)
    residual = np.where(state.used, table.flux - model, 0.0)

    slope = light[..., None] * table.basis  # of the model by the frame's terms
    weighted = np.swapaxes(weight[..., None] * slope, 1, 2)
    penalty = _penalty(state)
    block = weighted @ slope + penalty
    gradient = np.squeeze(weighted @ residual[..., None], -1) - np.einsum("fkl,fl->fk", penalty, state.terms)
    tilt = table.shared * model[..., None]  # of the model by the response's terms
    cross = np.concatenate([weighted * model[:, None, :], weighted @ tilt], axis=-1)  # (f, terms, n + shared)
    inverse = np.linalg.inv(block + np.where(state.used.any(1), 0.0, 1.0)[:, None, None] * np.eye(block.shape[-1]))
    gain = inverse @ cross

    information = np.sum(weight * model**2, axis=0)
    system, right = _shared_system(state, weight, model, residual, tilt)
    flat = cross.reshape(-1, cross.shape[-1])
    system -= flat.T @ gain.reshape(flat.shape)
    right -= np.einsum("fkm,fk->m", gain, gradient)
    covariance = gauged_inverse(system, information)
    step = covariance @ right
    step_terms = np.einsum("fkl,fl->fk", inverse, gradient) - gain @ step

    spread = gain @ covariance  # minus the covariance of terms with log levels and response
    term_covariance = inverse + spread @ np.swapaxes(gain, 1, 2)
    return Linearised(
        residual=table.flux - model,
        model=model,
        variance=variance,
        leverage=_leverage(slope, model, tilt, term_covariance, spread, covariance) / variance,
        term_variance=np.diagonal(term_covariance, axis1=1, axis2=2),
        response_variance=np.diag(covariance)[stars:],
        information=information,
        step_terms=step_terms,
        step_response=step[stars:],
        step_log_level=step[:stars],
        inverse=inverse,
        gain=gain,
        covariance=covariance,
    )


def _shared_system(
    state: EnsembleState,
    weight: Float[Floats, "f n"],
    model: Float[Floats, "f n"],
    residual: Float[Floats, "f n"],
    tilt: Float[Floats, "f n shared"],
) -> tuple[Float[Floats, "m m"], Float[Floats, " m"]]:
    """Return the normal equations of log levels and response, with all frames' terms held."""
    of_level = weight * model
    weighted = weight[..., None] * tilt
    both = np.einsum("fn,fnk->nk", of_level, tilt)
    of_response = np.einsum("fnk,fnl->kl", weighted, tilt, optimize=True)
    precision = 1.0 / state.response_prior**2
    system = np.block([
        [np.diag(np.sum(of_level * model, axis=0)), both],
        [both.T, of_response + precision * np.eye(tilt.shape[-1])],
    ])  # fmt: skip
    right = np.concatenate([
        np.sum(of_level * residual, axis=0),
        np.einsum("fnk,fn->k", weighted, residual) - precision * state.response,
    ])  # fmt: skip
    return system, right


def _leverage(
    slope: Float[Floats, "f n terms"],
    model: Float[Floats, "f n"],
    tilt: Float[Floats, "f n shared"],
    of_terms: Float[Floats, "f terms terms"],
    spread: Float[Floats, "f terms m"],
    covariance: Float[Floats, "m m"],
) -> Float[Floats, "f n"]:
    """Return the variance of the model of each flux; `spread` is minus the terms' covariance with what frames share."""
    stars = model.shape[1]
    with_level = spread[..., :stars] * model[:, None, :]
    with_response = np.swapaxes(spread[..., stars:] @ np.swapaxes(tilt, 1, 2), 1, 2)
    across = np.swapaxes(with_level, 1, 2) + with_response
    of_both = np.einsum("fnk,fnk->fn", slope, slope @ of_terms) - 2.0 * np.einsum("fnk,fnk->fn", slope, across)
    of_level = model**2 * np.diag(covariance)[:stars]
    level_and_response = 2.0 * model * np.einsum("fnk,nk->fn", tilt, covariance[:stars, stars:])
    of_response = np.einsum("fnk,fnk->fn", tilt @ covariance[stars:, stars:], tilt)
    return np.asarray(of_both + of_level + level_and_response + of_response)


def _penalty(state: EnsembleState) -> Float[Floats, "f terms terms"]:
    """Return the precision (inverse variance) of the prior on the terms in position."""
    k = state.terms.shape[-1]
    penalty = np.zeros((len(state.terms), k, k))
    diagonal = np.arange(1, k)
    penalty[:, diagonal, diagonal] = (1.0 / (state.prior * prior_scale(state)) ** 2)[:, None]
    return penalty


def prior_scale(state: EnsembleState) -> Float[Floats, " f"]:
    """Return the coefficients that the prior is relative to; not quite zero where no light came through."""
    coefficient = np.abs(state.terms[:, 0])
    return np.asarray(np.maximum(coefficient, 1e-6 * np.max(coefficient, initial=1e-30)))


def gauged_inverse(system: Float[Floats, "m m"], information: Float[Floats, " n"]) -> Float[Floats, "m m"]:
    """Invert a system whose first parameters are the stars' log levels, of which a common factor is undetermined.

    The mean of these, weighted by their information, is held. Stars without information get zeros.
    """
    stars = len(information)
    used = np.concatenate([information > 0, np.ones(len(system) - stars, bool)])
    inverse = np.zeros_like(system)
    if not used[:stars].any():
        return inverse
    direction = np.zeros(len(system))
    direction[:stars] = information / np.linalg.norm(information)
    # Stiff enough that the gauge's own variance is negligible beside the smallest variance of a level.
    stiff = 1e4 * information.max() * np.outer(direction, direction)
    inverse[np.ix_(used, used)] = np.linalg.inv((system + stiff)[np.ix_(used, used)])
    return inverse


def variance_at(
    state: EnsembleState, normal: Linearised, basis: Float[Floats, "f terms"], shared: Float[Floats, "f shared"]
) -> Float[Floats, " f"]:
    """Return the variances of the coefficients at one place in each frame, less the mode that all have in common.

    Without terms in position there is no such mode. With them there is one: a slope of the levels over the sky can be
    exchanged for a slope in all frames. No ratio of coefficients depends on it. A response that a drift exchanges for
    transparency does not count where it moves the place as it moves the stars.

    Parameters
    ----------
    state : EnsembleState
        The estimates.
    normal : Linearised
        The normal equations there.
    basis, shared : array
        The frames' terms and those of the response at the place.

    Returns
    -------
    (f,) array
        Of the coefficients without the response: relative errors hold with it.
    """
    coefficient = np.einsum("fk,fk->f", basis, state.terms)
    own = np.einsum("fk,fkl,fl->f", basis, normal.inverse, basis)
    weight = np.where(state.used.any(axis=1), coefficient / own, 0.0)
    pull = np.einsum("fk,fkm->fm", basis, normal.gain)
    pull[:, len(state.log_level) :] -= coefficient[:, None] * shared
    common = weight @ pull / max(float(weight @ coefficient), 1e-300)
    rest = pull - coefficient[:, None] * common
    variance: Floats = own + np.einsum("fm,fm->f", rest @ normal.covariance, rest)
    return variance


def variance_at_reference(table: FluxTable, state: EnsembleState, normal: Linearised) -> Float[Floats, " f"]:
    """Return the variances of the coefficients where these are to hold, see :func:`variance_at`."""
    basis = np.zeros(state.terms.shape)
    basis[:, 0] = 1.0
    return variance_at(state, normal, basis, table.shared_at_reference)
