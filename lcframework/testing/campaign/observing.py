"""The conditions of each frame: time, atmosphere, pointing, and the errors of its header's WCS."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from lcframework.testing.campaign.geometry import airmass, offset_to_sky, sidereal_angle, wrap, zenith
from lcframework.testing.campaign.settings import CampaignSettings

Array = NDArray[np.floating[Any]]

FIRST_DAY = 60310.0  # MJD of 2024-01-01
SEASON = (-60.0, 100.0)  # days from the date at which the target culminates at midnight
HALF_NIGHT = 67.0  # degrees of the Earth's rotation: 4.5 h
LARGEST_HOUR_ANGLE = 55.0  # degrees
# Steps of sequences that cover a range evenly for any number of terms.
GOLDEN = np.array([0.6180339887, 0.7548776662])
OVERHEAD = 90.0  # s between the two exposures of a pair
EXTINCTION = 0.1  # mag / airmass
REFERENCE_COLOUR = 1.2  # BP - RP whose refraction the guiding absorbs
DISTORTION = 0.05  # pixels at the edges, not in the header's WCS


@attrs.frozen(eq=False)
class Conditions:
    """The conditions under which one frame was taken.

    `offset` is the pointing on the sky in arcsec from the target, `aberrations` the telescope's, in waves, at the
    centre of the field; `wcs_shift` (pixels) and `wcs_linear` are the errors of the header's WCS.
    """

    settings: CampaignSettings
    index: int
    mjd_start: float
    zenith_distance: float  # degrees
    parallactic: float  # degrees
    seeing: float  # arcsec, FWHM of the atmosphere's part
    transparency: float  # with extinction
    sky: float  # e-/s per pixel
    gradient: tuple[float, float, float]  # relative: x, y, curvature
    guiding: tuple[float, float]  # shear
    aberrations: tuple[float, float, float, float, float]  # defocus, astigmatism 1 and 2, coma 1 and 2
    offset: tuple[float, float]
    rotation: float  # degrees
    wcs_shift: tuple[float, float]
    wcs_linear: Array  # (2, 2)

    @property
    def name(self) -> str:
        """The frame's file name."""
        return f"{self.settings.name.lower()}_{self.index:04d}.fits"

    @property
    def mjd(self) -> float:
        """Middle of the exposure, MJD (UTC)."""
        return self.mjd_start + 0.5 * self.settings.exptime / 86400.0

    @property
    def airmass(self) -> float:
        """Airmass of the target."""
        return airmass(self.zenith_distance)

    def true_wcs(self) -> WCS:
        """Return the tangent projection of the frame, without the distortion that :meth:`pixels` adds."""
        return self._wcs(np.eye(2), (0.0, 0.0))

    def header_wcs(self) -> WCS:
        """Return the WCS that the frame's header states, with an error of a fraction of a pixel."""
        return self._wcs(np.linalg.inv(np.eye(2) + self.wcs_linear), self.wcs_shift)

    def _wcs(self, inverse: Array, shift: tuple[float, float]) -> WCS:
        settings = self.settings
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [float(v) for v in offset_to_sky(settings.ra, settings.dec, *self.offset)]
        wcs.wcs.crpix = [0.5 * (settings.size + 1) + s for s in shift]
        cos, sin = np.cos(np.radians(self.rotation)), np.sin(np.radians(self.rotation))
        scale = settings.pixel_scale / 3600.0
        wcs.wcs.cd = scale * np.array([[-cos, sin], [sin, cos]]) @ inverse
        wcs.pixel_shape = (settings.size, settings.size)
        wcs.wcs.set()
        return wcs

    def pixels(self, ra: Array, dec: Array, colour: Array) -> tuple[Array, Array]:
        """Return the pixels, 0-based, of light with the colour BP - RP.

        Differential refraction lifts blue light towards the zenith, in proportion to the tangent of the zenith
        distance; the optics' distortion is a smooth 0.05 pixel.
        """
        lift = self.settings.refraction * np.tan(np.radians(self.zenith_distance)) * (REFERENCE_COLOUR - colour)
        angle = np.radians(self.parallactic)
        dec_there = dec + lift * np.cos(angle) / 3600.0
        ra_there = ra + lift * np.sin(angle) / 3600.0 / np.cos(np.radians(dec))
        x, y = self.true_wcs().all_world2pix(ra_there, dec_there, 0)
        centre = 0.5 * (self.settings.size - 1)
        u, v = (x - centre) / centre, (y - centre) / centre
        reach = DISTORTION * (self.settings.wcs_error > 0)
        return x + reach * (u * u - 0.5 * u * v), y + reach * (0.7 * v * v + 0.4 * u * u)


def observe(settings: CampaignSettings, index: int) -> Conditions:
    """Return the conditions of frame `index`: a function of only the settings and the index."""
    rng = settings.random("conditions", index)
    mjd_start, hour_angle = _moment(settings, index)
    distance, parallactic = zenith(hour_angle, settings.dec, settings.latitude)
    bad, cloudy = (settings.random("weather").uniform(size=2) + index * GOLDEN) % 1.0
    seeing = settings.seeing[0] + (settings.seeing[1] - settings.seeing[0]) * bad**1.2
    clouds = settings.transparency[1] - (settings.transparency[1] - settings.transparency[0]) * cloudy**2.5
    mass = airmass(distance)
    dark = 10 ** (0.4 * (settings.zeropoint - settings.sky_brightness)) * settings.pixel_scale**2
    gradient = rng.normal(0.0, settings.sky_gradient / 2, 2), abs(rng.normal(0.0, settings.sky_gradient / 4))
    guiding = rng.normal(0.0, settings.guiding / np.sqrt(2), 2)
    aberrations = rng.normal([0.22, 0.05, -0.05, 0.06, 0.0], 0.05)
    offset = rng.normal(0.0, settings.dither / np.sqrt(2), 2).clip(-2.0 * settings.dither, 2.0 * settings.dither)
    edge = 0.5 * settings.size
    return Conditions(
        settings=settings,
        index=index,
        mjd_start=mjd_start,
        zenith_distance=distance,
        parallactic=parallactic,
        seeing=float(seeing),
        transparency=float(clouds * 10 ** (-0.4 * EXTINCTION * (mass - 1.0))),
        sky=float(dark * mass**0.5 * (1.0 + 1.5 * rng.uniform() ** 3)),
        gradient=(float(gradient[0][0]), float(gradient[0][1]), float(gradient[1])),
        guiding=(float(guiding[0]), float(guiding[1])),
        aberrations=tuple(float(a) for a in aberrations),  # type: ignore[arg-type]
        offset=(float(offset[0]), float(offset[1])),
        rotation=float(rng.normal(0.0, settings.rotation)),
        wcs_shift=tuple(rng.normal(0.0, settings.wcs_error, 2).clip(-0.4, 0.4).tolist()),
        wcs_linear=rng.normal(0.0, 0.5 * settings.wcs_error / edge, (2, 2)),
    )


def _moment(settings: CampaignSettings, index: int) -> tuple[float, float]:
    """Return the start of an exposure (MJD) and its mid hour angle (degrees): pairs of frames, in dark hours."""
    pair, second = divmod(index, 2)
    midnight_fraction = (-settings.longitude / 360.0) % 1.0
    first_midnight = FIRST_DAY + midnight_fraction
    behind = (settings.ra - sidereal_angle(first_midnight, settings.longitude)) % 360.0
    opposition = np.floor(first_midnight + behind / 0.9856473)
    day = pair * settings.cadence - SEASON[0]
    length = SEASON[1] - SEASON[0]
    season, day = divmod(day, length)
    midnight = opposition + np.floor(365.25 * season) + np.floor(day + SEASON[0]) + midnight_fraction
    at_midnight = wrap(sidereal_angle(midnight, settings.longitude) - settings.ra)
    low = max(-LARGEST_HOUR_ANGLE, at_midnight - HALF_NIGHT)
    high = min(LARGEST_HOUR_ANGLE, at_midnight + HALF_NIGHT)
    low, high = min(low, high), max(low, high)
    part = (settings.random("night").uniform() + pair * GOLDEN[0]) % 1.0
    hour_angle = low + (high - low) * part
    degrees_a_day = 360.98564736629
    start = midnight + (hour_angle - at_midnight) / degrees_a_day
    start += second * (settings.exptime + OVERHEAD) / 86400.0
    middle = start + 0.5 * settings.exptime / 86400.0
    return float(start), wrap(sidereal_angle(middle, settings.longitude) - settings.ra)
