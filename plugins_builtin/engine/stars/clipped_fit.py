"""Stamps of point sources made ready, and their fits with pixels masked that do not fit the source."""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Bool, Float

from lcframework.types import Bools, Floats, Kernels, Stamps
from plugins_builtin.engine.stars.point_source_fit import PointSourceFit, PointSourceStamps, fit_point_sources
from plugins_builtin.engine.stars.stamp_outliers import first_outliers, remaining_outliers

_ROUNDS = 4


def prepared(stamps: Stamps, kernels: Kernels, which: slice, prior: float, pedestal: bool) -> PointSourceStamps:
    """Return some of the stamps in float64; unusable pixels have no weight and are zero.

    Parameters
    ----------
    stamps, kernels : Stamps, Kernels
        As a photometry gets them.
    which : slice
        Of the stamps.
    prior : float
        Standard deviation of the position about the expected one, pixels.
    pedestal : bool
        Whether a constant is fitted.
    """
    data = np.asarray(stamps.data[which], float)
    noise = np.asarray(stamps.noise[which], float)
    values = np.asarray(kernels.values[which], float)
    expected = np.asarray(stamps.offset[which], float)
    with np.errstate(invalid="ignore"):
        good = ~stamps.mask[which] & np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    good &= np.isfinite(values).all(axis=(1, 2))[:, None, None] & np.isfinite(expected).all(axis=1)[:, None, None]
    return PointSourceStamps(
        data=np.where(good, data, 0.0),
        weight=np.where(good, 1.0 / np.where(good, noise, 1.0) ** 2, 0.0),
        kernels=np.nan_to_num(values, posinf=0.0, neginf=0.0),
        subsampling=kernels.subsampling_factor,
        fwhm=kernels.target_fwhm,
        expected=np.nan_to_num(expected),
        prior=prior,
        pedestal=pedestal,
        photon_variance=np.nan_to_num(np.asarray(stamps.photon_variance[which], float)),
        aperture=stamps.aperture,
        misfit=np.zeros((len(data), 0)) if kernels.misfit is None else np.asarray(kernels.misfit[which], float),
        radii=np.asarray(stamps.radii[which], float),
    )


def masked(stamps: PointSourceStamps, outliers: Bool[Bools, "n ny nx"]) -> PointSourceStamps:
    """Return the stamps with no weight on some pixels."""
    return attrs.evolve(stamps, weight=np.where(outliers, 0.0, stamps.weight))


def fit_with_clipping(
    stamps: PointSourceStamps,
    limit: float,
    start: Float[Floats, "n 2"] | None = None,
    outliers: Bool[Bools, "n ny nx"] | None = None,
) -> tuple[PointSourceFit, Bool[Bools, "n ny nx"]]:
    """Fit, mask what is beyond `limit` sigma of the model, and fit again until the mask stays.

    The first positions and mask are those of an earlier fit, where it is given.
    """
    weight = stamps.weight
    outliers = first_outliers(stamps, limit) if outliers is None else outliers.copy()
    fit = fit_point_sources(masked(stamps, outliers), start=start)
    # Unlike `clip_and_refit`, many fits run at once: only those whose mask changed are made again.
    for _ in range(_ROUNDS):
        found = remaining_outliers(stamps, weight, fit, limit)
        changed = np.flatnonzero((found != outliers).any(axis=(1, 2)))
        if len(changed) == 0:
            break
        outliers[changed] = found[changed]
        part = masked(stamps.take(changed), outliers[changed])
        fit.put(changed, fit_point_sources(part, start=fit.position[changed]))
    return fit, outliers
