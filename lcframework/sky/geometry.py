"""Sky and pixel coordinates: the tangent plane, proper motion, the local linear map of a WCS, the outline of a frame.

Plugins may use this module too. Positions are in degrees (ICRS), offsets and angles in arcsec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np

from lcframework.types import Floats

if TYPE_CHECKING:  # plugins that never see a WCS import this module too
    from astropy.wcs import WCS

ARCSEC = np.pi / 180.0 / 3600.0


def to_plane(ra: Any, dec: Any, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Return gnomonic offsets (xi, eta) in arcsec of positions in degrees; nan on the far hemisphere."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    a0, d0 = np.radians(ra0), np.radians(dec0)
    cosine = np.sin(d0) * np.sin(dec) + np.cos(d0) * np.cos(dec) * np.cos(ra - a0)
    with np.errstate(divide="ignore", invalid="ignore"):
        xi = np.cos(dec) * np.sin(ra - a0) / cosine
        eta = (np.cos(d0) * np.sin(dec) - np.sin(d0) * np.cos(dec) * np.cos(ra - a0)) / cosine
    far = cosine <= 0
    return np.where(far, np.nan, xi) / ARCSEC, np.where(far, np.nan, eta) / ARCSEC


def from_plane(xi: Any, eta: Any, ra0: Any, dec0: Any) -> tuple[Floats, Floats]:
    """Return positions in degrees, ra in [0, 360), of gnomonic offsets in arcsec."""
    x, y = np.asarray(xi, float) * ARCSEC, np.asarray(eta, float) * ARCSEC
    a0, d0 = np.radians(ra0), np.radians(dec0)
    down = np.cos(d0) - y * np.sin(d0)
    ra = a0 + np.arctan2(x, down)
    dec = np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, down))
    return np.degrees(ra) % 360.0, np.degrees(dec)


def separation(ra: Any, dec: Any, ra0: Any, dec0: Any) -> Floats:
    """Return angles in arcsec between positions in degrees (Vincenty's formula)."""
    ra, dec, a0, d0 = (np.radians(np.asarray(v, float)) for v in (ra, dec, ra0, dec0))
    d = ra - a0
    up = np.hypot(np.cos(dec) * np.sin(d), np.cos(d0) * np.sin(dec) - np.sin(d0) * np.cos(dec) * np.cos(d))
    return np.asarray(np.arctan2(up, np.sin(d0) * np.sin(dec) + np.cos(d0) * np.cos(dec) * np.cos(d)) / ARCSEC)


def singles(ra: Any, dec: Any, within: float, order: Any) -> Floats:
    """Return the rows of positions that stay where those closer than `within` arcsec are one, sorted.

    Parameters
    ----------
    ra, dec : array (n,)
        Degrees.
    within : float
        Arcsec.
    order : array (n,)
        Of several at one place the one with the lowest stays, such as the brightest; the first where they are equal.
    """
    from scipy.spatial import cKDTree

    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    directions = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    taken = np.zeros(len(a), bool)
    kept = []
    near = cKDTree(directions).query_ball_point(directions, within * ARCSEC) if len(a) else []
    for row in np.argsort(np.asarray(order, float), kind="stable"):
        if not taken[row]:
            kept.append(int(row))
            taken[near[row]] = True
    return np.array(sorted(kept), int)


FloatOrFloats = TypeVar("FloatOrFloats", float, Floats)


def julian_year(mjd: FloatOrFloats) -> FloatOrFloats:
    """Return the Julian year of an MJD."""
    return 2000.0 + (mjd - 51544.5) / 365.25


def after_years(ra: Any, dec: Any, pmra: Any, pmdec: Any, years: Any) -> tuple[Floats, Floats]:
    """Return positions in degrees after `years` of proper motion (mas/yr, pmra times cos dec; nan: none)."""
    xi = np.nan_to_num(np.asarray(pmra, float)) * np.asarray(years, float) / 1000.0
    eta = np.nan_to_num(np.asarray(pmdec, float)) * np.asarray(years, float) / 1000.0
    return from_plane(xi, eta, np.asarray(ra, float), np.asarray(dec, float))


def at_epoch(ra: Any, dec: Any, pmra: Any, pmdec: Any, ref_epoch: Any, mjd: float) -> tuple[Floats, Floats]:
    """Return positions in degrees carried by proper motion (mas/yr, pmra times cos dec) to an MJD."""
    return after_years(ra, dec, pmra, pmdec, julian_year(mjd) - np.asarray(ref_epoch, float))


def sky_to_pixel(wcs: WCS, ra: Any, dec: Any) -> tuple[Floats, Floats]:
    """Return 0-based pixels of positions in degrees; nan where the WCS has no answer."""
    from astropy.wcs.wcs import NoConvergence

    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    try:
        x, y = wcs.all_world2pix(ra, dec, 0, quiet=False)
    except NoConvergence as error:  # far from the frame a distortion polynomial has no inverse
        best = np.array(error.best_solution, float)
        for bad in (error.divergent, error.slow_conv):
            if bad is not None:
                best[bad] = np.nan
        x, y = best.T
    return np.asarray(x), np.asarray(y)


def pixel_inside(wcs: WCS, shape: tuple[int, int], ra: float, dec: float) -> tuple[float, float] | None:
    """Return the 0-based pixel of a position in degrees, or None where it is not in the frame of `shape` (ny, nx)."""
    x, y = (float(v[0]) for v in sky_to_pixel(wcs, ra, dec))
    # The far side of the projection also maps into the frame: accept only a pixel that maps back to this position.
    back = np.array(wcs.all_pix2world(x, y, 0)) if np.isfinite([x, y]).all() else np.full(2, np.nan)
    near = separation(back[0], back[1], ra, dec) < 1.0
    return (x, y) if near and -0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5 else None


@attrs.frozen
class Scale:
    """A WCS's local scale and orientation."""

    pixel_scale: float  # arcsec/pixel
    anisotropy: float  # largest over smallest scale, minus 1
    angle_to_north: float  # degrees from +y towards -x to north


def local_map(wcs: WCS, ra: float, dec: float) -> Floats:
    """Return the map (2, 3) from (xi, eta) arcsec around a position to 0-based pixels.

    Central differences over 2 arcsec: exact for the linear part, and to 1e-6 pixel for any distortion in use.
    """
    step = 1.0
    offsets = np.array([[0, 0], [step, 0], [-step, 0], [0, step], [0, -step]])
    x, y = sky_to_pixel(wcs, *from_plane(offsets[:, 0], offsets[:, 1], ra, dec))
    p = np.stack([x, y], axis=1)
    return np.stack([(p[1] - p[2]) / (2 * step), (p[3] - p[4]) / (2 * step), p[0]], axis=1)


def scale_at(wcs: WCS, x: float, y: float) -> Scale:
    """Return the scale and orientation at a pixel."""
    ra, dec = (float(v) for v in wcs.all_pix2world(x, y, 0))
    linear = local_map(wcs, ra, dec)[:, :2]
    if not np.isfinite(linear).all() or np.linalg.det(linear) == 0:
        return Scale(np.nan, np.nan, np.nan)
    big, small = np.linalg.svd(linear, compute_uv=False)
    north = linear[:, 1]
    return Scale(
        float(1 / np.sqrt(big * small)), float(big / small - 1), float(np.degrees(np.arctan2(-north[0], north[1])))
    )


def outline(wcs: WCS, shape: tuple[int, int], per_side: int = 4) -> list[list[float]]:
    """Return a frame's outline as [ra, dec] vertices in degrees; `per_side` points on each side follow curved edges."""
    ny, nx = shape
    t = np.arange(per_side) / per_side
    x = np.concatenate([t, np.ones(per_side), 1 - t, np.zeros(per_side)]) * nx - 0.5
    y = np.concatenate([np.zeros(per_side), t, np.ones(per_side), 1 - t]) * ny - 0.5
    ra, dec = wcs.all_pix2world(x, y, 0)
    return [[float(a), float(d)] for a, d in zip(ra, dec, strict=True)]


def zenith_on_plane(altitude: Floats, azimuth: Floats, dec: float | Floats, latitude: float) -> Floats:
    """Return tan z times the direction to the zenith (xi, eta) on a target's tangent plane, which refraction follows.

    Parameters
    ----------
    altitude, azimuth : (n,)
        Of the target, degrees; azimuth from north through east.
    dec : float or (n,)
        Of the target, degrees.
    latitude : float
        Of the telescope, degrees.

    Returns
    -------
    (n, 2)
        nan where the target is below the horizon or something is unknown. The direction's position angle is the
        parallactic angle q, with ``sin q = -sin A cos(lat) / cos(dec)`` and
        ``cos q = (sin(lat) - sin(dec) sin h) / (cos(dec) cos h)``.
    """
    h, a, d, p = np.radians(altitude), np.radians(azimuth), np.radians(dec), np.radians(latitude)
    sine = -np.sin(a) * np.cos(p) / np.cos(d)
    cosine = (np.sin(p) - np.sin(d) * np.sin(h)) / (np.cos(d) * np.cos(h))
    length = np.where(np.asarray(altitude) > 0, 1 / np.tan(h), np.nan) / np.hypot(sine, cosine)
    return np.stack([length * sine, length * cosine], axis=-1)
