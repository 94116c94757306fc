"""Records: how stages change tables. Workers return them; the driver alone carries them out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

import lcframework.storage.tables  # noqa: F401  (its tables are those that records name)


@attrs.frozen
class Update:
    """Set columns of the rows that match."""

    table: str
    where: dict[str, Any]
    values: dict[str, Any]


@attrs.frozen
class Replace:
    """Delete the rows that match, then insert these."""

    table: str
    where: dict[str, Any]
    rows: list[dict[str, Any]] = attrs.field(factory=list)


Record = Update | Replace


def apply(session: Session, records: Sequence[Record]) -> None:
    """Carry out records inside the session's transaction."""
    for (kind, name, *_), same in itertools.groupby(records, _form):
        table = SQLModel.metadata.tables[name]
        if kind is Update:
            _update(session, table, [r for r in same if isinstance(r, Update)])
            continue
        for record in same:
            session.execute(sa.delete(table).where(*(table.c[k] == v for k, v in record.where.items())))
            if isinstance(record, Replace) and record.rows:
                session.execute(sa.insert(table), record.rows)


def _form(record: Record) -> tuple[Any, ...]:
    """Return what records have in common that one statement can carry out."""
    nulls = tuple(v is None for v in record.where.values())
    return type(record), record.table, *record.where, nulls, *(record.values if isinstance(record, Update) else ())


def _update(session: Session, table: sa.Table, records: Sequence[Update]) -> None:
    """Update rows by one statement, for a frame has a row a star; the records name the same columns."""
    first = records[0]
    if not first.values:
        return
    conditions = [table.c[k].is_(None) if v is None else table.c[k] == sa.bindparam(f"where_{k}")
                  for k, v in first.where.items()]  # fmt: skip
    statement = sa.update(table).where(*conditions).values({k: sa.bindparam(f"new_{k}") for k in first.values})
    rows = [
        {**{f"where_{k}": v for k, v in r.where.items()}, **{f"new_{k}": v for k, v in r.values.items()}}
        for r in records
    ]
    session.connection().execute(statement, rows)
