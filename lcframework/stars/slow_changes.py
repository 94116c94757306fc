"""Slow changes of the comparison stars beyond their errors, which no epoch's random error holds.

A star whose flux drifts over other pixels, or whose PSF changes with the focus, is off by about as much in the next
frame: such errors do not average out over neighbouring epochs ("red" noise; Pont, Zucker and Queloz 2006, MNRAS 373,
231). The mean product of neighbouring residuals is their variance; what is independent from frame to frame has no part
in it.
"""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Floats
from lcframework.types.robust import SIGMA_PER_MAD

#: Fewer stars, or stars with fewer residuals, tell nothing.
FEWEST_STARS, _FEWEST_FRAMES = 6, 8
#: A residual beyond so many of its errors counts as if it were there.
_CLIP = 4.0
#: A star whose mean product is further from the median than so many robust deviations counts as if it were there: it
#: varies.
_STAR_CLIP = 3.0
#: A variance of fewer of its errors is none.
_SIGNIFICANT = 3.0


def slow_scatter(residual: Floats, error: Floats, used: Bools) -> float | None:
    """Return the relative standard deviation of what stars share from one frame to the next.

    Parameters
    ----------
    residual, error : (f, n) arrays
        Relative residuals of stars about their mean curves, in the order of time, and their standard deviations.
    used : (f, n) bool array
        Fluxes that took part.

    Returns
    -------
    float or None
        0 where it is not significant; None where stars are too few to tell.
    """
    found = [_star(residual[at, j], error[at, j]) for j in range(used.shape[1])
             if np.count_nonzero(at := used[:, j] & (error[:, j] > 0)) >= _FEWEST_FRAMES]  # fmt: skip
    if len(found) < FEWEST_STARS:
        return None
    variance, noise = np.array(found).T
    # Bright stars tell it best, but not the brightest alone; those of faint ones may be of the light around them.
    weight = 1.0 / (noise**2 + np.quantile(noise, 0.25) ** 2)
    weight /= weight.sum()
    middle = _weighted_median(variance, weight)
    far = _STAR_CLIP * SIGMA_PER_MAD * _weighted_median(np.abs(variance - middle), weight)
    variance = np.clip(variance, middle - far, middle + far)
    mean = float(weight @ variance)
    its_error = float(np.sqrt(np.sum(weight**2 * (variance - mean) ** 2)))
    return float(np.sqrt(mean)) if mean > _SIGNIFICANT * its_error else 0.0


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order][min(int(np.searchsorted(total, 0.5 * total[-1])), len(values) - 1)])


def _star(residual: Floats, error: Floats) -> tuple[float, float]:
    """Return the mean product of a star's neighbouring residuals, and its standard error by independent noise."""
    weight = 1.0 / error**2
    mean = float(np.average(residual, weights=weight))
    off = np.clip((residual - mean) / error, -_CLIP, _CLIP) * error
    pair = np.sqrt(weight[1:] * weight[:-1])
    product = float(np.sum(pair * off[1:] * off[:-1]) / pair.sum())
    # The mean takes as much of each product with it as it is itself uncertain.
    return product + 1.0 / float(weight.sum()), float(np.sqrt(len(pair)) / pair.sum())
