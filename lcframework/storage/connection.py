"""Connects to a project's database: a file in the workdir, or a server."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import create_engine

from lcframework.storage.network_drives import network_drive
from lcframework.storage.reading import read_only
from lcframework.storage.schema import check_tables, make_tables, upgrade_tables
from lcframework.types import LcfError, NeedMissing, redacted

log = logging.getLogger(__name__)

FILE_NAME = "database.sqlite3"


def open_engine(url: str, workdir: Path) -> Engine:
    """Connect to the project's database, and create its tables where they are missing.

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
    engine = _connect(url, workdir)
    with _errors_that_name_it(engine):
        make_tables(engine)
    return engine


def open_for_reading(url: str, workdir: Path) -> Engine:
    """Connect to the project's database to read it: nothing is written and nothing locked, whoever works on it.

    Where there is none yet, an empty one in memory is returned. The arguments are those of :func:`open_engine`.

    Raises
    ------
    NeedMissing
        As :func:`open_engine`.
    """
    path = workdir / FILE_NAME
    if not url and not path.exists():
        return open_engine("sqlite://", workdir)
    engine = read_only(_open_server(url), None) if url else read_only(None, path)
    with _errors_that_name_it(engine):
        is_new = check_tables(engine)
    if not is_new:
        return engine
    engine.dispose()
    return open_engine("sqlite://", workdir)


@contextlib.contextmanager
def failures_in_words(engine: Engine) -> Iterator[None]:
    """Raise `LcfError` where the database itself fails inside: locked, damaged, or a server that went away."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if not fails_itself(error):
            raise
        raise LcfError(failure(engine, error)) from None


def fails_itself(error: sa.exc.DBAPIError) -> bool:
    """Return whether the database failed, and not a statement that it was given."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or type(error) in (
        sa.exc.DatabaseError,  # a damaged file
        sa.exc.InternalError,
    )


def failure(engine: Engine, error: sa.exc.DBAPIError) -> str:
    """Return in words that the database failed."""
    reason = " ".join(str(error.orig).split())
    return redacted(
        f"the database {engine.url!r} failed: {reason}. What was recorded is kept: run again when it answers; a file "
        "that is damaged can be moved away, and all is made again"
    )


def may_exist(url: str, workdir: Path) -> bool:
    """Return whether a project may have a database: it names a server, or has the file."""
    return bool(url) or (workdir / FILE_NAME).exists()


def upgrade(url: str, workdir: Path) -> str:
    """Migrate the tables of a project's database to this version, and return in words what was done.

    The arguments are those of :func:`open_engine`. The answer is empty where there was nothing to do.

    Raises
    ------
    NeedMissing
        As :func:`open_engine`; also where the tables can't be migrated.
    """
    if not may_exist(url, workdir):
        return ""
    engine = _connect(url, workdir)
    try:
        with _errors_that_name_it(engine):
            return upgrade_tables(engine)
    finally:
        engine.dispose()


def _connect(url: str, workdir: Path) -> Engine:
    if url:
        return _open_server(url)
    engine = create_engine(sa.URL.create("sqlite", database=str(workdir / FILE_NAME)), connect_args={"timeout": 30})
    drive = network_drive(workdir)
    if drive:
        log.warning(
            "the workdir %s is on a network drive (%s): SQLite's write-ahead log is not used, and one machine at "
            "a time may work on the project. Where several do, name a database server in [project] database.",
            workdir, drive,
        )  # fmt: skip
    sa.event.listen(engine, "connect", _sqlite_pragmas_without_log if drive else _sqlite_pragmas)
    return engine


@contextlib.contextmanager
def _errors_that_name_it(engine: Engine) -> Iterator[None]:
    """Name the database in errors on opening it, and close its connections."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise NeedMissing(f"the database {engine.url!r} can't be opened: {error.orig}") from None
    except NeedMissing:
        engine.dispose()
        raise


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


def _sqlite_pragmas_without_log(connection: Any, _: Any) -> None:
    """Keep the whole journal in files that every machine sees, not in memory that the log's readers share."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=DELETE")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
