"""The transparency of a frame by its held-out stars: their mean, or a plane where they show that it varies."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used

from lcframework.injections.drawing_psf import StarFit, place_in_frame
from lcframework.types import Bools, Floats, UnusableInput
from lcframework.types.robust import robust_scatter

#: The floor of a star's relative error: the transparency must not hang on the brightest star alone.
_FLOOR = 0.003
#: Stars further from it than so many errors take no part.
_FAR = 4.0
#: A plane takes so many stars, and a chance below this that stars scatter about their mean as they do.
_STARS_FOR_PLANE, _CHANCE = 7, 0.01
_ROUNDS = 3


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


def measure_transparency(fits: Sequence[StarFit], level: Floats, frame: tuple[int, int]) -> Transparency:
    """Return the transparency by the fluxes of stars in a frame, over their levels.

    Parameters
    ----------
    fits : sequence of n StarFit
        Where they are, and their fluxes.
    level : (n,) array
        Their mean fluxes in light curves, e-/s; nan where unknown.
    frame : (int, int)
        The frame's (ny, nx).

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
        plane, covariance = _fitted(design, ratio, weight, good)
        around = design @ plane
    return Transparency(plane, covariance, frame, int(good.sum()))


def _fitted(design: Floats, ratio: Floats, weight: Floats, good: Bools) -> tuple[Floats, Floats]:
    """Return a plane and its covariance: without slopes where stars do not show any."""
    constant, covariance, loss = _weighted(design[:, :1], ratio, weight, good)
    free = int(good.sum()) - 3
    if good.sum() >= _STARS_FOR_PLANE:
        plane, of_plane, rest = _weighted(design, ratio, weight, good)
        if scipy.stats.f.sf((loss - rest) / 2 / (rest / free), 2, free) < _CHANCE:
            return plane, of_plane
    out, spread = np.zeros(3), np.zeros((3, 3))
    out[0], spread[0, 0] = constant[0], covariance[0, 0]
    return out, spread


def _weighted(design: Floats, ratio: Floats, weight: Floats, good: Bools) -> tuple[Floats, Floats, float]:
    """Return the solution, its covariance by noise or by the scatter, what is larger, and the squared residuals."""
    covariance = np.linalg.inv((design * weight[:, None]).T @ design)
    solution = covariance @ ((design * weight[:, None]).T @ ratio)
    loss = float((weight * (ratio - design @ solution) ** 2).sum())
    free = max(int(good.sum()) - design.shape[1], 1)
    return solution, covariance * max(loss / free, 1.0), loss
