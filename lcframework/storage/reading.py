"""Connections that can't write: a reader locks nothing, and works beside a run and in a workdir that it may not write.

SQLite opens the file for reading alone. Two cases need care, both in folders that may not be written. A database whose
write-ahead log has been joined is opened as one that nobody changes, because SQLite would make files beside it
otherwise. Where a killed run left a log or journal, files and log are copied to a temporary folder and read there.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

T = TypeVar("T")

#: The entry of a session's `info` with what was read, where the session sees the database as it was when it began.
_STILL = "read, in a database that holds still"
#: What SQLite keeps beside a database while it is written.
_LOGS = ("-wal", "-journal")


def read_only(server: Engine | None, path: Path | None) -> Engine:
    """Return an engine whose connections only read: those of `server`, or of the SQLite file `path`."""
    if server is not None:
        if server.dialect.name == "postgresql":
            sa.event.listen(server, "connect", _reading_transactions)
        return server
    assert path is not None
    opener = _Opener(path)
    return sa.create_engine(sa.URL.create("sqlite", database=str(path)), creator=opener.connect)


def _reading_transactions(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("set session characteristics as transaction isolation level repeatable read, read only")
    connection.commit()


def hold_still(session: Session) -> None:
    """Let a session see the database as it is now, whatever a run writes beside it.

    With another journal than the write-ahead log that would keep the run from writing: then each query sees what is
    there when it is asked.
    """
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        if connection.exec_driver_sql("pragma journal_mode").scalar() != "wal":
            return
        connection.exec_driver_sql("begin")
    elif connection.dialect.name != "postgresql":
        return  # others may show what changes meanwhile
    session.info[_STILL] = {}


def read_once(session: Session, read: Callable[[Session], T]) -> T:
    """Return what `read` finds; it is asked once in a session that holds still, because several stages ask the same.

    What is returned is not to be changed.
    """
    known: dict[Any, Any] | None = session.info.get(_STILL)
    if known is None:
        return read(session)
    if read not in known:
        known[read] = read(session)
    found: T = known[read]
    return found


class _Opener:
    """Opens a SQLite file for reading, by the first way that works."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    def connect(self) -> sqlite3.Connection:
        """Return a new connection."""
        if self._copy is None:
            try:
                return _opened(self._path, "mode=ro")
            except sqlite3.OperationalError as error:
                if not _needs_to_write(error):
                    raise
            if not any(_size(self._path.with_name(self._path.name + log)) for log in _LOGS):
                return _opened(self._path, "mode=ro&immutable=1")
            self._copy = tempfile.TemporaryDirectory(prefix="lcf_reading_")
            weakref.finalize(self, self._copy.cleanup)
            for name in (self._path.name, *(self._path.name + log for log in _LOGS)):
                if (source := self._path.with_name(name)).exists():
                    shutil.copyfile(source, Path(self._copy.name) / name)
        return _opened(Path(self._copy.name) / self._path.name, "mode=rw")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=30, check_same_thread=False)
    try:
        connection.execute("select count(*) from sqlite_master").fetchone()  # the file is opened by the first query
        connection.execute("pragma query_only = on")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _needs_to_write(error: sqlite3.OperationalError) -> bool:
    """Return whether SQLite can't read without writing: a file beside the database, or the changes of a log."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
