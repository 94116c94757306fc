"""The state of a project as it was recorded, where plugins or raw files are not there to say what is out of date."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, select

from lcframework.running.frame_status import FrameState, frame_status
from lcframework.running.plugin_stages import stages_with_products
from lcframework.running.project_status import StageStatus, Status
from lcframework.stars.records import star_records
from lcframework.storage.tables import Frame, NormalizationCoefficient
from lcframework.work import Ledger, ProductState, Stage


def recorded_status(stages: Sequence[Stage], session: Session) -> Status:
    """Return what is recorded of stages, files and stars; nothing is said to be pending, because nobody can tell.

    Stages of plugins that are not there, and whose products are, have a row too.
    """
    ledger = Ledger.read(session)
    titles = {s.name: s.title for s in stages}
    counted, unusable = [], []
    for name in dict.fromkeys([*titles, *stages_with_products(session)]):
        products = list(ledger.of_stage(name).values())
        failed = [p for p in products if p.state == ProductState.UNUSABLE]
        unusable += [(name, p.unit, p.reason) for p in failed]
        made = sum(p.state == ProductState.MADE for p in products)
        counted.append(StageStatus(name, titles.get(name, name), made, len(failed), (), False))
    rows = session.exec(select(Frame).order_by(Frame.id)).all()  # type: ignore[arg-type]
    measured = set(session.exec(select(NormalizationCoefficient.frame_id)))
    frames = []
    for row in rows:
        status = frame_status(row, ledger, "" if row.id in measured else "it has no coefficient")
        frames.append(status)
    used = {row.id or 0 for row, s in zip(rows, frames, strict=True) if s.state is not FrameState.ELIMINATED}
    return Status(tuple(counted), tuple(frames), tuple(unusable), tuple(star_records(session, used).values()))
