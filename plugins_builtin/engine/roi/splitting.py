"""The minimisation of STARRED's objective over the background: kinks treated exactly, other unknowns eliminated.

Most starlet coefficients of the best background are zero, where the objective has a kink; gradient methods are slow
there.
The alternating direction method of multipliers (Boyd et al. 2011, Found. Trends Mach. Learn. 3, 1) gives the penalties
variables of their own, ``z = Phi h`` and ``y = h``, whose minimum is a threshold, and ties them to h by multipliers:

    ``h <- argmin chi2(h) / 2 + sum_j rho_j / 2 |Phi_j h - z_j + u_j|^2 + rho / 2 |h - y + q|^2``

That minimum is replaced by one step with a metric that is above the objective's curvature. The metric is diagonal in
Fourier space, less the directions in which a source can compensate a change of the background at no cost in chi2.
Fluxes, sky, translations and positions follow each step by their normal equations, so that every iteration costs one
evaluation: of all epochs in some iterations, of a few that represent them in the others.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.roi.eliminated import Eliminated
from plugins_builtin.engine.roi.penalties import Values
from plugins_builtin.engine.roi.starlet_objective import StarletObjective
from plugins_builtin.engine.starlet import details, details_transposed

_FLOOR = 0.003  # of chi2's largest mean curvature: the least that the metric takes it for
_ABOVE = 2.0  # ratio of the metric to the mean curvature
# rho in units of the squared slopes of the penalties, by epoch and by strength: chi2 and slopes grow with the number
# of epochs, and rho has to with it, not with its square; nor with the square of a strength.
_STARLETS, _POSITIVITY = 120.0, 0.9
_RELAXED = 1.3
_STEADY = 0.9  # share of the compensation by moves of steady sources that the metric assumes
_STIFFER, _PATIENCE = 1.5, 60  # factor on the metric where so many steps together increase the objective
_SAMPLED, _EVERY = 6, 20  # epochs that represent all, and steps for each evaluation of the whole objective
_WINDOW, _GAIN = 20, 5e-6  # converged where the values of so many steps differ by less than this share of the objective


def _trades(
    objective: StarletObjective, values: Values, free_positions: bool
) -> tuple[Float[Floats, "trades N N"], Float[Floats, " trades"]]:
    """Return changes of the background that the point sources can compensate, and the share that they compensate.

    A source can exchange light with the background under it at no cost in chi2. Where its flux is steady, it can also
    move at no cost.
    """
    sources, by_x, by_y = objective.gaussians(values.c)
    if not free_positions:
        return sources, np.ones(len(sources))
    flux = values.flux[objective.used]
    steady = _STEADY * np.nan_to_num(flux.mean(axis=0) ** 2 / (flux**2).mean(axis=0))
    return np.concatenate([sources, by_x, by_y]), np.concatenate([np.ones(len(sources)), steady, steady])


class Metric:
    """The metric of a step: diagonal in Fourier space, less the changes that the sources compensate."""

    def __init__(
        self,
        objective: StarletObjective,
        undone: Float[Floats, "trades N N"],
        part: Float[Floats, " trades"],
        above: float,
        rho: Float[Floats, " scales"],
        flat: float,
    ) -> None:
        """Compute the metric.

        Parameters
        ----------
        objective : StarletObjective
            Its kernels and weights give the mean curvature of chi2.
        undone : (trades, N, N) array
            Changes of the background that the sources compensate.
        part : (trades,) array
            The share of each that they compensate.
        above : float
            Factor on the mean curvature.
        rho : (scales,) array
            The starlets' rho.
        flat : float
            The positivity's rho.
        """
        n, s = objective.alignment.size, objective.alignment.subsampling
        boxes = []
        for frequency in (np.fft.fftfreq(n), np.fft.rfftfreq(n)):
            boxes.append(abs(np.exp(2j * np.pi * np.outer(np.arange(s), frequency)).sum(axis=0)) ** 2 / s)
        chi2 = np.zeros((n, n // 2 + 1))
        for e in objective.used:
            spectrum = np.abs(np.fft.rfft2(objective.epochs.kernels[e], (2 * n, 2 * n))[::2, ::2]) ** 2
            chi2 += objective.inverse_variance[e].mean() * spectrum
        chi2 *= np.outer(*boxes)
        chi2 = above * (chi2 + _FLOOR * chi2.max())
        impulse = np.zeros((n, n))
        impulse[n // 2, n // 2] = 1.0
        starlets = np.abs(np.fft.rfft2(details(impulse))) ** 2
        self.total = chi2 + np.tensordot(rho, starlets, 1) + flat
        self.shape = (n, n)
        self.undone: Floats = np.zeros((0, n, n))
        if len(undone):
            pushed = np.fft.irfft2(np.fft.rfft2(undone) * chi2, self.shape)
            normal = np.tensordot(undone, pushed, ((1, 2), (1, 2)))
            scale = 1 / np.sqrt(np.diag(normal))
            normal = normal * np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
            self.undone = np.tensordot(np.linalg.inv(np.linalg.cholesky(normal)) * scale, pushed, 1)
            self.undone *= np.sqrt(part)[:, None, None]
            self.pulled = np.fft.irfft2(np.fft.rfft2(self.undone) / self.total, self.shape)
            self.inner = np.linalg.inv(np.eye(len(undone)) - np.tensordot(self.undone, self.pulled, ((1, 2), (1, 2))))

    def solve(self, gradient: Float[Floats, "N N"]) -> Float[Floats, "N N"]:
        """Return the step for a gradient."""
        step = np.fft.irfft2(np.fft.rfft2(gradient) / self.total, self.shape)
        if len(self.undone):
            step += np.tensordot(self.inner @ np.tensordot(self.undone, step, 2), self.pulled, 1)
        return step


@attrs.define(eq=False)
class Split:
    """The penalties' variables and multipliers, and the coefficients that they are tied to."""

    d: Float[Floats, "scales N N"]  # starlet coefficients of the background
    z: Float[Floats, "scales N N"]
    u: Float[Floats, "scales N N"]
    y: Float[Floats, "N N"]
    q: Float[Floats, "N N"]

    @classmethod
    def start(cls, d: Float[Floats, "scales N N"], h: Float[Floats, "N N"]) -> Split:
        """Return variables that agree with a background and its coefficients."""
        return cls(d, d, np.zeros_like(d), h, np.zeros_like(h))

    def update(
        self,
        d: Float[Floats, "scales N N"],
        h: Float[Floats, "N N"],
        starlets: Float[Floats, "scales N N"],
        positivity: float,
    ) -> None:
        """Update the variables after a step to coefficients d and background h.

        `starlets` and `positivity` are the penalties' slopes divided by rho, the thresholds.
        """
        self.d = d
        w = _RELAXED * d + (1 - _RELAXED) * self.z + self.u
        self.u = np.clip(w, -starlets, starlets)
        self.z = w - self.u
        w = _RELAXED * h + (1 - _RELAXED) * self.y + self.q
        self.q = np.clip(w, -positivity, 0.0)
        self.y = w - self.q


class Sample:
    """A few epochs that represent all between two evaluations of the whole objective.

    Each is the median one of a group of similar seeing, and weighs as much as its group. Its gradient is corrected to
    the whole's at the last evaluation of that, so that the end of the iteration does not depend on the choice (as in
    Johnson & Zhang 2013, NeurIPS 26, 315, with one sample for all steps).
    """

    def __init__(self, objective: StarletObjective, values: Values, free_positions: bool) -> None:
        """Choose the epochs."""
        width = objective.epochs.seeing[objective.used]
        groups = np.array_split(objective.used[np.argsort(width, kind="stable")], _SAMPLED)
        weight = objective.inverse_variance.sum(axis=(1, 2))
        self.rows = np.array([group[len(group) // 2] for group in groups])
        scale = np.array([weight[group].sum() for group in groups]) / weight[self.rows]
        self.part = Eliminated(objective.part(self.rows, scale), self.of(values), free_positions)
        self.by_h, self.by_c = np.zeros_like(values.h), np.zeros_like(values.c)

    def of(self, values: Values) -> Values:
        """Return the values of the sample's epochs."""
        return Values(values.flux[self.rows], values.c, values.translation[self.rows], values.sky[self.rows], values.h)

    def correct(self, values: Values, whole: Eliminated, gradient: Values) -> None:
        """Compute the correction from the whole's gradient at `values`, by background and positions.

        The other unknowns are eliminated from both gradients.
        """
        own = self.part.smooth(self.of(values))[1]
        # Without the positions' part the sample would move them to the best positions of its few epochs.
        self.by_c = whole.by_positions(gradient) - self.part.by_positions(own)
        own.c += self.by_c
        self.by_h = whole.reduced(gradient)[2] - self.part.reduced(own)[2]

    def gradient(self, values: Values) -> Values:
        """Return the estimate of the whole's gradient, at the sample's own values."""
        gradient = self.part.smooth(values)[1]
        gradient.c += self.by_c
        gradient.h += self.by_h
        return gradient


class Descent:
    """The iteration, from one start."""

    def __init__(self, objective: StarletObjective, values: Values, free_positions: bool) -> None:
        """Prepare metric and normal equations at `values`."""
        self.objective, self.free_positions = objective, free_positions
        self.penalty = objective.penalties.penalty
        self.slope = objective.penalties.strengths.positivity * len(objective.used) / objective.unit
        slopes = np.median(self.penalty, axis=(1, 2))[:, None, None]
        strength = np.maximum(objective.penalties.scale, 1e-6)[:, None, None]
        self.rho = _STARLETS * slopes**2 / (len(objective.used) * strength)
        self.flat = _POSITIVITY * self.slope**2 / len(objective.used)
        self.limits = self.penalty / np.maximum(self.rho, 1e-30), self.slope / max(self.flat, 1e-30)
        self.above = _ABOVE
        self.history: list[float] = []
        self.steps = 0
        self.converged = False
        self._start(values)
        self.split = Split.start(self._details(self.whole, values), values.h)

    def _start(self, values: Values) -> None:
        """Continue from `values`: compute normal equations and metric there."""
        self.values = values
        self.whole = Eliminated(self.objective, values, self.free_positions)
        self.sample: Sample | None = None
        if len(self.objective.used) >= 2 * _SAMPLED:
            self.sample = Sample(self.objective, values, self.free_positions)
        trades = _trades(self.objective, values, self.free_positions)
        self.metric = Metric(self.objective, *trades, self.above, self.rho.ravel(), self.flat)

    @np.errstate(over="ignore", invalid="ignore")  # of steps that overshoot, which the objective's value shows
    def run(self, iterations: int) -> Values:
        """Return the values of the lowest objective found in at most so many iterations."""
        best, lowest = (self.values, self.split), np.inf
        window: list[float] = []
        while self.steps < iterations:
            value, gradient = self.whole.smooth(self.values)
            d = self.split.d = self._details(self.whole, self.values)
            value += float((self.penalty * np.abs(d)).sum() - self.slope * np.minimum(self.values.h, 0.0).sum())
            self.history.append(value)
            # The first steps of a resumed fit increase the objective: only later values are compared.
            ago = _PATIENCE // self._every
            before = window[-ago] if len(window) > 2 * ago else np.inf
            if value < lowest:
                best, lowest = (self.values, attrs.evolve(self.split)), value
            elif not value < min(before, lowest + 0.2 * abs(lowest)):
                # Steps overshoot: a larger metric makes them shorter, and the normal equations are computed again.
                self.above *= _STIFFER
                self.steps += 1
                window = []
                self._start(best[0])
                self.split = attrs.evolve(best[1])
                continue
            # All values are compared, not the lowest ones: values rise above these for a while before they settle.
            window.append(value)
            last = window[-(_WINDOW // self._every) - 1 :]
            if len(last) > _WINDOW // self._every and max(last) - min(last) < _GAIN * abs(lowest):
                self.converged = True
                break
            self.values = self._advanced(self.values, gradient, min(self._every, iterations - self.steps))
        return best[0]

    @property
    def _every(self) -> int:
        return _EVERY if self.sample else 1

    def _details(self, of: Eliminated, values: Values) -> Float[Floats, "scales N N"]:
        return details(values.h + of.level(values))

    def _advanced(self, values: Values, gradient: Values, steps: int) -> Values:
        """Return the values after `steps` steps: one by the whole objective's gradient, the others by the sample's."""
        self.steps += steps
        if self.sample is None or steps < 2:
            return self._step(self.whole, values, gradient)
        self.sample.correct(values, self.whole, gradient)
        values = self._step(self.whole, values, gradient)
        moved = self.sample.of(values)
        for _ in range(steps - 1):
            moved = self._step(self.sample.part, moved, self.sample.gradient(moved))
        return self.whole.stepped(values, moved.h - values.h)

    def _step(self, of: Eliminated, values: Values, gradient: Values) -> Values:
        """Return the values after a step, and update the penalties' variables; `gradient` is changed."""
        used, split = of.objective.used, self.split
        tied = details_transposed(self.rho * (split.d - split.z + split.u))
        gradient.sky[used] += tied.sum() / (of.objective.alignment.subsampling**2 * len(used))
        gradient.h += tied + self.flat * (values.h - split.y + split.q)
        own, c, slope = of.reduced(gradient)
        values = of.stepped(values, -self.metric.solve(slope), own, c)
        split.update(self._details(of, values), values.h, *self.limits)
        return values
