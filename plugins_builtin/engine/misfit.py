"""How far a frame's stars are from its PSF: the scatter of residual / flux beyond the noise, by distance.

Single-pixel response, undersampling and a PSF that changes over the field make a star's pixels deviate by a part of its
flux. For bright stars that is more than their photon noise, and no sign of a cosmic ray.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats

#: Distances, FWHM, between which the scatter is taken to be the same; beyond the last one it is zero.
EDGES = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
#: Stars that it is measured on: a third of all, the brightest, and at least so many.
FEWEST_STARS = 5

_LEAST_PIXELS = 20
_NORMAL_MEDIAN = 0.6744897501960817  # of the modulus of a normal deviate


def distances(
    x: Float[Floats, " stars"], y: Float[Floats, " stars"], n: int, fwhm: float
) -> Float[Floats, "stars {n} {n}"]:
    """Return the pixels' distances, FWHM, from stars at (x, y), pixels from the centres of their stamps."""
    grid = np.arange(n) - 0.5 * (n - 1)
    return np.asarray(np.hypot(grid[None, None, :] - x[:, None, None], grid[None, :, None] - y[:, None, None]) / fwhm)


def relative_misfit(
    residual: Float[Floats, "stars n n"],
    inverse_variance: Float[Floats, "stars n n"],
    flux: Float[Floats, " stars"],
    distance: Float[Floats, "stars n n"],
) -> Float[Floats, " bins"]:
    """Return the standard deviation s of residual / flux beyond the noise, in the bins of `EDGES`.

    In a bin the median of ``|residual| / sqrt(noise^2 + (flux s)^2)`` over the pixels of the brightest stars is that of
    a normal deviate; 0 where noise alone has a median as large, and where too few pixels tell.

    Parameters
    ----------
    residual : (stars, n, n) array
        Data less the model.
    inverse_variance : (stars, n, n) array
        Of the noise; 0 where a pixel is not used.
    flux : (stars,) array
        In the residuals' unit.
    distance : (stars, n, n) array
        From :func:`distances`.
    """
    strength = flux * np.sqrt(inverse_variance.max(axis=(1, 2)))
    brightest = np.argsort(-strength)[: max(FEWEST_STARS, len(flux) // 3)]
    used = inverse_variance[brightest] > 0
    bins = np.searchsorted(EDGES, distance[brightest][used], side="right") - 1
    moduli = np.abs(residual[brightest][used])
    variance = 1.0 / inverse_variance[brightest][used]
    power = np.broadcast_to(flux[brightest, None, None] ** 2, used.shape)[used]
    found = np.zeros(len(EDGES) - 1)
    for k in range(len(found)):
        here = bins == k
        if np.count_nonzero(here) >= _LEAST_PIXELS:
            found[k] = _excess(moduli[here], variance[here], power[here])
    return found


def _excess(moduli: Float[Floats, " n"], variance: Float[Floats, " n"], power: Float[Floats, " n"]) -> float:
    """Return the root of the median's equation, by bisection in the logarithm."""

    def median(s: float) -> float:
        return float(np.median(moduli / np.sqrt(variance + power * s**2)))

    low, high = -6.0, 0.0
    if median(10.0**low) <= _NORMAL_MEDIAN:
        return 0.0
    for _ in range(24):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if median(10.0**middle) > _NORMAL_MEDIAN else (low, middle)
    return float(10.0 ** (0.5 * (low + high)))


def in_rings(misfit: Float[Floats, " bins"], fwhm: float, n: int) -> Float[Floats, " rings"]:
    """Return the scatter in rings of half a pixel about a star in a stamp of `n` pixels, as `PSF.misfit` has it."""
    rings = min(math.ceil(2.0 * EDGES[-1] * fwhm), 2 * n)
    return misfit_at(misfit, (0.5 * np.arange(rings) + 0.25) / fwhm)


def misfit_of_stamps(
    rings: Float[Floats, "n rings"], position: Float[Floats, "n 2"], shape: tuple[int, int]
) -> Float[Floats, "n ny nx"]:
    """Return the scatter of residual / flux of each pixel, for stars at (x, y) from the centres of stamps."""
    y, x = (np.arange(size) - 0.5 * (size - 1) for size in shape)
    distance = np.hypot(x - position[:, 0, None, None], y[:, None] - position[:, 1, None, None])
    ring = np.minimum((2.0 * distance).astype(int), rings.shape[1])
    padded = np.concatenate([rings, np.zeros((len(rings), 1))], axis=1)
    return np.asarray(padded[np.arange(len(rings))[:, None, None], ring])


def misfit_at(misfit: Float[Floats, " bins"], distance: Float[Floats, "*stack"]) -> Float[Floats, "*stack"]:
    """Return the scatter of residual / flux at these distances, FWHM."""
    bins = np.searchsorted(EDGES, distance, side="right") - 1
    return np.asarray(np.append(misfit, 0.0)[bins])
