"""The prior of an epoch's translation: the registration's covariance plus a floor that is fitted to the data.

A WCS can be wrong by tenths of a pixel, and differential refraction moves sources whose colour is not the stars'. Then
the point sources' positions in an epoch disagree with its registration by the stars. The floor is the standard
deviation of that displacement, per axis, for which the epochs' displacements are most likely under a Student t
distribution. An epoch far beyond it gets a prior as wide as its displacement needs, and does not widen the others'.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.newton import Pass

_FREEDOM = 4.0  # of the Student t
# The floor's own prior, log-normal: pixels, and standard deviation of the natural log. It dominates for few epochs.
_TYPICAL, _TYPICAL_SPREAD = 0.005, 1.5
_FAR = 9.0  # squared sigmas, beyond which an epoch gets a wider prior of its own
_FLOORS = np.geomspace(1e-3, 2.0, 60)  # pixels


def shift_covariances(epochs: Epochs, found: Pass) -> tuple[Float[Floats, "e 2 2"], float]:
    """Return the prior covariance of each epoch's translation, pixels^2, and the floor, pixels.

    Parameters
    ----------
    epochs : Epochs
        Their `registration` is used.
    found : Pass
        Its `shift_found`, `shift_precision` and `seen` are used. An epoch that measures no flux (a saturated or masked
        core) tells nothing of its translation: what the wings of a source without flux ask for has no bound.
    """
    size = np.trace(found.shift_precision, axis1=1, axis2=2)
    use = epochs.usable & (size > 0) & found.seen.any(axis=1)
    if not use.any():
        return epochs.registration + _TYPICAL**2 * np.eye(2), _TYPICAL
    own = np.linalg.inv(found.shift_precision[use] + 1e-6 * size[use, None, None] * np.eye(2))
    shift = found.shift_found[use]
    if use.sum() > 2:
        # A displacement that all epochs share belongs to the sources' positions.
        shift = shift - np.median(shift, axis=0)
    registration = epochs.registration[use]
    likelihood = [_log_likelihood(shift, own + registration + f**2 * np.eye(2)) for f in _FLOORS]
    prior = -0.5 * (np.log(_FLOORS / _TYPICAL) / _TYPICAL_SPREAD) ** 2
    floor = float(_FLOORS[int(np.argmax(np.array(likelihood) + prior))]) if use.sum() > 1 else _TYPICAL
    covariance = epochs.registration + floor**2 * np.eye(2)
    total = own + covariance[use]
    distance = np.einsum("ei,eij,ej->e", shift, np.linalg.inv(total), shift)
    covariance[use] += total * np.maximum(distance / _FAR - 1, 0.0)[:, None, None]
    return covariance, floor


def _log_likelihood(shift: Float[Floats, "e 2"], covariance: Float[Floats, "e 2 2"]) -> float:
    """Return the log likelihood of displacements under a Student t of given scale matrices."""
    distance = np.einsum("ei,eij,ej->e", shift, np.linalg.inv(covariance), shift)
    _, logdet = np.linalg.slogdet(covariance)
    return float(np.sum(-0.5 * logdet - 0.5 * (_FREEDOM + 2) * np.log1p(distance / _FREEDOM)))
