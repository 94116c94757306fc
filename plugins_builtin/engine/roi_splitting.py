"""The minimisation of STARRED's objective over a background: kinks handled exactly, all else eliminated.

Most starlet coefficients of the best background are zero, where the objective has a kink; gradient methods crawl there.
The alternating direction method of multipliers (Boyd et al. 2011, Found. Trends Mach. Learn. 3, 1) gives the penalties
variables of their own, ``z = Phi h`` and ``y = h``, whose minimum is a threshold, and ties them to h by multipliers:

    ``h <- argmin chi2(h) / 2 + sum_j rho_j / 2 |Phi_j h - z_j + u_j|^2 + rho / 2 |h - y + q|^2``

That minimum is replaced by one step with a metric that lies above the objective's curvature: diagonal in Fourier space,
less the directions in which a source's light goes to the background under it, which cost chi2 nothing. Fluxes, sky,
translations and positions follow each step by their normal equations, so that every iteration costs one evaluation.
"""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats
from plugins_builtin.engine.roi_interpolation import rotation_matrix
from plugins_builtin.engine.roi_penalties import GaussianPriors, Values, details_transposed
from plugins_builtin.engine.roi_starlet import StarletObjective
from plugins_builtin.engine.starlet import details

_ABOVE, _FLOOR = 2.0, 0.005  # the metric over chi2's mean curvature, and its least part of the largest
# rho in units of the squared slopes of the penalties by epoch: chi2 and slopes both grow with the number of epochs, and
# rho has to with it, not with its square.
_STARLETS, _POSITIVITY = 120.0, 0.9
_RELAXED = 1.6
_STIFFER = 4.0  # by which the metric's floor grows where steps overshoot
_SAMPLED, _EVERY = 10, 20  # epochs that stand for all, and steps by one evaluation of the whole objective
_WINDOW, _GAIN = 20, 2e-5  # the fit has converged where so many values differ by less than this part of the objective


@attrs.frozen(eq=False)
class Others:
    """All unknowns but the background: the normal equations of an epoch's own and of positions, and their response."""

    covariance: Floats  # (e, p, p) of fluxes, translation, sky
    cross: Floats  # (e, p, 2k) with positions
    positions: Floats  # (2k, 2k) inverse of the positions' Schur complement; zeros where they are held
    local_h: Floats  # (e, p, N^2) single precision
    positions_h: Floats  # (2k, N^2)

    def solve(self, local: Floats, c: Floats) -> tuple[Floats, Floats]:
        """Return the normal equations' solution for right-hand sides (e, p) and (2k,)."""
        own = np.einsum("epq,eq->ep", self.covariance, local)
        c = self.positions @ (c - np.einsum("epc,ep->c", self.cross, own))
        return own - np.einsum("epq,eqc,c->ep", self.covariance, self.cross, c), c

    def onto_h(self, local: Floats, c: Floats) -> Floats:
        """Return how the background's gradient (N^2,) changes with changes of the others."""
        return np.tensordot(local.astype(np.float32), self.local_h, 2) + c @ self.positions_h

    def from_h(self, h: Floats) -> tuple[Floats, Floats]:
        """Return how the others' gradients change with a change of the background (N^2,)."""
        return self.local_h @ h.astype(np.float32), self.positions_h @ h


def others(objective: StarletObjective, values: Values, free_positions: bool) -> Others:
    """Linearise the objective in all unknowns but the background, which is what they meet it by."""
    k, used, n = values.flux.shape[1], objective.used, objective.epochs.data.shape[1]
    p, size = k + 3, values.h.size
    background = objective.background(values)
    a_ll, cross = np.zeros((len(used), p, p)), np.zeros((len(used), p, 2 * k))
    shared, shared_h = np.zeros((2 * k, 2 * k)), np.zeros((2 * k, size))
    local_h = np.zeros((len(used), p, size), np.float32)
    for rows, chosen in objective.chunks():
        moves = objective.moves(values, rows, chosen)
        columns = np.zeros((p + 2 * k, len(chosen), n, n))
        for i, e in enumerate(chosen):
            columns[:, i] = _columns(objective, values, int(e), background[e])
        root = np.sqrt(objective.inverse_variance[chosen])
        flat = (columns * root).reshape(p + 2 * k, len(chosen), -1).swapaxes(0, 1)
        normal = flat @ flat.swapaxes(1, 2)
        a_ll[rows], cross[rows] = normal[:, :p, :p], normal[:, :p, p:]
        shared += normal[:, p:, p:].sum(axis=0)
        for j, column in enumerate(columns):
            at_rest = objective.at_rest(column * root**2, moves, rows)[0].reshape(len(chosen), -1)
            if j < p:
                local_h[rows, j] = at_rest
            else:
                shared_h[j - p] += at_rest.sum(axis=0)
    _add_priors(objective.penalties.priors, used, a_ll, shared, k)
    covariance = np.linalg.inv(a_ll)
    schur = shared - np.einsum("epc,epq,eqd->cd", cross, covariance, cross)
    free = np.linalg.inv(schur + 1e-9 * np.trace(schur) * np.eye(2 * k)) if free_positions and k else 0.0 * schur
    return Others(covariance, cross, free, local_h, shared_h)


def _columns(objective: StarletObjective, values: Values, e: int, background: Floats) -> Floats:
    """Return the derivatives (k + 3 + 2k, n, n) of an epoch's image by fluxes, translation, sky and positions."""
    sources, by_x, by_y = objective.sources_at(values, e)
    slope_y, slope_x = np.gradient(background)
    flux = values.flux[e]
    each = np.stack([flux[:, None, None] * by_x, flux[:, None, None] * by_y], axis=1)
    move = each.sum(axis=0) - np.stack([slope_x, slope_y])
    turn = rotation_matrix(np.radians(objective.alignment.alpha[e]))
    positions = np.einsum("kiyx,ij->kjyx", each, turn).reshape(-1, *background.shape)
    return np.concatenate([sources, move, np.ones((1, *background.shape)), positions])


def _add_priors(priors: GaussianPriors, used: Floats, a_ll: Floats, shared: Floats, k: int) -> None:
    """Add the Gaussian priors, and enough for what an epoch does not see."""
    p = k + 3
    t = np.arange(k, k + 2)
    a_ll[:, t, t] += 1 / priors.translation_sigma[used] ** 2
    diagonal = np.einsum("epp->ep", a_ll)
    a_ll[:, np.arange(p), np.arange(p)] += 1e-3 * np.median(diagonal, axis=0) + 1e-12
    shared[np.arange(2 * k), np.arange(2 * k)] += 1 / priors.c_sigma.ravel() ** 2


class Metric:
    """What stands for the curvature by the background: diagonal in Fourier space, less the sources' directions."""

    def __init__(self, objective: StarletObjective, sources: Floats, rho: Floats, flat: float, floor: float) -> None:
        """Take unit sources (k, N, N), the starlets' rho (J,), that of positivity, and the floor."""
        n, s = objective.alignment.size, objective.alignment.subsampling
        boxes = []
        for frequency in (np.fft.fftfreq(n), np.fft.rfftfreq(n)):
            boxes.append(abs(np.exp(2j * np.pi * np.outer(np.arange(s), frequency)).sum(axis=0)) ** 2 / s)
        chi2 = np.zeros((n, n // 2 + 1))
        for e in objective.used:
            spectrum = np.abs(np.fft.rfft2(objective.epochs.kernels[e], (2 * n, 2 * n))[::2, ::2]) ** 2
            chi2 += objective.inverse_variance[e].mean() * spectrum
        chi2 *= np.outer(*boxes)
        self.chi2 = _ABOVE * chi2 + floor * chi2.max()
        impulse = np.zeros((n, n))
        impulse[n // 2, n // 2] = 1.0
        starlets = np.abs(np.fft.rfft2(details(impulse))) ** 2
        self.total = self.chi2 + np.tensordot(rho, starlets, 1) + flat
        self.shape = (n, n)
        self.sources = np.zeros((0, n, n))
        if len(sources):
            pushed = np.fft.irfft2(np.fft.rfft2(sources) * self.chi2, self.shape)
            factor = np.linalg.cholesky(np.tensordot(sources, pushed, [(1, 2), (1, 2)]))
            self.sources = np.tensordot(np.linalg.inv(factor), pushed, 1)
            self.pulled = np.fft.irfft2(np.fft.rfft2(self.sources) / self.total, self.shape)
            self.inner = np.linalg.inv(np.eye(len(sources)) - np.tensordot(self.sources, self.pulled, [(1, 2), (1, 2)]))

    def solve(self, gradient: Floats) -> Floats:
        """Return the step (N, N) for a gradient."""
        step = np.fft.irfft2(np.fft.rfft2(gradient) / self.total, self.shape)
        if len(self.sources):
            step += np.tensordot(self.inner @ np.tensordot(self.sources, step, 2), self.pulled, 1)
        return step


@attrs.define(eq=False)
class Split:
    """The penalties' variables and multipliers."""

    z: Floats  # (J, N, N)
    u: Floats
    y: Floats  # (N, N)
    q: Floats

    def update(self, d: Floats, h: Floats, starlets: Floats, positivity: float) -> None:
        """Take coefficients and background of a step; `starlets` and `positivity` are the slopes over rho."""
        w = _RELAXED * d + (1 - _RELAXED) * self.z + self.u
        self.u = np.clip(w, -starlets, starlets)
        self.z = w - self.u
        w = _RELAXED * h + (1 - _RELAXED) * self.y + self.q
        self.q = np.clip(w, -positivity, 0.0)
        self.y = w - self.q


class Eliminated:
    """An objective whose unknowns but the background follow it, by normal equations made at one point."""

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

    def reduced(self, gradient: Values) -> tuple[Floats, Floats, Floats]:
        """Return the others' steps, local (e, p) and positions (2k,), and the background's gradient (N, N) after."""
        local = np.concatenate([gradient.flux, gradient.translation, gradient.sky[:, None]], axis=1)
        own, c = self.others.solve(-local[self.objective.used], -gradient.c.ravel())
        return own, c, gradient.h + self.others.onto_h(own, c).reshape(gradient.h.shape)

    def stepped(self, values: Values, h: Floats, own: Floats | float = 0.0, c: Floats | float = 0.0) -> Values:
        """Return the values after a step of the background (N, N), to which the others answer, and steps of theirs."""
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
        """Return the mean sky, a small pixel's, which the starlets see with the background."""
        return float(values.sky[self.objective.used].mean()) / self.objective.alignment.subsampling**2


class Sample:
    """A few epochs that stand for all between two evaluations of the whole objective.

    Each is the typical one of a group of like seeing and weighs as much as its group. Its gradient is corrected to the
    whole's where that was evaluated last, so that where the iteration ends does not depend on the choice (as in
    Johnson & Zhang 2013, NeurIPS 26, 315, with one sample for all steps).
    """

    def __init__(self, whole: Eliminated, values: Values, free_positions: bool) -> None:
        """Choose the epochs at `values`."""
        objective = whole.objective
        width = objective.epochs.seeing[objective.used]
        groups = np.array_split(objective.used[np.argsort(width, kind="stable")], _SAMPLED)
        weight = objective.inverse_variance.sum(axis=(1, 2))
        self.rows = np.array([group[len(group) // 2] for group in groups])
        scale = np.array([weight[group].sum() for group in groups]) / weight[self.rows]
        self.whole = whole
        self.part = Eliminated(objective.part(self.rows, scale), self._of(values), free_positions)
        self.correction: Floats | float = 0.0

    def _of(self, values: Values) -> Values:
        return Values(values.flux[self.rows], values.c, values.translation[self.rows], values.sky[self.rows], values.h)

    def corrected(self, values: Values, slope: Floats) -> None:
        """Take the background's gradient (N, N) of the whole objective at `values`, the others eliminated."""
        self.correction = slope - self.part.reduced(self.part.smooth(self._of(values))[1])[2]


class Descent:
    """The iteration, from one start."""

    def __init__(self, objective: StarletObjective, values: Values, free_positions: bool) -> None:
        """Prepare metric and normal equations at `values`."""
        penalties = objective.penalties
        self.values, self.penalty = values, penalties.penalty
        self.whole = Eliminated(objective, values, free_positions)
        self.sample = Sample(self.whole, values, free_positions) if len(objective.used) >= 2 * _SAMPLED else None
        self.slope = penalties.strengths.positivity * len(objective.used) / objective.unit
        self.rho = _STARLETS * np.median(self.penalty, axis=(1, 2)) ** 2 / len(objective.used)
        self.flat = _POSITIVITY * self.slope**2 / len(objective.used)
        self.sources = objective.gaussians(values.c)[0]
        self.floor = _FLOOR
        self.metric = Metric(objective, self.sources, self.rho, self.flat, self.floor)
        self.history: list[float] = []
        self.converged = False

    def run(self, iterations: int) -> Values:
        """Return the values of the lowest objective found in at most so many iterations."""
        values, best, lowest = self.values, self.values, np.inf
        split = self._begin(values)
        every = _EVERY if self.sample else 1
        window: list[float] = []
        for _ in range(0, iterations, every):
            value, gradient = self.whole.smooth(values)
            d = details(values.h + self.whole.level(values))
            value += float((self.penalty * np.abs(d)).sum() - self.slope * np.minimum(values.h, 0.0).sum())
            self.history.append(value)
            if value < lowest:
                best, lowest = values, value
            elif not value < lowest + 0.2 * abs(lowest):
                self._stiffen()
                values, window = best, []
                split = self._begin(values)
                continue
            # Not by what the lowest value gains: before they settle, values rise above it for a while.
            window = [*window[-(_WINDOW // every) :], value]
            if len(window) > _WINDOW // every and max(window) - min(window) < _GAIN * abs(lowest):
                self.converged = True
                break
            values = self._advanced(values, gradient, split, every - 1)
        return best

    def _begin(self, values: Values) -> Split:
        d = details(values.h + self.whole.level(values))
        return Split(d, np.zeros_like(d), values.h, np.zeros_like(values.h))

    def _stiffen(self) -> None:
        self.floor *= _STIFFER
        self.metric = Metric(self.whole.objective, self.sources, self.rho, self.flat, self.floor)

    def _advanced(self, values: Values, gradient: Values, split: Split, sampled: int) -> Values:
        """Return the values after a step by the whole objective's gradient and some by the sample's."""
        if self.sample and sampled:
            self.sample.corrected(values, self.whole.reduced(gradient)[2])
        values = self._step(self.whole, values, gradient, split)
        if not (self.sample and sampled):
            return values
        part, h = self.sample.part, values.h
        moved = self.sample._of(values)
        for _ in range(sampled):
            gradient = part.smooth(moved)[1]
            gradient.h += self.sample.correction
            moved = self._step(part, moved, gradient, split)
        return self.whole.stepped(values, moved.h - h)

    def _step(self, of: Eliminated, values: Values, gradient: Values, split: Split) -> Values:
        """Return the values after a step; `gradient` gets the ties to the penalties' variables, and they follow."""
        rho, used = self.rho[:, None, None], of.objective.used
        d = details(values.h + of.level(values))
        tied = details_transposed(rho * (d - split.z + split.u))
        gradient.sky[used] += tied.sum() / (of.objective.alignment.subsampling**2 * len(used))
        gradient.h += tied + self.flat * (values.h - split.y + split.q)
        own, c, slope = of.reduced(gradient)
        values = of.stepped(values, -self.metric.solve(slope), own, c)
        d = details(values.h + of.level(values))
        split.update(d, values.h, self.penalty / np.maximum(rho, 1e-30), self.slope / max(self.flat, 1e-30))
        return values
