"""The light that an epoch's PSF misses around a region's point sources, added to their fluxes."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types import Floats
from plugins_builtin.engine.residual_light import above_surroundings, apertures, residual_light, shared_out
from plugins_builtin.engine.roi_geometry import Epochs
from plugins_builtin.engine.roi_scene import source_images


@attrs.frozen(eq=False)
class Measured:
    """What was fitted to the epochs, and the fluxes that came out."""

    flux: Floats  # (e, k) nan where a source is not seen
    covariance: Floats  # (e, k, k)
    place: Floats  # (e, k, 2) of the sources in the stamps, pixels
    sky: Floats  # (e,)
    model: Floats  # (e, ny, nx)
    inverse_variance: Floats  # (e, ny, nx), 0 where not used


def with_residual_light(epochs: Epochs, measured: Measured) -> tuple[Floats, Floats]:
    """Return fluxes (e, k) and covariances (e, k, k) with what the PSFs miss within `epochs.aperture` of a source."""
    flux, covariance = measured.flux.copy(), measured.covariance.copy()
    if epochs.aperture == 0:
        return flux, covariance
    middle = 0.5 * (np.array(epochs.shape[::-1]) - 1)
    for e in np.flatnonzero(epochs.usable & np.isfinite(flux).any(axis=1)):
        seen = np.isfinite(flux[e])
        sources = source_images(epochs, e, measured.place[e, seen])[0]
        aperture = apertures(measured.place[e, seen] - middle, epochs.shape, epochs.aperture).max(axis=0)
        rest = measured.model[e] - measured.sky[e] - np.tensordot(flux[e, seen], sources, 1)
        weight = measured.inverse_variance[e][None]
        total, variance = residual_light(
            (epochs.data[e] - measured.model[e])[None],
            weight,
            above_surroundings(aperture[None], weight),
            np.concatenate([sources, np.ones((1, *epochs.shape))])[None],
        )
        galaxy = float(np.sum(aperture * rest))
        flux[e], covariance[e] = shared_out(flux[e], covariance[e], galaxy, float(total[0]), float(variance[0]))
    return flux, covariance
