"""The light of a region's point sources that an epoch's PSF misses, added to their fluxes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Floats
from plugins_builtin.engine.residual_light import above_surroundings, apertures, residual_light, shared_out
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.psf_error import Fitted
from plugins_builtin.engine.roi.scene import source_images


def with_residual_light(
    epochs: Epochs, fitted: Fitted, covariance: Float[Floats, "e k k"]
) -> tuple[Float[Floats, "e k"], Float[Floats, "e k k"]]:
    """Return fluxes and covariances with the light that the PSFs miss within `epochs.aperture` pixels of a source.

    Parameters
    ----------
    epochs : Epochs
        The data.
    fitted : Fitted
        The result of the fit.
    covariance : (e, k, k) array
        Covariance of the fitted fluxes.

    Returns
    -------
    flux : (e, k) array
        nan where an epoch does not see a source.
    covariance : (e, k, k) array
    """
    flux, covariance = np.where(fitted.seen, fitted.flux, np.nan), covariance.copy()
    if epochs.aperture == 0:
        return flux, covariance
    middle = 0.5 * (np.array(epochs.shape[::-1]) - 1)
    for e in np.flatnonzero(epochs.usable & fitted.seen.any(axis=1)).tolist():
        seen, position = fitted.seen[e], fitted.positions(epochs, e)
        sources = source_images(epochs, e, position)[0]
        aperture = apertures(position[seen] - middle, epochs.shape, epochs.aperture).max(axis=0)
        galaxy = fitted.model[e] - fitted.sky[e] - np.tensordot(fitted.flux[e], sources, 1)
        weight = fitted.inverse_variance[e][None]
        total, variance = residual_light(
            (epochs.data[e] - fitted.model[e])[None],
            weight,
            above_surroundings(aperture[None], weight),
            np.concatenate([sources[seen], np.ones((1, *epochs.shape))])[None],
        )
        light = float(np.sum(aperture * galaxy))
        flux[e], covariance[e] = shared_out(flux[e], covariance[e], light, float(total[0]), float(variance[0]))
    return flux, covariance
