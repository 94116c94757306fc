"""The fit of STARRED's objective: from the joint model, first fluxes and translations, then all unknowns."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, FitState, FitStatus, Floats
from plugins_builtin.engine.roi.blur import convolved
from plugins_builtin.engine.roi.geometry import Epochs, to_pixels, to_sky
from plugins_builtin.engine.roi.interpolation import Alignment, align
from plugins_builtin.engine.roi.joint_fit import (
    Settings,
    State,
    background_image,
    chi2_note,
    fit_jointly,
    prepare_again,
)
from plugins_builtin.engine.roi.newton import covariances, not_persistent, persistent, relative_model_error, suspects
from plugins_builtin.engine.roi.penalties import GaussianPriors, Strengths, Values, slit_weights, starlet_weights
from plugins_builtin.engine.roi.splitting import Descent
from plugins_builtin.engine.roi.starlet_objective import StarletObjective

_SMOOTHINGS = (1e-2, 1e-3, 1e-4)  # largest change of the objective by rounding each |c|; one fit after the other
_MEMORY = 30
_GAINS = {1e-2: 3e-6, 1e-3: 1e-6}  # relative decrease in an iteration below which a stage of the minimisation ends
_LAST_GAIN = 3e-7


@attrs.frozen(eq=False)
class StarredSettings:
    """What to fit; the names are those of the options of the ROI model ``starred``."""

    background: bool = True
    starting_background: Float[Floats, "N N"] | None = None  # e-/s a small pixel, on the first epoch's grid
    optimize_background: bool = True
    fix_astrometry: bool | float = False
    iterations_translations: int = 300
    iterations_all: int = 2000
    strengths: Strengths = attrs.field(factory=Strengths)
    flux_scatter_first: float = 1.0
    clip: float | None = 5.0
    exact: bool = True
    slit: bool = True
    refraction: bool = False
    sky_prior: float = 0.05  # noises of a pixel; 0: none


@attrs.define(eq=False)
class Solution:
    """The end of a fit."""

    epochs: Epochs
    objective: StarletObjective
    alignment: Alignment
    values: Values
    joint: State
    outliers: Bool[Bools, "e n n"]
    shift_covariance: Float[Floats, "e 2 2"]  # of the prior
    history: list[float]
    evaluations: int
    converged: bool
    notes: list[str]

    @property
    def offset(self) -> Float[Floats, "k 2"]:
        """Positions of the point sources on the tangent plane, arcsec."""
        return to_sky(self.epochs.transform[0], self.values.c + 0.5 * (self.epochs.shape[0] - 1))

    def status(self) -> FitStatus:
        """How the fit ended."""
        reasons = list(self.notes)
        if not np.isfinite(self.history[-1]):
            return FitStatus(FitState.FAILED, self.evaluations, "the objective is not finite")
        iv = self.objective.inverse_variance
        chi2 = float((iv * (self.epochs.data - self.objective.model(self.values)) ** 2).sum() / max((iv > 0).sum(), 1))
        reasons += [r for r in [chi2_note(chi2)] if r]
        if not self.converged:
            reasons.insert(0, "still improving at the bound on iterations; raise iterations_all")
        state = FitState.CONVERGED if self.converged else FitState.BOUND
        return FitStatus(state, self.evaluations, "; ".join(reasons))


def fit_starred(epochs: Epochs, offset: Float[Floats, "k 2"], settings: StarredSettings) -> Solution:
    """Fit all epochs with STARRED's objective.

    Parameters
    ----------
    epochs : Epochs
        The data, in square stamps.
    offset : (k, 2) array
        First guess of the point sources' positions, arcsec.
    settings : StarredSettings
        What to fit.

    Returns
    -------
    Solution
        The end of the fit.
    """
    alignment = align(epochs, offset.mean(axis=0))
    free = settings.background and settings.optimize_background
    joint = _joint_start(epochs, alignment, offset, settings, free)
    given = settings.starting_background if settings.background else None
    values = _start_values(epochs, alignment, joint, given, settings)
    inverse_variance = joint.weights.inverse_variance
    weights = _weights(epochs, inverse_variance, settings.slit)
    c = _centred(epochs, offset)
    sigma = settings.fix_astrometry
    if isinstance(sigma, bool):
        sigma = 1e-5 if sigma else np.inf
    deviation = np.sqrt(np.einsum("eii->ei", joint.prior.shift_covariance))
    sky = _sky_prior(epochs, joint, settings.sky_prior) if free and settings.sky_prior else None
    priors = GaussianPriors(c, np.full(c.shape, float(sigma)), alignment.translation, deviation, sky)
    if settings.fix_astrometry is True:
        values.c = c.copy()

    displacement = None
    if settings.refraction:
        displacement = (joint.scene.refraction[:, None] * epochs.zenith[:, None]) @ epochs.transform[0][:, :2].T

    def objective(
        strengths: Strengths, iv: Float[Floats, "e n n"] = inverse_variance, like: StarletObjective | None = None
    ) -> StarletObjective:
        return StarletObjective(epochs, alignment, iv, weights, strengths, priors, settings.exact, displacement, like)

    first = attrs.evolve(settings.strengths, scales=0.0, high_frequency=0.0, positivity=0.0, point_sources=0.0)
    run = Run(objective(attrs.evolve(first, flux_scatter=settings.flux_scatter_first)), joint)
    values = run.minimise(values, ("flux", "translation"), settings.iterations_translations, (0.0,))
    names = ("flux", "translation", "sky", *(() if settings.fix_astrometry is True else ("c",)))
    final = run.continued(objective(settings.strengths, like=run.objective))
    names = (*names, "h") if free else names
    smoothings = _SMOOTHINGS if free else (0.0,)
    # The penalty on the scatter of fluxes couples the epochs, which the splitting's normal equations leave out.
    split = free and settings.strengths.flux_scatter == 0
    if split:
        values = final.descend(values, settings.iterations_all, settings.fix_astrometry is not True)
    else:
        values = final.minimise(values, names, settings.iterations_all, smoothings)
    outliers = _outliers(final.objective, values, settings.clip)
    if (outliers != joint.weights.outliers).any():
        # The starlets fit what a Sersic can't: pixels are clipped again by their residuals, and the fit is resumed.
        inverse_variance = _reweighted(epochs, inverse_variance, outliers)
        final = final.continued(objective(settings.strengths, inverse_variance, final.objective))
        if split:
            values = final.descend(values, settings.iterations_all, settings.fix_astrometry is not True)
        else:
            values = final.minimise(values, names, settings.iterations_all, smoothings[-1:])
    return Solution(
        epochs, final.objective, alignment, values, joint, outliers, joint.prior.shift_covariance,
        final.history, final.evaluations, final.converged, list(joint.notes),
    )  # fmt: skip


def _outliers(objective: StarletObjective, values: Values, threshold: float | None) -> Bool[Bools, "e n n"]:
    """Return the pixels whose residuals from the starlets' model are too large for noise."""
    epochs = objective.epochs
    signs = np.zeros(epochs.valid.shape, np.int8)
    none = np.zeros(epochs.valid.shape, bool)
    if threshold is None:
        return none
    model = objective.model(values)
    iv = _reweighted(epochs, objective.inverse_variance, none)
    used = objective.inverse_variance > 0
    sigma = 1 / np.sqrt(np.where(iv > 0, iv, 1.0))
    residual = np.where(iv > 0, epochs.data - model, 0.0)
    signal = np.where(used, model - values.sky[:, None, None], 0.0)
    error = relative_model_error((residual / sigma)[used], signal[used], sigma[used])
    z = residual / np.hypot(sigma, error * model)
    for e in objective.used:
        signs[e] = suspects(z[e], threshold)
    return not_persistent(signs, persistent(signs))


def _reweighted(
    epochs: Epochs, inverse_variance: Float[Floats, "e n n"], outliers: Bool[Bools, "e n n"]
) -> Float[Floats, "e n n"]:
    """Return the weights with `outliers` clipped; a pixel that is no longer clipped gets its noise map's weight."""
    stated = np.where(inverse_variance > 0, inverse_variance, 1 / epochs.variance)
    return np.where(epochs.valid & ~outliers & epochs.usable[:, None, None], stated, 0.0)


def _joint_start(
    epochs: Epochs, alignment: Alignment, offset: Float[Floats, "k 2"], settings: StarredSettings, free: bool
) -> State:
    """Return a joint fit: it gives positions, clipped pixels, noise, the registration's floor and a background."""
    joint = Settings(
        galaxies=1 if free else 0, fix_astrometry=settings.fix_astrometry, clip=settings.clip,
        refraction=settings.refraction,
    )  # fmt: skip
    if free or settings.starting_background is None or not settings.background:
        return fit_jointly(epochs, offset, joint)
    # A background that is given and held is subtracted before the joint fit.
    nothing = GaussianPriors(*(np.zeros((0, 2)),) * 2, alignment.translation, np.full((len(epochs), 2), np.inf))
    iv = np.where(epochs.valid, 1 / epochs.variance, 0.0)
    shape = (len(epochs), 0)
    values = Values(
        np.zeros(shape), np.zeros((0, 2)), alignment.translation, np.zeros(len(epochs)), settings.starting_background
    )
    bare = StarletObjective(epochs, alignment, iv, np.ones((1, 1, 1)), Strengths(0, 0, 0, 0, 0), nothing)
    return fit_jointly(prepare_again(epochs, bare.background(values)), offset, joint)


def _sky_prior(epochs: Epochs, joint: State, width: float) -> tuple[Float[Floats, " e"], Float[Floats, " e"]]:
    """Return the mean and the standard deviation, e-/s, of each sky: the joint fit's, and `width` noises of a pixel.

    A constant background and a lower sky are the same image, and then positivity does not keep the background from
    being lower around a source than elsewhere: with a PSF a little too wide it dug a bowl there, and fluxes rose.
    """
    noise = np.sqrt(
        [np.median(v[m]) if m.any() else np.inf for v, m in zip(epochs.variance, epochs.valid, strict=True)]
    )
    return joint.local.sky, width * noise


def _centred(epochs: Epochs, offset: Float[Floats, "k 2"]) -> Float[Floats, "k 2"]:
    """Return positions on the first epoch's stamp, relative to its centre, data pixels."""
    return to_pixels(epochs.transform[0], offset) - 0.5 * (epochs.shape[0] - 1)


def _start_values(
    epochs: Epochs,
    alignment: Alignment,
    joint: State,
    given: Float[Floats, "N N"] | None,
    settings: StarredSettings,
) -> Values:
    """Return the joint fit's result as values of STARRED's unknowns."""
    size = (alignment.size, alignment.size)
    if given is not None:
        h = given.copy()
    elif settings.background and len(joint.scene.galaxies):
        h = np.maximum(background_image(epochs, joint.scene, alignment.array_transform(epochs), size), 0.0)
    else:
        h = np.zeros(size)
    local = joint.local
    return Values(
        local.flux.copy(),
        _centred(epochs, joint.scene.offset),
        alignment.translation + local.shift,
        local.sky.copy(),
        h,
    )


def _weights(epochs: Epochs, inverse_variance: Float[Floats, "e n n"], slit: bool) -> Float[Floats, "scales N N"]:
    """Return the starlets' weights, from the noise of all epochs together and their mean kernel.

    STARRED uses the first epoch's noise map and PSF for all, which is the same where epochs are alike.
    """
    used = (inverse_variance > 0).any(axis=(1, 2))
    total = inverse_variance.sum(axis=0)
    # Without a floor, a pixel that is masked in all epochs would have no penalty.
    total = np.maximum(total, 0.1 * np.median(total[total > 0]))
    propagate = slit_weights if slit else starlet_weights
    return propagate(total, epochs.kernels[used].mean(axis=0), epochs.subsampling)


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
