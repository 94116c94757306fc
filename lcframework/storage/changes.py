"""Counts of changes: triggers of the database count every change of a table, whoever makes it.

Planning asks whether what it rests on is as it was at the last plan. Equal counts say so without a look at the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import Session, SQLModel, col, select

from lcframework.storage.tables import Change, Plan, Product, ProductFile, Run

#: Changes of products are counted by stage; nothing is planned from the others, and files are looked at each time.
_NOT_COUNTED = {str(table.__tablename__) for table in (Change, Plan, Product, ProductFile, Run)}
_OPERATIONS = {"insert": ("new",), "update": ("new", "old"), "delete": ("old",)}
_PRODUCTS = str(Product.__tablename__)
#: PostgreSQL: one function for every table, called once a statement with the rows that it changed.
_FUNCTION = """
create or replace function lcf_count_changes() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'products' then
        insert into changes (name, count) select distinct 'products/' || stage, 1 from changed_rows
            on conflict (name) do update set count = changes.count + 1;
    elsif exists (select 1 from changed_rows) then
        insert into changes (name, count) values (tg_table_name, 1)
            on conflict (name) do update set count = changes.count + 1;
    end if;
    return null;
end $$
"""

#: How many of the triggers are there, and at work.
_TRIGGERS = {
    "sqlite": "select count(*) from sqlite_master where type = 'trigger' and name glob 'count_*'",
    "postgresql": (
        "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid where t.tgname ~ '^count_' "
        "and t.tgenabled = 'O' and c.relnamespace = current_schema()::regnamespace"
    ),
}


def name_of(stage: str) -> str:
    """Return the name under which changes of a stage's products are counted."""
    return f"{_PRODUCTS}/{stage}"


def counted_tables() -> list[str]:
    """Return the tables whose changes are counted as a whole."""
    return [name for name in SQLModel.metadata.tables if name not in _NOT_COUNTED]


def count_changes(connection: Connection) -> None:
    """Create the triggers that are missing; a step that adds a table calls this too.

    On servers other than PostgreSQL nothing is counted, so that every plan is made anew.
    """
    dialect = connection.dialect.name
    if dialect not in ("sqlite", "postgresql"):
        return
    if dialect == "postgresql":
        connection.exec_driver_sql(_FUNCTION)
    there = set(sa.inspect(connection).get_table_names())  # in an earlier step not all are there
    for table in [t for t in (*counted_tables(), _PRODUCTS) if t in there]:
        for operation, rows in _OPERATIONS.items():
            if dialect == "sqlite":
                connection.exec_driver_sql(_sqlite_trigger(table, operation, rows))
            else:
                connection.exec_driver_sql(f'drop trigger if exists "count_{operation}_{table}" on "{table}"')
                connection.exec_driver_sql(_postgresql_trigger(table, operation))


def _sqlite_trigger(table: str, operation: str, rows: Collection[str]) -> str:
    names = [f"'{_PRODUCTS}/' || {row}.stage" for row in rows] if table == _PRODUCTS else [f"'{table}'"]
    counting = " ".join(
        f"insert into changes (name, count) values ({name}, 1) on conflict (name) do update set count = count + 1;"
        for name in names
    )
    return (
        f'create trigger if not exists "count_{operation}_{table}" after {operation} on "{table}" begin {counting} end'
    )


def _postgresql_trigger(table: str, operation: str) -> str:
    rows = "old" if operation == "delete" else "new"
    return (
        f'create trigger "count_{operation}_{table}" after {operation} on "{table}" referencing {rows} table as '
        "changed_rows for each statement execute function lcf_count_changes()"
    )


def changes(session: Session) -> Mapping[str, int] | None:
    """Return how often each table, and the products of each stage, changed.

    None where not all changes are counted: on other servers, and where someone removed triggers.
    """
    connection = session.connection()
    query = _TRIGGERS.get(connection.dialect.name)
    wanted = len(_OPERATIONS) * (len(counted_tables()) + 1)
    if query is None or connection.exec_driver_sql(query).scalar() != wanted:
        return None
    return dict(session.exec(select(Change.name, col(Change.count))).all())
