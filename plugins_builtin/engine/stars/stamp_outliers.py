"""Pixels of a stamp that neither noise nor an imperfect PSF explains: cosmic rays, mostly."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # its subpackages load when they are first used
from numpy.typing import NDArray

from plugins_builtin.engine.stars.point_source_fit import PointSourceFit, PointSourceStamps, solve_linear

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

#: Neighbours of an outlier are outliers beyond this many standard deviations: a cosmic ray's faint rim.
NEIGHBOUR = 2.5
#: How wrong a PSF may be, as a fraction of the brightest model pixel around: its misfit is not the sky's fault.
PSF_TOLERANCE = 0.05

_AROUND = (1, 3, 3)


def find_outliers(residual: Floats, weight: Floats, tolerance: Floats, limit: float) -> Bools:
    """Return pixels (n, ny, nx) beyond `limit` standard deviations, and their neighbours of the same sign.

    Parameters
    ----------
    residual, weight : array (n, ny, nx)
        Data minus model, and inverse variance, 0 where a pixel is not used.
    tolerance : array (n, ny, nx)
        Standard deviation of what the model itself may be wrong by.
    limit : float
        Standard deviations.
    """
    used = weight > 0
    deviation = np.where(used, residual / np.sqrt(1.0 / np.where(used, weight, 1.0) + tolerance**2), 0.0)
    found = np.zeros(residual.shape, bool)
    for sign in (1.0, -1.0):
        core = sign * deviation > limit
        if core.any():
            found |= core | (scipy.ndimage.maximum_filter(core, _AROUND) & (sign * deviation > NEIGHBOUR))
    return found


def psf_tolerance(model: Floats) -> Floats:
    """Return what point sources (n, ny, nx) may be wrong by because their PSF is."""
    return PSF_TOLERANCE * scipy.ndimage.maximum_filter(np.abs(model), _AROUND)


def first_outliers(stamps: PointSourceStamps, limit: float) -> Bools:
    """Return what is plainly not the star before any position is fitted, (n, ny, nx).

    Flux and pedestal are fitted at the expected position with Cauchy weights, so that a cosmic ray brighter than the
    star does not become the star; a star off its expected position by the prior's width is tolerated.
    """
    images = stamps.images(stamps.expected)
    used = stamps.weight > 0
    variance = 1.0 / np.where(used, stamps.weight, 1.0)
    flux, pedestal = solve_linear(stamps.data, stamps.weight, images.value, stamps.pedestal)
    for _ in range(12):
        tolerance = _start_tolerance(flux, images, stamps.prior)
        residual = stamps.data - flux[:, None, None] * images.value - pedestal[:, None, None]
        whole = variance + tolerance**2
        weight = np.where(used, 1.0 / (whole + (residual / 2.5) ** 2), 0.0)
        flux, pedestal = solve_linear(stamps.data, weight, images.value, stamps.pedestal)
    residual = stamps.data - flux[:, None, None] * images.value - pedestal[:, None, None]
    tolerance = _start_tolerance(flux, images, stamps.prior)
    return find_outliers(residual, stamps.weight, tolerance, limit)


def remaining_outliers(stamps: PointSourceStamps, weight: Floats, fit: PointSourceFit, limit: float) -> Bools:
    """Return the outliers of finished fits, (n, ny, nx), judged over all pixels of inverse variance `weight`."""
    source = fit.flux[:, None, None] * fit.images.value
    return find_outliers(stamps.data - fit.model, weight, psf_tolerance(source), limit)


def _start_tolerance(flux: Floats, images: Any, prior: float) -> Floats:
    moved = np.hypot(images.by_x, images.by_y) * prior
    return np.abs(flux)[:, None, None] * np.hypot(moved, psf_tolerance(images.value))
