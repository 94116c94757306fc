"""Robust statistics of the core: a scatter that outliers do not move.

Not part of what plugins import. NumPy alone: what only looks at a project must not wait for SciPy or astropy.
"""

from __future__ import annotations

import numpy as np

from lcframework.types.arrays import Floats

#: Standard deviation of a normal distribution in units of its median absolute deviation: 1 / Phi^-1(3/4), with Phi the
#: normal cumulative distribution; as in `astropy.stats.mad_std`.
SIGMA_PER_MAD = 1.482602218505602


def robust_scatter(values: Floats) -> float:
    """Return the standard deviation of values (n,) by their median absolute deviation from the median.

    The same as `astropy.stats.mad_std`; nan without values.
    """
    return scatter_about_zero(values - np.median(values)) if len(values) else np.nan


def scatter_about_zero(residuals: Floats) -> float:
    """Return the standard deviation of residuals (n,), whose mean is known to be zero, by their median modulus."""
    return SIGMA_PER_MAD * float(np.median(np.abs(residuals)))
