"""Selections by sigma clipping or by interval, made by the stage that consumes."""

from __future__ import annotations

import numpy as np

from lcframework.sections import Selection
from lcframework.types import Bools, Floats

_ROUNDS = 10


def keep(values: Floats, selection: Selection) -> Bools:
    """Return which values a selection keeps; nan is never kept.

    Clipping is about the median by the median absolute deviation, and on the high side alone: a fit is not worse for a
    small chi2.
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
        now = good & (np.nan_to_num(values, nan=np.inf) <= centre + selection.sigma_clip * max(spread, 1e-12))
        # Half or more of the values agree exactly: nothing to clip against.
        if spread == 0 or (now == good).all():
            break
        good = now
    return np.asarray(good)
