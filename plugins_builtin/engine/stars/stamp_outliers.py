"""Outliers in a star's stamp, mostly cosmic rays: pixels that neither noise nor an error of the PSF explains."""

from __future__ import annotations

import numpy as np
import scipy  # its subpackages load when they are first used
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats
from plugins_builtin.engine.misfit import misfit_of_stamps
from plugins_builtin.engine.stars.point_source_fit import (
    PointSourceFit,
    PointSourceStamps,
    SourceImages,
    solve_linear,
)

#: Neighbours of an outlier are outliers beyond this many standard deviations: a cosmic ray's faint rim.
NEIGHBOUR = 2.5
#: Error of the model by its PSF, as a fraction of the brightest model pixel among the neighbours.
PSF_TOLERANCE = 0.05
#: A cosmic ray does not strike the same pixel in this fraction of the epochs.
TRANSIENT = 0.3

_AROUND = (1, 3, 3)


def find_outliers(
    residual: Float[Floats, "n ny nx"],
    weight: Float[Floats, "n ny nx"],
    tolerance: Float[Floats, "n ny nx"],
    limit: float,
) -> Bool[Bools, "n ny nx"]:
    """Return pixels beyond `limit` standard deviations, and their neighbours of the same sign.

    Parameters
    ----------
    residual, weight : (n, ny, nx) arrays
        Data minus model, and inverse variance, 0 where a pixel is not used.
    tolerance : (n, ny, nx) array
        Standard deviation of the model's own error.
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


def psf_tolerance(model: Float[Floats, "n ny nx"]) -> Float[Floats, "n ny nx"]:
    """Return the standard deviation of point sources' images by errors of the PSF."""
    return np.asarray(PSF_TOLERANCE * scipy.ndimage.maximum_filter(np.abs(model), _AROUND))


def first_outliers(stamps: PointSourceStamps, limit: float) -> Bool[Bools, "n ny nx"]:
    """Return the outliers of a model at the expected position, before any position is fitted.

    Flux and pedestal are fitted with Cauchy weights, so that a cosmic ray that is brighter than the star does not
    replace it. The tolerance allows for a star that is the prior's width from its expected position.
    """
    images = stamps.images(stamps.expected)
    used = stamps.weight > 0
    variance = 1.0 / np.where(used, stamps.weight, 1.0)
    flux, pedestal = solve_linear(stamps.data, stamps.weight, images.value, stamps.pedestal)
    for _ in range(12):
        tolerance = np.hypot(_start_tolerance(flux, images, stamps.prior), _misfit(stamps, flux, stamps.expected))
        residual = stamps.data - flux[:, None, None] * images.value - pedestal[:, None, None]
        whole = variance + tolerance**2
        weight = np.where(used, 1.0 / (whole + (residual / 2.5) ** 2), 0.0)
        flux, pedestal = solve_linear(stamps.data, weight, images.value, stamps.pedestal)
    residual = stamps.data - flux[:, None, None] * images.value - pedestal[:, None, None]
    tolerance = np.hypot(_start_tolerance(flux, images, stamps.prior), _misfit(stamps, flux, stamps.expected))
    return find_outliers(residual, stamps.weight, tolerance, limit)


def remaining_outliers(
    stamps: PointSourceStamps, weight: Float[Floats, "n ny nx"], fit: PointSourceFit, limit: float
) -> Bool[Bools, "n ny nx"]:
    """Return the outliers of finished fits, among all pixels of inverse variance `weight`, masked before or not."""
    source = fit.flux[:, None, None] * fit.images.value
    tolerance = np.hypot(psf_tolerance(source), _misfit(stamps, fit.flux, fit.position))
    return find_outliers(stamps.data - fit.model, weight, tolerance, limit)


def transient(outliers: Bool[Bools, "n ny nx"]) -> Bool[Bools, "n ny nx"]:
    """Return only the outliers at pixels where few epochs have one: the others are light from the sky."""
    return np.asarray(outliers & (outliers.mean(axis=0) < TRANSIENT))


def _misfit(
    stamps: PointSourceStamps, flux: Float[Floats, " n"], position: Float[Floats, "n 2"]
) -> Float[Floats, "n ny nx"]:
    """Return the standard deviation of residuals that the frame's bright stars have beyond the noise, for this flux."""
    found = misfit_of_stamps(stamps.misfit, position, stamps.data.shape[1:])
    return np.asarray(np.abs(flux)[:, None, None] * found)


def _start_tolerance(flux: Float[Floats, " n"], images: SourceImages, prior: float) -> Float[Floats, "n ny nx"]:
    moved = np.hypot(images.by_x, images.by_y) * prior
    tolerance: Floats = np.abs(flux)[:, None, None] * np.hypot(moved, psf_tolerance(images.value))
    return tolerance
