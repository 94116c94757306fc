"""The settings of a simulated campaign; they are stored with the truth, so that a campaign can be continued."""

from __future__ import annotations

import zlib
from typing import Any

import attrs
import numpy as np

from lcframework.options import not_negative, one_of, positive, whole_number

TARGETS = ("quad", "double", "single")
CALIBRATIONS = ("file", "gaia")


def _within(low: float, high: float) -> Any:
    def check(instance: Any, attribute: Any, value: tuple[float, float]) -> None:
        if not low <= value[0] <= value[1] <= high:
            raise ValueError(f"{attribute.name} must be (least, most) within {low} to {high}, got {value}")

    return check


def _pair(value: Any) -> tuple[float, float]:
    return (float(value[0]), float(value[1]))


def _range(default: tuple[float, float], low: float, high: float) -> Any:
    return attrs.field(default=default, converter=_pair, validator=_within(low, high))


def _count(default: int, most: int | None = None) -> Any:
    return attrs.field(default=default, validator=whole_number(0, most))


def _amount(default: float) -> Any:
    return attrs.field(default=default, converter=float, validator=not_negative)


def _positive(default: float) -> Any:
    return attrs.field(default=default, converter=float, validator=positive)


@attrs.frozen
class CampaignSettings:
    """Everything that a simulated campaign depends on, except the number of frames.

    Frame `i` depends only on the settings and `i`, not on the number of frames.
    """

    seed: int = 1
    name: str = "QUAD"  # of the region of interest
    ra: float = 150.1137  # degrees, ICRS, of the region of interest
    dec: float = -28.3052  # degrees
    size: int = attrs.field(default=1200, validator=whole_number(200))
    pixel_scale: float = _positive(0.21)  # arcsec / pixel
    exptime: float = _positive(320.0)  # s
    gain: float = _positive(2.5)  # e- / ADU
    read_noise: float = _amount(5.5)  # e-
    saturation: float = attrs.field(default=60000.0, converter=float, validator=attrs.validators.lt(65000.0))  # ADU
    pedestal: float = _amount(310.0)  # ADU
    zeropoint: float = 24.6  # AB magnitude of 1 e-/s at transparency 1
    band: str = "r"  # the header's FILTER
    telescope: str = "VST"
    instrument: str = "OmegaCAM"
    latitude: float = -24.6272  # degrees, north positive
    longitude: float = -70.4042  # degrees, east positive
    elevation: float = 2635.0  # m

    target: str = attrs.field(default="quad", validator=one_of(*TARGETS))
    lens_galaxies: int = _count(1, most=2)  # under the target's images
    galaxy_offset: tuple[float, float] = attrs.field(default=(0.0, 0.0), converter=_pair)  # arcsec east, north
    target_motion: tuple[float, float] = attrs.field(default=(0.0, 0.0), converter=_pair)  # arcsec/h east, north
    variation: float = _amount(1.0)  # 1: the images vary by 0.1 mag or so; 0: constant
    stars: int = _count(28)  # bright enough to be used, and not saturated
    saturated_stars: int = _count(3)
    faint_stars: int = _count(60)
    field_galaxies: int = _count(12)
    variable_stars: int = _count(0)  # how many of `stars` vary
    variable_amplitude: float = _amount(0.1)  # mag, of their sine
    double_stars: int = _count(0)  # with a companion 0.9 arcsec away, a third as bright, that is not in the catalogue
    mimic_galaxies: int = _count(0)  # compact galaxies that are stars in the catalogue
    edge_stars: int = _count(0)  # 1.5 arcsec from the frame's edge, as far as it is not dithered or rotated
    bright_neighbours: int = _count(0)  # beside the target
    neighbour_magnitude: float = 13.0  # saturated
    neighbour_distance: float = _positive(6.0)  # arcsec
    proper_motions: bool = True

    cadence: float = _positive(4.0)  # days from one pair of frames to the next
    seeing: tuple[float, float] = _range((0.7, 1.6), 0.3, 5.0)  # arcsec, FWHM of the atmosphere's part
    transparency: tuple[float, float] = _range((0.55, 1.0), 0.01, 1.0)  # of the clouds
    sky_brightness: float = 20.7  # AB mag / arcsec^2 on a dark night
    sky_gradient: float = _amount(0.04)  # relative, centre to edge
    dither: float = _amount(10.0)  # arcsec, rms
    rotation: float = _amount(0.2)  # degrees, rms
    psf_varies: bool = True  # over the field
    field_aberrations: float = _amount(0.5)  # how much: 0.5 changes the peak by 4 % in good seeing, 1 is strong
    defocus: float = _amount(0.0)  # waves, rms over the pupil, beyond the usual 0.2; 1: a ring of 0.7 arcsec radius
    guiding: float = _amount(0.02)  # rms ellipticity, a frame
    wcs_error: float = _amount(0.15)  # pixels, rms
    refraction: float = _amount(0.01)  # arcsec a magnitude of BP - RP at a zenith distance of 45 degrees

    noise: bool = True
    cosmic_rays: float = _amount(60.0)  # a frame of 1200 x 1200 pixels
    bad_columns: int = _count(1)
    hot_pixels: int = _count(0)
    calibration: str = attrs.field(default="file", validator=one_of(*CALIBRATIONS))  # for project.toml

    def random(self, what: str, *index: int) -> np.random.Generator:
        """Return the generator of an independent stream, so that one setting does not change other random numbers."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode()), *index])
