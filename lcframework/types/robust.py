"""Robust statistics of the core: a scatter that outliers do not move, and a fit that leaves them out.

Not part of what plugins import. NumPy alone: what only looks at a project must not wait for SciPy or astropy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from lcframework.types.arrays import Bools, Floats

#: Standard deviation of a normal distribution in units of its median absolute deviation: 1 / Phi^-1(3/4), with Phi the
#: normal cumulative distribution; as in `astropy.stats.mad_std`.
SIGMA_PER_MAD = 1.482602218505602

_Fit = TypeVar("_Fit")


def robust_scatter(values: Floats) -> float:
    """Return the standard deviation of values (n,) by their median absolute deviation from the median.

    The same as `astropy.stats.mad_std`; nan without values.
    """
    return scatter_about_zero(values - np.median(values)) if len(values) else np.nan


def scatter_about_zero(residuals: Floats) -> float:
    """Return the standard deviation of residuals (n,), whose mean is known to be zero, by their median modulus."""
    return SIGMA_PER_MAD * float(np.median(np.abs(residuals)))


def finite_median(values: Floats, axis: int) -> Floats:
    """Return the median of finite values along an axis; nan, without a warning, where there is none.

    `numpy.nanmedian` calls Python for each line of a long axis, and a sort is several times faster on short ones.
    """
    finite = np.isfinite(values)
    if values.size and finite.all():
        return np.asarray(np.median(values, axis=axis))
    ordered = np.where(finite, values, np.nan)
    ordered.sort(axis=axis)  # nan last
    count = finite.sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0), axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[axis] - 1), axis)
    return np.asarray(np.where(count > 0, 0.5 * (low + high), np.nan).squeeze(axis))


def clip_and_refit(
    fit: Callable[[Bools], tuple[_Fit, Bools]], used: Bools, fewest: int, rounds: int
) -> tuple[_Fit, Bools]:
    """Fit, leave out what lies too far off, and fit again, until the selection stays.

    Parameters
    ----------
    fit : callable
        From which points are used, (n,), returns the fit to them and which of all points lie close enough to it.
        A point that was left out may come back.
    used : (n,) bool array
        The points of the first fit.
    fewest : int
        A selection of fewer points is not fitted: the fit before it is the answer.
    rounds : int
        Fits at most.

    Returns
    -------
    fit, used
        The last fit, and the points that it was made from.
    """
    found, close = fit(used)
    for _ in range(rounds - 1):
        if np.array_equal(close, used) or close.sum() < fewest:
            break
        used = close
        found, close = fit(used)
    return found, used
