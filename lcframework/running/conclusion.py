"""The end of a run: which inputs could not be used, and plans that hold for the next run."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.running.collecting import no_collection
from lcframework.running.finishing import is_finished
from lcframework.running.memory import PlanMemory, unusable_of
from lcframework.running.run_report import RunReport, Unusable
from lcframework.running.unusable import still_unusable
from lcframework.storage.tables import Frame
from lcframework.types import LcfError, file_name
from lcframework.work import Entry, FrameKey, Ledger, ProductState, Stage


@no_collection()
def conclude(
    engine: Engine, stages: Sequence[Stage], report: RunReport, memory: PlanMemory,
    admitted: Mapping[str, Collection[str]],
) -> list[Unusable]:  # fmt: skip
    """Return the unusable inputs, and remember the plans of stages of which nothing is left to be done.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        The project's database.
    stages : sequence of Stage
        Those of the run, with the tools that the next run will find.
    report : RunReport
        Of the run so far.
    memory : PlanMemory
        Where plans are remembered.
    admitted : mapping
        By stage, the units within the run's filter.
    """
    troubled = {s.name for s in report.stages if s.bugs or s.missing}
    whole = not (report.message or report.interrupted)
    with Session(engine) as session:
        found = []
        for stage in stages:
            if (plan := memory.recall(session, stage, files=False)) is not None:
                failed = unusable_of(session, plan)
            else:
                failed = _look_again(session, stage, memory if whole and stage.name not in troubled else None)
            for product in failed:
                if not stage.only or product.unit in admitted.get(stage.name, ()):
                    label = _label(session, product.unit)
                    found.append(Unusable(stage.name, label, product.reason, product.unit))
        session.commit()
    return found


def _look_again(session: Session, stage: Stage, memory: PlanMemory | None) -> list[Entry]:
    """Return the products of a stage's units that can't be used; `memory` takes the plan, where all is done."""
    ledger = Ledger.of(session).seen_by(stage.name, stage.needs)
    failed = [p for p in ledger.of_stage(stage.name).values() if p.state == ProductState.UNUSABLE]
    basis = None if stage.only or memory is None else memory.basis(session, stage)
    if not failed and basis is None:
        return failed
    with contextlib.suppress(LcfError):  # settings by which there are no units: the run stopped with that
        units = stage.units(session, ledger)
        failed = still_unusable(failed, units)
        done = basis is not None and not stage.pending(units, ledger)
        if memory is not None and basis is not None and done and is_finished(session, stage, ledger):
            memory.remember(session, stage, basis, units, failed)
    return failed


def _label(session: Session, unit: str) -> str:
    key = FrameKey.parse(unit)
    frame = session.get(Frame, key.frame_id) if key is not None else None
    return file_name(frame.original_image_path) if frame else unit
