"""Random errors of a fit of STARRED's objective: the full covariance of an epoch's own unknowns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.roi.newton import Local, Prior, local_columns, local_prior
from plugins_builtin.engine.roi.starred_fit import Solution


def random_covariance(solution: Solution, seen: Bool[Bools, "e k"]) -> Float[Floats, "e k k"]:
    """Return the covariance of each epoch's fluxes, marginalised over its sky, translation and transparency.

    Parameters
    ----------
    solution : Solution
        The end of the fit.
    seen : (e, k) bool array
        The fluxes that an epoch measures.

    Returns
    -------
    (e, k, k) array
        nan in the rows and columns of fluxes that are not seen.
    """
    objective, values, epochs = solution.objective, solution.values, solution.epochs
    e, k = values.flux.shape
    background = objective.background(values)
    shift = values.translation - solution.alignment.translation
    local = Local(values.flux, values.sky, shift, np.ones(e))
    prior = Prior(np.zeros(0), np.zeros((0, 0)), solution.shift_covariance, solution.joint.prior.flux_guess)
    result = np.full((e, k, k), np.nan)
    for i in objective.used.tolist():
        columns = local_columns(values.flux[i], objective.sources_at(values, i), background[i])
        columns *= np.sqrt(objective.inverse_variance[i]).ravel()
        a_ll = columns @ columns.T
        local_prior(epochs, i, local, prior, seen[i], a_ll, np.zeros(k + 4))
        random = np.linalg.inv(a_ll)[:k, :k]
        result[i] = np.where(seen[i][:, None] & seen[i][None, :], 0.5 * (random + random.T), np.nan)
    return result
