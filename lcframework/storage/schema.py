"""The version of a database's tables: tables are created, checked and migrated, but never changed without a request."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlmodel import SQLModel

from lcframework.storage.changes import count_changes
from lcframework.types import NeedMissing

#: The steps of ``migrations/versions/``; the last one is the version that this lcframework uses.
STEPS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")
HEAD = STEPS[-1]
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))
#: Columns that later steps added; a database without these columns and without a version is of the first version.
_ADDED = {
    ("frames", "header_parser"),
    ("products", "fingerprint_rule"),
    ("normalization_coefficients", "slow_scatter"),
    *(("rois_in_frames", name) for name in ("ra", "dec", "trail", "position_error", "comment")),
    *(("star_flux_in_frame", name) for name in ("psf_flux", "psf_flux_uncertainty", "weights", "flux_noise")),
}


def make_tables(engine: Engine) -> None:
    """Create the tables that are missing, and record the version in a new database.

    Raises
    ------
    NeedMissing
        Where existing tables are of another version, or lack columns of this version.
    """
    if not check_tables(engine):
        return
    with _transaction(engine) as connection:
        if version_of(connection) is not None:
            return  # another process has made it meanwhile
        SQLModel.metadata.create_all(connection)
        count_changes(connection)
        connection.execute(
            sa.text("create table if not exists alembic_version (version_num varchar(32) not null primary key)")
        )
        connection.execute(sa.insert(_VERSION).values(version_num=HEAD))


def check_tables(engine: Engine) -> bool:
    """Return whether the database has no version yet, so that its tables are to be made; raises as `make_tables`."""
    with engine.connect() as connection:
        version = version_of(connection)
        lacking = _lacking(connection) | _missing(connection) if version == HEAD else set()
    if version not in (None, HEAD):
        raise NeedMissing(_refusal(engine, version or ""))
    if lacking:
        names = ", ".join(sorted(f"{table}.{column}" if column else table for table, column in lacking))
        raise NeedMissing(
            f"the database {engine.url!r} lacks what its version {HEAD} has: {names}. It was changed outside "
            "lcframework: put back a copy of it, or start in another [project] workdir"
        )
    return version is None


@contextlib.contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose changes of tables are committed together, or not at all."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":  # Python's sqlite3 begins no transaction before a change of tables
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def version_of(connection: Connection) -> str | None:
    """Return the version of a database's tables: None for a new database, empty for an unknown version.

    Complete tables without a version also count as new: the creation of that database was interrupted.
    """
    if sa.inspect(connection).has_table("alembic_version"):
        noted = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
        if noted is not None:
            return str(noted)
    lacking = _lacking(connection)
    if not lacking:
        return None
    return STEPS[0] if lacking <= _ADDED else ""


def _lacking(connection: Connection) -> set[tuple[str, str]]:
    """Return (table, column) for each column that is missing in an existing table."""
    inspector = sa.inspect(connection)
    lacking = set()
    for name in set(inspector.get_table_names()) & set(SQLModel.metadata.tables):
        existing = {column["name"] for column in inspector.get_columns(name)}
        lacking |= {(name, c.name) for c in SQLModel.metadata.tables[name].columns if c.name not in existing}
    return lacking


def _missing(connection: Connection) -> set[tuple[str, str]]:
    """Return (table, "") for each table that is not there: made anew, it would pass for what it was."""
    return {(name, "") for name in set(SQLModel.metadata.tables) - set(sa.inspect(connection).get_table_names())}


def _refusal(engine: Engine, version: str) -> str:
    what = f"the database {engine.url!r}"
    if version in STEPS:
        return (
            f"{what} was made by an earlier version of lcframework (its tables are of version {version}, this one's of "
            f"{HEAD}): `lcf upgrade` brings it up to date, and so does the next `lcf run`; finished work is kept"
        )
    if version:
        return (
            f"{what} was made by a newer version of lcframework (its tables are of version {version}; this one knows "
            f"them up to {HEAD}). Use that version; the database is left as it is"
        )
    return (
        f"{what} was made by a version of lcframework that is too old: it lacks columns. Use that version, or start in "
        "another [project] workdir (where [project] database names a server: with an empty database). Everything is "
        "then made again; letters of stars, the coefficients' scale and exclusions by `lcf exclude` do not come along"
    )


def upgrade_tables(engine: Engine) -> str:
    """Migrate a database's tables to this version, and return in words what was done; empty where nothing was to do.

    A database in a file is first copied to another file in the same folder.

    Raises
    ------
    NeedMissing
        Where the tables are of a version that can't be migrated.
    """
    with engine.connect() as connection:
        version = version_of(connection)
    if version in (None, HEAD):
        return ""
    if version not in STEPS:
        raise NeedMissing(_refusal(engine, version or ""))
    copy = _copied(engine, version)
    with _transaction(engine) as connection:
        _migrate(connection, version)
    kept = f"; it is kept as it was in {copy}" if copy is not None else ""
    return f"the database's tables were brought from version {version} to {HEAD}{kept}"


def _migrate(connection: Connection, version: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if not sa.inspect(connection).has_table("alembic_version"):
        command.stamp(config, version)
    command.upgrade(config, HEAD)


def _copied(engine: Engine, version: str) -> Path | None:
    """Copy a database that is a file, and return the path of the copy; None for a server."""
    name = engine.url.database
    if engine.url.get_backend_name() != "sqlite" or not name:
        return None
    path = Path(name)
    copy = path.with_name(f"{path.name}.version-{version}")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    for connection in (source, target):
        connection.close()
    return copy
