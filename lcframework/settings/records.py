"""Decided settings in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.storage.tables import DecidedSetting


def decided_settings(session: Session) -> list[DecidedSetting]:
    """Return all decisions, also those that the project file overrides, by instrument and setting."""
    query = select(DecidedSetting).order_by(col(DecidedSetting.instrument), col(DecidedSetting.setting))
    return list(session.exec(query))


def decided_values(session: Session) -> dict[str, dict[str, Any]]:
    """Return the decided values by instrument ('' for all) and setting."""
    out: dict[str, dict[str, Any]] = {}
    for row in decided_settings(session):
        if row.value is not None:
            out.setdefault(row.instrument, {})[row.setting] = row.value
    return out


def forget(session: Session, settings: Iterable[str]) -> int:
    """Delete the decisions on these settings for all instruments, and return how many there were."""
    chosen = list(settings)
    found = session.exec(select(DecidedSetting).where(col(DecidedSetting.setting).in_(chosen))).all()
    session.execute(sa.delete(DecidedSetting).where(col(DecidedSetting.setting).in_(chosen)))
    return len(found)
