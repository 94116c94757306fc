"""Slow changes of the comparison stars beside the errors of a region's epochs, which do not hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lcframework.roi.epochs import EpochColumns
from lcframework.roi.light_curves import random_errors
from lcframework.types import Doubt, RoiFit, Severity
from lcframework.types.robust import finite_median

#: They count from this part of an epoch's error on, ...
_NOTED = 0.5
#: ... and from this one on, errors of epochs are too small by four tenths.
_DOUBTED = 1.0


def slow_change_doubts(group: str, sources: Sequence[str], columns: EpochColumns, fit: RoiFit) -> Iterator[Doubt]:
    """Yield that comparison stars change slowly by what the errors of a region's epochs do not hold.

    Parameters
    ----------
    group : str
        The region, instrument and band, for messages.
    sources : sequence of str
        The names of the point sources.
    columns : mapping
        Of the epochs.
    fit : RoiFit
        The fit.
    """
    slow = float(np.nan_to_num(np.asarray(columns["relative_slow_scatter"], float)).max(initial=0.0))
    if slow == 0 or not sources:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = random_errors(fit, columns)[1] / np.abs(fit.flux)
    usual = np.nan_to_num(finite_median(relative, 0), nan=np.inf)
    best = int(np.argmin(usual))
    if slow < _NOTED * usual[best]:  # also where no epoch has a flux
        return
    yield Doubt(
        "slow_changes",
        f"the comparison stars of {group} change slowly by {1000 * slow:.2g} ppt beyond their errors, where an epoch "
        f"of {sources[best]} has an error of {1000 * usual[best]:.2g} ppt, which does not hold that",
        "A trend of this size need not be the source's, and means of many epochs are no better than it. Look at the "
        "stars' curves in the report; fit seeing, airmass and place on the detector with the light curve",
        severity=Severity.DOUBT if slow >= _DOUBTED * usual[best] else Severity.NOTE, value=slow, subject=group,
    )  # fmt: skip
