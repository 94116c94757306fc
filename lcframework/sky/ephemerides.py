"""Positions of sun, moon and target at a time of observation, and barycentric times.

The IAU's routines (ERFA) are called directly. For one time, astropy's coordinate frames take fifty times longer; they
also read sixty years of Earth orientation data first, which takes a second in each process.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import astropy.units as u
import attrs
import erfa
import numpy as np
from astropy.coordinates import EarthLocation
from astropy.time import Time
from astropy.utils import iers
from astropy.utils.exceptions import AstropyWarning

from lcframework.types import Floats

# Other code that uses the Earth's orientation gets the tables that come with astropy; a run never waits for a server.
iers.conf.auto_download = False
iers.conf.auto_max_age = None  # old predictions are better than none
iers.conf.iers_degraded_accuracy = "ignore"

#: Seconds. The true value is below 0.9, in which the Earth turns by 0.004 degrees.
_UT1_MINUS_UTC = 0.0


@contextlib.contextmanager
def _of_odd_times() -> Iterator[None]:
    """Silence warnings about times before UTC or outside the tables of the Earth's rotation; such times are flagged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        warnings.simplefilter("ignore", AstropyWarning)
        yield


@attrs.frozen
class Site:
    """The geographic position of a telescope."""

    latitude: float  # degrees
    longitude: float  # degrees, east positive
    elevation: float  # metres

    @property
    def location(self) -> EarthLocation:
        """The position as an astropy ``EarthLocation``."""
        return EarthLocation.from_geodetic(self.longitude * u.deg, self.latitude * u.deg, self.elevation * u.m)


@attrs.frozen
class SkyState:
    """Sun and moon at one time."""

    sun_altitude: float | None  # degrees
    moon_phase: float  # illuminated fraction


@attrs.frozen
class TargetState:
    """Position and barycentric time of a target at one time."""

    bjd_tdb: float
    airmass: float | None
    altitude: float | None  # degrees
    azimuth: float | None  # degrees
    degrees_to_moon: float


@_of_odd_times()
def sky_state(mjd: float, site: Site | None) -> SkyState:
    """Return the sun's altitude (None without a site) and the moon's illuminated fraction; altitude to 0.01 degrees."""
    time = Time(mjd, format="mjd", scale="utc")
    here, up = _observer(time, site)
    sun = -erfa.epv00(*_parts(time.tt))[0]["p"] - here
    moon = erfa.moon98(*_parts(time.tt))["p"] - here
    altitude = 90.0 - float(np.degrees(erfa.sepp(up, sun))) if site is not None else None
    # At the moon, between the directions to the sun and to us.
    phase_angle = erfa.sepp(sun - moon, -moon)
    return SkyState(altitude, float((1 + np.cos(phase_angle)) / 2))


@_of_odd_times()
def target_states(
    mjd: Sequence[float], ra: float | Floats, dec: float | Floats, site: Site | None
) -> list[TargetState]:
    """Return a target's barycentric times and, where a site is given, its positions above the horizon.

    `ra` and `dec` are its place in degrees (ICRS), or its places (n,) at each of the times. Barycentric times are those
    of light from beyond the solar system: of a target within it, they are the direction's.

    Without a site the light travel time is that to the Earth's centre, with an error below 21 ms. Altitude and azimuth
    do not include refraction; they are accurate to 0.005 degrees.
    """
    if len(mjd) == 0:
        return []
    time = Time(np.asarray(mjd, float), format="mjd", scale="utc", location=site.location if site else None)
    target = erfa.s2c(np.radians(ra), np.radians(dec))
    here, _ = _observer(time, site)
    from_barycentre = erfa.epv00(*_parts(time.tt))[1]["p"] + here
    bjd = time.tdb.jd + np.sum(from_barycentre * target, axis=-1) * erfa.AULT / erfa.DAYSEC
    to_moon = np.degrees(erfa.sepp(erfa.moon98(*_parts(time.tt))["p"] - here, target))
    if site is None:
        return [TargetState(float(b), None, None, None, float(m)) for b, m in zip(bjd, to_moon, strict=True)]
    geographic = (*np.radians([site.longitude, site.latitude]), site.elevation)
    azimuth, from_zenith, *_ = erfa.atco13(
        np.radians(ra), np.radians(dec), 0, 0, 0, 0, *_parts(time), _UT1_MINUS_UTC, *geographic, 0, 0, 0, 0, 0, 1
    )
    altitudes, azimuths = 90 - np.degrees(from_zenith), np.degrees(azimuth)
    return [
        TargetState(float(b), airmass_of(float(a)), float(a), float(z), float(m))
        for b, a, z, m in zip(bjd, altitudes, azimuths, to_moon, strict=True)
    ]


def _parts(time: Time) -> tuple[Any, Any]:
    """Return a time as the two-part Julian date that ERFA takes."""
    return time.jd1, time.jd2


def _observer(time: Time, site: Site | None) -> tuple[Any, Any]:
    """Return a site's position (au from the Earth's centre, along the ICRS axes), and the direction of its zenith."""
    if site is None:
        return np.zeros(3), None
    longitude, latitude = np.radians([site.longitude, site.latitude])
    to_earth = erfa.c2t06a(*_parts(time.tt), time.jd1, time.jd2 + _UT1_MINUS_UTC / erfa.DAYSEC, 0.0, 0.0)
    here = erfa.gd2gc(1, longitude, latitude, site.elevation) / erfa.DAU
    return erfa.trxp(to_earth, here), erfa.trxp(to_earth, erfa.s2c(longitude, latitude))


def airmass_of(altitude: float) -> float | None:
    """Return the airmass of a true altitude, without refraction, in degrees; None below the horizon.

    Young 1994 (Applied Optics 33, 1108), his equation for the true zenith distance; it is 31.7 at the horizon. Formulae
    for the apparent altitude, as those of Kasten and Young 1989 and Pickering 2002, are higher there: refraction lifts
    what is truly at the horizon by half a degree.
    """
    if altitude <= 0:
        return None
    c = np.sin(np.radians(altitude))  # the cosine of the zenith distance
    above = 1.002432 * c**2 + 0.148386 * c + 0.0096467
    return float(above / (c**3 + 0.149864 * c**2 + 0.0102963 * c + 0.000303978))
