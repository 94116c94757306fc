"""Connections that read: they write nothing, and see what a killed run left, also where nothing may be written."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from lcframework.storage import reading
from lcframework.storage.connection import FILE_NAME, open_engine, open_for_reading
from lcframework.storage.reading import hold_still
from lcframework.storage.tables import Frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a database of one frame that nobody has open."""
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        session.add(Frame(original_image_path="a", key="a"))
        session.commit()
    engine.dispose()
    return tmp_path


def keys(folder: Path) -> list[str]:
    engine = open_for_reading("", folder)
    with Session(engine) as session:
        found = session.execute(sa.text("select key from frames order by key")).scalars().all()
    engine.dispose()
    return list(found)


def test_writing_is_refused(folder: Path) -> None:
    engine = open_for_reading("", folder)
    with Session(engine) as session:
        session.add(Frame(original_image_path="b", key="b"))
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            session.flush()
    engine.dispose()


def test_without_a_database_an_empty_one_is_read(tmp_path: Path) -> None:
    assert keys(tmp_path) == []
    (tmp_path / FILE_NAME).touch()
    assert keys(tmp_path) == []
    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_a_session_sees_one_moment(folder: Path) -> None:
    engine = open_for_reading("", folder)
    query = sa.text("select count(*) from frames")
    with Session(engine) as session, contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as run:
        hold_still(session)
        assert session.execute(query).scalar() == 1
        with run:
            run.execute("delete from frames")  # it does not wait for the reader
        assert session.execute(query).scalar() == 1
    engine.dispose()
    assert keys(folder) == []


def _only_reading(path: Path, how: str, original: Any = reading._opened) -> sqlite3.Connection:
    """Open as in a folder that may not be written: SQLite needs a file beside the database, or to play back a log."""
    if how == "mode=ro":
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY_CANTINIT
        raise error
    connection: sqlite3.Connection = original(path, how)
    return connection


def test_in_a_folder_that_may_not_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_opened", _only_reading)
    assert keys(folder) == ["a"]
    assert [p.name for p in folder.iterdir()] == [FILE_NAME]


def test_with_the_log_of_a_killed_run(folder: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = tmp_path_factory.mktemp("killed")
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as run:
        run.execute("insert into frames select 2, 'b', 'b', " + ", ".join(_rest(run)) + " from frames")
        run.commit()
        for path in folder.glob(f"{FILE_NAME}*"):  # with what is in the log alone
            if not path.name.endswith("-shm"):
                shutil.copyfile(path, killed / path.name)
    assert (killed / f"{FILE_NAME}-wal").stat().st_size > 0
    before = {p.name: p.read_bytes() for p in killed.iterdir()}
    monkeypatch.setattr(reading, "_opened", _only_reading)
    assert keys(killed) == ["a", "b"]
    assert {p.name: p.read_bytes() for p in killed.iterdir()} == before


def _rest(run: sqlite3.Connection) -> list[str]:
    return [row[1] for row in run.execute("pragma table_info(frames)")][3:]


def test_other_errors_are_told(folder: Path) -> None:
    (folder / FILE_NAME).write_text(
        "no database at all, but a text of some length, which SQLite refuses to open\n" * 20
    )
    with pytest.raises(Exception, match="can't be opened: file is not a database"):
        open_for_reading("", folder)
