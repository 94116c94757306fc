"""Queries of the tables that several parts of the program use."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from lcframework.provenance import Components
from lcframework.storage.reading import read_once
from lcframework.storage.tables import CombinedFootprint, Frame, Product, Star

#: A row of ``frames`` for reading, with its columns as attributes; an object of :class:`Frame` takes far longer.
FrameRow: TypeAlias = Any


def frame_rows(session: Session, *conditions: Any, by_time: bool = False) -> Sequence[FrameRow]:
    """Return the rows of frames that fulfil conditions, in the order of their ids, or of time."""
    query = sa.select(SQLModel.metadata.tables["frames"]).where(*conditions)
    order = (col(Frame.mjd), col(Frame.id)) if by_time else (col(Frame.id),)
    return session.execute(query.order_by(*order)).all()


def frames_with_regions(session: Session) -> dict[int, FrameRow]:
    """Return the frames that are not eliminated and contain a region of interest, by id and in the order of time."""
    return dict(read_once(session, _frames_with_regions))


def _frames_with_regions(session: Session) -> dict[int, FrameRow]:
    rows = frame_rows(session, col(Frame.roi_in_footprint), ~col(Frame.eliminated), by_time=True)
    return {frame.id: frame for frame in rows}


#: A row of ``stars`` for reading, with its columns as attributes.
StarRow: TypeAlias = Any


def active_stars(session: Session) -> dict[tuple[str, str], StarRow]:
    """Return the reference stars in use, by field and identifier, without stars of earlier fields or selections."""
    fields = sa.select(col(CombinedFootprint.hash)).where(col(CombinedFootprint.active))
    stars = sa.select(SQLModel.metadata.tables["stars"]).where(
        col(Star.active), col(Star.combined_footprint_hash).in_(fields)
    )
    return {(s.combined_footprint_hash, s.gaia_id): s for s in session.execute(stars)}


def fields_of_regions(session: Session) -> dict[str, str]:
    """Return the field of reference stars that each region is measured with, by the region's name."""
    query = sa.select(col(CombinedFootprint.hash), col(CombinedFootprint.rois)).where(col(CombinedFootprint.active))
    fields = sorted(session.execute(query), key=lambda f: f.hash, reverse=True)
    return {roi: field.hash for field in fields for roi in field.rois}  # of several, the first by its hash


def calibrations_of(session: Session, roi: str) -> list[dict[str, str]]:
    """Return by which survey and band, and in which system, the magnitudes of a region's light curve are calibrated.

    One row for each instrument and band of frames, with the texts ``instrument``, ``band``, ``survey``, ``survey_band``
    and ``system``.
    """
    z = SQLModel.metadata.tables["absolute_zeropoints"].c
    columns = (z.instrument, z.band, z.catalog.label("survey"), z.catalog_band.label("survey_band"), z.system)
    field = fields_of_regions(session).get(roi, "")
    query = sa.select(*columns).where(z.combined_footprint_hash == field).order_by(z.instrument, z.band)
    return [dict(row._mapping) for row in session.execute(query)]


def recorded_components(session: Session, stage: str, units: Set[str]) -> dict[str, Components]:
    """Return by unit what the products of some units of a stage were made from, in one query for all."""
    if not units:
        return {}
    rows = session.execute(sa.select(col(Product.unit), col(Product.components)).where(col(Product.stage) == stage))
    return {unit: dict(components) for unit, components in rows if unit in units}


def numeric_columns(table: str) -> list[str]:
    """Return the names of a table's numeric columns."""
    found = SQLModel.metadata.tables[table].columns
    return [c.name for c in found if isinstance(c.type, sa.Integer | sa.Float)]
