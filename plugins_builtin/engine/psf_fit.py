"""The course of a PSF fit: Moffat, pixels, what can't be the stars masked, pixels to convergence; frame by frame.

On a CPU frames are fitted one after the other, each for as long as it needs; on an accelerator in batches of one size.
Either way a frame knows nothing of the others. The fit works in single precision with sums in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import jax
import numpy as np
from numpy.typing import NDArray

from plugins_builtin.engine import psf_model
from plugins_builtin.engine.distortion import distort
from plugins_builtin.engine.moffat import moffat
from plugins_builtin.engine.precision import double_precision
from plugins_builtin.engine.psf_model import Frame, Model, Setting
from plugins_builtin.engine.psf_outliers import MODEL_ERROR, Residuals, outlying_pixels, unlike_stars
from plugins_builtin.engine.psf_prepare import Prepared, prepare, usable_stars
from plugins_builtin.engine.starlet import details
from plugins_builtin.engine.target import point_sources, target_matrix, target_matrix_derivative

Array = NDArray[np.float64]

#: The penalty's softness and the gain in ten evaluations below which each stage ends. STARRED's objective has no
#: softness; the last stage ends some tenths of a unit above its minimum.
STAGES = ((3e-2, 3.0), (5e-3, 0.2), (7e-4, 0.03), (1.5e-4, 0.03))

#: Evaluations before outliers are looked for, at most.
FIRST_LOOK = 40

#: Fewer stars than this can't tell distortion from their own misfits.
MIN_STARS_DISTORTION = 6

#: Numbers of stars that code is compiled for.
_STAR_BUCKETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)

#: Frames in a batch on an accelerator.
BATCH = 32

_DTYPE = np.float32

# The threshold by which stars are judged where no pixels are to be masked.
_ALWAYS = 5.0

# Gain of a step of the analytic fit below which it has converged, in units of the objective.
_ANALYTIC_TOLERANCE = 0.01


@attrs.frozen
class Limits:
    """How far a fit goes."""

    analytic: int = 100  # iterations
    pixels: int = 3000  # evaluations
    max_masked: float = 0.4
    outliers: float = 5.0  # sigma; 0: none are looked for
    stars: float = 5.0  # sigma; 0: none are dropped


@attrs.define(eq=False)
class Fit:
    """One frame on its way."""

    data: Array  # e-/s
    noise: Array
    good: NDArray[np.bool_]
    offset: Array
    seeing: float
    position: Array
    rejected: dict[int, str]
    prepared: Prepared
    model: Model
    outliers: NDArray[np.bool_]
    suspects: NDArray[np.bool_]  # what `outliers` would be were any masked
    history: list[Array]
    evaluations: int = 0
    spent: int = 0  # evaluations of the pixels' fit that count against its bound
    value: float = np.nan
    converged: bool = False
    failure: str = ""

    @property
    def stars(self) -> NDArray[np.bool_]:
        """Return which stars are used."""
        return self.good.any(axis=(1, 2))


def begin_frames(
    data: Array,
    noise: Array,
    mask: NDArray[np.bool_],
    offset: Array,
    seeing: Array,
    position: Array,
    setting: Setting,
    limits: Limits,
) -> list[Fit]:
    """Return a batch of frames at their first guesses; those that can't be fitted have a failure.

    Parameters
    ----------
    data, noise : array (frames, stars, n, n)
        e-/s.
    mask : bool array (frames, stars, n, n)
        True: do not use.
    offset : array (frames, stars, 2)
        Where stars are expected, pixels from the stamps' centres.
    seeing : array (frames,)
        Guess of the FWHM, pixels.
    position : array (frames, stars, 2)
        Scaled positions in the frame (:func:`plugins_builtin.engine.distortion.scaled_positions`).
    setting, limits
        What is fitted, and how far.
    """
    fits = []
    for f in range(len(data)):
        stamps, sigma, good, rejected = _selected(data[f], noise[f], mask[f], limits)
        fits.append(_begin(stamps, sigma, good, rejected, offset[f], float(seeing[f]), position[f], setting))
    return fits


def run_fits(fits: list[Fit], setting: Setting, limits: Limits) -> None:
    """Carry the fits through to their ends, in place."""
    _analytic(_live(fits), setting, limits)
    first, tolerance = STAGES[0]
    look = min(FIRST_LOOK, limits.pixels)
    _pixels(_live(fits), first, tolerance, look, setting)
    # An outlier spoils the PSF that it is judged by: it is masked, and judged again by a PSF that has not seen it.
    suspect = [fit for fit in _live(fits) if _look(fit, setting, limits)]
    for fit in suspect:
        fit.model = _first_model(fit.prepared, setting)._replace(
            amplitude=fit.model.amplitude, x=fit.model.x, y=fit.model.y
        )
        fit.history, fit.spent = [], 0
    _analytic(_live(suspect), setting, limits)
    _pixels(_live(suspect), first, tolerance, look, setting)
    again = [fit for fit in _live(suspect) if _look(fit, setting, limits) and _drop(fit, setting, limits)]
    _analytic(_live(again), setting, limits)
    _pixels(_live(again), first, tolerance, look, setting)
    for fit in _live(again):
        _look(fit, setting, limits)
    for softness, tolerance in STAGES:
        # Distorted kernels are interpolated linearly; the kinks make for small gains that do go on.
        patient = 0.2 * tolerance if setting.distorted else tolerance
        _pixels(_live(fits), softness, patient, limits.pixels, setting)


def _live(fits: list[Fit]) -> list[Fit]:
    return [fit for fit in fits if not fit.failure]


def _selected(
    data: Array, noise: Array, mask: NDArray[np.bool_], limits: Limits
) -> tuple[Array, Array, NDArray[np.bool_], dict[int, str]]:
    """Return one frame's stamps in double precision, the pixels that can be used, and the stars that can't."""
    stamps, sigma = np.asarray(data, float), np.asarray(noise, float)
    good, rejected = usable_stars(stamps, sigma, np.asarray(mask, bool), limits.max_masked)
    return stamps, sigma, good, rejected


def _begin(
    data: Array,
    noise: Array,
    good: NDArray[np.bool_],
    rejected: dict[int, str],
    offset: Array,
    seeing: float,
    position: Array,
    setting: Setting,
) -> Fit:
    """Return a fit at its first guess."""
    prepared = prepare(data, noise, good, offset, seeing, setting.subsampling, setting.fwhm)
    if good.any(axis=(1, 2)).sum() < MIN_STARS_DISTORTION:
        # Without a position there is nothing that distortion could change.
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


def _first_model(prepared: Prepared, setting: Setting) -> Model:
    m = prepared.data.shape[-1] * setting.subsampling
    x, y = prepared.offset.T
    return Model(prepared.shape, np.zeros((m, m)), prepared.amplitude, x, y, np.zeros(6))


def _look(fit: Fit, setting: Setting, limits: Limits) -> bool:
    """Mask the pixels that can't be starlight; return True where there are any, or stars unlike the others."""
    if limits.outliers == 0 and limits.stars == 0:
        return False
    threshold = limits.outliers or _ALWAYS
    fit.outliers[:] = False
    residuals = star_residuals(fit, setting)
    score = np.abs(residuals.residual) * np.sqrt(residuals.inverse_variance)
    doubtful = (score > threshold).any(axis=(1, 2))
    if doubtful.any():
        amplitude, x, y = robust_stars(kernels(fit, setting), fit, doubtful, setting)
        fit.model = fit.model._replace(amplitude=amplitude, x=x, y=y)
        residuals = star_residuals(fit, setting)
    fit.suspects = outlying_pixels(residuals, threshold)
    if limits.outliers > 0:
        fit.outliers = fit.suspects
    return bool(fit.suspects.any()) or bool(limits.stars and unlike_stars(residuals, fit.suspects, limits.stars))


def _drop(fit: Fit, setting: Setting, limits: Limits) -> bool:
    """Drop stars that are unlike the others; return True where there were any, and the fit is back at its start."""
    residuals = star_residuals(fit, setting)
    unlike = unlike_stars(residuals, fit.suspects, limits.stars) if limits.stars > 0 else {}
    if not unlike:
        return False
    fit.good[list(unlike)] = False
    fit.outliers[list(unlike)] = False
    fit.rejected.update(unlike)
    start = _begin(fit.data, fit.noise, fit.good, fit.rejected, fit.offset, fit.seeing, fit.position, setting)
    fit.prepared, fit.model, fit.position, fit.failure = start.prepared, start.model, start.position, start.failure
    fit.history, fit.spent = [], 0
    return True


def robust_stars(kernel: Array, fit: Fit, which: NDArray[np.bool_], setting: Setting) -> tuple[Array, Array, Array]:
    """Return amplitudes, x and y with those of the stars `which` fitted again, with far pixels weighing little.

    Least squares lets a bright cosmic ray drag its star along, until all of the star looks wrong. Residuals beyond 1.5
    sigma count only in proportion (Huber's weights), with the PSF held.
    """
    n, sub, fwhm = fit.data.shape[-1], setting.subsampling, setting.fwhm
    amplitude, x, y = (np.array(getattr(fit.model, name), float) for name in ("amplitude", "x", "y"))
    kernel = kernel[which] if kernel.ndim == 3 else kernel
    data, weight = fit.prepared.data[which], fit.prepared.inverse_variance[which]
    a, px, py = amplitude[which], x[which], y[which]
    for _ in range(12):
        rows, columns = (target_matrix(p, n, sub, fwhm, kernel.shape[-1]) for p in (py, px))
        row_slopes, column_slopes = (target_matrix_derivative(p, n, sub, fwhm, kernel.shape[-1]) for p in (py, px))
        left, columns = rows @ kernel, np.swapaxes(columns, -1, -2)
        unit = left @ columns
        strength = a[:, None, None]
        design = [
            unit,
            strength * (left @ np.swapaxes(column_slopes, -1, -2)),
            strength * (row_slopes @ kernel @ columns),
        ]
        parts = np.stack(design, axis=1).reshape(len(a), 3, -1)
        residual = (data - strength * unit).reshape(len(a), 1, -1)
        tolerated = 1.0 + weight * (MODEL_ERROR * strength * unit) ** 2
        score = np.abs(residual) * np.sqrt(weight / tolerated).reshape(residual.shape)
        own = (weight / tolerated).reshape(residual.shape) * np.minimum(1.0, 1.5 / np.maximum(score, 1e-9))
        hessian = (parts * own) @ np.swapaxes(parts, -1, -2)
        hessian += np.eye(3) * (1e-6 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] + 1e-12)
        step = np.linalg.solve(hessian, (parts * own) @ np.swapaxes(residual, -1, -2))[..., 0]
        a = np.maximum(a + step[:, 0], 0.1 * a)
        px, py = (p + np.clip(d, -0.5, 0.5) for p, d in ((px, step[:, 1]), (py, step[:, 2])))
    amplitude[which], x[which], y[which] = a, px, py
    return amplitude, x, y


def star_residuals(fit: Fit, setting: Setting) -> Residuals:
    """Return data minus model in the fit's own unit, in double precision."""
    model = fit.model
    images = model.amplitude[:, None, None] * unit_images(fit, setting)
    weight = np.where(fit.outliers, 0.0, fit.prepared.inverse_variance)
    return Residuals(fit.prepared.data - images, weight, images, np.asarray(model.amplitude, float))


def loss(fit: Fit, setting: Setting) -> float:
    """Return the value of STARRED's objective, in double precision."""
    residuals = star_residuals(fit, setting)
    chi2 = float((residuals.inverse_variance * residuals.residual**2).sum())
    return 0.5 * chi2 + float((fit.prepared.penalty * np.abs(details(fit.model.correction))).sum())


def kernel(fit: Fit, setting: Setting) -> Array:
    """Return Moffat plus correction (m, m), not normalised."""
    m = fit.model.correction.shape[-1]
    shape = np.asarray(fit.model.shape, float)
    return moffat(shape, m, setting.subsampling) + np.asarray(fit.model.correction, float)


def kernels(fit: Fit, setting: Setting) -> Array:
    """Return the kernel (m, m), or each star's own (stars, m, m) where there is distortion."""
    values = kernel(fit, setting)
    if not setting.distorted:
        return values
    return np.array([distort(values, np.asarray(fit.model.distortion, float), place) for place in fit.position])


def unit_images(fit: Fit, setting: Setting) -> Array:
    """Return the stars' images (stars, n, n) for an amplitude of one, in double precision."""
    x, y = np.asarray(fit.model.x, float), np.asarray(fit.model.y, float)
    return point_sources(kernels(fit, setting), x, y, fit.data.shape[-1], setting.subsampling, setting.fwhm)


# ---------------------------------------------------------------- on the device


def _analytic(fits: list[Fit], setting: Setting, limits: Limits) -> None:
    arguments = (np.int32(limits.analytic), np.float64(_ANALYTIC_TOLERANCE))
    for fit, result in zip(fits, _run(fits, setting, 0, [arguments] * len(fits)), strict=True):
        fit.evaluations += int(result.evaluations)
        _take(fit, result, "the fit of the Moffat met a value that is not finite")


def _pixels(fits: list[Fit], softness: float, tolerance: float, limit: int, setting: Setting) -> None:
    """Run one stage; `limit` counts the evaluations of all stages."""
    for fit in fits:
        fit.converged = False
    fits = [fit for fit in fits if fit.spent < limit]
    arguments = [(_DTYPE(softness), np.int32(limit - fit.spent), np.float64(tolerance * _excess(fit))) for fit in fits]
    for fit, result in zip(fits, _run(fits, setting, 1, arguments), strict=True):
        spent = int(result.evaluations)
        fit.spent += spent
        fit.evaluations += spent
        history = np.asarray(result.history, float)
        fit.history.append(history[: min(spent, len(history))])
        _take(fit, result, "the fit of the pixels met a value that is not finite")


def _excess(fit: Fit) -> float:
    """Return how much larger than noise the residuals are, at least 1: the unit in which gains matter."""
    return max(1.0, 2.0 * fit.value / max(float(np.count_nonzero(fit.prepared.inverse_variance)), 1.0))


def _take(fit: Fit, result: Any, failure: str) -> None:
    fit.model = Model(*(np.asarray(part, float) for part in result.model))
    stars = fit.good.shape[0]
    fit.model = fit.model._replace(**{name: getattr(fit.model, name)[:stars] for name in ("amplitude", "x", "y")})
    fit.value, fit.converged = float(result.value), bool(result.converged)
    finite = np.isfinite(fit.value) and all(np.isfinite(part).all() for part in fit.model)
    if not finite:
        fit.failure = failure


def _run(fits: list[Fit], setting: Setting, step: int, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run a compiled step over frames, each with its arguments, and return their results as NumPy."""
    if not fits:
        return []
    values = [(*_device_values(fit), *own) for fit, own in zip(fits, arguments, strict=True)]
    with double_precision():
        if jax.default_backend() == "cpu":
            function = psf_model.compiled(setting, False)[step]
            return [jax.tree.map(np.asarray, function(*one)) for one in values]
        return _run_batched(values, psf_model.compiled(setting, True)[step])


def _run_batched(values: list[tuple[Any, ...]], function: Callable[..., Any]) -> list[Any]:
    results: list[Any] = []
    for first in range(0, len(values), BATCH):
        batch = values[first : first + BATCH]
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *batch, *[batch[0]] * (BATCH - len(batch)))
        answer = jax.tree.map(np.asarray, function(*stacked))
        results += [jax.tree.map(lambda part, i=i: part[i], answer) for i in range(len(batch))]
    return results


def _device_values(fit: Fit) -> tuple[Model, Frame]:
    """Return model and frame in single precision, stars padded to a bucket."""
    stars = len(fit.good)
    bucket = next((size for size in _STAR_BUCKETS if size >= stars), stars)

    def padded(values: Any) -> Any:
        values = np.asarray(values, _DTYPE)
        return np.concatenate([values, np.zeros((bucket - stars, *values.shape[1:]), _DTYPE)])

    prepared, model = fit.prepared, fit.model
    weight = np.where(fit.outliers, 0.0, prepared.inverse_variance)
    frame = Frame(padded(prepared.data), padded(weight), padded(fit.position), np.asarray(prepared.penalty, _DTYPE))
    return Model(
        np.asarray(model.shape, _DTYPE),
        np.asarray(model.correction, _DTYPE),
        padded(model.amplitude),
        padded(model.x),
        padded(model.y),
        np.asarray(model.distortion, _DTYPE),
    ), frame
