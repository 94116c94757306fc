"""The light that a PSF misses: the sum of a fit's residuals within an aperture around the source, and its variance.

The fitted flux of an undersampled or aberrated star depends on the PSF's shape, which is never exactly that at the
star's position in the frame and sub-pixel phase. The sum of the residuals within an aperture corrects this. Fitted flux
plus sum is the flux within the aperture, with unusable pixels filled from the model, and with the wings beyond the
aperture taken from the PSF. A fit is uncorrelated with its residuals, so the sum's variance is added to the flux's:
``w V w - t N^-1 t``, with w the aperture, V the pixels' variances, t the aperture's sums of the fitted images and N
their normal matrix. A fitted constant contains a part of the light that the PSF misses. So where a constant is fitted,
the mean residual of the pixels outside the aperture is subtracted.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats


def apertures(
    centre: Float[Floats, "n 2"], shape: tuple[int, int], radius: float | Float[Floats, "n 1 1"]
) -> Float[Floats, "n ny nx"]:
    """Return discs of `radius` pixels about positions (x, y) from the stamps' centres; their edge is a pixel wide."""
    y, x = (np.arange(size) - 0.5 * (size - 1) for size in shape)
    distance = np.hypot(x - centre[:, 0, None, None], y[:, None] - centre[:, 1, None, None])
    return np.asarray(np.clip(radius + 0.5 - distance, 0.0, 1.0))


def above_surroundings(
    aperture: Float[Floats, "n ny nx"], weight: Float[Floats, "n ny nx"]
) -> Float[Floats, "n ny nx"]:
    """Return apertures less the weighted mean of the pixels outside: a constant sums to zero in them."""
    outside = np.where(aperture == 0, weight, 0.0)
    total = outside.sum(axis=(1, 2))
    inside = np.sum(np.where(weight > 0, aperture, 0.0), axis=(1, 2))
    share = np.where(total > 0, inside / np.where(total > 0, total, 1.0), 0.0)
    return np.asarray(aperture - share[:, None, None] * outside)


def discs_above_sky(
    centre: Float[Floats, "n 2"], radii: Float[Floats, "n d"], weight: Float[Floats, "n ny nx"]
) -> Float[Floats, "n d ny nx"]:
    """Return discs of several radii (pixels) about each position, each less the weighted mean of the pixels outside."""
    shape = (weight.shape[1], weight.shape[2])
    discs = [apertures(centre, shape, radius[:, None, None]) for radius in radii.T]
    return np.stack([above_surroundings(disc, weight) for disc in discs], axis=1)


def residual_light(
    residual: Float[Floats, "n ny nx"],
    weight: Float[Floats, "n ny nx"],
    aperture: Float[Floats, "n ny nx"],
    images: Float[Floats, "n p ny nx"],
) -> tuple[Float[Floats, " n"], Float[Floats, " n"]]:
    """Return the sums of residuals within one aperture a stamp, and their variances: :func:`residual_lights`."""
    total, covariance = residual_lights(residual, weight, aperture[:, None], images)
    return total[:, 0], covariance[:, 0, 0]


def residual_lights(
    residual: Float[Floats, "n ny nx"],
    weight: Float[Floats, "n ny nx"],
    discs: Float[Floats, "n d ny nx"],
    images: Float[Floats, "n p ny nx"],
) -> tuple[Float[Floats, "n d"], Float[Floats, "n d d"]]:
    """Return the sums of residuals within several apertures of each stamp, and their covariance.

    Parameters
    ----------
    residual : (n, ny, nx) array
        Data less the model.
    weight : (n, ny, nx) array
        Inverse variances; 0 where a pixel is not used: its residual counts as zero.
    discs : (n, d, ny, nx) array
        Weight of each pixel in the sums; from :func:`apertures`, or :func:`above_surroundings` where a constant was
        fitted, or the local sky is to be taken off.
    images : (n, p, ny, nx) array
        The images whose amplitudes were fitted: unit sources, a constant.
    """
    n, d = discs.shape[:2]
    used = (weight > 0).reshape(n, 1, -1)
    flat = weight.reshape(n, 1, -1)
    counted = np.where(used, discs.reshape(n, d, -1), 0.0)
    fitted = images.reshape(n, images.shape[1], -1)
    total = (counted @ residual.reshape(n, -1, 1))[..., 0]
    variance = (counted / np.where(used, flat, 1.0)) @ counted.swapaxes(1, 2)
    sums = counted @ fitted.swapaxes(1, 2)
    normal = (fitted * flat) @ fitted.swapaxes(1, 2)
    # An image without light in the stamp has no amplitude; the pseudo-inverse leaves out degenerate ones.
    scale = np.sqrt(np.einsum("npp->np", normal))
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(normal / (scale[:, :, None] * scale[:, None, :]), rcond=1e-10, hermitian=True)
    sums = sums / scale[:, None]
    covariance = variance - sums @ inverse @ sums.swapaxes(1, 2)
    index = np.arange(d)
    covariance[:, index, index] = np.maximum(covariance[:, index, index], 0.0)
    return total, covariance


def shared_out(
    flux: Float[Floats, " k"], covariance: Float[Floats, "k k"], galaxy: float, total: float, variance: float
) -> tuple[Float[Floats, " k"], Float[Floats, "k k"]]:
    """Return fluxes and their covariance with an epoch's residual light added, divided among the sources.

    A PSF that misses a share of one source's light misses the same share of each. So a source gets residual light in
    proportion to its part of the model's light. Faint fluxes count by their errors, so that no share is determined by
    noise. A single source without a galaxy gets everything.

    Parameters
    ----------
    flux : (k,) array
        nan for sources that are not seen, which get nothing.
    covariance : (k, k) array
        Of the fluxes.
    galaxy : float
        Light within the aperture that is not of point sources.
    total, variance : float
        The residual light, and its variance.
    """
    seen = np.isfinite(flux)
    size = np.where(seen, np.hypot(np.nan_to_num(flux), np.sqrt(np.nan_to_num(np.diag(covariance)))), 0.0)
    light = size.sum() + max(galaxy, 0.0)
    share = size / light if light > 0 else size
    return flux + share * total, covariance + np.outer(share, share) * variance
