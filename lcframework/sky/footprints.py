"""Polygons on the sky: unions and intersections of the outlines of frames.

They are computed on a tangent plane, so that right ascension 0 and the poles need no special treatment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.sky.geometry import from_plane, to_plane

if TYPE_CHECKING:
    import shapely
    from shapely.geometry import MultiPolygon, Polygon

Vertices = list[list[float]]


@attrs.frozen
class Combined:
    """The sky that all frames share, and the sky that they cover together; polygons of [ra, dec] degrees."""

    common: Vertices
    total: list[Vertices]


def combine(outlines: Sequence[Vertices], ra0: float, dec0: float) -> Combined:
    """Return the intersection and the union of outlines, computed on the tangent plane at (ra0, dec0)."""
    import shapely

    polygons = [_plane_polygon(o, ra0, dec0) for o in outlines]
    polygons = [p for p in polygons if not p.is_empty]
    if not polygons:
        return Combined([], [])
    common = shapely.intersection_all(polygons)
    total = shapely.union_all(polygons)
    return Combined(_sky(_largest(common), ra0, dec0), [_sky(p, ra0, dec0) for p in _parts(total)])


def _plane_polygon(outline: Vertices, ra0: float, dec0: float) -> Polygon:
    from shapely.geometry import Polygon

    ra, dec = np.array(outline).T
    xi, eta = to_plane(ra, dec, ra0, dec0)
    if not np.isfinite(xi).all():
        return Polygon()
    polygon = Polygon(np.stack([xi, eta], axis=1))
    return polygon if polygon.is_valid else _largest(polygon.buffer(0))


def _parts(shape: shapely.Geometry) -> list[Polygon]:
    from shapely.geometry import Polygon

    if isinstance(shape, Polygon):
        return [] if shape.is_empty else [shape]
    return [p for p in getattr(shape, "geoms", []) if isinstance(p, Polygon)]


def _largest(shape: shapely.Geometry) -> Polygon:
    from shapely.geometry import Polygon

    return max(_parts(shape), key=lambda p: p.area, default=Polygon())


def _sky(polygon: Polygon | MultiPolygon, ra0: float, dec0: float) -> Vertices:
    if polygon.is_empty:
        return []
    xi, eta = np.array(polygon.exterior.coords)[:-1].T
    ra, dec = from_plane(xi, eta, ra0, dec0)
    return [[round(float(a), 6), round(float(d), 6)] for a, d in zip(ra, dec, strict=True)]


def contains(vertices: Vertices, ra: Sequence[float], dec: Sequence[float], ra0: float, dec0: float) -> np.ndarray:
    """Return (n,) whether each position, in degrees, lies inside a polygon."""
    import shapely

    polygon = _plane_polygon(vertices, ra0, dec0)
    xi, eta = to_plane(ra, dec, ra0, dec0)
    inside = np.isfinite(xi)
    inside[inside] = shapely.contains_xy(polygon, xi[inside], eta[inside])
    return np.asarray(inside)
