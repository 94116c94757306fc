"""Queries of the tables that several parts of the program use."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col, select

from lcframework.storage.tables import CombinedFootprint, Frame, Star


def frames_with_regions(session: Session) -> dict[int, Frame]:
    """Return the frames that are not eliminated and contain a region of interest, by id and in the order of time."""
    query = select(Frame).where(Frame.roi_in_footprint, ~col(Frame.eliminated))
    return {frame.id or 0: frame for frame in session.exec(query.order_by(col(Frame.mjd), col(Frame.id)))}


def active_stars(session: Session) -> dict[tuple[str, str], Star]:
    """Return the reference stars in use, by field and identifier, without stars of earlier fields or selections."""
    fields = select(CombinedFootprint.hash).where(CombinedFootprint.active)
    stars = select(Star).where(Star.active, col(Star.combined_footprint_hash).in_(fields))
    return {(s.combined_footprint_hash, s.gaia_id): s for s in session.exec(stars)}


def numeric_columns(table: str) -> list[str]:
    """Return the names of a table's numeric columns."""
    found = SQLModel.metadata.tables[table].columns
    return [c.name for c in found if isinstance(c.type, sa.Integer | sa.Float)]
