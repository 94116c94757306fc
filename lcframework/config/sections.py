"""The sections of a project file as frozen attrs classes; each attribute is an option with its default and validator.

Comments give the units. The reference that explains every option is ``docs/project_file.md``.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from lcframework.config.survey_bands import USUAL, survey_band
from lcframework.options import at_least, not_negative, one_of, ordered, positive, within
from lcframework.types import is_section, twice_named


def _section_validator(instance: Any, attribute: Any, value: str) -> None:
    if value not in ("auto", "all") and not is_section(value):
        raise ValueError(f'{attribute.name} must be "auto", "all" or a section "[x1:x2,y1:y2]", got {value!r}')


@attrs.frozen
class Project:
    """``[project]``."""

    name: str = "project"
    workdir: str = "."
    database: str = ""


@attrs.frozen
class Frames:
    """``[frames]``."""

    raw_dirs: list[str] = attrs.field(factory=lambda: ["raw"])
    pattern: str = "*.fits"
    hdu_data: int = attrs.field(default=0, validator=not_negative)
    hdu_headers: list[int] = attrs.field(factory=lambda: [0])
    trim_vertical: int = attrs.field(default=0, validator=not_negative)  # pixels
    trim_horizontal: int = attrs.field(default=0, validator=not_negative)  # pixels
    trim_section: str = attrs.field(default="auto", validator=_section_validator)  # where light falls
    exclude: list[str] = attrs.field(factory=list)
    keep_imported: bool = True


@attrs.frozen
class Header:
    """``[header]``."""

    plugin: str = "auto"
    gain: float = attrs.field(default=0.0, validator=not_negative)  # e-/ADU, of frames whose header gives none


@attrs.frozen
class Telescope:
    """``[telescope]``."""

    latitude: float = attrs.field(validator=within(-90, 90))  # degrees
    longitude: float = attrs.field(validator=within(-180, 360))  # degrees, east positive
    elevation: float = 0.0  # metres
    name: str = ""
    imager: str = ""


@attrs.frozen
class Roi:
    """``[roi.NAME]``."""

    ra: float = attrs.field(validator=within(0, 360))  # degrees, ICRS
    dec: float = attrs.field(validator=within(-90, 90))  # degrees
    exclusion_radius: float = attrs.field(default=3.5, validator=not_negative)  # arcsec
    point_sources: dict[str, tuple[float, float]] = attrs.field(factory=dict)  # degrees
    ephemeris: str = "fixed"

    @point_sources.validator
    def _named_for_columns(self, attribute: Any, value: dict[str, tuple[float, float]]) -> None:
        for name in value:
            if not name.isidentifier():
                raise ValueError(
                    f"point_sources: the name {name!r} becomes part of column names: use letters, digits and _"
                )
        if column := twice_named(value):
            raise ValueError(f"point_sources: two of the names give the light curve a column {column}: rename one")


@attrs.frozen
class Reduction:
    """``[reduction]``."""

    plugin: str = "auto"
    dirs: list[str] = attrs.field(factory=lambda: ["calibration"])
    pattern: str = "**/*.fits"


@attrs.frozen
class Background:
    """``[background]``."""

    plugin: str = "sep"
    subtract: bool = True


@attrs.frozen
class Sources:
    """``[sources]``."""

    plugin: str = "sep"


@attrs.frozen
class PlateSolving:
    """``[plate_solving]``."""

    plugin: str | list[str] = "existing"
    retry_failed: bool = False
    pixel_scale: tuple[float, float] = attrs.field(default=(0.0, np.inf), validator=ordered)  # arcsec/pixel
    max_anisotropy: float = attrs.field(default=0.02, validator=positive)
    min_success_fraction: float = attrs.field(default=0.85, validator=within(0, 1))
    search_radius: float = attrs.field(default=1.0, validator=positive)  # degrees
    verify: bool = True  # compare every solution with the catalogue

    @property
    def solvers(self) -> list[str]:
        """The solvers, in the order in which they are tried."""
        return [self.plugin] if isinstance(self.plugin, str) else list(self.plugin)


@attrs.frozen
class Stars:
    """``[stars]``."""

    plugin: str = "gaia"
    strategy: str = attrs.field(default="roi_disk", validator=one_of("roi_disk", "common_footprint", "per_frame"))
    radius: float = attrs.field(default=300.0, validator=positive)  # arcsec
    magnitude: tuple[float, float] = attrs.field(default=(16.0, 20.0), validator=ordered)
    max_astrometric_excess_noise: float = attrs.field(default=3.0, validator=positive)
    min_flux_over_error: float = attrs.field(default=100.0, validator=not_negative)
    min_number: int = attrs.field(default=6, validator=at_least(1))


@attrs.frozen
class Variables:
    """``[variables]``."""

    plugin: str = "none"
    radius: float = attrs.field(default=3.0, validator=positive)  # arcsec
    keep: bool = False  # measure reference stars that are known variables all the same


@attrs.frozen
class Sequence:
    """``[sequence]``."""

    path: str = ""  # the AAVSO's photometry table of a chart
    radius: float = attrs.field(default=3.0, validator=positive)  # arcsec


@attrs.frozen
class Stamps:
    """``[stamps]``."""

    star_size: int = attrs.field(default=24, validator=within(8, 512))  # pixels
    roi_size: int = attrs.field(default=32, validator=within(8, 512))  # pixels
    mask_bad_lines: bool = True
    saturation: float = attrs.field(default=0.0, validator=not_negative)  # in the unit of the raw data
    hot_pixels: str = ""
    noise_correlation: float = attrs.field(default=1.0, validator=at_least(1))  # ratio of variances


@attrs.frozen
class Cosmics:
    """``[cosmics]``."""

    plugin: str = "astroscrappy"


@attrs.frozen
class Selection:
    """A selection on a column: by sigma clipping or by an interval; without either, all rows are selected."""

    sigma_clip: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    between: tuple[float, float] | None = None

    def __attrs_post_init__(self) -> None:
        if self.sigma_clip is not None and self.between is not None:
            raise ValueError("sigma_clip and between exclude each other: keep one")


def _stars_validator(instance: Any, attribute: Any, value: int | list[str]) -> None:
    if isinstance(value, int) and value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, or a list of star names, got {value!r}")
    if isinstance(value, list) and not value:
        raise ValueError(f"{attribute.name} must name at least one star, or be a number, got []")


def _aperture_validator(instance: Any, attribute: Any, value: float) -> None:
    if not (value == 0 or 1 <= value < math.inf):
        raise ValueError(f"{attribute.name} must be a radius of at least 1 pixel, or 0 for PSF fluxes, got {value!r}")


@attrs.frozen
class Psf:
    """``[psf]``."""

    plugin: str = "starred"
    stars: int | list[str] = attrs.field(default=10, validator=_stars_validator)
    exclude: list[str] = attrs.field(factory=list)


@attrs.frozen
class ComparisonStars:
    """``[comparison_stars]``."""

    plugin: str = "nearest"


@attrs.frozen
class Photometry:
    """``[photometry]``."""

    plugin: str = "starred"
    stars: int | list[str] = attrs.field(default=10, validator=_stars_validator)
    exclude: list[str] = attrs.field(factory=list)
    psf_chi2: Selection = attrs.field(factory=lambda: Selection(sigma_clip=4.0))
    aperture: float = attrs.field(default=0.0, validator=_aperture_validator)
    estimator: str = attrs.field(default="combined", validator=one_of("combined", "psf"))


@attrs.frozen
class Normalization:
    """``[normalization]``."""

    plugin: str = "ensemble"
    flux_chi2: Selection = attrs.field(factory=lambda: Selection(sigma_clip=3.0))


_BY_NAME = "auto"


@attrs.frozen
class Calibration:
    """``[calibration]``."""

    plugin: str = "gaia"
    band: str = _BY_NAME  # of the survey; "auto": by the filter's name
    bands: dict[str, str] = attrs.field(factory=dict)

    def band_of(self, frame_band: str) -> str:
        """Return the survey's band that calibrates frames taken in `frame_band`."""
        by_name = survey_band(frame_band) or USUAL
        return self.bands.get(frame_band, by_name if self.band == _BY_NAME else self.band)

    def guesses(self, frame_band: str) -> bool:
        """Return whether neither the user nor the name of `frame_band` says which band of the survey it is."""
        return self.band == _BY_NAME and frame_band not in self.bands and not survey_band(frame_band)


@attrs.frozen
class RoiCutouts:
    """``[roi_cutouts]``."""

    frames: dict[str, tuple[float, float]] = attrs.field(factory=lambda: {"seeing_arcseconds": (0.0, 3.0)})
    normalization: dict[str, tuple[float, float]] = attrs.field(factory=lambda: {"coefficient": (0.1, 10.0)})


@attrs.frozen
class RoiModel:
    """``[roi_model]``."""

    plugin: str = "starred"


@attrs.frozen
class Run:
    """``[run]``."""

    executor: str = "local"
    workers: int = attrs.field(default=0, validator=not_negative)
    device: str = attrs.field(default="auto", validator=one_of("auto", "cpu", "gpu"))
    offline: bool = False
    stages: list[str] = attrs.field(factory=list)  # of plugins, which take part where they are named here
    seconds_per_file: float = attrs.field(default=600.0, validator=not_negative)  # s; 0: no limit


def _requirements(instance: Any, attribute: Any, value: list[str]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in value:
        try:
            Requirement(text)
        except InvalidRequirement:
            raise ValueError(
                f'{attribute.name}: "{text}" is not a package with its versions, such as "lcf-skymapper>=1.2"'
            ) from None


@attrs.frozen
class Plugins:
    """``[plugins]``."""

    disable: list[str] = attrs.field(factory=list)  # packages, or names as `lcf plugins` shows them
    requires: list[str] = attrs.field(factory=list, validator=_requirements)  # such as "lcf-skymapper>=1.2"
    local: bool | list[str] = False  # files beside the project file: true for plugins/*.py


SECTIONS: dict[str, type[Any]] = {
    "project": Project,
    "frames": Frames,
    "header": Header,
    "telescope": Telescope,
    "reduction": Reduction,
    "background": Background,
    "sources": Sources,
    "plate_solving": PlateSolving,
    "stars": Stars,
    "variables": Variables,
    "sequence": Sequence,
    "stamps": Stamps,
    "cosmics": Cosmics,
    "psf": Psf,
    "comparison_stars": ComparisonStars,
    "photometry": Photometry,
    "normalization": Normalization,
    "calibration": Calibration,
    "roi_cutouts": RoiCutouts,
    "roi_model": RoiModel,
    "run": Run,
    "plugins": Plugins,
}
