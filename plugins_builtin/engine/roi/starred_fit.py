"""The fit of STARRED's objective: from the joint model, first fluxes and translations, then all unknowns."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, FitState, FitStatus, Floats
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
from plugins_builtin.engine.roi.minimisation import Run
from plugins_builtin.engine.roi.outlying_pixels import not_persistent, persistent, relative_model_error, suspects
from plugins_builtin.engine.roi.penalties import GaussianPriors, Strengths, Values, slit_weights, starlet_weights
from plugins_builtin.engine.roi.starlet_objective import StarletObjective

_SMOOTHINGS = (1e-2, 1e-3, 1e-4)  # largest change of the objective by rounding each |c|; one fit after the other


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
