"""The light of a region's point sources that an epoch's PSF misses, added to their fluxes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lcframework.types import Estimators, Floats
from plugins_builtin.engine.residual_light import (
    above_surroundings,
    apertures,
    discs_above_sky,
    residual_light,
    residual_lights,
    shared_out,
)
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.psf_error import Fitted
from plugins_builtin.engine.roi.scene import source_images


def with_residual_light(
    epochs: Epochs, fitted: Fitted, covariance: Float[Floats, "e k k"]
) -> tuple[Float[Floats, "e k"], Float[Floats, "e k k"]]:
    """Return fluxes and covariances with the light that the PSFs miss within `epochs.aperture` pixels of a source.

    With `epochs.estimators` instead, each source's estimates are combined as the comparison stars' are.

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
        return (
            _combined(epochs, epochs.estimators, fitted, flux, covariance) if epochs.estimators else (flux, covariance)
        )
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


def _combined(
    epochs: Epochs,
    estimators: Estimators,
    fitted: Fitted,
    flux: Float[Floats, "e k"],
    covariance: Float[Floats, "e k k"],
) -> tuple[Float[Floats, "e k"], Float[Floats, "e k k"]]:
    """Return fluxes and covariances of each source's combined estimates, by weights for its mean PSF flux.

    The discs of different sources don't overlap. The errors hold what the comparison stars' noise exceeds their pixels'
    by; their scatter in proportion to flux is no part of them.
    """
    known = np.isfinite(flux) & epochs.usable[:, None]
    mean = np.array([np.median(f[k]) if k.any() else 0.0 for f, k in zip(flux.T, known.T, strict=True)])
    weights = estimators.weights.at(mean)  # (k, d + 1)
    middle = 0.5 * (np.array(epochs.shape[::-1]) - 1)
    factor = np.ones_like(flux)
    extra = np.zeros_like(flux)
    result = flux.copy()
    for e in np.flatnonzero(known.any(axis=1)).tolist():
        seen, position = np.flatnonzero(known[e]), fitted.positions(epochs, e)
        sources = source_images(epochs, e, position)[0]
        share = weights[seen] / estimators.scale[e]
        n = len(seen)
        weight = np.repeat(fitted.inverse_variance[e][None], n, axis=0)
        discs = discs_above_sky(position[seen] - middle, np.repeat(estimators.radii[e][None], n, axis=0), weight)
        images = np.concatenate([sources[seen], np.ones((1, *epochs.shape))])
        light, of_light = residual_lights(
            np.repeat((epochs.data[e] - fitted.model[e])[None], n, axis=0),
            weight, discs, np.repeat(images[None], n, axis=0),
        )  # fmt: skip
        factor[e, seen] = share.sum(axis=1)
        extra[e, seen] = np.einsum("nk,nkl,nl->n", share[:, 1:], of_light, share[:, 1:])
        result[e, seen] = factor[e, seen] * flux[e, seen] + np.sum(share[:, 1:] * light, axis=1)
    covariance = covariance * factor[:, :, None] * factor[:, None, :]
    index = np.arange(flux.shape[1])
    covariance[:, index, index] += extra
    return result, estimators.weights.noise_factor**2 * covariance
