"""Connects to a project's database: a file in the workdir, or a server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel, create_engine

import lcframework.storage.tables  # noqa: F401  (its tables are those that are made)
from lcframework.types import NeedMissing

log = logging.getLogger(__name__)

FILE_NAME = "database.sqlite3"


def open_engine(url: str, workdir: Path) -> Engine:
    """Connect to the project's database and make its tables where they are missing.

    Parameters
    ----------
    url : str
        An SQLAlchemy URL; empty for ``database.sqlite3`` in the workdir.
    workdir : Path
        The project's folder of products.

    Raises
    ------
    NeedMissing
        Where the server can't be reached, its driver is not installed, or another version of lcframework made the
        tables; such a database is left as it is.
    """
    if url:
        engine = _open_server(url)
    else:
        place = sa.URL.create("sqlite", database=str(workdir / FILE_NAME))
        engine = create_engine(place, connect_args={"timeout": 30})
        sa.event.listen(engine, "connect", _sqlite_pragmas)
    try:
        _check_schema(engine)
        SQLModel.metadata.create_all(engine)
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise NeedMissing(f"the database {engine.url!r} can't be opened: {error.orig}") from None
    except NeedMissing:
        engine.dispose()
        raise
    return engine


def _check_schema(engine: Engine) -> None:
    """Refuse a database in which a table that is there lacks columns: another version made it."""
    there = sa.inspect(engine).get_multi_columns()
    have = {table: {c["name"] for c in found} for (_, table), found in there.items()}
    lacking = [
        f"{name}.{column.name}"
        for name, table in SQLModel.metadata.tables.items()
        for column in table.columns
        if name in have and column.name not in have[name]
    ]
    if lacking:
        raise NeedMissing(
            f"the database {engine.url!r} was made by another version of lcframework: it lacks {', '.join(lacking)}. "
            "Use that version, or start in another [project] workdir (where [project] database names a server: with "
            "an empty database). Everything is then made again; letters of stars, the coefficients' scale and "
            "exclusions by `lcf exclude` do not come along"
        )


def _open_server(url: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except sa.exc.ArgumentError:
        raise NeedMissing(
            f'[project] database = "{url}" is not a database URL; e.g. "postgresql+psycopg://user@host/name"'
        ) from None
    except ModuleNotFoundError as error:
        raise NeedMissing(
            f'[project] database = "{url}" needs the module {error.name}: pip install "lcframework[postgres]"'
        ) from None


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        log.warning("the database's file system does not take a write-ahead log; journal mode %s is used", mode)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
