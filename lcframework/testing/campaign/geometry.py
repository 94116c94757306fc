"""Spherical astronomy for simulated nights, without Earth-rotation tables, so that nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def offset_to_sky(ra: Any, dec: Any, xi: Any, eta: Any) -> tuple[Array, Array]:
    """Return ICRS degrees of points at `xi`, `eta` arcsec (east, north) on the plane tangent at `ra`, `dec`."""
    x, y = np.radians(np.asarray(xi, float) / 3600.0), np.radians(np.asarray(eta, float) / 3600.0)
    sin, cos = np.sin(np.radians(dec)), np.cos(np.radians(dec))
    away = cos - y * sin
    lon = np.degrees(np.arctan2(x, away)) + ra
    lat = np.degrees(np.arctan2(sin + y * cos, np.hypot(x, away)))
    return lon % 360.0, lat


def sidereal_angle(mjd: float, longitude: float) -> float:
    """Return the local mean sidereal time in degrees, UT1 taken as UTC (under 15 arcsec off)."""
    return float((280.46061837 + 360.98564736629 * (mjd - 51544.5) + longitude) % 360.0)


def zenith(hour_angle: float, dec: float, latitude: float) -> tuple[float, float]:
    """Return the zenith distance and the parallactic angle (north through east), both in degrees."""
    h, d, p = np.radians([hour_angle, dec, latitude])
    up = np.sin(p) * np.sin(d) + np.cos(p) * np.cos(d) * np.cos(h)
    angle = np.arctan2(np.sin(h), np.tan(p) * np.cos(d) - np.sin(d) * np.cos(h))
    return float(np.degrees(np.arccos(np.clip(up, -1.0, 1.0)))), float(np.degrees(angle))


def airmass(zenith_distance: float) -> float:
    """Return the airmass by Kasten and Young (1989), finite down to the horizon."""
    altitude = max(90.0 - zenith_distance, 0.0)
    return float(1.0 / (np.sin(np.radians(altitude)) + 0.50572 * (altitude + 6.07995) ** -1.6364))


def wrap(angle: float) -> float:
    """Return the angle within -180 to 180 degrees."""
    return (angle + 180.0) % 360.0 - 180.0
