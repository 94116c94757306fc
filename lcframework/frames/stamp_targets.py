"""What stamps are cut of: the reference stars and the regions of interest in frames, with their positions."""

from __future__ import annotations

from collections.abc import Collection

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from lcframework.storage.queries import active_stars
from lcframework.storage.tables import RoiInFrame

#: So many frames are asked for by their ids; of more the whole table is read.
_FEW = 500


@attrs.frozen
class StampTarget:
    """A star or region to cut out: its name in the files, and its position in the frame, pixels.

    `sky` is the place of a region that moves, (ra, dec) in degrees.
    """

    name: str
    x: float
    y: float
    magnitude: float = float("nan")
    sky: tuple[float, float] | None = None


def fields_in_frames(session: Session) -> dict[int, list[str]]:
    """Return the fields in use of which a frame contains stars, by frame id."""
    f, c, s, t = (SQLModel.metadata.tables[n] for n in ("frames", "combined_footprint", "stars_in_frames", "stars"))
    same = (s.c.combined_footprint_hash == t.c.combined_footprint_hash, s.c.gaia_id == t.c.gaia_id)
    star = sa.exists().where(*same, s.c.frame_id == f.c.id, s.c.combined_footprint_hash == c.c.hash, t.c.active)
    out: dict[int, list[str]] = {}
    pairs = sa.select(f.c.id, c.c.hash).join_from(f, c, sa.true())
    for frame_id, field in session.execute(pairs.where(c.c.active, star).order_by(c.c.hash)):
        out.setdefault(frame_id, []).append(field)
    return out


def stars_in_frames(session: Session, frames: Collection[int]) -> dict[tuple[int, str], list[StampTarget]]:
    """Return the stars in use in frames, by frame id and field, in the order of their identifiers."""
    active, wanted = active_stars(session), set(frames)
    out: dict[tuple[int, str], list[StampTarget]] = {}
    s = SQLModel.metadata.tables["stars_in_frames"].c
    query = sa.select(s.frame_id, s.combined_footprint_hash, s.gaia_id, s.x, s.y).order_by(s.gaia_id)
    if len(wanted) <= _FEW:
        query = query.where(s.frame_id.in_(wanted))
    for frame_id, field, name, x, y in session.execute(query):
        if frame_id in wanted and (star := active.get((field, name))) is not None:
            out.setdefault((frame_id, field), []).append(StampTarget(name, x, y, star.magnitude))
    return out


def regions_in_frames(session: Session, moving: Collection[str]) -> dict[int, list[StampTarget]]:
    """Return the regions in frames, by frame id; `moving` are those that move."""
    out: dict[int, list[StampTarget]] = {}
    r = RoiInFrame
    columns = (r.frame_id, r.roi, r.x, r.y, r.ra, r.dec)
    query = sa.select(*map(col, columns)).where(col(r.roi_in_footprint))
    for frame_id, roi, x, y, ra, dec in session.execute(query):
        sky = (ra, dec) if roi in moving and ra is not None else None
        out.setdefault(frame_id, []).append(StampTarget(roi, x or 0.0, y or 0.0, sky=sky))
    return out
