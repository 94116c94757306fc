"""The steps of a PSF fit: the Moffat, a few steps of the pixels, the masking of outliers, the pixels to convergence.

On a CPU frames are fitted one per core, each for as long as it needs; on an accelerator in batches of one size.
Either way a frame's result does not depend on the others. The fit works in single precision with sums in double.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.psf.distortion import distort
from plugins_builtin.engine.psf.model import Frame, Model, Result, Setting
from plugins_builtin.engine.psf.moffat import moffat
from plugins_builtin.engine.psf.outliers import MODEL_ERROR, Residuals, outlying_pixels, unlike_stars
from plugins_builtin.engine.psf.prepare import Prepared, prepare, usable_stars
from plugins_builtin.engine.psf.run import DTYPE, lanes, run_step
from plugins_builtin.engine.psf.star_steps import refit_stars
from plugins_builtin.engine.starlet import details
from plugins_builtin.engine.target import point_sources

#: For each stage the penalty's softness, and the decrease in a few evaluations below which the stage ends. STARRED's
#: objective has a softness of 0; the last stage ends some tenths of a unit above its minimum.
STAGES = ((1e-2, 3.0), (2e-3, 0.1), (3e-4, 0.015))

#: Most evaluations of the pixels before outliers are searched for.
FIRST_LOOK = 30

#: Distortion is fitted from this many stars on: with fewer it would fit their misfits.
MIN_STARS_DISTORTION = 6

#: Evaluations after which a batch on an accelerator ends. Its frames that have not converged are put into new batches,
#: so that other frames do not wait for them.
ROUND = 120

# The threshold for flagged pixels where no pixels are masked, but stars are judged by their number.
_ALWAYS = 5.0

# The analytic fit has converged where a step decreases the objective by less than this.
_ANALYTIC_TOLERANCE = 0.01


#: A coefficient whose penalty is above this, in units of the objective, is not zero.
_ACTIVE = 0.05


@attrs.frozen
class Limits:
    """Bounds and thresholds of a fit."""

    analytic: int = 100  # iterations
    pixels: int = 3000  # evaluations
    max_masked: float = 0.4
    outliers: float = 5.0  # sigma; 0: none are looked for
    stars: float = 5.0  # sigma; 0: none are dropped
    regularization: float = 1.0  # strength of the starlets' penalty; 1: STARRED's


@attrs.define(eq=False)
class Fit:
    """The fit of one frame, in progress."""

    data: Float[Floats, "stars n n"]  # e-/s
    noise: Float[Floats, "stars n n"]
    good: Bool[Bools, "stars n n"]
    offset: Float[Floats, "stars 2"]
    seeing: float
    position: Float[Floats, "stars 2"]
    rejected: dict[int, str]
    prepared: Prepared
    model: Model[Floats]
    outliers: Bool[Bools, "stars n n"]
    suspects: Bool[Bools, "stars n n"]  # flagged pixels; the same as `outliers` where these are masked
    history: list[Float[Floats, " _"]]
    evaluations: int = 0
    stage: int = 0  # of the pixels' fit, an index of `STAGES`
    spent: int = 0  # evaluations of the pixels' fit since its last start, which its bound is for
    value: float = np.nan
    converged: bool = False
    failure: str = ""

    @property
    def stars(self) -> Bool[Bools, " stars"]:
        """Return which stars are used, those with good pixels."""
        return np.asarray(self.good.any(axis=(1, 2)))


def begin_frames(
    data: Float[Floats, "frames stars n n"],
    noise: Float[Floats, "frames stars n n"],
    mask: Bool[Bools, "frames stars n n"],
    offset: Float[Floats, "frames stars 2"],
    seeing: Float[Floats, " frames"],
    position: Float[Floats, "frames stars 2"],
    setting: Setting,
    limits: Limits,
) -> list[Fit]:
    """Return a batch of frames at their first guesses; those that can't be fitted have a failure.

    Parameters
    ----------
    data, noise : (frames, stars, n, n) arrays
        e-/s.
    mask : (frames, stars, n, n) bool array
        True: do not use.
    offset : (frames, stars, 2) array
        The stars' expected positions, pixels from the stamps' centres.
    seeing : (frames,) array
        First guesses of the FWHM, pixels.
    position : (frames, stars, 2) array
        Scaled positions in the frame (:func:`plugins_builtin.engine.psf.distortion.scaled_positions`).
    setting : Setting
        What is fitted.
    limits : Limits
        Bounds and thresholds.
    """
    fits = []
    for f in range(len(data)):
        stamps, sigma, good, rejected = _selected(data[f], noise[f], mask[f], limits)
        fits.append(_begin(stamps, sigma, good, rejected, offset[f], float(seeing[f]), position[f], setting,
                           limits.regularization))  # fmt: skip
    return fits


def run_fits(fits: list[Fit], setting: Setting, limits: Limits) -> None:
    """Run the fits to their ends; they are changed in place."""
    _analytic(_unfailed(fits), setting, limits)
    look = min(FIRST_LOOK, limits.pixels)
    _pixels(_unfailed(fits), look, setting, only_first=True)
    # An outlier spoils the PSF that it is judged by. So it is masked, and judged again by a PSF fitted without it.
    suspect = [fit for fit in _unfailed(fits) if _find_outliers(fit, setting, limits)]
    for fit in suspect:
        fit.model = _first_model(fit.prepared, setting)._replace(
            amplitude=fit.model.amplitude, x=fit.model.x, y=fit.model.y
        )
        fit.history, fit.spent, fit.stage = [], 0, 0
    _analytic(_unfailed(suspect), setting, limits)
    _pixels(_unfailed(suspect), look, setting, only_first=True)
    suspect = [fit for fit in _unfailed(suspect) if _find_outliers(fit, setting, limits)]
    again = [fit for fit in suspect if _drop_unlike_stars(fit, setting, limits)]
    _analytic(_unfailed(again), setting, limits)
    _pixels(_unfailed(again), look, setting, only_first=True)
    for fit in _unfailed(again):
        _find_outliers(fit, setting, limits)
    _pixels(_unfailed(fits), limits.pixels, setting)


def _unfailed(fits: list[Fit]) -> list[Fit]:
    return [fit for fit in fits if not fit.failure]


def _selected(
    data: Float[Floats, "stars n n"], noise: Float[Floats, "stars n n"], mask: Bool[Bools, "stars n n"], limits: Limits
) -> tuple[Float[Floats, "stars n n"], Float[Floats, "stars n n"], Bool[Bools, "stars n n"], dict[int, str]]:
    """Return one frame's stamps in double precision, the usable pixels, and the stars that are left out."""
    stamps, sigma = np.asarray(data, float), np.asarray(noise, float)
    good, rejected = usable_stars(stamps, sigma, np.asarray(mask, bool), limits.max_masked)
    return stamps, sigma, good, rejected


def _begin(
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    good: Bool[Bools, "stars n n"],
    rejected: dict[int, str],
    offset: Float[Floats, "stars 2"],
    seeing: float,
    position: Float[Floats, "stars 2"],
    setting: Setting,
    regularization: float,
) -> Fit:
    """Return a fit at its first guess."""
    prepared = prepare(data, noise, good, offset, seeing, setting.subsampling, setting.fwhm, regularization)
    if good.any(axis=(1, 2)).sum() < MIN_STARS_DISTORTION:
        # Distortion is 0 at the scaled position 0: that turns it off.
        position = np.zeros_like(position)
    return Fit(
        data=data,
        noise=noise,
        good=good,
        offset=offset,
        seeing=seeing,
        position=np.where(np.isfinite(position), position, 0.0),
        rejected=rejected,
        prepared=prepared,
        model=_first_model(prepared, setting),
        outliers=np.zeros(good.shape, bool),
        suspects=np.zeros(good.shape, bool),
        history=[],
        failure=prepared.reason,
    )


def _first_model(prepared: Prepared, setting: Setting) -> Model[Floats]:
    m = prepared.data.shape[-1] * setting.subsampling
    x, y = prepared.offset.T
    return Model(prepared.shape, np.zeros((m, m)), prepared.amplitude, x, y, np.zeros(6))


def _find_outliers(fit: Fit, setting: Setting, limits: Limits) -> bool:
    """Mask the pixels that can't be starlight; return whether there are any, or stars unlike the others."""
    if limits.outliers == 0 and limits.stars == 0:
        return False
    threshold = limits.outliers or _ALWAYS
    fit.outliers[:] = False
    residuals = star_residuals(fit, setting)
    score = np.abs(residuals.residual) * np.sqrt(residuals.inverse_variance)
    deviating = np.asarray((score > threshold).any(axis=(1, 2)))
    if deviating.any():
        amplitude, x, y = robust_stars(kernels(fit, setting), fit, deviating, setting)
        fit.model = fit.model._replace(amplitude=amplitude, x=x, y=y)
        residuals = star_residuals(fit, setting)
    fit.suspects = outlying_pixels(residuals, threshold)
    if limits.outliers > 0:
        fit.outliers = fit.suspects
    return bool(fit.suspects.any()) or bool(limits.stars and unlike_stars(residuals, fit.suspects, limits.stars))


def _drop_unlike_stars(fit: Fit, setting: Setting, limits: Limits) -> bool:
    """Drop stars that are unlike the others; return whether there were any, in which case the fit starts again."""
    residuals = star_residuals(fit, setting)
    unlike = unlike_stars(residuals, fit.suspects, limits.stars) if limits.stars > 0 else {}
    if not unlike:
        return False
    fit.good[list(unlike)] = False
    fit.outliers[list(unlike)] = False
    fit.rejected.update(unlike)
    start = _begin(fit.data, fit.noise, fit.good, fit.rejected, fit.offset, fit.seeing, fit.position, setting,
                   limits.regularization)  # fmt: skip
    fit.prepared, fit.model, fit.position, fit.failure = start.prepared, start.model, start.position, start.failure
    fit.history, fit.spent, fit.stage = [], 0, 0
    return True


def robust_stars(
    kernel: Float[Floats, "*stars m m"], fit: Fit, which: Bool[Bools, " stars"], setting: Setting
) -> tuple[Float[Floats, " stars"], Float[Floats, " stars"], Float[Floats, " stars"]]:
    """Return amplitudes, x and y; those of the stars `which` are fitted again, robustly, with the PSF held.

    In least squares a bright cosmic ray moves its star, until all of the star's pixels have large residuals. Here
    residuals beyond 1.5 sigma have less weight (Huber's weights; Huber 1964, Ann. Math. Stat. 35, 73).
    """
    amplitude, x, y = (np.array(getattr(fit.model, name), float) for name in ("amplitude", "x", "y"))
    kernel = kernel[which] if kernel.ndim == 3 else kernel
    data, weight = fit.prepared.data[which], fit.prepared.inverse_variance[which]
    start = (amplitude[which], x[which], y[which])
    amplitude[which], x[which], y[which] = refit_stars(
        kernel, data, weight, start, setting.subsampling, setting.fwhm, tolerated=MODEL_ERROR, robust=True, rounds=12
    )
    return amplitude, x, y


def star_residuals(fit: Fit, setting: Setting) -> Residuals:
    """Return data minus model in the unit of `Prepared`, in double precision."""
    model = fit.model
    images = model.amplitude[:, None, None] * unit_images(fit, setting)
    weight = np.where(fit.outliers, 0.0, fit.prepared.inverse_variance)
    return Residuals(fit.prepared.data - images, weight, images, np.asarray(model.amplitude, float))


def loss(fit: Fit, setting: Setting) -> float:
    """Return the value of STARRED's objective, in double precision."""
    residuals = star_residuals(fit, setting)
    chi2 = float((residuals.inverse_variance * residuals.residual**2).sum())
    return 0.5 * chi2 + float((fit.prepared.penalty * np.abs(details(fit.model.correction))).sum())


def kernel(fit: Fit, setting: Setting) -> Float[Floats, "m m"]:
    """Return Moffat plus correction, not normalised."""
    m = fit.model.correction.shape[-1]
    shape = np.asarray(fit.model.shape, float)
    values: Floats = moffat(shape, m, setting.subsampling) + np.asarray(fit.model.correction, float)
    return values


def kernels(fit: Fit, setting: Setting) -> Float[Floats, "*stars m m"]:
    """Return the kernel, or one for each star where there is distortion."""
    values = kernel(fit, setting)
    if not setting.distorted:
        return values
    return np.array([distort(values, np.asarray(fit.model.distortion, float), position) for position in fit.position])


def unit_images(fit: Fit, setting: Setting) -> Float[Floats, "stars n n"]:
    """Return the stars' images for an amplitude of one, in double precision."""
    x, y = np.asarray(fit.model.x, float), np.asarray(fit.model.y, float)
    return point_sources(kernels(fit, setting), x, y, fit.data.shape[-1], setting.subsampling, setting.fwhm)


# ---------------------------------------------------------------- on the device


def _run(fits: list[Fit], setting: Setting, step: int, arguments: list[tuple[Any, ...]]) -> list[Result]:
    weights = [np.where(fit.outliers, 0.0, fit.prepared.inverse_variance) for fit in fits]
    frames = [
        (fit.model, Frame(fit.prepared.data, weight, fit.position, fit.prepared.penalty))
        for fit, weight in zip(fits, weights, strict=True)
    ]
    return run_step(frames, setting, step, arguments)


def _analytic(fits: list[Fit], setting: Setting, limits: Limits) -> None:
    arguments = (np.int32(limits.analytic), np.float64(_ANALYTIC_TOLERANCE))
    for fit, result in zip(fits, _run(fits, setting, 0, [arguments] * len(fits)), strict=True):
        fit.evaluations += int(result.evaluations)
        _take(fit, result, "the fit of the Moffat met a value that is not finite")


def _pixels(fits: list[Fit], limit: int, setting: Setting, only_first: bool = False) -> None:
    """Run the first stage or all remaining ones; `limit` bounds the evaluations of all stages together."""
    for fit in fits:
        fit.converged = False
    fits = [fit for fit in fits if fit.spent < limit]
    softness, tolerance = np.array(STAGES).T
    if only_first:
        softness = np.repeat(softness[:1], len(STAGES))
    if setting.distorted:
        # Distorted kernels are interpolated linearly; by its kinks the fit makes small gains for longer.
        tolerance = 0.5 * tolerance
    first = len(STAGES) - 1 if only_first else 0
    bound = ROUND if fits and lanes(fits[0].data.shape[0], fits[0].data.shape[1], setting) else limit
    while fits:
        arguments = [
            (
                DTYPE(softness),
                tolerance * _excess(fit),
                np.int32(max(first, fit.stage)),
                np.int32(min(bound, limit - fit.spent)),
            )
            for fit in fits
        ]
        for fit, result in zip(fits, _run(fits, setting, 1, arguments), strict=True):
            _take_pixels(fit, result)
            fit.stage = int(fit.converged) if only_first else int(result.stage)
        fits = [fit for fit in _unfailed(fits) if not fit.converged and fit.spent < limit]


def _take_pixels(fit: Fit, result: Result) -> None:
    spent = int(result.evaluations)
    fit.spent += spent
    fit.evaluations += spent
    history = np.asarray(result.history, float)
    fit.history.append(history[: min(spent, len(history))])
    _take(fit, result, "the fit of the pixels met a value that is not finite")


def _excess(fit: Fit) -> float:
    """Return the factor on the tolerance for a frame whose residuals exceed the noise, at least 1.

    The true errors are the formal ones times the root of the reduced chi2, so a decrease of the objective is to be
    compared with the reduced chi2. The power of 1.5 is because the valleys of a model that can't fit are long.
    """
    chi2 = 2.0 * fit.value / max(float(np.count_nonzero(fit.prepared.inverse_variance)), 1.0)
    return float(max(1.0, chi2) ** 1.5)


def _take(fit: Fit, result: Result, failure: str) -> None:
    fit.model = Model(*(np.asarray(part, float) for part in result.model))
    stars = fit.good.shape[0]
    fit.model = fit.model._replace(**{name: getattr(fit.model, name)[:stars] for name in ("amplitude", "x", "y")})
    fit.value, fit.converged = float(result.value), bool(result.converged)
    finite = np.isfinite(fit.value) and all(np.isfinite(part).all() for part in fit.model)
    if not finite:
        fit.failure = failure


def free_parameters(fit: Fit) -> float:
    """Return about how many parameters the data determined, for the degrees of freedom of chi2.

    Four of the Moffat, three a star, and of the small pixels as many as the finest starlet scale has coefficients that
    the penalty did not set to zero: for a penalty on absolute values the number of these is an unbiased estimate (Zou,
    Hastie and Tibshirani 2007), and coarser scales are sums of the same pixels. On simulated frames with exact noise
    maps chi2 by these degrees of freedom is 1 within 3 %.
    """
    from plugins_builtin.engine.starlet import details

    if not fit.prepared.penalty.any():
        return 4.0 + 3.0 * float(fit.stars.sum()) + float(fit.model.correction.size)
    finest = np.abs(details(np.asarray(fit.model.correction, float))[0])
    active = np.count_nonzero(finest * fit.prepared.penalty[0] > _ACTIVE)
    return 4.0 + 3.0 * float(fit.stars.sum()) + float(active)
