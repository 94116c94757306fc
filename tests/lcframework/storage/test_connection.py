"""Connecting, and databases that can't be used."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from lcframework.storage.connection import FILE_NAME, open_engine
from lcframework.types import NeedMissing


def test_folder_whose_name_means_something_in_a_url(tmp_path):
    folder = tmp_path / "odd? 100% #1 é"
    folder.mkdir()
    open_engine("", folder).dispose()
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert (folder / FILE_NAME).exists()


def test_write_ahead_log(engine, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_file_that_is_no_database(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"hello, this is a text and not a database" * 100)
    with pytest.raises(NeedMissing, match="can't be opened"):
        open_engine("", tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not a url", "is not a database URL"),
        ("oracle+nothing://x", r"needs|is not"),
        ("mysql+aiomysql://x/y", "needs"),
    ],
)
def test_other_servers(tmp_path, url, words):
    with pytest.raises(NeedMissing, match=words):
        open_engine(url, tmp_path)


def test_password_is_not_shown(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(NeedMissing) as error:
        open_engine("postgresql+psycopg://me:secret@127.0.0.1:9/none?connect_timeout=1", tmp_path)
    assert "secret" not in str(error.value)
