"""How wide a Gaussian prior about 0 is, by the parameters that it is for.

The width is a variance component: the one that makes the data most probable, all parameters marginalised. A step of
Fisher scoring on that likelihood takes each parameter's square, less what its posterior variance leaves open, by how
well the data determine it (Patterson and Thompson 1971, Biometrika 58, 545). Where parameters are nothing but noise the
width vanishes in a few steps, and the parameters with it.
"""

from __future__ import annotations

import numpy as np

from lcframework.types import Floats

#: Relative deviations of this size are nothing that a light curve would show.
NOTHING = 1e-5
#: Where the data determine fewer parameters than this, a single frame's for instance, nothing tells a width.
_FEWEST_DETERMINED = 1.0


def next_width(width: float, parameters: Floats, variances: Floats) -> tuple[float, float]:
    """Return the standard deviation of a prior after a step of scoring, and how far that moved.

    Parameters
    ----------
    width : float
        The present standard deviation.
    parameters : array
        The parameters' most probable values with it.
    variances : array
        Their posterior variances, of the same shape.

    Returns
    -------
    width : float
        Not below `NOTHING`.
    moved : float
        Change of the prior's variance over that variance's standard error.
    """
    variance = width**2
    determined = np.clip(1.0 - variances / variance, 0.0, 1.0)
    if determined.sum() < _FEWEST_DETERMINED:
        return NOTHING, 0.0 if width <= NOTHING else np.inf
    information = float(np.sum(determined**2))
    step = (float(np.sum(parameters**2)) - variance * float(determined.sum())) / information
    new = float(np.clip(variance + step, max(0.04 * variance, NOTHING**2), 4.0 * variance))
    return float(np.sqrt(new)), abs(new - variance) / (variance * np.sqrt(2.0 / information))
