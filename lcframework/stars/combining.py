"""From several estimates of each star's flux to the published one: scales, weights and errors of a group of frames."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.stars.ensemble_residuals import EnsembleCurves, ensemble_curves
from lcframework.stars.estimator_errors import error_terms
from lcframework.stars.estimator_weights import FEWEST_FRAMES, FEWEST_STARS, Choice, choose_weights
from lcframework.types import Bools, Floats, FluxWeights
from lcframework.types.robust import finite_median

#: Radii of the discs in units of the frame's seeing (FWHM).
RADII = (1.0, 1.3, 1.7, 2.2, 3.0, 4.0)
#: A star takes part in decisions that is measured in this fraction of the frames.
_MEASURED = 0.3
#: Stars that a frame needs to have a scale of its own; with fewer it gets the other frames' median.
_FEWEST_IN_FRAME = 3
#: Discs that differ by less, pixels, are one: the stamps are too small for the larger.
_DISTINCT = 0.25
_PPT = 1e3


@attrs.frozen(eq=False)
class StarEstimates:
    """PSF fluxes of n stars in f frames in order of time, and the light that the PSF misses in d discs; nan: none."""

    psf_flux: Floats  # (f, n) e-/s
    psf_variance: Floats  # (f, n)
    light: Floats  # (f, n, d)
    covariance: Floats  # (f, n, d, d)
    radii: Floats  # (f, d) pixels


@attrs.frozen(eq=False)
class Combination:
    """Published fluxes, and what combines the estimates of other sources in the same frames in the same way."""

    flux: Floats  # (f, n) e-/s, on the scale of the PSF fluxes
    error: Floats  # (f, n) of noise, and of what the stars scatter beyond it
    noise: Floats  # (f, n) e-/s, the part of `error` that is noise
    star_weights: Floats  # (n, d + 1)
    discs: list[int]  # which of the discs are used
    scale: Floats  # (f, d + 1); d counts the used discs
    weights: FluxWeights
    psf_scatter: float  # relative scatter of PSF fluxes beyond their pixels' noise
    stars: int  # that took part in the choice
    note: str  # what was chosen, in words
    scores: dict[str, list[float]]  # held-out scatter, ppt, of the bright and the faint half, by way


def combine(given: StarEstimates) -> Combination:
    """Choose weights of the estimates by the comparison stars, and combine each star's estimates by its brightness."""
    discs = _distinct(given.radii)
    light, covariance = given.light[..., discs], given.covariance[..., discs, :][..., discs]
    estimates = np.concatenate([given.psf_flux[..., None], given.psf_flux[..., None] + light], axis=2)
    whole = np.isfinite(estimates).all(axis=2) & (estimates > 0).all(axis=2)
    enough = whole.sum(axis=0) >= max(2, _MEASURED * len(whole))
    curves = [ensemble_curves(np.where(whole & enough, e, np.nan)) for e in np.moveaxis(estimates, 2, 0)]
    residual = np.stack([c.residual for c in curves], axis=2)
    log_flux = np.log(np.where(enough & (curves[0].level > 0), curves[0].level, np.nan))
    taking_part = np.flatnonzero(np.isfinite(log_flux))
    choice = choose_weights(residual[:, taking_part], log_flux[taking_part]) if discs else None
    if choice is None:
        return _psf_alone(given, len(taking_part))
    scale = _scales(curves, whole & enough)
    table = FluxWeights(np.exp(choice.log_flux), choice.weights)
    level = finite_median(given.psf_flux / curves[0].transparency[:, None], 0)
    star_weights = table.at(level)
    flux, variance = _combined(given, estimates, covariance, scale, star_weights)
    expected = np.abs(level * curves[0].transparency[:, None])
    expected = np.where(np.isfinite(expected) & (expected > 0), expected, np.abs(flux))
    noise = np.sqrt(variance) / expected
    published = ensemble_curves(np.where(whole & enough, flux, np.nan)).residual
    factor, scatter = error_terms(published[:, taking_part], noise[:, taking_part])
    psf_noise = np.sqrt(given.psf_variance) / expected
    _, psf_scatter = error_terms(residual[:, taking_part, 0], psf_noise[:, taking_part], 1.0)
    return Combination(
        flux, np.sqrt(factor**2 * variance + (scatter * expected) ** 2), factor * np.sqrt(variance), star_weights,
        discs, scale,
        attrs.evolve(table, noise_factor=factor, scatter=scatter), psf_scatter, len(taking_part),
        _words(choice, [RADII[d] for d in discs]), _scores(choice, log_flux[taking_part]),
    )  # fmt: skip


def _distinct(radii: Floats) -> list[int]:
    """Return the discs that are larger than the one before them in the median frame."""
    out: list[int] = []
    last = 0.0
    for d, radius in enumerate(finite_median(radii, 0).tolist() if radii.size else []):
        if radius > last + _DISTINCT:
            out.append(d)
            last = radius
    return out


def _psf_alone(given: StarEstimates, stars: int) -> Combination:
    f, n = given.psf_flux.shape
    one = FluxWeights(np.ones(1), np.ones((1, 1)))
    note = (
        f"not calibrated: {stars} stars in {f} frames can't choose ({FEWEST_STARS} stars in {FEWEST_FRAMES} frames "
        "can), so fluxes are the PSF's alone"
        if given.radii.size
        else "PSF fluxes: the photometry measures no light beside them"
    )
    error = np.sqrt(given.psf_variance)
    return Combination(given.psf_flux, error, error, np.ones((n, 1)), [], np.ones((f, 1)), one, 0.0, stars, note, {})


def _scales(curves: list[EnsembleCurves], measured: Bools) -> Floats:
    """Return each estimate's scale (f, k) beside the PSF's: what all stars of a frame share is no star's fault."""
    first = curves[0]
    ratio = [c.transparency / first.transparency * finite_median((c.level / first.level)[:, None], 0) for c in curves]
    scale = np.stack(ratio, axis=1)
    few = (measured.sum(axis=1) < _FEWEST_IN_FRAME) | ~np.isfinite(scale).all(axis=1)
    scale[few] = finite_median(scale[~few], 0) if not few.all() else 1.0
    return scale


def _combined(
    given: StarEstimates, estimates: Floats, covariance: Floats, scale: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Return fluxes (f, n) and their variances by the pixels' noise; the PSF's own where there are no other estimates.

    A fit is uncorrelated with its residuals, so the variances of PSF flux and residual light add.
    """
    share = weights / scale[:, None, :]
    flux = np.sum(share * estimates, axis=2)
    of_light = np.einsum("fnk,fnkl,fnl->fn", share[..., 1:], covariance, share[..., 1:], optimize=True)
    variance = share.sum(axis=2) ** 2 * given.psf_variance + of_light
    good = np.isfinite(flux) & np.isfinite(variance)
    return np.where(good, flux, given.psf_flux), np.where(good, variance, given.psf_variance)


def _words(choice: Choice, radii: list[float]) -> str:
    """Return in words which estimates serve bright and faint stars."""
    ends = [(choice.weights[-1], "bright"), (choice.weights[1], "faint")]
    return "; ".join(f"{who} stars by {_mixture(weights, radii)}" for weights, who in ends)


def _mixture(weights: Floats, radii: list[float]) -> str:
    names = ["the PSF", *(f"a disc of {r:g} FWHM" for r in radii)]
    parts = [(w, name) for w, name in zip(weights.tolist(), names, strict=True) if w >= 0.05]
    if len(parts) == 1:
        return parts[0][1]
    return ", ".join(f"{name} ({w:.0%})" for w, name in parts)


def _scores(choice: Choice, log_flux: Floats) -> dict[str, list[float]]:
    """Return the typical scatter on held-out frames, ppt, of the bright and the faint half, by way."""
    known = np.flatnonzero(np.isfinite(choice.held_out).all(axis=0))
    order = known[np.argsort(-log_flux[known])]
    halves = np.array_split(order, 2)
    ways = ("psf", "best_single", "combination")
    return {
        way: [round(_PPT * float(np.exp(np.mean(values[half]))), 3) if len(half) else float("nan") for half in halves]
        for way, values in zip(ways, choice.held_out, strict=True)
    }
