"""Coordinates for the PSF's small pixels in which the objective has about the same curvature in all directions.

The objective's curvature has two parts. That of the data is smoothed by the target Gaussian and the sums over blocks
of small pixels. That of the penalty is largest for the finest details and where the noise is small. Both are nearly
diagonal in cosines once the pixels are weighted by the penalty's local strength. L-BFGS then needs half the
evaluations.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lcframework.types import FWHM_PER_SIGMA, Floats
from plugins_builtin.engine.starlet import number_of_scales

# The penalty is curved only around zero, within its softness. Most details are there, but the most important directions
# are not. So its curvature is computed with these values of the softness: before the details are known, and after.
_SOFTNESS_UNKNOWN, _SOFTNESS = 0.2, 0.04


class PixelScaling(NamedTuple):
    """A linear map from coordinates to pixels: cosines, filtered, then divided by a local weight."""

    cosines: Float[Array, "m m"]  # orthonormal, columns are cosines
    filter: Float[Array, "m m"]
    weight: Float[Array, "m m"]

    def pixels(self, coordinates: Float[Array, "m m"]) -> Float[Array, "m m"]:
        """Return pixels for coordinates."""
        return (self.cosines @ (self.filter * coordinates) @ self.cosines.T) / self.weight

    def coordinates(self, pixels: Float[Array, "m m"]) -> Float[Array, "m m"]:
        """Return the coordinates of pixels."""
        return (self.cosines.T @ (pixels * self.weight) @ self.cosines) / self.filter

    def gradient(self, by_pixels: Float[Array, "m m"]) -> Float[Array, "m m"]:
        """Return the gradient by coordinates from that by pixels."""
        return self.filter * (self.cosines.T @ (by_pixels / self.weight) @ self.cosines)


def pixel_scaling(
    penalty: Float[Array, "scales m m"],
    detail: Float[Array, "scales m m"],
    data_weight: Float[Array, "n n"],
    subsampling: int,
    fwhm: float,
) -> PixelScaling:
    """Return the coordinates for pixels.

    Parameters
    ----------
    penalty : (scales, m, m) array
        Weights of the penalty.
    detail : (scales, m, m) array
        Starlet details of the present pixels, zeros where not known: the larger they are, the less the penalty is
        curved.
    data_weight : (n, n) array
        Sum over the stars of inverse variance times squared amplitude.
    subsampling : int
        Small pixels across a data pixel.
    fwhm : float
        FWHM of the target Gaussian, small pixels.
    """
    m = penalty.shape[-1]
    cosines, detail_power, data_power = (jnp.asarray(part, penalty.dtype) for part in _powers(m, subsampling, fwhm))
    softness = jnp.where(jnp.any(detail != 0), _SOFTNESS, _SOFTNESS_UNKNOWN).astype(penalty.dtype)
    curved = penalty * (1.0 + (penalty * detail / softness) ** 2) ** -0.25
    mean = jnp.mean(curved**2, axis=(-1, -2), keepdims=True)
    weight = jnp.sqrt(jnp.mean(curved**2 / jnp.maximum(mean, 1e-30), axis=0) + 1e-3)
    strength = jnp.mean((curved / weight[None]) ** 2, axis=(-1, -2))
    upsampled = jnp.repeat(jnp.repeat(data_weight, subsampling, 0), subsampling, 1)
    curvature = jnp.tensordot(strength / softness, detail_power, 1) + jnp.mean(upsampled / weight**2) * data_power
    return PixelScaling(cosines, 1.0 / jnp.sqrt(jnp.maximum(curvature, 1e-12 * jnp.max(curvature))), weight)


@lru_cache(maxsize=16)
def _powers(
    m: int, subsampling: int, fwhm: float
) -> tuple[Float[Floats, "{m} {m}"], Float[Floats, "scales {m} {m}"], Float[Floats, "{m} {m}"]]:
    """Return orthonormal cosines as columns, the power of the starlet details at each, and that of the data."""
    frequency = np.pi * np.arange(m) / m
    cosines = np.sqrt(2.0 / m) * np.cos(frequency[None, :] * (np.arange(m)[:, None] + 0.5))
    cosines[:, 0] /= np.sqrt(2.0)
    smooth = [np.ones((m, m))]
    along = np.ones(m)
    for scale in range(number_of_scales(m)):
        along = along * (0.5 + 0.5 * np.cos(2**scale * frequency)) ** 2
        smooth.append(np.outer(along, along))
    details = np.array([(fine - coarse) ** 2 for fine, coarse in pairwise(smooth)])
    offsets = np.arange(subsampling) - 0.5 * (subsampling - 1)
    gaussian = np.exp(-0.5 * (fwhm / FWHM_PER_SIGMA * frequency) ** 2)
    response = gaussian * np.cos(np.outer(offsets, frequency)).mean(axis=0)
    return cosines, details, np.outer(response, response) ** 2
