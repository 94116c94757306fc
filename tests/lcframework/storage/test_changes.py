"""Changes of tables are counted by the database, whoever makes them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, SQLModel

from lcframework.storage.changes import changes, count_changes, counted_tables, name_of
from lcframework.storage.records import Replace, Update, apply
from lcframework.storage.tables import Frame, Product


def count(engine: Engine, name: str) -> int:
    with Session(engine) as session:
        found = changes(session)
    assert found is not None
    return found.get(name, 0)


def product(stage: str, unit: str) -> Product:
    return Product(stage=stage, unit=unit, fingerprint="f", token="t", components={}, state="made")


def test_inserts_updates_and_deletions_count(engine: Engine) -> None:
    seen = [count(engine, "frames")]
    with Session(engine) as session:
        session.add(Frame(original_image_path="a", key="a"))
        session.commit()
    seen.append(count(engine, "frames"))
    with Session(engine) as session:
        apply(session, [Update("frames", {"key": "a"}, {"band": "r"})])
        session.commit()
    seen.append(count(engine, "frames"))
    with Session(engine) as session:
        apply(session, [Replace("frames", {"key": "a"})])
        session.commit()
    seen.append(count(engine, "frames"))
    assert seen == sorted(set(seen))
    assert count(engine, "stars") == 0


def test_what_is_rolled_back_or_changes_no_row_does_not_count(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Frame(original_image_path="a", key="a"))
        session.flush()
        session.rollback()
        apply(session, [Update("frames", {"key": "b"}, {"band": "r"})])
        session.commit()
    assert count(engine, "frames") == 0


def test_products_count_by_stage(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([product("a", "1"), product("b", "1")])
        session.commit()
        session.execute(sa.delete(Product).where(sa.column("stage") == "a"))
        session.commit()
    assert count(engine, name_of("a")) == 2
    assert count(engine, name_of("b")) == 1
    assert count(engine, "products") == 0


def test_where_a_trigger_is_gone_nothing_is_told(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("drop trigger count_update_frames")
    with Session(engine) as session:
        assert changes(session) is None
    with engine.begin() as connection:
        count_changes(connection)
    with Session(engine) as session:
        assert changes(session) is not None


def test_every_table_that_is_planned_from_is_counted() -> None:
    assert set(SQLModel.metadata.tables) - set(counted_tables()) == {
        "changes", "plans", "products", "product_files", "runs"
    }  # fmt: skip


@pytest.mark.parametrize("table", counted_tables())
def test_every_table_has_its_triggers(engine: Engine, table: str) -> None:
    query = "select count(*) from sqlite_master where type = 'trigger' and tbl_name = ?"
    with engine.connect() as connection:
        assert connection.exec_driver_sql(query, (table,)).scalar() == 3
