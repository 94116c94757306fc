"""Stamps with their kernels, and the fluxes of their stars."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types.arrays import Bools, Floats
from lcframework.types.fit_status import FitStatus


@attrs.frozen(eq=False)
class Stamps:
    """Stamps, one for each measurement.

    A joint photometry plugin gets all epochs of one star; any other plugin gets any mixture of stars and frames.
    """

    data: Floats  # (n, ny, nx) e-/s
    noise: Floats  # (n, ny, nx) one sigma
    mask: Bools  # (n, ny, nx)
    offset: Floats  # (n, 2) expected (x, y) of the star from the stamp's centre, pixels
    photon_variance: Floats = attrs.field()  # (n,) (e-/s)^2 in `noise` squared per e-/s of light in `data`; 0: unknown

    aperture: float = 0.0  # pixels; light in this radius that the PSF misses is added to the star; 0: PSF fluxes
    # (n, d) pixels, increasing; the residual light in discs of these radii is measured beside the flux; d may be 0
    radii: Floats = attrs.field()

    @photon_variance.default
    def _unknown(self) -> Floats:
        return np.zeros(len(self.data))

    @radii.default
    def _no_discs(self) -> Floats:
        return np.zeros((len(self.data), 0))

    def __len__(self) -> int:
        """Return the number of stamps."""
        return len(self.data)


@attrs.frozen(eq=False)
class Kernels:
    """One kernel for each stamp, as `PSF` defines them."""

    values: Floats  # (n, m, m), narrow PSFs, sum 1
    subsampling_factor: int
    target_fwhm: float  # small pixels; 0: full PSFs
    misfit: Floats | None = None  # (n, r) of each stamp's frame, as `PSF.misfit`; None: unknown


@attrs.frozen(eq=False)
class PhotometryResult:
    """Fluxes and positions of the stars in stamps."""

    flux: Floats  # (n,) e-/s
    x: Floats  # (n,) from the stamp's centre, pixels
    y: Floats  # (n,)
    background: Floats  # (n,) e-/s per pixel; 0 where none is fitted
    covariance: Floats  # (n, 3, 3) of (flux, x, y), background marginalised
    reduced_chi2: Floats  # (n,)
    status: tuple[FitStatus, ...]
    model: Floats  # (n, ny, nx)
    outliers: Bools  # (n, ny, nx)
    # (n, d) e-/s that the PSF misses in the discs of `Stamps.radii`, each above the mean outside it, and the
    # covariance (n, d, d) of these sums; d = 0 where none were asked for, or where the plugin can't measure them
    residual_light: Floats = attrs.field()
    residual_covariance: Floats = attrs.field()

    @residual_light.default
    def _no_sums(self) -> Floats:
        return np.zeros((len(self.flux), 0))

    @residual_covariance.default
    def _no_covariance(self) -> Floats:
        return np.zeros((len(self.flux), 0, 0))

    def with_variance(self, ratio: float) -> PhotometryResult:
        """Return the same with so many times its variances."""
        return attrs.evolve(
            self, covariance=self.covariance * ratio, residual_covariance=self.residual_covariance * ratio
        )
