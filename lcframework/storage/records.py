"""Records: descriptions of changes of tables. Workers return them; only the driver executes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

import lcframework.storage.tables  # noqa: F401  (defines the tables that records name)
from lcframework.types import PluginError


@attrs.frozen
class Update:
    """Set the columns `values` in the rows of `table` that match `where`."""

    table: str
    where: dict[str, Any]
    values: dict[str, Any]


@attrs.frozen
class Replace:
    """Delete the rows of `table` that match `where`, then insert `rows`."""

    table: str
    where: dict[str, Any]
    rows: list[dict[str, Any]] = attrs.field(factory=list)


Record = Update | Replace


def apply(session: Session, records: Sequence[Record]) -> None:
    """Execute records inside the transaction of the session."""
    for (kind, name, *_), same in itertools.groupby(records, _form):
        table = SQLModel.metadata.tables.get(name)
        if table is None:
            raise PluginError(f'there is no table "{name}" for records; files belong into the workdir')
        if kind is Update:
            _update(session, table, [r for r in same if isinstance(r, Update)])
            continue
        for record in same:
            session.execute(sa.delete(table).where(*(table.c[k] == v for k, v in record.where.items())))
            if isinstance(record, Replace) and record.rows:
                session.execute(sa.insert(table), record.rows)


def _form(record: Record) -> tuple[Any, ...]:
    """Return a value that is equal for records that one SQL statement can execute together."""
    nulls = tuple(v is None for v in record.where.values())
    return type(record), record.table, *record.where, nulls, *(record.values if isinstance(record, Update) else ())


def _update(session: Session, table: sa.Table, records: Sequence[Update]) -> None:
    """Update many rows by one statement, because a frame has a row for each star; all records set the same columns."""
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
