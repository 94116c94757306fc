"""The ROI model `starred`: point sources and one starlet-regularised pixelated background, STARRED's objective."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
import numpy as np

from lcframework.hookspecs import hookimpl
from lcframework.options import not_negative, one_of
from lcframework.types import Floats, RoiFit, UnusableInput
from plugins_builtin.engine.roi.options import RoiModel, astrometry, clip_threshold

if TYPE_CHECKING:
    from plugins_builtin.engine.roi.geometry import Epochs


def _path(value: Any) -> Path | None:
    return Path(value) if value not in (None, "") else None


@attrs.frozen
class Starred(RoiModel):
    """STARRED's model of a region, started from a joint fit with a Sersic galaxy and driven to convergence.

    A first step fits fluxes and translations alone, a second everything. Translations are tied to the stars'
    registration, and skies to the joint fit's. Point sources are placed where they fall; STARRED interpolates them.
    STARRED: Michalewicz et al. 2023 (JOSS 8, 5340); Millon et al. 2024 (AJ 168, 55).
    """

    results_version: ClassVar[int] = 8

    fix_astrometry: bool | float = attrs.field(default=False, validator=astrometry)  # true, false, or sigma in pixels
    background: bool = True  # false: point sources alone
    starting_background: Path | None = attrs.field(default=None, converter=_path)  # .fits or .npy, as this model writes
    optimize_background: bool = True
    iterations_translations: int = attrs.field(default=300, validator=not_negative)  # an upper bound
    iterations_all: int = attrs.field(default=2000, validator=not_negative)  # an upper bound
    regularization_scales: float = attrs.field(default=1.0, validator=not_negative)
    regularization_high_frequency: float = attrs.field(default=1.0, validator=not_negative)
    regularization_positivity: float = attrs.field(default=100.0, validator=not_negative)
    regularization_point_sources: float = attrs.field(default=0.01, validator=not_negative)
    regularization_flux_scatter_first: float = attrs.field(default=1.0, validator=not_negative)  # first step
    regularization_flux_scatter: float = attrs.field(default=0.0, validator=not_negative)  # second step
    noise_propagation: str = attrs.field(default="slit", validator=one_of("slit", "exact"))  # of the starlets' weights
    # interpolated with the background, as STARRED does, or exact
    point_sources: str = attrs.field(default="exact", validator=one_of("exact", "interpolated"))
    sky_prior: float = attrs.field(default=0.05, validator=not_negative)  # noises of a pixel; 0: none, as in STARRED
    differential_refraction: bool = False  # let each source's colour move it along the zenith's direction
    clip: float = attrs.field(default=5.0, validator=clip_threshold)  # sigma; 0: no pixel is clipped

    @property
    def combines_estimates(self) -> bool:
        """Whether point sources are all that is modelled, so that residual light is theirs."""
        return not self.background

    def for_moving_target(self) -> Self:
        """Return the model of point sources alone: a background would move."""
        return attrs.evolve(self, background=False)

    def _fit(self, epochs: Epochs, offset: Floats) -> RoiFit:
        from plugins_builtin.engine.roi.geometry import squared
        from plugins_builtin.engine.roi.penalties import Strengths
        from plugins_builtin.engine.roi.result import starred_result
        from plugins_builtin.engine.roi.starred_fit import StarredSettings, fit_starred

        shape, epochs = epochs.data.shape, squared(epochs)
        size = epochs.shape[0] * epochs.subsampling
        settings = StarredSettings(
            background=self.background,
            starting_background=self._start(size) if self.background else None,
            optimize_background=self.optimize_background,
            fix_astrometry=self.fix_astrometry,
            iterations_translations=self.iterations_translations,
            iterations_all=self.iterations_all,
            strengths=Strengths(
                scales=self.regularization_scales,
                high_frequency=self.regularization_high_frequency,
                positivity=self.regularization_positivity,
                point_sources=self.regularization_point_sources,
                flux_scatter=self.regularization_flux_scatter,
            ),
            flux_scatter_first=self.regularization_flux_scatter_first,
            clip=self.clip or None,
            exact=self._exact(epochs.fwhm),
            refraction=self.differential_refraction,
            slit=self.noise_propagation == "slit",
            sky_prior=self.sky_prior,
        )
        solution = fit_starred(epochs, offset, settings)
        return starred_result(solution, shape)

    def _exact(self, fwhm: float) -> bool:
        """Return whether point sources are placed without interpolation."""
        # A full PSF has no target Gaussian that small pixels could sample.
        return fwhm == 0 or self.point_sources == "exact"

    def _start(self, size: int) -> Floats | None:
        """Return the background to start from, (size, size)."""
        path = self.starting_background
        if path is None:
            return None
        try:
            image = _read_image(path)
        except (OSError, ValueError, TypeError) as error:
            raise UnusableInput(
                f"[roi_model.starred] starting_background {path} can't be read ({error}); "
                "give a .fits or .npy image, such as the _background.fits of an earlier run, or leave it empty"
            ) from error
        if image.size == size * size:
            image = image.reshape(size, size)  # STARRED keeps it flat
        if image.shape != (size, size):
            raise UnusableInput(
                f"[roi_model.starred] starting_background {path} is {image.shape} but the stamps ask for "
                f"{size} x {size} small pixels (roi_size times the PSF's subsampling factor)"
            )
        if not np.isfinite(image).all():
            raise UnusableInput(f"[roi_model.starred] starting_background {path} holds values that are not finite")
        return image


def _read_image(path: Path) -> Floats:
    """Return the image in a .npy or a FITS file."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path), float)
    from astropy.io import fits

    return np.asarray(fits.getdata(path), float)


@hookimpl
def lcf_roi_models() -> dict[str, type[Any]]:
    """Offer the ROI model ``starred``."""
    return {"starred": Starred}
