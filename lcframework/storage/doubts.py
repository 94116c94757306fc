"""Doubts in the database: written with the product that they are about, and read while it is in use."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.storage.records import Replace
from lcframework.storage.tables import DoubtRow, Frame, Product, ProductState
from lcframework.types import Doubt, FrameFlag, Severity
from lcframework.types.json_values import finite_or_none

#: The sessions in which these statements are carried out hold no objects of the rows.
_UNSYNCHRONISED = {"synchronize_session": False}


def doubt_records(stage: str, unit: str, doubts: Iterable[Doubt], frame_id: int | None = None) -> Replace:
    """Return the record that replaces all doubts about what a unit of a stage made.

    Of several doubts of one kind about one subject the last counts.
    """
    rows = {
        (d.kind, d.subject): {
            "stage": stage, "unit": unit, "kind": d.kind, "subject": d.subject, "severity": d.severity.value,
            "text": d.text, "remedy": d.remedy, "value": finite_or_none(d.value),
            "frame_id": frame_id,
        }
        for d in doubts
    }  # fmt: skip
    return Replace("doubts", {"stage": stage, "unit": unit}, list(rows.values()))


def doubts_in_force(session: Session) -> list[DoubtRow]:
    """Return the doubts about products that are there, of frames that are not taken out, in the order of frames."""
    rows = (
        select(DoubtRow)
        .join(Product, sa.and_(col(Product.stage) == DoubtRow.stage, col(Product.unit) == DoubtRow.unit))
        .outerjoin(Frame, col(Frame.id) == DoubtRow.frame_id)
        .where(
            col(Product.state) == ProductState.MADE.value, sa.func.coalesce(Frame.eliminated, sa.false()) == sa.false()
        )
        .order_by(col(DoubtRow.frame_id), col(DoubtRow.stage), col(DoubtRow.unit), col(DoubtRow.subject))
    )
    return list(session.exec(rows))


def flag_doubted(session: Session, frames: Collection[int]) -> None:
    """Set or clear the flag of frames that something speaks against; mere notes do not count."""
    against = (
        select(DoubtRow.kind)
        .join(Product, sa.and_(col(Product.stage) == DoubtRow.stage, col(Product.unit) == DoubtRow.unit))
        .where(
            DoubtRow.frame_id == Frame.id,
            DoubtRow.severity != Severity.NOTE.value,
            Product.state == ProductState.MADE.value,
        )
        .correlate(Frame)
        .exists()
    )
    flag, flags = FrameFlag.DOUBTED.value, col(Frame.flags)
    flagged = flags.op("&")(~flag).op("|")(sa.case((against, flag), else_=0))
    changed = (col(Frame.id).in_(frames), flags != flagged)  # a row that stays as it is counts as changed otherwise
    session.execute(sa.update(Frame).where(*changed).values(flags=flagged), execution_options=_UNSYNCHRONISED)


def forget_old_doubts(session: Session, kept_stage: str) -> None:
    """Delete doubts whose product is gone, and mend the flags of their frames; those of `kept_stage` have none."""
    has_product = (
        select(Product.stage).where(col(Product.stage) == DoubtRow.stage, col(Product.unit) == DoubtRow.unit).exists()
    )
    gone = sa.and_(col(DoubtRow.stage) != kept_stage, ~has_product)
    frames = session.exec(select(DoubtRow.frame_id).where(gone, col(DoubtRow.frame_id).is_not(None)).distinct()).all()
    session.execute(sa.delete(DoubtRow).where(gone), execution_options=_UNSYNCHRONISED)
    flag_doubted(session, [i for i in frames if i is not None])
