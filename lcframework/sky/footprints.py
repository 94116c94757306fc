"""Polygons on the sky: unions and intersections of the outlines of frames.

They are computed on a tangent plane, so that right ascension 0 and the poles need no special treatment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.provenance import digest
from lcframework.sky.geometry import from_plane, separation, to_plane
from lcframework.sky.tracks import Track
from lcframework.types import Region

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


@attrs.frozen
class StarField:
    """A field: the part of the sky from which one set of reference stars is taken, and the hash that identifies it."""

    hash: str
    strategy: str
    rois: tuple[str, ...]
    region: Region


def disk(roi: str, ra: float, dec: float, radius: float) -> StarField:
    """Return the disk of `radius` arcsec around a region of interest; its hash depends on its position and size."""
    identity = digest(["roi_disk", round(ra, 6), round(dec, 6), round(radius, 3)], 16)
    return StarField(identity, "roi_disk", (roi,), Region(ra, dec, radius / 3600.0))


#: Degrees: a disk that is larger holds more stars than a catalogue gives, and frames without a star in common.
LARGEST_DISK = 3.0
#: Where it covers a track, its centre and radius go in steps of this part of the radius around a place.
_STEP = 0.25
_ROUNDS = 100


def disk_over(roi: str, track: Track, radius: float) -> StarField:
    """Return the disk that holds what is within `radius` arcsec of the places of a target.

    Its centre and radius go in steps, so that a further place changes it only now and then.
    """
    step = _STEP * radius
    ra, dec = float(track.ra[0]), float(track.dec[0])
    for i in range(_ROUNDS):  # towards the farthest place, by less each time: Badoiu and Clarkson 2003
        apart = separation(track.ra, track.dec, ra, dec)
        farthest = int(np.argmax(apart))
        xi, eta = to_plane(track.ra[farthest], track.dec[farthest], ra, dec)
        if not np.isfinite(xi):
            break
        ra, dec = (float(v) for v in from_plane(xi / (i + 2), eta / (i + 2), ra, dec))
    dec = float(np.clip(np.round(dec * 3600 / step) * step / 3600, -90.0, 90.0))
    along = step / max(float(np.cos(np.radians(dec))), 1e-3)
    ra = float(np.round(ra * 3600 / along) * along / 3600 % 360.0)
    reach = float(separation(track.ra, track.dec, ra, dec).max()) + radius
    return disk(roi, ra, dec, float(np.ceil(reach / step) * step))


def area(strategy: str, rois: Sequence[str], polygons: Sequence[Vertices], ra0: float, dec0: float) -> StarField:
    """Return the field that polygons cover; its hash depends on their vertices, rounded to 0.001 degrees."""
    vertices = [v for p in polygons for v in p]
    identity = digest([strategy, [[round(a, 3), round(d, 3)] for a, d in vertices]], 16)
    ra, dec = np.array(vertices).T
    radius = float(separation(ra, dec, ra0, dec0).max()) / 3600.0
    only = tuple((a, d) for a, d in polygons[0]) if len(polygons) == 1 else None
    return StarField(identity, strategy, tuple(rois), Region(ra0, dec0, radius, only))
