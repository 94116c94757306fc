"""Versions of a database's tables: brought up to date with a copy kept, or refused; never changed unasked."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import Session, SQLModel, select

from lcframework.storage import schema
from lcframework.storage.connection import FILE_NAME, open_engine, upgrade
from lcframework.storage.tables import DecidedSetting, Product
from lcframework.types import NeedMissing

TABLES_0001 = (Path(__file__).parents[2] / "helpers" / "tables_0001.sql").read_text()


def execute(folder: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.executescript(script)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Return a folder with a database of the first version and a product in it."""
    execute(
        tmp_path,
        TABLES_0001 + "insert into products values ('psf_modeling', 'frame:1:f', 'print', 'token', '{}', 'made', '', "
        "'psf.h5', 1, 2.5);",
    )
    return tmp_path


def differences(folder: Path) -> list[object]:
    engine = sa.create_engine(f"sqlite:///{folder / FILE_NAME}")
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
    engine.dispose()
    return [d for d in found if "alembic_version" not in str(d)]


def test_steps_are_those_there_are() -> None:
    files = sorted((Path(schema.__file__).parent / "migrations" / "versions").glob("step_*.py"))
    assert tuple(f.stem.removeprefix("step_") for f in files) == schema.STEPS


def test_a_new_database_has_the_present_version(tmp_path: Path) -> None:
    engine = open_engine("", tmp_path)
    with engine.connect() as connection:
        assert schema.version_of(connection) == schema.HEAD
    engine.dispose()
    assert differences(tmp_path) == []
    assert upgrade("", tmp_path) == ""


def test_an_earlier_version_is_refused_with_the_command_that_mends_it(first: Path) -> None:
    before = (first / FILE_NAME).read_bytes()
    with pytest.raises(NeedMissing, match=r"made by an earlier version .* of version 0001.*`lcf upgrade`"):
        open_engine("", first)
    execute(first, "pragma wal_checkpoint(truncate)")
    assert (first / FILE_NAME).read_bytes()[100:] == before[100:]  # the journal's mode is in the file's head


def test_an_earlier_version_is_brought_up_to_date(first: Path) -> None:
    done = upgrade("", first)
    assert f"from version 0001 to {schema.HEAD}" in done
    copy = first / f"{FILE_NAME}.version-0001"
    assert str(copy) in done
    engine = open_engine("", first)
    with Session(engine) as session:
        product = session.get(Product, ("psf_modeling", "frame:1:f"))
        assert product is not None
        assert (product.fingerprint, product.fingerprint_rule, product.token) == ("print", 1, "token")
    engine.dispose()
    assert differences(first) == []
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        columns = [row[1] for row in connection.execute("pragma table_info(products)")]
    assert "fingerprint_rule" not in columns
    assert upgrade("", first) == ""


def test_doubts_about_settings_are_parted_from_what_newer_frames_say(tmp_path: Path) -> None:
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        for setting, text in (
            ("header.gain", "is excluded"),
            ("stamps.star_size", "6 newer frames would decide 40: x"),
        ):
            session.add(DecidedSetting(instrument="", setting=setting, disagreement=text))
        session.commit()
    engine.dispose()
    execute(
        tmp_path,
        "alter table settings drop column doubt; drop table region_coefficients; "
        "alter table normalization_coefficients drop column slow_scatter; "
        "update alembic_version set version_num = '0009'",
    )
    upgrade("", tmp_path)
    engine = open_engine("", tmp_path)
    with Session(engine) as session:
        rows = {r.setting: (r.doubt, r.disagreement) for r in session.exec(select(DecidedSetting))}
    engine.dispose()
    assert rows["header.gain"] == ("is excluded", "")
    assert rows["stamps.star_size"] == ("", "6 newer frames would decide 40: x")


def test_an_upgrade_that_breaks_off_changes_nothing(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    def breaking(config: object, revision: str, original: object = command.upgrade) -> None:
        original(config, revision)  # type: ignore[operator]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", breaking)
        with pytest.raises(KeyboardInterrupt):
            upgrade("", first)
    with contextlib.closing(sqlite3.connect(first / FILE_NAME)) as connection:
        names = {row[0] for row in connection.execute("select name from sqlite_master")}
        columns = [row[1] for row in connection.execute("pragma table_info(products)")]
    assert "alembic_version" not in names
    assert "fingerprint_rule" not in columns
    assert f"to {schema.HEAD}" in upgrade("", first)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_engine("", tmp_path).dispose()
    execute(tmp_path, "update alembic_version set version_num = '9999'")
    for act in (open_engine, upgrade):
        with pytest.raises(NeedMissing, match=r"made by a newer version of lcframework .*version 9999.*left as it is"):
            act("", tmp_path)


def test_tables_that_are_too_old_are_refused_and_left_as_they_are(first: Path) -> None:
    execute(first, "drop table runs; alter table stars drop column magnitude")
    for act in (open_engine, upgrade):
        with pytest.raises(NeedMissing, match=r"too old: it lacks columns\. .*workdir"):
            act("", first)
    with contextlib.closing(sqlite3.connect(first / FILE_NAME)) as connection:
        assert not connection.execute("select name from sqlite_master where name = 'runs'").fetchall()


def test_tables_whose_making_was_interrupted_are_completed(tmp_path: Path) -> None:
    open_engine("", tmp_path).dispose()
    execute(tmp_path, "drop table runs; drop table alembic_version")
    again = open_engine("", tmp_path)
    assert {"runs", "alembic_version"} <= set(sa.inspect(again).get_table_names())
    again.dispose()
