"""The minimisation of STARRED's objective, in unknowns that are scaled by what the joint fit found."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.roi.blur import convolved
from plugins_builtin.engine.roi.joint_fit import State
from plugins_builtin.engine.roi.newton import covariances
from plugins_builtin.engine.roi.penalties import Values
from plugins_builtin.engine.roi.splitting import Descent
from plugins_builtin.engine.roi.starlet_objective import StarletObjective

_MEMORY = 30
_GAINS = {1e-2: 3e-6, 1e-3: 1e-6}  # relative decrease in an iteration below which a stage of the minimisation ends
_LAST_GAIN = 3e-7


class Run:
    """L-BFGS in unknowns scaled so that each has a curvature near one.

    The unknowns of an epoch are whitened together, by the Cholesky factor of the covariance that the joint fit found.
    Blended fluxes are strongly anticorrelated, and without that a minimiser is slow along this valley.
    """

    def __init__(self, objective: StarletObjective, joint: State) -> None:
        """Store the objective, and compute the scales from the joint fit."""
        self.objective = objective
        k = joint.local.flux.shape[1]
        keep = np.r_[np.arange(k), k + 1, k + 2, k]  # fluxes, translation, sky
        a_ll = joint.found.a_ll[:, keep[:, None], keep[None, :]]
        self.factor = np.linalg.cholesky(_positive(np.linalg.inv(a_ll)))
        self.joint = joint
        self.history: list[float] = []
        self.evaluations = joint.passes
        self.converged = False

    def continued(self, objective: StarletObjective) -> Run:
        """Return a run for another objective that continues the history of this one."""
        other = Run(objective, self.joint)
        other.history, other.evaluations = self.history, self.evaluations
        return other

    def descend(self, start: Values, iterations: int, free_positions: bool) -> Values:
        """Return the values that minimise the objective over all unknowns, with its kinks treated exactly."""
        descent = Descent(self.objective, start, free_positions)
        self.history.append(self.objective.value(start))
        values = descent.run(iterations)
        self.history += [*descent.history, self.objective.value(values)]
        self.evaluations += descent.steps
        self.converged = descent.converged or iterations == 0
        return values

    def minimise(self, start: Values, names: tuple[str, ...], iterations: int, smoothings: tuple[float, ...]) -> Values:
        """Return the values that minimise the objective over the attributes `names` of :class:`Values`.

        The absolute values are rounded off by each of `smoothings` in turn; `iterations` bounds the sum of all.
        """
        from scipy.optimize import minimize

        scaling = _Scaling(self, start, names)
        x = np.zeros(scaling.length)
        self.history.append(self.objective.value(start))
        best, best_value = start, self.history[-1]
        self.converged = iterations == 0
        left = iterations
        for smoothing in smoothings:
            if left <= 0:
                break
            self.objective.penalties.smoothing = smoothing

            def function(x: Float[Floats, " d"]) -> tuple[float, Float[Floats, " d"]]:
                value, gradient = self.objective.value_and_gradient(scaling.values(x))
                self.history.append(value)
                return value, scaling.gradient(gradient)

            gain = _GAINS.get(smoothing, _LAST_GAIN)
            options = {"maxiter": left, "maxcor": _MEMORY, "ftol": gain, "gtol": 1e-4, "maxfun": 2 * left + 20}
            result = minimize(function, x, jac=True, method="L-BFGS-B", options=options)
            x = result.x
            left -= result.nit
            self.evaluations += result.nfev
            # A line search may end in rounding, at a minimum or anywhere else. In whitened coordinates half of the
            # squared gradient is what another step would gain.
            left_to_gain = 0.5 * float(result.jac @ result.jac)
            self.converged = result.status == 0 or left_to_gain <= gain * max(abs(float(result.fun)), 1.0)
            values = scaling.values(x)
            value = self.objective.value(values)
            if value < best_value:
                best, best_value = values, value
        self.objective.penalties.smoothing = 0.0
        self.history.append(best_value)
        return best


class _Scaling:
    """The map from a flat vector of whitened steps to values, and of gradients from values to steps."""

    def __init__(self, run: Run, start: Values, names: tuple[str, ...]) -> None:
        self.start, self.names, self.used = start, names, run.objective.used
        k = start.flux.shape[1]
        order = [*(["flux"] * k), "translation", "translation", "sky"]
        self.local = np.array([name in names for name in order])
        blocks = run.factor[self.used]
        if not self.local.all():
            covariance = (blocks @ blocks.swapaxes(1, 2))[:, self.local][:, :, self.local]
            blocks = np.linalg.cholesky(_positive(covariance))
        self.blocks = blocks
        schur = run.joint.found.schur
        deviation = np.sqrt(np.diag(np.linalg.inv(schur))[: 2 * k]) if 2 * k else np.zeros(0)
        scale = np.sqrt(abs(np.linalg.det(run.objective.epochs.transform[0][:, :2])))
        self.c_scale = np.maximum(deviation.reshape(-1, 2) * scale, 1e-6)
        self.h_scale = _background_scale(run.objective)
        # Light of a source and background at its position give the same chi2: this valley gets unknowns of its own.
        self.unit_sources = run.objective.gaussians(start.c)[0]
        self.trade_scale = _trade_scale(run.joint, k)
        trades = k * ("h" in names and "flux" in names)
        self.sizes = [blocks.shape[0] * blocks.shape[1], 2 * k * ("c" in names), trades, start.h.size * ("h" in names)]

    @property
    def length(self) -> int:
        return sum(self.sizes)

    def _split(self, x: Float[Floats, " d"]) -> list[Float[Floats, " _"]]:
        return np.split(x, np.cumsum(self.sizes)[:-1])

    def values(self, x: Float[Floats, " d"]) -> Values:
        """Return the values after steps `x`."""
        local, c, trade, h = self._split(x)
        start = self.start
        k = start.flux.shape[1]
        full = np.zeros((len(start.flux), k + 3))
        steps = (self.blocks @ local.reshape(*self.blocks.shape[:2], 1))[..., 0]
        full[np.ix_(self.used, self.local)] = steps
        background = start.h
        if len(h):
            background = background + self.h_scale * h.reshape(start.h.shape)
        if len(trade):
            full[self.used, :k] -= self.trade_scale * trade
            background = background + np.tensordot(self.trade_scale * trade, self.unit_sources, 1)
        return Values(
            start.flux + full[:, :k],
            start.c + self.c_scale * c.reshape(-1, 2) if len(c) else start.c,
            start.translation + full[:, k : k + 2],
            start.sky + full[:, k + 2],
            background,
        )

    def gradient(self, gradient: Values) -> Float[Floats, " d"]:
        """Return the gradient by the steps."""
        full = np.concatenate([gradient.flux, gradient.translation, gradient.sky[:, None]], axis=1)
        local = full[np.ix_(self.used, self.local)]
        parts = [(self.blocks.swapaxes(1, 2) @ local[..., None]).ravel()]
        if self.sizes[1]:
            parts.append((gradient.c * self.c_scale).ravel())
        if self.sizes[2]:
            gained = np.tensordot(self.unit_sources, gradient.h, 2) - gradient.flux[self.used].sum(axis=0)
            parts.append(self.trade_scale * gained)
        if self.sizes[3]:
            parts.append((gradient.h * self.h_scale).ravel())
        return np.concatenate(parts)


def _trade_scale(joint: State, k: int) -> Float[Floats, " {k}"]:
    """Return the standard deviation of the error that all fluxes of a source share, from the joint fit."""
    _, common, _ = covariances(joint.found, k)
    return np.sqrt(np.nan_to_num(np.nanmean(np.einsum("ekk->ek", common), axis=0), nan=1.0)) if k else np.zeros(0)


def _positive(matrices: Float[Floats, "*stack p p"]) -> Float[Floats, "*stack p p"]:
    """Return the symmetric parts of matrices, with a small multiple of their diagonals added."""
    matrices = 0.5 * (matrices + matrices.swapaxes(-1, -2))
    diagonal = np.einsum("...ii->...i", matrices)
    return np.asarray(matrices + 1e-10 * diagonal[..., None] * np.eye(matrices.shape[-1]))


def _background_scale(objective: StarletObjective) -> Float[Floats, "N N"]:
    """Return the inverse square root of chi2's curvature by each small pixel of the background."""
    s = objective.alignment.subsampling
    kernel = objective.epochs.kernels[objective.used].mean(axis=0)
    response = convolved(kernel, np.ones((s, s))) ** 2
    total = np.repeat(np.repeat(objective.inverse_variance.sum(axis=0), s, axis=0), s, axis=1) / s**2
    curvature = np.maximum(convolved(total, response[::-1, ::-1]), 0.0)
    return np.asarray(1 / np.sqrt(np.maximum(curvature, 0.01 * curvature.max())))
