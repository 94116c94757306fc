"""The transparency of frames by their held-out stars: a plane, as steep as these stars show of all frames."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.injections.drawing_psf import StarFit, place_in_frame
from lcframework.types import Floats, UnusableInput
from lcframework.types.robust import robust_scatter

#: The floor of a star's relative error: the transparency must not hang on the brightest star alone.
_FLOOR = 0.003
#: Stars further from it than so many errors take no part.
_FAR = 4.0
_ROUNDS = 3
#: Relative, over half a frame: slopes are looked for with a prior so wide that it holds nothing back, ...
WIDE = 1.0
#: ... and those of a usual frame are at least this, if there are any.
_NOTHING = 1e-4


@attrs.frozen(eq=False)
class Transparency:
    """What comes of a source's light, by its place in a frame.

    Attributes
    ----------
    plane : (3,) array
        e-/s in the frame, of a source of 1 e-/s in the light curve: at the frame's centre, and its slopes along u and
        v, the place in the frame less its centre, over the half-width.
    covariance : (3, 3) array
        Of `plane`.
    frame : (int, int)
        The frame's (ny, nx).
    stars : int
        How many tell it.
    """

    plane: Floats
    covariance: Floats
    frame: tuple[int, int]
    stars: int

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the transparency at places (n,), and its relative standard error; nan where a place is."""
        design = place_in_frame(x, y, self.frame)
        values = design @ self.plane
        variance = np.einsum("ni,ij,nj->n", design, self.covariance, design)
        return values, np.sqrt(variance) / np.abs(values)


def measure_transparency(fits: Sequence[StarFit], level: Floats, frame: tuple[int, int], slopes: float) -> Transparency:
    """Return the transparency by the fluxes of stars in a frame, over their levels.

    Parameters
    ----------
    fits : sequence of n StarFit
        Where they are, and their fluxes.
    level : (n,) array
        Their mean fluxes in light curves, e-/s; nan where unknown.
    frame : (int, int)
        The frame's (ny, nx).
    slopes : float
        The standard deviation of a Gaussian prior about 0 on the slopes of the plane, relative; 0: there are none.

    Raises
    ------
    UnusableInput
        Where fewer than two stars have a level.
    """
    flux, error = np.array([f.flux for f in fits]), np.array([f.error for f in fits])
    known = np.isfinite(level) & (level > 0)
    if known.sum() < 2:
        raise UnusableInput(
            "fewer than two held-out stars with a known level show in it: its transparency is not known"
        )
    ratio, relative = flux[known] / level[known], error[known] / flux[known]
    x, y = np.array([(f.x, f.y) for f in fits])[known].T
    design = place_in_frame(x, y, frame)
    around: Floats = np.full(len(ratio), np.median(ratio))
    for _ in range(_ROUNDS):
        off = ratio / around - 1
        good = np.abs(off) <= _FAR * np.hypot(relative, max(robust_scatter(off), _FLOOR))
        weight = good / (relative**2 + _FLOOR**2) / np.median(ratio) ** 2
        plane, covariance = _plane(design, ratio, weight, slopes * float(np.median(ratio)))
        around = design @ plane
    return Transparency(plane, covariance, frame, int(good.sum()))


def _plane(design: Floats, ratio: Floats, weight: Floats, slopes: float) -> tuple[Floats, Floats]:
    """Return a plane and its covariance, by the noise or by the scatter about it, whichever is larger."""
    if slopes == 0:
        mean, variance = _plane(design[:, :1], ratio, weight, 1.0)
        out, spread = np.zeros(3), np.zeros((3, 3))
        out[0], spread[0, 0] = mean[0], variance[0, 0]
        return out, spread
    penalty = np.diag([0.0, *[slopes**-2] * (design.shape[1] - 1)])
    scale = 1.0
    for _ in range(_ROUNDS):
        weighted = (design * (weight / scale)[:, None]).T
        covariance = np.linalg.inv(weighted @ design + penalty)
        solution = covariance @ (weighted @ ratio)
        # As many parameters as the stars, and not the prior, determine.
        free = int((weight > 0).sum()) - float(np.trace(covariance @ weighted @ design))
        loss = float((weight * (ratio - design @ solution) ** 2).sum())
        scale = max(loss / max(free, 1.0), 1.0)
    return solution, covariance


def slope_width(frames: Sequence[Transparency]) -> float:
    """Return the relative standard deviation of slopes over half a frame, by frames that were measured with `WIDE`.

    It is the most probable one: each frame's slopes are Gaussian about 0, with their own errors beside. One number for
    all frames, for where each frame decided for itself, noise would decide.

    Parameters
    ----------
    frames : sequence of Transparency
        Of one instrument and band.

    Returns
    -------
    float
        0 where slopes are no larger than their errors.
    """
    if not frames:
        return 0.0
    slopes, errors = [], []
    for frame in frames:
        centre = frame.plane[0]
        values, axes = np.linalg.eigh(frame.covariance[1:, 1:] / centre**2)
        slopes.append(axes.T @ (frame.plane[1:] / centre))
        errors.append(values)
    square, variance = np.concatenate(slopes) ** 2, np.concatenate(errors)

    def improbability(log_width: float) -> float:
        whole = variance + np.exp(2 * log_width)
        return float(np.sum(np.log(whole) + square / whole))

    low, high = np.log(_NOTHING), np.log(WIDE)
    best = scipy.optimize.minimize_scalar(improbability, bounds=(low, high), method="bounded")
    return float(np.exp(best.x)) if best.fun < improbability(low) - 1e-6 and best.x > low + 0.1 else 0.0
