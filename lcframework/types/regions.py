"""Calibrated cutouts of a region of interest, and the light curves that a model fits to them."""

from __future__ import annotations

import attrs
import numpy as np

from lcframework.types.arrays import Bools, Floats
from lcframework.types.discs import Discs
from lcframework.types.doubts import Doubt
from lcframework.types.estimators import Estimators
from lcframework.types.fit_status import FitStatus
from lcframework.types.photometry import Kernels


@attrs.frozen(eq=False)
class PointSources:
    """The point sources of a region of interest."""

    names: tuple[str, ...]
    offset: Floats  # (k, 2) (xi, eta) arcsec from the ROI's position


@attrs.frozen(eq=False)
class Cutouts:
    """All epochs of one region in one instrument and band, normalised by the frames' coefficients.

    `transform` maps sky to stamp pixels: ``(x, y) = T[:, :2] @ (xi, eta) + T[:, 2]`` with x, y 0-based in the stamp;
    it holds the WCS and the registration.
    """

    data: Floats  # (e, ny, nx) e-/s
    noise: Floats  # (e, ny, nx)
    mask: Bools  # (e, ny, nx)
    kernels: Kernels  # e of them
    transform: Floats  # (e, 2, 3) pixels per arcsec, pixels
    registration_covariance: Floats  # (e, 2, 2) pixels^2, of the constant part of `transform`
    mjd: Floats  # (e,) UTC, mid-exposure
    seeing: Floats  # (e,) arcsec
    airmass: Floats  # (e,) nan where unknown
    normalization_error: Floats  # (e,) relative
    zenith: Floats = attrs.field()  # (e, 2) tan z times the zenith's direction (xi, eta); nan where unknown
    psf_precision: Floats = attrs.field(factory=lambda: np.zeros((0, 0, 0)))  # (e, n, n) of `PSF`, 0 where not known
    psf_residual: Floats = attrs.field(factory=lambda: np.zeros((0, 0, 0)))  # (e, n, n), `mean_residual` of `PSF`
    aperture: float = 0.0  # pixels; light in this radius that the PSFs miss is added to the sources; 0: PSF fluxes
    # how the PSF flux of a source and those with the light in discs become one, as the comparison stars' are; None: PSF
    estimators: Estimators | None = None
    # how the comparison stars are measured, where that is in discs alone; for models that are `AppliesDiscs`
    discs: Discs | None = None

    @zenith.default
    def _unknown(self) -> Floats:
        return np.full((len(self.data), 2), np.nan)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.data)


@attrs.frozen(eq=False)
class HighResolution:
    """An image on small pixels and its position: ``(x, y) = transform[:, :2] @ (xi, eta) + transform[:, 2]``."""

    background: Floats  # (m, m) e-/s per small pixel, without point sources
    model: Floats  # (m, m) the background plus the mean point sources as Gaussians of `target_fwhm`
    transform: Floats  # (2, 3) small pixels per arcsec, small pixels


@attrs.frozen(eq=False)
class RoiFit:
    """Light curves of a region's point sources."""

    flux: Floats  # (e, k) e-/s
    covariance: Floats  # (e, k, k) random, from the noise of an epoch's pixels and of its PSF
    common_covariance: Floats  # (e, k, k) of errors common to all epochs of a source; not to be added to `covariance`
    offset: Floats  # (k, 2) fitted (xi, eta) arcsec
    offset_covariance: Floats  # (2k, 2k) arcsec^2, in the order xi_1, eta_1, xi_2, ...
    translation: Floats  # (e, 2) pixels, beyond `transform`
    high_resolution: HighResolution
    model: Floats  # (e, ny, nx)
    outliers: Bools  # (e, ny, nx)
    reduced_chi2: Floats  # (e,)
    status: FitStatus
    loss_history: Floats = attrs.field(factory=lambda: np.zeros(0))
    doubts: tuple[Doubt, ...] = ()  # what the model itself doubts of its fluxes; not stored with them

    def with_variance(self, ratio: float) -> RoiFit:
        """Return the same with so many times its variances."""
        return attrs.evolve(
            self, covariance=self.covariance * ratio, common_covariance=self.common_covariance * ratio,
            offset_covariance=self.offset_covariance * ratio,
        )  # fmt: skip
