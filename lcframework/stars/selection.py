"""Selections by sigma clipping or by interval, made by the stage that consumes."""

from __future__ import annotations

import numpy as np

from lcframework.config.sections import Selection
from lcframework.types import Bools, Floats

_ROUNDS = 10
#: What makes the median absolute deviation of 2 to 9 values an unbiased scale (Croux and Rousseeuw 1992).
_FEW = (1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107)
#: Deviations in units of that scale are distributed like Student's t of this many degrees of freedom a value.
_FREEDOM = 0.45


def keep(values: Floats, selection: Selection) -> Bools:
    """Return which values a selection keeps; nan is never kept.

    Clipping is about the median by the median absolute deviation, and on the high side alone: a fit is not worse for a
    small chi2. The limit is that which a value exceeds by chance as seldom as a normal deviate exceeds `sigma_clip`:
    the scale of few values is itself uncertain, and without that, 3 sigma would cost 9 values of pure noise one in 70
    each and not one in 740.
    """
    values = np.asarray(values, float)
    good = np.isfinite(values)
    if selection.between is not None:
        low, high = selection.between
        return np.asarray(
            good & (np.nan_to_num(values, nan=np.inf) >= low) & (np.nan_to_num(values, nan=np.inf) <= high)
        )
    if selection.sigma_clip is None:
        return np.asarray(good)
    for _ in range(_ROUNDS):
        centre = np.median(values[good]) if good.any() else np.nan
        spread = 1.4826 * np.median(np.abs(values[good] - centre)) if good.any() else np.nan
        # The limit is never below `sigma_clip`, and to ask for it takes SciPy, slow to import for who only looks.
        if not (values[good] > centre + selection.sigma_clip * max(spread, 1e-12)).any():
            break
        limit = clipping_limit(selection.sigma_clip, int(good.sum()))
        now = good & (np.nan_to_num(values, nan=np.inf) <= centre + limit * max(spread, 1e-12))
        # Half or more of the values agree exactly: nothing to clip against.
        if spread == 0 or (now == good).all():
            break
        good = now
    return np.asarray(good)


def clipping_limit(sigma: float, count: int) -> float:
    """Return the limit, in units of 1.4826 MAD of `count` values, that is as improbable as `sigma` in a normal law.

    From Student's t, its degrees of freedom calibrated on simulated normal values: at 3 sigma the rate of false
    rejections is the nominal one within a factor of 1.5 for any number of values (less for four), at 4 sigma within a
    factor of 2 from five values on.
    """
    from scipy.special import ndtr, stdtrit

    if count < 2:
        return float(np.inf)
    bias = _FEW[count - 2] if count <= len(_FEW) + 1 else count / (count - 0.8)
    return float(-bias * stdtrit(_FREEDOM * count, ndtr(-sigma)))
