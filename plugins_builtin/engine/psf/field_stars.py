"""Which of a frame's stars the parts of its PSF are made of, and the step from the constant kernel to one that varies.

The small pixels of the constant kernel are made of the stars of the highest signal-to-noise, enough for `SHARE` of what
all know of it: the fit's time and memory grow with their number. All stars tell of the kernel's variation over the
frame, those that are unlike the others under a constant kernel as well: that may be their place.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float, Int

from lcframework.types import Bools, Floats, Ints
from plugins_builtin.engine.misfit import distances, in_rings, misfit_at, relative_misfit
from plugins_builtin.engine.psf.field_basis import equivalent_fwhm
from plugins_builtin.engine.psf.field_fit import FEWEST_STARS, FieldFit, FieldStars, fit_field
from plugins_builtin.engine.psf.fit import Fit, Limits, kernel, star_residuals
from plugins_builtin.engine.psf.model import Setting
from plugins_builtin.engine.psf.outliers import MODEL_ERROR, Residuals, outlying_pixels, unlike_stars
from plugins_builtin.engine.psf.prepare import locate, usable_stars
from plugins_builtin.engine.psf.star_steps import refit_stars, unit_slopes
from plugins_builtin.engine.target import convolve_target

#: Share of the sum of squared signal-to-noise ratios that the stars of the constant kernel have.
SHARE = 0.95
#: As many stars make the constant kernel at least, and at most.
LEAST_GRID, MOST_GRID = 30, 64


@attrs.frozen(eq=False)
class Field:
    """A frame's PSF with its variation, and its stars; those that are not used have no weight."""

    fit: FieldFit
    unit: float  # e-/s
    residuals: Residuals  # of all stars, in `unit`
    amplitude: Float[Floats, " stars"]  # e-/s
    offset: Float[Floats, "stars 2"]
    outliers: Bool[Bools, "stars n n"]
    rejected: dict[int, str]
    misfit: Float[Floats, " rings"]  # of the stars that are used; see `PSF.misfit`


def signal_to_noise(
    data: Float[Floats, "stars n n"], noise: Float[Floats, "stars n n"], good: Bool[Bools, "stars n n"]
) -> Float[Floats, " stars"]:
    """Return the stamps' sums over their noise, at least 0."""
    total = np.where(good, data, 0.0).sum(axis=(1, 2), dtype=float)
    variance = np.where(good, noise, 0.0).astype(float) ** 2
    return np.asarray(np.maximum(total, 0.0) / np.sqrt(variance.sum(axis=(1, 2))).clip(1e-30))


def grid_stars(
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    mask: Bool[Bools, "stars n n"],
    max_masked: float,
) -> Bool[Bools, " stars"]:
    """Return which of a frame's stars the constant kernel is made of."""
    chosen = ~np.asarray(mask.all(axis=(1, 2)))
    if chosen.sum() <= LEAST_GRID:
        return chosen
    good, _ = usable_stars(np.asarray(data, float), np.asarray(noise, float), np.asarray(mask, bool), max_masked)
    power = signal_to_noise(data, noise, good) ** 2
    power[~good.any(axis=(1, 2))] = 0.0
    ranked = np.argsort(-power, kind="stable")
    needed = int(np.searchsorted(np.cumsum(power[ranked]), SHARE * power.sum())) + 1
    chosen[:] = False
    chosen[ranked[: int(np.clip(needed, LEAST_GRID, MOST_GRID))]] = True
    return chosen


def highest_order(stars: int) -> int:
    """Return the highest order of a variation that so many stars can determine."""
    return max(order for order, fewest in enumerate(FEWEST_STARS) if stars >= fewest) if stars else 0


def vary(
    fit: Fit,
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    mask: Bool[Bools, "stars n n"],
    xy: Float[Floats, "stars 2"],
    grid: Bool[Bools, " stars"],
    expected: Float[Floats, "stars 2"],
    highest: int,
    choose: bool,
    setting: Setting,
    limits: Limits,
) -> Field:
    """Return the PSF of a frame over its field, of order 0 where the stars show no variation.

    Parameters
    ----------
    fit : Fit
        The constant kernel's, of the stars `grid`.
    data, noise : (stars, n, n) arrays
        Of all the frame's stars, e-/s.
    mask : (stars, n, n) bool array
        True: do not use.
    xy : (stars, 2) array
        Where the stamps' centres lie in the frame, pixels.
    grid : (stars,) bool array
        From :func:`grid_stars`.
    expected : (stars, 2) array
        Expected positions from the stamps' centres, pixels.
    highest : int
        The highest order to try.
    choose : bool
        Whether held-out stars decide on the order; else it is the highest.
    setting, limits
        Of the constant kernel's fit.
    """
    narrow = kernel(fit, setting)
    unit, narrow = fit.prepared.unit * float(narrow.sum()), narrow / narrow.sum()
    data, noise = np.asarray(data, float) / unit, np.asarray(noise, float) / unit
    good, rejected = usable_stars(data, noise, np.asarray(mask, bool), limits.max_masked)
    used = np.flatnonzero(good.any(axis=(1, 2)))
    all_stars = _begin(fit, narrow, data, noise, good, xy, grid, expected, setting)
    stars = all_stars.take(used)
    sub, target = setting.subsampling, setting.fwhm
    flagged = _clip(stars, narrow, setting, limits)
    found = fit_field(_without(stars, flagged), narrow, highest, sub, target, choose=choose)
    if found.order > 0:
        _take(stars, found)
        flagged = _clip(stars, found.kernels, setting, limits)
    kept, why = _alike(stars, found, flagged, setting, limits)
    rejected.update({int(used[i]): reason for i, reason in why.items()})
    used, stars, flagged = used[kept], stars.take(kept), flagged[kept]
    if found.order > 0:
        again = fit_field(_without(stars, flagged), narrow, found.order, sub, target, choose=False)
        _take(stars, again)
        lowered = found.lowered or again.lowered
        found = attrs.evolve(again, scores=found.scores, gains=found.gains, lowered=lowered)
    return _whole(found, unit, all_stars, used, stars, flagged, dict(sorted(rejected.items())), setting)


def _alike(
    stars: FieldStars, found: FieldFit, flagged: Bools, setting: Setting, limits: Limits
) -> tuple[Bool[Bools, " stars"], dict[int, str]]:
    """Return which stars look like the PSF at their places, and what is wrong with the others."""
    if limits.stars == 0:
        return np.ones(len(stars.data), bool), {}
    unlike = unlike_stars(_residuals(stars, found.kernels, setting), flagged, limits.stars)
    return ~np.isin(np.arange(len(stars.data)), list(unlike)), unlike


def _begin(
    fit: Fit,
    narrow: Float[Floats, "m m"],
    data: Float[Floats, "stars n n"],
    noise: Float[Floats, "stars n n"],
    good: Bool[Bools, "stars n n"],
    xy: Float[Floats, "stars 2"],
    grid: Bool[Bools, " stars"],
    expected: Float[Floats, "stars 2"],
    setting: Setting,
) -> FieldStars:
    """Return all stars, with fluxes and positions that fit the constant kernel robustly."""
    weight = np.where(good, 1.0 / np.where(good, noise, 1.0) ** 2, 0.0)
    clean = np.where(good, data, 0.0)
    n, sub, target = data.shape[-1], setting.subsampling, setting.fwhm
    position = locate(clean, weight, np.where(np.isfinite(expected), expected, 0.0), fit.seeing)
    known = grid & fit_stars(fit, grid)
    position[known] = np.stack([fit.model.x, fit.model.y], axis=-1)[: grid.sum()][known[grid]]
    x, y = position.T
    image = unit_slopes(narrow, x, y, n, sub, target)[:, 0]
    power = (weight * image**2).sum(axis=(1, 2))
    amplitude = (weight * image * clean).sum(axis=(1, 2)) / np.where(power > 0, power, 1.0)
    floor = 1e-3 * max(float(amplitude.max(initial=0.0)), 1e-30)
    start = (np.maximum(amplitude, floor), x, y)
    amplitude, x, y = refit_stars(
        narrow, clean, weight, start, sub, target, tolerated=MODEL_ERROR, robust=True, rounds=12
    )
    return FieldStars(clean, weight, np.asarray(xy, float), amplitude, x, y)


def fit_stars(fit: Fit, grid: Bool[Bools, " stars"]) -> Bool[Bools, " stars"]:
    """Return which of all stars the constant kernel's fit used to the end."""
    used = np.zeros(len(grid), bool)
    used[grid] = fit.stars[: grid.sum()]  # the others are padding
    return used


def _residuals(stars: FieldStars, kernels: Float[Floats, "*stars m m"], setting: Setting) -> Residuals:
    """Return residuals, with the stars' usual misfit as a tolerance."""
    n = stars.data.shape[-1]
    images = unit_slopes(kernels, stars.x, stars.y, n, setting.subsampling, setting.fwhm)[:, 0]
    images = stars.amplitude[:, None, None] * images
    return Residuals(stars.data - images, stars.weight, images, stars.amplitude)


def _clip(stars: FieldStars, kernels: Float[Floats, "*stars m m"], setting: Setting, limits: Limits) -> Bools:
    """Return the pixels that neither noise nor the stars' misfit explains."""
    if limits.outliers == 0:
        return np.zeros(stars.data.shape, bool)
    mean = kernels.reshape(-1, *kernels.shape[-2:]).mean(axis=0)
    residuals = _residuals(stars, kernels, setting)
    misfit, distance, _ = _usual_misfit(residuals, stars.x, stars.y, mean, setting)
    tolerance = stars.amplitude[:, None, None] * misfit_at(misfit, distance)
    return outlying_pixels(residuals, limits.outliers, tolerance)


def _without(stars: FieldStars, flagged: Bools) -> FieldStars:
    return attrs.evolve(stars, weight=np.where(flagged, 0.0, stars.weight))


def _take(stars: FieldStars, found: FieldFit) -> None:
    stars.amplitude, stars.x, stars.y = found.amplitude, found.x, found.y


def _whole(
    found: FieldFit,
    unit: float,
    every: FieldStars,
    used: Int[Ints, " used"],
    stars: FieldStars,
    flagged: Bools,
    rejected: dict[int, str],
    setting: Setting,
) -> Field:
    """Return the results for all stars, those that are not used without weight."""
    count, shape = len(every.data), every.data.shape
    own = _residuals(_without(stars, flagged), found.kernels, setting)
    residual, weight, model, outliers = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    amplitude, offset = np.full(count, np.nan), np.full((count, 2), np.nan)
    residual[used], weight[used], model[used], outliers[used] = own.residual, own.inverse_variance, own.model, flagged
    amplitude[used], offset[used] = stars.amplitude, np.stack([stars.x, stars.y], axis=-1)
    whole = Residuals(residual, weight, model, np.nan_to_num(amplitude))
    # With the clipped pixels: what is clipped is to be judged by it.
    misfit = misfit_in_rings(_residuals(stars, found.kernels, setting), stars.x, stars.y, found.narrow, setting)
    return Field(found, unit, whole, amplitude * unit, offset, outliers, rejected, misfit)


def constant_misfit(fit: Fit, setting: Setting) -> Float[Floats, " rings"]:
    """Return the misfit of the stars of a constant kernel."""
    narrow = kernel(fit, setting)
    residuals, total = star_residuals(fit, setting), float(narrow.sum())
    used = fit.stars
    own = Residuals(
        residuals.residual[used],
        fit.prepared.inverse_variance[used],
        residuals.model[used],
        residuals.amplitude[used] * total,
    )
    x, y = (np.asarray(part, float)[used] for part in (fit.model.x, fit.model.y))
    return misfit_in_rings(own, x, y, narrow / total, setting)


def misfit_in_rings(
    residuals: Residuals,
    x: Float[Floats, " stars"],
    y: Float[Floats, " stars"],
    narrow: Float[Floats, "m m"],
    setting: Setting,
) -> Float[Floats, " rings"]:
    """Return the stars' residuals beyond the noise, relative to their fluxes, in the rings of `PSF.misfit`.

    `narrow` has a sum of 1, and the residuals' amplitudes are fluxes.
    """
    misfit, _, fwhm = _usual_misfit(residuals, x, y, narrow, setting)
    return in_rings(misfit, fwhm, residuals.residual.shape[-1])


def _usual_misfit(
    residuals: Residuals,
    x: Float[Floats, " stars"],
    y: Float[Floats, " stars"],
    narrow: Float[Floats, "m m"],
    setting: Setting,
) -> tuple[Float[Floats, " bins"], Float[Floats, "stars n n"], float]:
    """Return the stars' misfit by distance, the pixels' distances in units of the FWHM, and the FWHM in pixels."""
    fwhm = equivalent_fwhm(convolve_target(narrow, setting.fwhm), setting.subsampling)
    distance = distances(x, y, residuals.residual.shape[-1], fwhm)
    misfit = relative_misfit(residuals.residual, residuals.inverse_variance, residuals.amplitude, distance)
    return misfit, distance, fwhm
