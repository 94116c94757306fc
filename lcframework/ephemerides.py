"""Where sun, moon and target stood, and barycentric times, by astropy with its bundled tables (no download)."""

from __future__ import annotations

import astropy.units as u
import attrs
import numpy as np
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

# Earth-orientation data come with astropy's own package; a run never waits for a server.
iers.conf.auto_download = False
iers.conf.iers_degraded_accuracy = "ignore"


@attrs.frozen
class Site:
    """A telescope's place on Earth."""

    latitude: float  # degrees
    longitude: float  # degrees, east positive
    elevation: float  # metres

    @property
    def location(self) -> EarthLocation:
        """The place as astropy has it."""
        return EarthLocation.from_geodetic(self.longitude * u.deg, self.latitude * u.deg, self.elevation * u.m)


@attrs.frozen
class SkyState:
    """Sun and moon at a moment."""

    sun_altitude: float | None  # degrees
    moon_phase: float  # illuminated fraction


@attrs.frozen
class TargetState:
    """A target at a moment."""

    bjd_tdb: float
    airmass: float | None
    altitude: float | None  # degrees
    azimuth: float | None  # degrees
    degrees_to_moon: float


def sky_state(mjd: float, site: Site | None) -> SkyState:
    """Return the sun's altitude (None without a site) and the moon's illuminated fraction."""
    time = Time(mjd, format="mjd", scale="utc")
    location = site.location if site else None
    sun, moon = get_body("sun", time, location), get_body("moon", time, location)
    phase_angle = np.arctan2(
        sun.distance * np.sin(sun.separation(moon, origin_mismatch="ignore")),
        moon.distance - sun.distance * np.cos(sun.separation(moon, origin_mismatch="ignore")),
    )
    altitude = float(sun.transform_to(AltAz(obstime=time, location=location)).alt.deg) if location is not None else None
    return SkyState(altitude, float((1 + np.cos(phase_angle)) / 2))


def target_state(mjd: float, ra: float, dec: float, site: Site | None) -> TargetState:
    """Return a target's barycentric time and, given a site, its place in the sky.

    Without a site the light travel time is that to the Earth's centre, within 21 ms.
    """
    target = SkyCoord(ra * u.deg, dec * u.deg)
    location = site.location if site else EarthLocation.from_geocentric(0, 0, 0, u.m)
    time = Time(mjd, format="mjd", scale="utc", location=location)
    bjd = float((time.tdb + time.light_travel_time(target)).jd)
    moon = get_body("moon", time, location if site else None)
    to_moon = float(moon.separation(target, origin_mismatch="ignore").deg)
    if site is None:
        return TargetState(bjd, None, None, None, to_moon)
    horizontal = target.transform_to(AltAz(obstime=time, location=location))
    altitude = float(horizontal.alt.deg)
    airmass = _airmass(altitude) if altitude > 0 else None
    return TargetState(bjd, airmass, altitude, float(horizontal.az.deg), to_moon)


def _airmass(altitude: float) -> float:
    """Return the airmass of a true altitude in degrees (Pickering 2002)."""
    return float(1.0 / np.sin(np.radians(altitude + 244.0 / (165.0 + 47.0 * altitude**1.1))))
