"""Geometry on the sphere for catalogues and surveys: regions, proper motion and matching by position.

Everything goes through unit vectors, so that right ascension 0/360 and the poles are ordinary places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table

from lcframework.types import Bools, Floats, Ints, Region

#: mas in a degree
MAS = 3.6e6
#: Julian year of MJD 51544.5
J2000 = 2000.0


def unit_vectors(ra: Any, dec: Any) -> Floats:
    """Return unit vectors (n, 3) of positions in degrees."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def angles(vectors: Floats) -> tuple[Floats, Floats]:
    """Return (ra, dec) in degrees, ra in [0, 360), of vectors (n, 3) of any length."""
    x, y, z = np.moveaxis(np.asarray(vectors, float), -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def separation(a: Floats, b: Floats) -> Floats:
    """Return the angle in degrees between unit vectors; accurate for the smallest angles, unlike an arc cosine."""
    half_chord = 0.5 * np.linalg.norm(np.asarray(a) - np.asarray(b), axis=-1)
    return np.asarray(np.degrees(2.0 * np.arcsin(np.clip(half_chord, 0.0, 1.0))))


def tangent_axes(ra: float, dec: float) -> tuple[Floats, Floats, Floats]:
    """Return the unit vectors towards a position in degrees, and there towards east and north."""
    a, d = np.radians(ra), np.radians(dec)
    towards = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    return towards, east, np.cross(towards, east)


def tangent_plane(ra: Any, dec: Any, centre: tuple[float, float]) -> Floats:
    """Project gnomonically about `centre`; returns (n, 2) degrees east and north, nan beyond 90 degrees."""
    towards, east, north = tangent_axes(*centre)
    vectors = unit_vectors(ra, dec)
    depth = vectors @ towards
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = np.stack([vectors @ east, vectors @ north], axis=-1) / depth[..., None]
    return np.degrees(np.where(depth[..., None] > 0, plane, np.nan))


def inside(region: Region, ra: Any, dec: Any) -> Bools:
    """Return which positions (degrees) lie in the cone, and in the polygon where the region has one.

    Raises
    ------
    ValueError
        Where a vertex of the polygon is 90 degrees or more from the region's centre, or there are fewer than three.
    """
    centre = unit_vectors(region.ra, region.dec)
    within = separation(unit_vectors(ra, dec), centre) <= region.radius
    if region.vertices is None:
        return np.asarray(within, bool)
    if len(region.vertices) < 3:
        raise ValueError(f"a polygon needs three vertices or more, got {len(region.vertices)}")
    import shapely

    vertices = np.asarray(region.vertices, float)
    outline = tangent_plane(vertices[:, 0], vertices[:, 1], (region.ra, region.dec))
    if not np.isfinite(outline).all():
        raise ValueError("a vertex of the polygon is 90 degrees or more from the region's centre")
    points = tangent_plane(ra, dec, (region.ra, region.dec))
    covered = shapely.intersects_xy(shapely.Polygon(outline), points[..., 0], points[..., 1])
    return np.asarray(within & covered, bool)


def enclosing_cone(ra: Any, dec: Any, margin: float) -> tuple[float, float, float]:
    """Return (ra, dec, radius) in degrees of a cone about the mean direction that holds all positions and `margin`."""
    vectors = unit_vectors(ra, dec)
    centre = vectors.mean(axis=0)
    if np.linalg.norm(centre) < 1e-6:
        raise ValueError("the positions are spread over the whole sky; no cone encloses them")
    centre = centre / np.linalg.norm(centre)
    centre_ra, centre_dec = angles(centre)
    return float(centre_ra), float(centre_dec), float(separation(vectors, centre).max()) + margin


def at_epoch(ra: Any, dec: Any, pmra: Any, pmdec: Any, years: Any) -> Floats:
    """Return unit vectors of stars after `years` of proper motion.

    Parameters
    ----------
    ra, dec : array_like
        Degrees.
    pmra, pmdec : array_like
        mas/yr, `pmra` times cos(dec); nan counts as no motion.
    years : array_like
        Julian years from the epoch of the positions; broadcast.
    """
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    motion = np.nan_to_num(np.asarray(pmra, float))[..., None] * east
    motion = motion + np.nan_to_num(np.asarray(pmdec, float))[..., None] * north
    moved = unit_vectors(ra, dec) + np.radians(motion / MAS) * np.asarray(years, float)[..., None]
    return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True))


def pairs_within(
    stars: Table, ra: Any, dec: Any, max_separation: float, epoch: Any = None
) -> tuple[Ints, Ints, Floats]:
    """Find all pairs of a star and a position that lie closer than a limit, at the position's own epoch.

    Parameters
    ----------
    stars : astropy.table.Table
        A STARS table.
    ra, dec : array_like
        Positions (m,), degrees.
    max_separation : float
        arcsec.
    epoch : array_like, optional
        Julian year of each position (m,), or one for all; nan or None: the stars' own epoch.

    Returns
    -------
    star, position : ndarray of int
        Indices of the pairs, sorted by star, then by separation.
    distance : ndarray
        Separations, arcsec.
    """
    from scipy.spatial import cKDTree

    others = unit_vectors(ra, dec)
    columns = {name: np.asarray(stars[name], float) for name in ("ra", "dec", "pmra", "pmdec", "ref_epoch")}
    if not len(others) or not len(stars):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    ref = np.nan_to_num(columns["ref_epoch"], nan=J2000)
    years = np.broadcast_to(np.asarray(np.nan if epoch is None else epoch, float), (len(others),))
    known = years[np.isfinite(years)]
    span = max(abs(known.max() - ref.min()), abs(ref.max() - known.min())) if len(known) else 0.0
    fastest = np.hypot(np.nan_to_num(columns["pmra"]), np.nan_to_num(columns["pmdec"])).max()
    reach = np.radians(max_separation / 3600.0 + 1.01 * fastest * span / MAS)
    candidates = cKDTree(unit_vectors(columns["ra"], columns["dec"])).query_ball_tree(cKDTree(others), reach)
    star = np.repeat(np.arange(len(ref)), [len(c) for c in candidates])
    position = np.array([j for found in candidates for j in found], int)
    elapsed = np.nan_to_num(years[position] - ref[star])
    matched = {name: values[star] for name, values in columns.items()}
    moved = at_epoch(matched["ra"], matched["dec"], matched["pmra"], matched["pmdec"], elapsed)
    distance = 3600.0 * separation(moved, others[position])
    keep = distance <= max_separation
    star, position, distance = star[keep], position[keep], distance[keep]
    order = np.lexsort((distance, star))
    return star[order], position[order], distance[order]


def unambiguous(star: Ints, position: Ints) -> Bools:
    """Return which pairs are the only one of their star and the only one of their position."""
    _, star_index, star_count = np.unique(star, return_inverse=True, return_counts=True)
    _, position_index, position_count = np.unique(position, return_inverse=True, return_counts=True)
    return np.asarray((star_count[star_index] == 1) & (position_count[position_index] == 1), bool)
