"""What plate solvers start from: places in the sky where a frame may lie, and solved frames that may show its sky."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lcframework.config.sections import Roi
from lcframework.sky import geometry
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.tables import Frame

Place = tuple[float, float]


def places(rois: Iterable[Roi], radius: float) -> tuple[Place, ...]:
    """Return the places around which to look for frames of all regions.

    Parameters
    ----------
    rois : iterable of Roi
        The first is always among the places.
    radius : float
        Degrees around a place that are looked through; a region within half of it needs no place of its own.

    Returns
    -------
    tuple of (ra, dec)
        Degrees.
    """
    found: list[Place] = []
    for roi in rois:
        away = [float(geometry.separation(roi.ra, roi.dec, *place)) / 3600.0 for place in found]
        if all(distance > 0.5 * radius for distance in away):
            found.append((roi.ra, roi.dec))
    return tuple(found)


@functools.lru_cache(maxsize=65536)
def regions_shown(
    path: Path, token: str, shape: tuple[int, int], rois: tuple[tuple[str, Place], ...]
) -> frozenset[str]:
    """Return the names of the regions that lie in a solved frame; none where its WCS can't be read.

    Parameters
    ----------
    path : Path
        The frame's WCS.
    token : str
        What the WCS was made from: another one is read anew.
    shape : tuple
        (ny, nx) of the frame.
    rois : tuple
        Name and place of each region.
    """
    try:
        wcs = read_wcs(path)
    except OSError:
        return frozenset()
    return frozenset(name for name, place in rois if geometry.pixel_inside(wcs, shape, *place) is not None)


def best_of_each(
    solved: Sequence[Frame], wcs_files: Mapping[int | None, tuple[Path, str]], rois: Mapping[str, Roi]
) -> dict[str, Frame]:
    """Return by region the best matched frame that shows it; where none shows any, the best of all by the name ''.

    Parameters
    ----------
    solved : sequence of Frame
        Of one instrument. Their WCSs are read, best first, until every region has its frame.
    wcs_files : mapping
        By the frames' ids their WCS and its token.
    rois : mapping
        The regions by name.
    """
    ranked = sorted(solved, key=lambda f: (-(f.wcs_matched or 0), f.id or 0))
    where = tuple((name, (roi.ra, roi.dec)) for name, roi in rois.items())
    found: dict[str, Frame] = {}
    for frame in ranked:
        for name in regions_shown(*wcs_files[frame.id], (frame.height or 0, frame.width or 0), where):
            found.setdefault(name, frame)
        if len(found) == len(rois):
            break
    if not found and ranked:
        return {"": ranked[0]}
    return {name: found[name] for name in rois if name in found}
