"""The registration of a frame: the difference between measured star positions and those from its WCS."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Bools, Floats
from lcframework.types.robust import clip_and_refit, robust_scatter

#: Below this many stars only an offset is fitted, without a linear map.
STARS_FOR_MAP = 6
#: Positional error that is not in the errors of fits (catalogue, pixel response), pixels.
FLOOR = 0.003
_ROUNDS = 6
_CLIP = 4.0


@attrs.frozen(eq=False)
class Registration:
    """An offset at a reference point p0 and a map around it: ``measured = predicted + offset + map @ (p - p0)``."""

    offset: Floats  # (2,) pixels
    covariance: Floats  # (2, 2) pixels^2
    map: Floats  # (2, 2)
    stars: int

    def apply(self, transform: Floats) -> Floats:
        """Return the corrected local map (2, 3) from sky offsets to pixels; its constant part is that point."""
        linear = (np.eye(2) + self.map) @ transform[:, :2]
        return np.concatenate([linear, (transform[:, 2] + self.offset)[:, None]], axis=1)


def register(predicted: Floats, measured: Floats, error: Floats, reference: Floats) -> Registration:
    """Fit a registration robustly, with weights.

    Parameters
    ----------
    predicted, measured : (n, 2) arrays
        Star positions in the frame, pixels.
    error : (n, 2) array
        Errors of `measured`.
    reference : (2,) array
        The point at which the offset is valid: the region's position in the frame, pixels.

    Returns
    -------
    Registration
        Without stars: an offset of 0 with an error of 1 pixel.
    """
    n = len(predicted)
    if n == 0:
        return Registration(np.zeros(2), np.eye(2), np.zeros((2, 2)), 0)
    delta = predicted - reference
    design = np.concatenate([np.ones((n, 1)), delta], axis=1) if n >= STARS_FOR_MAP else np.ones((n, 1))
    offset, variance = np.zeros(2), np.ones(2)
    linear = np.zeros((2, 2))
    for axis in (0, 1):
        solution, covariance = _robust_line(design, (measured - predicted)[:, axis], error[:, axis])
        offset[axis], variance[axis] = solution[0], covariance[0, 0]
        linear[axis, : len(solution) - 1] = solution[1:]
    return Registration(offset, np.diag(variance), linear, n)


def _robust_line(design: Floats, y: Floats, error: Floats) -> tuple[Floats, Floats]:
    variance = error**2 + FLOOR**2
    good = np.ones(len(y), bool)
    if len(y) > 3:  # a blend or a wrong star is pixels away: it must not enter the first fit
        good = np.abs(y - np.median(y)) <= 5 * max(robust_scatter(y), float(np.median(error)))

    def fit(used: Bools) -> tuple[tuple[Floats, float], Bools]:
        weight = used / variance
        normal = design.T @ (weight[:, None] * design)
        solution = np.linalg.lstsq(normal, design.T @ (weight * y), rcond=None)[0]
        residual = y - design @ solution
        freedom = int(used.sum()) - design.shape[1]
        inflation = max(1.0, float((used * residual**2 / variance).sum()) / freedom) if freedom > 0 else 1.0
        return (solution, inflation), np.abs(residual) <= _CLIP * np.sqrt(variance * inflation)

    (solution, inflation), good = clip_and_refit(fit, good, design.shape[1] + 1, _ROUNDS)
    return solution, np.linalg.pinv(design.T @ ((good / variance)[:, None] * design)) * inflation
