"""Selections by sigma clipping or by an interval; the stage that reads the values makes the selection."""

from __future__ import annotations

import numpy as np

from lcframework.config.sections import Selection
from lcframework.types import Bools, Floats
from lcframework.types.robust import robust_scatter

_ROUNDS = 10
#: No fit with a smaller reduced chi2 is left out, however similar the others are: what it leaves beyond the noise has
#: half the noise's variance, so its errors are right within 22 %. Beyond it, epochs of light curves are flagged too.
CHI2_FLOOR = 1.5
#: Factors for an unbiased scale from the median absolute deviation of 2 to 9 values (Croux and Rousseeuw 1992).
_FEW = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)
#: Deviations in units of that scale follow Student's t distribution with this number of degrees of freedom per value.
_FREEDOM = 0.45


def keep(values: Floats, selection: Selection, floor: float = -np.inf) -> Bools:
    """Return which values a selection keeps; nan is never kept.

    Values are clipped about the median, in units of the median absolute deviation, and only on the high side, because a
    small chi2 is no sign of a bad fit. A value exceeds the limit by chance as rarely as a normal deviate exceeds
    `sigma_clip`. The limit takes into account that the scale of few values is uncertain: otherwise a limit of 3 sigma
    would reject each of 9 values of pure noise with a probability of 1 in 70 instead of 1 in 740. Values up to `floor`
    are never clipped.
    """
    values = np.asarray(values, float)
    good = np.isfinite(values)
    low, high = limits(values, selection, floor)
    within = np.nan_to_num(values, nan=np.inf)
    return np.asarray(good & (within >= low) & (within <= high))


def limits(values: Floats, selection: Selection, floor: float = -np.inf) -> tuple[float, float]:
    """Return the lowest and the highest value that a selection keeps; infinite where it sets none.

    Parameters
    ----------
    values, selection, floor
        As of :func:`keep`.
    """
    if selection.between is not None:
        return selection.between
    high = np.inf
    if selection.sigma_clip is None:
        return -np.inf, high
    good = np.asarray(values, float)
    good = good[np.isfinite(good)]
    for _ in range(_ROUNDS if len(good) else 0):  # unlike `clip_and_refit`, what was left out stays out
        centre = np.median(good)
        spread = robust_scatter(good)
        # The limit is never below `sigma_clip`. Its computation needs SciPy, whose import would slow down `lcf status`.
        if not (good > max(centre + selection.sigma_clip * max(spread, 1e-12), floor)).any():
            break
        limit = max(centre + clipping_limit(selection.sigma_clip, len(good)) * max(spread, 1e-12), floor)
        now = good[good <= limit]
        # Half or more of the values agree exactly: nothing to clip against.
        if spread == 0 or len(now) == len(good):
            break
        good, high = now, float(limit)
    return -np.inf, high


def clipping_limit(sigma: float, count: int) -> float:
    """Return the clipping limit for `count` values, in units of their robust scatter.

    Its probability is that of `sigma` for a normal distribution. It is computed from Student's t; the degrees of
    freedom are calibrated on simulated normal values. At 3 sigma the rate of false rejections is within a factor of 1.5
    of the nominal rate for any number of values (lower for four); at 4 sigma within a factor of 2 for five or more
    values.
    """
    from scipy.special import ndtr, stdtrit

    if count < 2:
        return float(np.inf)
    bias = _FEW[count - 2] if count <= len(_FEW) + 1 else count / (count - 0.8)
    return float(-bias * stdtrit(_FREEDOM * count, ndtr(-sigma)))
