"""The input of plate solvers: sky positions at which a frame may lie, and solved frames that may overlap it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lcframework.config.sections import Roi
from lcframework.sky import geometry
from lcframework.storage.frame_files import read_wcs
from lcframework.storage.tables import Frame

Position = tuple[float, float]


def positions(rois: Iterable[Roi], radius: float) -> tuple[Position, ...]:
    """Return the sky positions around which plate solvers search, so that all regions are covered.

    Parameters
    ----------
    rois : iterable of Roi
        The first region's position is always returned.
    radius : float
        Degrees; the search radius around a position. A region within half of it of a returned position adds none.

    Returns
    -------
    tuple of (ra, dec)
        Degrees.
    """
    found: list[Position] = []
    for roi in rois:
        away = [float(geometry.separation(roi.ra, roi.dec, *position)) / 3600.0 for position in found]
        if all(distance > 0.5 * radius for distance in away):
            found.append((roi.ra, roi.dec))
    return tuple(found)


@functools.lru_cache(maxsize=65536)
def regions_shown(
    path: Path, token: str, shape: tuple[int, int], rois: tuple[tuple[str, Position], ...]
) -> frozenset[str]:
    """Return the names of the regions that lie in a solved frame; empty where its WCS can't be read.

    Parameters
    ----------
    path : Path
        The frame's WCS.
    token : str
        Identifies the contents of the WCS file; a file with another token is read again.
    shape : tuple
        (ny, nx) of the frame.
    rois : tuple
        Name and position of each region.
    """
    try:
        wcs = read_wcs(path)
    except OSError:
        return frozenset()
    return frozenset(name for name, position in rois if geometry.pixel_inside(wcs, shape, *position) is not None)


def best_of_each(
    solved: Sequence[Frame], wcs_files: Mapping[int | None, tuple[Path, str]], rois: Mapping[str, Roi]
) -> dict[str, Frame]:
    """Return for each region the best matched frame that contains it, by region name.

    Where no frame contains a region, the best matched of all frames is returned under the name ''.

    Parameters
    ----------
    solved : sequence of Frame
        Of one instrument. Their WCSs are read, best matched first, until every region has a frame.
    wcs_files : mapping
        Path and token of each frame's WCS, by frame id.
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
