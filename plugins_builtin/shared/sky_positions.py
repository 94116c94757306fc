"""Positions on the sky for catalogues and surveys: regions, and matching by position.

What searches or averages goes through unit vectors, for which right ascension 0/360 and the poles are nothing special.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.sky.geometry import ARCSEC, after_years, separation, to_plane
from lcframework.types import Bools, Floats, Ints, Region

if TYPE_CHECKING:
    from astropy.table import Table

_J2000 = 2000.0  # Julian year


def unit_vectors(ra: Any, dec: Any) -> Floats:
    """Return unit vectors (n, 3) of positions in degrees."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def angles(vectors: Floats) -> tuple[Floats, Floats]:
    """Return (ra, dec) in degrees, ra in [0, 360), of vectors (n, 3) of any length."""
    x, y, z = np.moveaxis(np.asarray(vectors, float), -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def inside(region: Region, ra: Any, dec: Any) -> Bools:
    """Return which positions (degrees) lie in the cone, and in the polygon where the region has one.

    Raises
    ------
    ValueError
        Where a vertex of the polygon is 90 degrees or more from the region's centre, or there are fewer than three.
    """
    within = separation(ra, dec, region.ra, region.dec) <= 3600.0 * region.radius
    if region.vertices is None:
        return np.asarray(within, bool)
    if len(region.vertices) < 3:
        raise ValueError(f"a polygon needs three vertices or more, got {len(region.vertices)}")
    import shapely

    vertices = np.asarray(region.vertices, float)
    outline = np.stack(to_plane(vertices[:, 0], vertices[:, 1], region.ra, region.dec), axis=1)
    if not np.isfinite(outline).all():
        raise ValueError("a vertex of the polygon is 90 degrees or more from the region's centre")
    covered = shapely.intersects_xy(shapely.Polygon(outline), *to_plane(ra, dec, region.ra, region.dec))
    return np.asarray(within & covered, bool)


def mean_direction(ra: Any, dec: Any) -> tuple[float, float]:
    """Return (ra, dec) in degrees of the mean of positions.

    Raises
    ------
    ValueError
        Where they have none, because they are spread over the whole sky.
    """
    mean = unit_vectors(ra, dec).mean(axis=0)
    if np.linalg.norm(mean) < 1e-6:
        raise ValueError("the positions are spread over the whole sky: they have no mean direction")
    mean_ra, mean_dec = angles(mean)
    return float(mean_ra), float(mean_dec)


def enclosing_cone(ra: Any, dec: Any, margin: float) -> tuple[float, float, float]:
    """Return (ra, dec, radius) in degrees of a cone about the mean direction that holds all positions and `margin`."""
    centre = mean_direction(ra, dec)
    return *centre, float(separation(ra, dec, *centre).max()) / 3600.0 + margin


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
    ref = np.nan_to_num(columns["ref_epoch"], nan=_J2000)
    years = np.broadcast_to(np.asarray(np.nan if epoch is None else epoch, float), (len(others),))
    known = years[np.isfinite(years)]
    span = max(abs(known.max() - ref.min()), abs(ref.max() - known.min())) if len(known) else 0.0
    fastest = np.hypot(np.nan_to_num(columns["pmra"]), np.nan_to_num(columns["pmdec"])).max()
    reach = ARCSEC * (max_separation + 1.01 * fastest * span / 1000.0)
    candidates = cKDTree(unit_vectors(columns["ra"], columns["dec"])).query_ball_tree(cKDTree(others), reach)
    star = np.repeat(np.arange(len(ref)), [len(c) for c in candidates])
    position = np.array([j for found in candidates for j in found], int)
    elapsed = np.nan_to_num(years[position] - ref[star])
    own = {name: values[star] for name, values in columns.items()}
    moved_ra, moved_dec = after_years(own["ra"], own["dec"], own["pmra"], own["pmdec"], elapsed)
    distance = separation(moved_ra, moved_dec, np.asarray(ra, float)[position], np.asarray(dec, float)[position])
    keep = distance <= max_separation
    star, position, distance = star[keep], position[keep], distance[keep]
    order = np.lexsort((distance, star))
    return star[order], position[order], distance[order]


def unambiguous(star: Ints, position: Ints) -> Bools:
    """Return which pairs are the only one of their star and the only one of their position."""
    _, star_index, star_count = np.unique(star, return_inverse=True, return_counts=True)
    _, position_index, position_count = np.unique(position, return_inverse=True, return_counts=True)
    return np.asarray((star_count[star_index] == 1) & (position_count[position_index] == 1), bool)
