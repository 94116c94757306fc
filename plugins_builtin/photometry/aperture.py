"""The photometry "aperture": reference stars in discs, corrected to total fluxes by the frame's own PSF."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import above, at_least, within
from lcframework.types import Discs, Floats, Kernels, PhotometryResult, Stamps
from plugins_builtin.engine.stars.chunks import measure_in_chunks
from plugins_builtin.engine.stars.clipped_fit import prepared
from plugins_builtin.engine.stars.discs import DiscLight, measure_discs


def _ring(instance: Any, attribute: Any, value: tuple[float, float]) -> None:
    """Check the radii of the sky."""
    inner, outer = value
    if not (0 <= inner < np.inf and (outer == 0 or inner < outer < np.inf)):
        raise ValueError(
            f"{attribute.name} must be [inner, outer] in FWHM with inner below outer, 0 for the disc's edge and for "
            f"that of the stamp; got {list(value)!r}"
        )


@attrs.frozen
class AperturePhotometry:
    """Star fluxes in discs above the local sky, corrected to total fluxes by the growth curve of the frame's PSF.

    The PSF places the disc, fills unusable pixels and stands for the light outside; its shape decides nothing else. A
    region's sources must be measured alike: by the ROI model `aperture`.
    """

    results_version: ClassVar[int] = 1
    joint: ClassVar[bool] = False

    radius: float = attrs.field(default=1.5, validator=within(0.5, 10.0))  # FWHM of the frame's PSF
    sky: tuple[float, float] = attrs.field(default=(0.0, 0.0), validator=_ring)  # FWHM; 0: the disc's, the stamp's edge
    recentre: bool = True  # false: discs lie where stars are expected
    position_prior: float = attrs.field(default=1.0, validator=above(0.0, finite=True))  # pixels
    sigma_clip: float = attrs.field(default=5.0, validator=at_least(2.0))  # sigma; single pixels

    @property
    def discs(self) -> Discs:
        """How the discs lie."""
        return Discs(self.radius, self.sky, self.recentre, self.position_prior, self.sigma_clip)

    def measure(self, stamps: Stamps, kernels: Kernels) -> PhotometryResult:
        """Return each stamp's flux and position.

        The covariance holds the photons', the sky's and the read-out's noise in the disc, and the error of the sky's
        level. What is wrong with the PSF is common to the stars of a frame, and so a part of its coefficient; where it
        is not, the normalization measures it.

        Raises
        ------
        UnusableInput
            Where stamps and kernels do not belong together.
        """

        def measure(part: slice) -> PhotometryResult:
            return _result(
                measure_discs(prepared(stamps, kernels, part, self.position_prior, pedestal=True), self.discs)
            )

        return measure_in_chunks(stamps, kernels, measure)


def _result(light: DiscLight) -> PhotometryResult:
    """Return what was measured; nan where the status is not usable."""
    failed = np.array([not s.usable for s in light.status], bool)

    def known(values: Floats) -> Floats:
        return np.where(failed.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)

    return PhotometryResult(
        flux=known(light.flux),
        x=known(light.position[:, 0]),
        y=known(light.position[:, 1]),
        background=known(light.sky),
        covariance=known(light.covariance),
        reduced_chi2=known(light.reduced_chi2),
        status=light.status,
        model=np.where(failed[:, None, None], 0.0, light.model),
        outliers=light.outliers,
    )


@hookimpl
def lcf_photometry() -> dict[str, type]:
    """Offer the photometry ``aperture``."""
    return {"aperture": AperturePhotometry}
