"""The row of a run in the table ``runs``: written when it begins, and completed when it ends."""

from __future__ import annotations

import contextlib
import datetime as dt
from importlib import metadata

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from lcframework.config.project_file import Config
from lcframework.running.run_report import RunReport
from lcframework.storage.tables import Run, RunOutcome
from lcframework.types import redacted


def begin_run(engine: Engine, config: Config, asked: str) -> int:
    """Record that a run begins, and that runs which never ended were killed; return its id.

    Parameters
    ----------
    engine : sqlalchemy.engine.Engine
        The project's database.
    config : Config
        Whose file is recorded.
    asked : str
        Its stages and filter.
    """
    now = dt.datetime.now(dt.UTC)
    text = redacted(config.path.read_text(encoding="utf-8"))
    with Session(engine) as session:
        left = col(Run.outcome) == RunOutcome.RUNNING.value
        session.execute(sa.update(Run).where(left).values(outcome=RunOutcome.KILLED.value, finished=now))
        _hide_old_secrets(session)
        run = Run(started=now, version=metadata.version("lcframework"), stages=asked, settings=text)
        session.add(run)
        session.commit()
        return run.id or 0


def end_run(engine: Engine, run_id: int, report: RunReport, outcome: RunOutcome) -> None:
    """Record how a run ended; where that can't be written, the next run finds it killed."""
    with contextlib.suppress(sa.exc.OperationalError), Session(engine) as session:
        run = session.get(Run, run_id)
        if run is not None:
            run.finished, run.outcome, run.message = dt.datetime.now(dt.UTC), outcome.value, report.message
            run.units_done = report.units_done
            run.units_unusable = sum(len(s.unusable) for s in report.stages)
            run.units_failed = len(report.bugs)
            session.add(run)
            session.commit()


def _hide_old_secrets(session: Session) -> None:
    """Take passwords out of the settings that earlier versions recorded as they were."""
    for run in session.exec(select(Run).where(col(Run.settings).contains("://"))):
        if (clean := redacted(run.settings)) != run.settings:
            run.settings = clean
            session.add(run)
