"""The light that a PSF misses: what a fit leaves within an aperture around the source, and how well that is known.

Of an undersampled or aberrated star the fitted flux hangs on the PSF's shape, which is never quite that of the star's
place and phase. The sum of the residuals within an aperture corrects that: fitted flux and sum together are the flux
within the aperture, with unusable pixels filled from the model and the wings beyond it taken from the PSF. A fit is
uncorrelated with its residuals, so the sum's variance adds to the flux's: ``w V w - t N^-1 t``, with w the aperture, V
the pixels' variances, t the aperture's sums of the fitted images and N their normal matrix. A constant that was fitted
has taken a part of what the PSF misses; so where there is one, what the pixels outside show is taken off.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats


def apertures(centre: Float[Floats, "n 2"], shape: tuple[int, int], radius: float) -> Float[Floats, "n ny nx"]:
    """Return discs about positions x, y from the stamps' centres; their edge is a pixel wide."""
    y, x = (np.arange(size) - 0.5 * (size - 1) for size in shape)
    distance = np.hypot(x - centre[:, 0, None, None], y[:, None] - centre[:, 1, None, None])
    return np.asarray(np.clip(radius + 0.5 - distance, 0.0, 1.0))


def above_surroundings(
    aperture: Float[Floats, "n ny nx"], weight: Float[Floats, "n ny nx"]
) -> Float[Floats, "n ny nx"]:
    """Return apertures less the weighted mean of the pixels outside: blind to any constant."""
    outside = np.where(aperture == 0, weight, 0.0)
    total = outside.sum(axis=(1, 2))
    inside = np.sum(np.where(weight > 0, aperture, 0.0), axis=(1, 2))
    share = np.where(total > 0, inside / np.where(total > 0, total, 1.0), 0.0)
    return np.asarray(aperture - share[:, None, None] * outside)


def residual_light(
    residual: Float[Floats, "n ny nx"],
    weight: Float[Floats, "n ny nx"],
    aperture: Float[Floats, "n ny nx"],
    images: Float[Floats, "n p ny nx"],
) -> tuple[Float[Floats, " n"], Float[Floats, " n"]]:
    """Return the sums of residuals within apertures, and their variances.

    Parameters
    ----------
    residual : array
        Data less the model.
    weight : array
        Inverse variances; 0 where a pixel is not used, which counts as the model says.
    aperture : array
        What part of each pixel counts, less that of the surroundings.
    images : array
        What was fitted by its amplitude: unit sources, a constant.
    """
    used = weight > 0
    counted = np.where(used, aperture, 0.0)
    total = np.sum(counted * residual, axis=(1, 2))
    variance = np.sum(counted**2 / np.where(used, weight, 1.0), axis=(1, 2))
    sums = np.einsum("npij,nij->np", images, counted)
    normal = np.einsum("npij,nij,nqij->npq", images, weight, images, optimize=True)
    # An image without light in the stamp has no amplitude; scaled, what else is degenerate drops out of the inverse.
    scale = np.sqrt(np.einsum("npp->np", normal))
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(normal / (scale[:, :, None] * scale[:, None, :]), rcond=1e-10, hermitian=True)
    fitted = np.einsum("np,npq,nq->n", sums / scale, inverse, sums / scale)
    return total, np.maximum(variance - fitted, 0.0)


def shared_out(
    flux: Float[Floats, " k"], covariance: Float[Floats, "k k"], galaxy: float, total: float, variance: float
) -> tuple[Float[Floats, " k"], Float[Floats, "k k"]]:
    """Return the fluxes and their covariance with an epoch's residual light shared out.

    A PSF that misses a part of one source misses the same part of each; so a source's share is that of its light in
    the model's, of which `galaxy` is what no point source gives. Sources that are not seen (nan) get none. Faint fluxes
    count by their errors, so that no share hangs on noise, and a source alone gets everything.
    """
    seen = np.isfinite(flux)
    size = np.where(seen, np.hypot(np.nan_to_num(flux), np.sqrt(np.nan_to_num(np.diag(covariance)))), 0.0)
    light = size.sum() + max(galaxy, 0.0)
    share = size / light if light > 0 else size
    return flux + share * total, covariance + np.outer(share, share) * variance
