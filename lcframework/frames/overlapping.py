"""Exposures of one camera that overlap in time: their exposure time, or their clock, is another than it was read as."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col

from lcframework.storage.tables import Frame
from lcframework.types import Doubt, file_name

#: Seconds, and part of the exposure, by which exposures overlap where nothing is wrong: clocks in whole seconds.
_ROUNDED, _PART = 2.0, 0.05
#: Starts that are nearer, s, are those of one exposure in several files.
_SAME = 0.01
#: A single one may be a clock that was set right.
_FEWEST = 2


def overlapping(session: Session) -> Iterator[tuple[Doubt, tuple[str, ...]]]:
    """Yield a doubt, with its frames, where exposures of one instrument and band last until after the next began."""
    columns = (Frame.instrument, Frame.band, Frame.mjd_start, Frame.exptime, Frame.original_image_path)
    exposed = ~col(Frame.eliminated), col(Frame.mjd_start).is_not(None), col(Frame.exptime) > 0
    by_camera: dict[tuple[str, str], list[Any]] = {}
    for row in session.execute(sa.select(*map(col, columns)).where(*exposed).order_by(col(Frame.mjd_start))):
        by_camera.setdefault((row.instrument, row.band), []).append(row)
    found: list[tuple[float, Any]] = []
    for same in by_camera.values():
        late = [_overlap(before, after) for before, after in itertools.pairwise(same)]
        some = [(seconds, row) for seconds, row in zip(late, same, strict=False) if seconds > 0.0]
        found += some if len(some) >= _FEWEST else []
    if not found:
        return
    worst = max(seconds for seconds, _ in found)
    doubt = Doubt(
        "overlapping_exposures",
        f"exposures last longer than until the next one of the same camera and band begins, by {worst:.4g} s at most",
        "Check the unit of the exposure time, and what the time of the header is; name frames of several cameras "
        "apart by instrument in [header.fits]",
        value=worst,
    )
    yield doubt, tuple(file_name(row.original_image_path) for _, row in found)


def _overlap(before: Any, after: Any) -> float:
    """Return by how many seconds an exposure lasts into the next; 0 for what rounded clocks explain."""
    gap = (after.mjd_start - before.mjd_start) * 86_400.0
    tolerance = max(_ROUNDED, _PART * before.exptime)
    return float(before.exptime - gap) if _SAME < gap < before.exptime - tolerance else 0.0
