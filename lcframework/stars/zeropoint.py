"""The zero point from catalogue magnitudes and instrumental fluxes of a set of stars, with a colour term."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats
from lcframework.types.robust import clip_and_refit

#: A colour term is fitted from this many stars on; with fewer it is left at zero.
STARS_FOR_COLOUR = 8
#: A trend with brightness is looked for from this many stars on.
STARS_FOR_TREND = 10
_ROUNDS = 12
#: The scatter beyond the errors and the weights depend on each other: fits at most, and the change that ends them.
_WEIGHTINGS = 30
_SETTLED = 1e-3
_CLIP = 4.0


@attrs.frozen
class Zeropoint:
    """``m = zeropoint - 2.5 log10(flux) + colour_term * (colour - reference_colour)``."""

    zeropoint: float
    uncertainty: float
    scatter: float  # of stars around the fit beyond their errors, mag
    stars: int
    colour_term: float
    colour_term_uncertainty: float
    reference_colour: float
    trend: float = 0.0  # by what the stars' own zero points change from the brightest to the faintest, mag
    trend_uncertainty: float = np.inf


def fit_zeropoint(flux: Floats, flux_error: Floats, mag: Floats, mag_error: Floats, colour: Floats) -> Zeropoint:
    """Fit a zero point robustly; the stars' intrinsic scatter is included in their errors.

    Parameters
    ----------
    flux, flux_error : (n,) arrays
        e-/s, positive.
    mag, mag_error : (n,) arrays
        Catalogue magnitudes.
    colour : (n,) array
        nan where unknown; a colour term is fitted where enough stars have a colour.

    Raises
    ------
    ValueError
        Where there is no star.
    """
    if len(flux) == 0:
        raise ValueError("no star has both a flux and a catalogue magnitude")
    y = mag + 2.5 * np.log10(flux)
    variance = mag_error**2 + (2.5 / np.log(10) * flux_error / flux) ** 2
    known = np.isfinite(colour)
    with_colour = int(known.sum()) >= STARS_FOR_COLOUR and float(np.ptp(colour[known])) > 0.1
    reference = float(np.median(colour[known])) if known.any() else 0.0
    columns = [np.ones_like(y)]
    if with_colour:
        columns.append(np.where(known, colour - reference, 0.0))
    design = np.stack(columns, axis=1)

    def fit(used: Bools) -> tuple[tuple[Floats, float], Bools]:
        solution, extra = _weighted_fit(design[used], y[used], variance[used])
        return (solution, extra), np.abs(y - design @ solution) <= _CLIP * np.sqrt(variance + extra**2)

    (solution, extra), good = clip_and_refit(fit, np.ones(len(y), bool), design.shape[1] + 1, _ROUNDS)
    covariance = np.linalg.inv(design.T @ ((good / (variance + extra**2))[:, None] * design))
    term, term_error = (float(solution[1]), float(np.sqrt(covariance[1, 1]))) if with_colour else (0.0, 0.0)
    error = float(np.sqrt(covariance[0, 0]))
    trend = _trend(-2.5 * np.log10(flux[good]), (y - design @ solution)[good], (variance + extra**2)[good])
    return Zeropoint(float(solution[0]), error, extra, int(good.sum()), term, term_error, reference, *trend)


def _weighted_fit(design: Floats, y: Floats, variance: Floats) -> tuple[Floats, float]:
    """Return the parameters of a linear fit (p,), and the scatter beyond the errors, which its weights hold too."""
    extra = 0.0
    for _ in range(_WEIGHTINGS):
        weight = 1.0 / (variance + extra**2)
        solution = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight * y))
        before, extra = extra, _intrinsic(y - design @ solution, variance, design.shape[1])
        if abs(extra - before) <= _SETTLED * extra:
            break
    return solution, extra


def _trend(mag: Floats, residual: Floats, variance: Floats) -> tuple[float, float]:
    """Return by how much residuals change over the magnitudes of nine tenths of the stars, and its error.

    The magnitudes are instrumental: the catalogue's have the residuals in them.
    """
    if len(mag) < STARS_FOR_TREND:
        return 0.0, np.inf
    weight = 1.0 / variance
    away = mag - np.average(mag, weights=weight)
    information = float(np.sum(weight * away**2))
    if not information > 0:
        return 0.0, np.inf
    span = float(np.subtract(*np.quantile(mag, (0.95, 0.05))))
    slope = float(np.sum(weight * away * residual)) / information
    left = residual - np.average(residual, weights=weight) - slope * away
    # The variances hold the trend itself: the error follows from what scatters about it.
    scale = float(np.sum(weight * left**2)) / (len(mag) - 2)
    return slope * span, span * float(np.sqrt(scale / information))


def _intrinsic(residual: Floats, variance: Floats, parameters: int) -> float:
    """Return the scatter beyond the errors for which chi2 equals the degrees of freedom, by bisection."""
    freedom = len(residual) - parameters
    if freedom < 1 or (residual**2 / variance).sum() <= freedom:
        return 0.0
    low, high = 0.0, float(np.abs(residual).max()) * 2
    for _ in range(50):
        middle = (low + high) / 2
        if (residual**2 / (variance + middle**2)).sum() > freedom:
            low = middle
        else:
            high = middle
    return (low + high) / 2
