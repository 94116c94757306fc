"""Visits: epochs of one instrument without a long gap in time, and what two sigma clipping leaves out of their means.

Nights part at local noon, which has to be known; visits part where nothing was observed.
"""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Floats, Ints
from lcframework.types.robust import SIGMA_PER_MAD

#: Days without an epoch that part two visits: nights of one telescope are further apart, even in winter.
GAP = 0.4
#: An epoch that is further from the others than this many sigma is clipped.
CLIP = 2.0
#: Fewer values don't tell which of them stands out.
_FEWEST = 3


def visit_numbers(mjd: Floats, gap: float = GAP) -> Ints:
    """Return the number of each epoch's visit, from 1.

    Parameters
    ----------
    mjd : (n,) array
        Days, in any order; of one instrument.
    gap : float
        Days: a longer time without an epoch ends a visit.

    Returns
    -------
    (n,) array of int
    """
    order = np.argsort(mjd, kind="stable")
    numbers = np.ones(len(mjd), int)
    numbers[order[1:]] += np.cumsum(np.diff(np.asarray(mjd, float)[order]) > gap)
    return numbers


def stands_out(flux: Floats, error: Floats, sigma: float = CLIP) -> Bools:
    """Return which fluxes are further from their median than `sigma` times the scatter, and than that many errors.

    The scatter is that of the median absolute deviation. Both must be exceeded: few fluxes that happen to agree would
    make the scatter small, and large errors explain a flux that lies apart. Of fewer than three, none stands out.

    Parameters
    ----------
    flux, error : (n,) arrays
        Finite fluxes and their errors, of one visit or night.
    sigma : float
        How far is too far.

    Returns
    -------
    (n,) array of bool
    """
    if len(flux) < _FEWEST:
        return np.zeros(len(flux), bool)
    distance = np.abs(flux - np.median(flux))
    scatter = SIGMA_PER_MAD * float(np.median(distance))
    return np.asarray(distance > sigma * np.maximum(scatter, error))
