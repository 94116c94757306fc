"""STARRED's objective with all unknowns but the background eliminated: fluxes, sky, translations and positions.

Their normal equations are computed once, as they change little during a fit.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float, Int

from lcframework.types import Floats, Ints
from plugins_builtin.engine.roi.coupling import Coupling, coupling
from plugins_builtin.engine.roi.interpolation import rotation_matrix
from plugins_builtin.engine.roi.penalties import GaussianPriors, Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective

_KINK = 0.02  # small pixels from a whole number of them


@attrs.frozen(eq=False)
class Others:
    """The normal equations of all unknowns but the background, and their derivatives by the background h."""

    covariance: Float[Floats, "e p p"]  # of fluxes, translation, sky
    cross: Float[Floats, "e p c"]  # with positions
    positions: Float[Floats, "c c"]  # inverse of the positions' Schur complement; zeros where they are held
    coupling: Coupling
    positions_h: Float[Floats, "c pixels"]

    def solve(
        self, local: Float[Floats, "e p"], c: Float[Floats, " c"]
    ) -> tuple[Float[Floats, "e p"], Float[Floats, " c"]]:
        """Return the normal equations' solution for right-hand sides `local` and `c`."""
        own, slope = self.of_positions(local, c)
        c = self.positions @ slope
        return own - np.einsum("epq,eqc,c->ep", self.covariance, self.cross, c), c

    def of_positions(
        self, local: Float[Floats, "e p"], c: Float[Floats, " c"]
    ) -> tuple[Float[Floats, "e p"], Float[Floats, " c"]]:
        """Return the local unknowns with positions held, and the remaining right-hand side of the positions."""
        own = np.einsum("epq,eq->ep", self.covariance, local)
        return own, c - np.einsum("epc,ep->c", self.cross, own)

    def onto_h(self, local: Float[Floats, "e p"], c: Float[Floats, " c"]) -> Float[Floats, " pixels"]:
        """Return the change of the background's gradient for changes of the other unknowns."""
        by_h: Floats = self.coupling.onto_h(local) + c @ self.positions_h
        return by_h

    def from_h(self, h: Float[Floats, " pixels"]) -> tuple[Float[Floats, "e p"], Float[Floats, " c"]]:
        """Return the changes of the other unknowns' gradients for a change of the background."""
        return self.coupling.from_h(h), self.positions_h @ h


def others(objective: StarletObjective, values: Values, free_positions: bool) -> Others:
    """Return the objective, linearised in all unknowns but the background, and coupled to that."""
    k, used, n = values.flux.shape[1], objective.used, objective.epochs.data.shape[1]
    p, size = k + 3, values.h.size
    background = objective.background(values)
    a_ll, cross = np.zeros((len(used), p, p)), np.zeros((len(used), p, 2 * k))
    shared, shared_h = np.zeros((2 * k, 2 * k)), np.zeros((2 * k, size))
    weighted = np.zeros((len(used), p, n, n), np.float32)
    for rows, chosen in objective.operators.chunks():
        columns = np.zeros((p + 2 * k, len(chosen), n, n))
        for i, e in enumerate(chosen):
            columns[:, i] = _columns(objective, values, int(e), background[e])
        root = np.sqrt(objective.inverse_variance[chosen])
        flat = (columns * root).reshape(p + 2 * k, len(chosen), -1).swapaxes(0, 1)
        normal = flat @ flat.swapaxes(1, 2)
        a_ll[rows], cross[rows] = normal[:, :p, :p], normal[:, :p, p:]
        shared += normal[:, p:, p:].sum(axis=0)
        columns *= root**2
        weighted[rows] = columns[:p].swapaxes(0, 1)
        by_positions = objective.background_gradients(values, columns[p:], rows, chosen)
        shared_h += by_positions.sum(axis=1).reshape(2 * k, size)
    _add_priors(objective.penalties.priors, used, a_ll, shared, k)
    _hold(objective.alignment.subsampling * values.translation[used], a_ll, k)
    covariance = np.linalg.inv(a_ll)
    schur = shared - np.einsum("epc,epq,eqd->cd", cross, covariance, cross)
    free = np.linalg.inv(schur + 1e-9 * np.trace(schur) * np.eye(2 * k)) if free_positions and k else 0.0 * schur
    return Others(covariance, cross, free, coupling(objective, values, weighted), shared_h)


def _columns(
    objective: StarletObjective, values: Values, e: int, background: Float[Floats, "n n"]
) -> Float[Floats, "unknowns n n"]:
    """Return the derivatives of an epoch's image by fluxes, translation, sky and positions."""
    sources, by_x, by_y = objective.sources_at(values, e)
    slope_y, slope_x = np.gradient(background)
    flux = values.flux[e]
    each = np.stack([flux[:, None, None] * by_x, flux[:, None, None] * by_y], axis=1)
    move = each.sum(axis=0) - np.stack([slope_x, slope_y])
    turn = rotation_matrix(np.radians(objective.alignment.alpha[e]))
    positions = np.einsum("kiyx,ij->kjyx", each, turn).reshape(-1, *background.shape)
    return np.concatenate([sources, move, np.ones((1, *background.shape)), positions])


def _hold(shift: Float[Floats, "e 2"], a_ll: Float[Floats, "e p p"], k: int) -> None:
    """Hold translations (small pixels) that are near a whole number: chi2 has a kink there, and steps jump over it.

    The interpolation blurs on both sides of a whole number and not on it. The reference epoch always has one.
    """
    epoch, axis = np.nonzero(np.abs(shift - np.round(shift)) < _KINK)
    a_ll[epoch, k + axis, k + axis] *= 1e6


def _add_priors(
    priors: GaussianPriors,
    used: Int[Ints, " e"],
    a_ll: Float[Floats, "e p p"],
    shared: Float[Floats, "c c"],
    k: int,
) -> None:
    """Add the Gaussian priors, and a small precision for unknowns that an epoch does not measure."""
    p = k + 3
    t = np.arange(k, k + 2)
    a_ll[:, t, t] += 1 / priors.translation_sigma[used] ** 2
    if priors.sky is not None:
        a_ll[:, k + 2, k + 2] += 1 / priors.sky[1][used] ** 2
    diagonal = np.einsum("epp->ep", a_ll)
    a_ll[:, np.arange(p), np.arange(p)] += 1e-6 * np.median(diagonal, axis=0) + 1e-12
    shared[np.arange(2 * k), np.arange(2 * k)] += 1 / priors.c_sigma.ravel() ** 2


class Eliminated:
    """An objective of which all unknowns but the background follow that, by normal equations made at one point."""

    def __init__(self, objective: StarletObjective, values: Values, free_positions: bool) -> None:
        """Linearise at `values`."""
        self.objective = objective
        self.others = others(objective, values, free_positions)

    def smooth(self, values: Values) -> tuple[float, Values]:
        """Return the objective without the background's penalties, and its gradient."""
        penalties = self.objective.penalties
        penalties.kinks = False
        try:
            return self.objective.value_and_gradient(values)
        finally:
            penalties.kinks = True

    def reduced(self, gradient: Values) -> tuple[Float[Floats, "e p"], Float[Floats, " c"], Float[Floats, "N N"]]:
        """Return the steps of the local unknowns and of positions, and the background's gradient after these."""
        own, c = self.others.solve(-self._local(gradient), -gradient.c.ravel())
        return own, c, gradient.h + self.others.onto_h(own, c).reshape(gradient.h.shape)

    def by_positions(self, gradient: Values) -> Float[Floats, "k 2"]:
        """Return the gradient by positions, the local unknowns eliminated."""
        return -self.others.of_positions(-self._local(gradient), -gradient.c.ravel())[1].reshape(gradient.c.shape)

    def _local(self, gradient: Values) -> Float[Floats, "e p"]:
        local = np.concatenate([gradient.flux, gradient.translation, gradient.sky[:, None]], axis=1)
        return local[self.objective.used]

    def stepped(
        self,
        values: Values,
        h: Float[Floats, "N N"],
        own: Float[Floats, "e p"] | float = 0.0,
        c: Float[Floats, " c"] | float = 0.0,
    ) -> Values:
        """Return the values after a step `h` of the background, the others' response to it, and steps of the others."""
        pull = self.others.from_h(h.ravel())
        response = self.others.solve(-pull[0], -pull[1])
        k = values.flux.shape[1]
        move = np.zeros((len(values.flux), k + 3))
        move[self.objective.used] = own + response[0]
        return Values(
            values.flux + move[:, :k],
            values.c + (c + response[1]).reshape(-1, 2),
            values.translation + move[:, k : k + 2],
            values.sky + move[:, k + 2],
            values.h + h,
        )

    def level(self, values: Values) -> float:
        """Return the mean sky per small pixel; the starlets' penalty is on the background plus this level."""
        return float(values.sky[self.objective.used].mean()) / self.objective.alignment.subsampling**2
