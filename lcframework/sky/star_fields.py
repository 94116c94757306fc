"""Fields: the parts of the sky from which reference stars are taken, and the frames that each serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from lcframework.config.project_file import Config
from lcframework.provenance import digest
from lcframework.sky.footprints import Vertices
from lcframework.sky.geometry import from_plane, separation, to_plane
from lcframework.sky.tracks import Track
from lcframework.storage.queries import FrameRow
from lcframework.storage.tables import CombinedFootprint
from lcframework.types import Region

#: Degrees: a disk that is larger holds more stars than a catalogue gives, and frames without a star in common.
LARGEST_DISK = 3.0
#: Where it covers a track, its centre and radius go in steps of this part of the radius around a place.
_STEP = 0.25
_ROUNDS = 100


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


def disks(config: Config, tracks: Mapping[str, Track] | None = None) -> tuple[StarField, ...]:
    """Return the fields of ``strategy = "roi_disk"``, one for each position of regions; no frames are needed.

    `tracks` are those of the regions that move; one that no frame shows has no field.
    """
    found: dict[str, StarField] = {}
    for name, roi in config.roi.items():
        track = (tracks or {}).get(name)
        if track is not None and not len(track):
            continue
        radius = config.stars.radius
        field = disk(name, roi.ra, roi.dec, radius) if track is None else disk_over(name, track, radius)
        same = found.get(field.hash)
        found[field.hash] = attrs.evolve(same, rois=(*same.rois, name)) if same else field
    return tuple(found.values())


def frames_of_field(frames: list[FrameRow], inside: dict[tuple[int, str], bool], rois: list[str]) -> list[FrameRow]:
    """Return the frames that contain one of a field's regions.

    Parameters
    ----------
    frames : list of rows of ``frames``
        The frames to choose from.
    inside : dict
        Whether a frame contains a region, by (frame id, region name); a missing entry means no.
    rois : list of str
        The regions of the field.
    """
    return [f for f in frames if any(inside.get((f.id or 0, roi), False) for roi in rois)]


def region_of(field: CombinedFootprint) -> Region:
    """Return the region of the sky of a field, from its row."""
    vertices = tuple((v[0], v[1]) for v in field.region) if field.region else None
    return Region(field.ra, field.dec, field.radius, vertices)
