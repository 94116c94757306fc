"""Robust statistics: medians and scatters that outliers do not move, clipping, and its effect on a variance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats

#: Standard deviation of a normal distribution in units of its median absolute deviation: 1 / Phi^-1(3/4), with Phi the
#: normal cumulative distribution; as in `astropy.stats.mad_std`.
SIGMA_PER_MAD = 1.482602218505602

_Fit = TypeVar("_Fit")


def robust_scatter(values: Float[Floats, " n"]) -> float:
    """Return the standard deviation of values by their median absolute deviation from the median; nan without values.

    The same as `astropy.stats.mad_std`, in NumPy alone.
    """
    return scatter_about_zero(values - np.median(values)) if len(values) else math.nan


def scatter_about_zero(residuals: Float[Floats, " n"]) -> float:
    """Return the standard deviation of residuals, whose mean is known to be zero, by their median modulus."""
    return SIGMA_PER_MAD * float(np.median(np.abs(residuals)))


def clip_and_refit(
    fit: Callable[[Bool[Bools, " n"]], tuple[_Fit, Bool[Bools, " n"]]], used: Bool[Bools, " n"], fewest: int
) -> tuple[_Fit, Bool[Bools, " n"]]:
    """Fit, leave out what lies too far off, and fit again, until nothing more is left out.

    Parameters
    ----------
    fit : callable
        From which values are used, returns the fit to them and which of all values lie close enough to it.
        A value that was left out stays out.
    used : bool array
        The values of the first fit.
    fewest : int
        A selection of fewer values is not fitted: the fit before it is the answer.

    Returns
    -------
    fit, used
        The last fit, and the values that it was made from.
    """
    while True:
        found, close = fit(used)
        kept = used & close
        if np.array_equal(kept, used) or kept.sum() < fewest:
            return found, used
        used = kept


def masked_median(
    values: Float[Floats, "*shape"], used: Bool[Bools, "*shape"], axis: int
) -> Float[Floats, "*without_axis"]:
    """Return the median of the `used` values along `axis`; nan where none is used."""
    counts = used.sum(axis=axis)
    ordered = np.sort(np.where(used, values, np.inf), axis=axis)
    low = np.take_along_axis(ordered, np.expand_dims(np.maximum((counts - 1) // 2, 0), axis), axis)
    high = np.take_along_axis(
        ordered, np.expand_dims(np.maximum(counts // 2, 0).clip(0, values.shape[axis] - 1), axis), axis
    )
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (low + high).squeeze(axis)
    return np.where(counts > 0, middle, np.nan)


def masked_scale(
    values: Float[Floats, "*shape"], used: Bool[Bools, "*shape"], axis: int
) -> Float[Floats, "*without_axis"]:
    """Return the standard deviation about zero of the `used` values along `axis`, from their median absolute value."""
    return SIGMA_PER_MAD * masked_median(np.abs(values), used, axis)


def clipped_variance(limit: float) -> float:
    """Return the variance of a unit normal distribution that is truncated at +- `limit`.

    The second moment of the truncated normal distribution, ``1 - 2 k phi(k) / erf(k / sqrt(2))``.
    """
    if math.isinf(limit):
        return 1.0
    density = math.exp(-0.5 * limit * limit) / math.sqrt(2.0 * math.pi)
    return 1.0 - 2.0 * limit * density / math.erf(limit / math.sqrt(2.0))
