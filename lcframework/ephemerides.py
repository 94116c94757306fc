"""Where sun, moon and target stood, and barycentric times, by astropy with its bundled tables (no download)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence

import astropy.units as u
import attrs
import erfa
import numpy as np
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers
from astropy.utils.exceptions import AstropyWarning

from lcframework.types import UnusableInput

# Earth-orientation data come with astropy's own package; a run never waits for a server.
iers.conf.auto_download = False
iers.conf.auto_max_age = None  # old predictions are better than none
iers.conf.iers_degraded_accuracy = "ignore"


#: MJD of 1900 and of 2100: the ephemerides hold between them, and no frame was taken outside.
EARLIEST, LATEST = 15_020.0, 88_069.0
#: MJD of 1972, before which there was no UTC as it is now.
UTC_BEGAN = 41_317.0


def check_time(mjd: float) -> None:
    """Refuse a time that no frame can have.

    Raises
    ------
    UnusableInput
        Saying what the number looks like.
    """
    if EARLIEST <= mjd <= LATEST:
        return
    looks = ""
    if EARLIEST <= mjd - 2_400_000.5 <= LATEST:
        looks = f"; it looks like a Julian date, and would be MJD {mjd - 2_400_000.5:.5f}"
    elif EARLIEST <= mjd / 86_400.0 + 40_587.0 <= LATEST and mjd > 1e8:
        looks = f"; it looks like seconds since 1970, and would be MJD {mjd / 86_400.0 + 40_587.0:.5f}"
    raise UnusableInput(
        f"its time, MJD {mjd:.10g}, lies outside 1900 to 2100{looks}. Name the right keyword by time_keyword in "
        "[header.fits], or correct the header parser"
    )


def time_is_odd(mjd: float) -> bool:
    """Whether a time is possible but strange: before UTC began, or yet to come."""
    return mjd < UTC_BEGAN or mjd > Time.now().mjd + 1.0


@contextlib.contextmanager
def _of_odd_times() -> Iterator[None]:
    """Keep quiet of years before UTC or tables of the Earth's rotation: such times are flagged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        warnings.simplefilter("ignore", AstropyWarning)
        yield


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


@_of_odd_times()
def sky_state(mjd: float, site: Site | None) -> SkyState:
    """Return the sun's altitude (None without a site) and the moon's illuminated fraction.

    From the IAU's routines themselves (ERFA): astropy's frames around them take fifty times longer for one moment. The
    altitude is good to 0.01 degrees: aberration, and UT1 - UTC, are left out.
    """
    time = Time(mjd, format="mjd", scale="utc")
    tt = time.tt.jd1, time.tt.jd2
    sun = -erfa.epv00(*tt)[0]["p"]  # the sun from the Earth's centre, au
    moon = erfa.moon98(*tt)["p"]
    altitude = None
    if site is not None:
        to_earth = erfa.c2t06a(*tt, time.jd1, time.jd2, 0.0, 0.0)
        longitude, latitude = np.radians([site.longitude, site.latitude])
        here = erfa.gd2gc(1, longitude, latitude, site.elevation) / erfa.DAU
        sun, moon = to_earth @ sun - here, to_earth @ moon - here
        up = erfa.s2c(longitude, latitude)
        altitude = float(np.degrees(np.arcsin(up @ sun / np.linalg.norm(sun))))
    # At the moon, between the directions to the sun and to us.
    phase_angle = erfa.sepp(sun - moon, -moon)
    return SkyState(altitude, float((1 + np.cos(phase_angle)) / 2))


@_of_odd_times()
def target_states(mjd: Sequence[float], ra: float, dec: float, site: Site | None) -> list[TargetState]:
    """Return a target's barycentric times and, given a site, its places in the sky.

    Without a site the light travel time is that to the Earth's centre, within 21 ms. Many moments in one call cost
    hardly more than one.
    """
    target = SkyCoord(ra * u.deg, dec * u.deg)
    location = site.location if site else EarthLocation.from_geocentric(0, 0, 0, u.m)
    time = Time(np.asarray(mjd, float), format="mjd", scale="utc", location=location)
    bjd = (time.tdb + time.light_travel_time(target)).jd
    moon = get_body("moon", time, location if site else None)
    to_moon = moon.separation(target, origin_mismatch="ignore").deg
    if site is None:
        return [TargetState(float(b), None, None, None, float(m)) for b, m in zip(bjd, to_moon, strict=True)]
    horizontal = target.transform_to(AltAz(obstime=time, location=location))
    altitudes, azimuths = horizontal.alt.deg, horizontal.az.deg
    return [
        TargetState(float(b), _airmass(float(a)), float(a), float(z), float(m))
        for b, a, z, m in zip(bjd, altitudes, azimuths, to_moon, strict=True)
    ]


def _airmass(altitude: float) -> float | None:
    """Return the airmass of a true altitude in degrees (Pickering 2002); None below the horizon."""
    if altitude <= 0:
        return None
    return float(1.0 / np.sin(np.radians(altitude + 244.0 / (165.0 + 47.0 * altitude**1.1))))
