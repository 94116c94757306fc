"""Files of groups that have no product any more, beside those of groups that have."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel, select

from lcframework.roi.cutout_files import FIT_ENDINGS, stem, with_digest
from lcframework.roi.light_curves import TABLE_ENDINGS
from lcframework.roi.withdrawn import withdraw_cutouts, withdraw_fits
from lcframework.storage.tables import Product
from lcframework.work import Ledger

FOLDER = "prepared_roi_cutouts"


@pytest.fixture
def session():
    engine = sa.create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FOLDER).mkdir()
    return tmp_path / FOLDER


def product(stage, unit, state="made", path=""):
    return Product(stage=stage, unit=unit, fingerprint="f", token="t", components={}, state=state, path=path)


def there(folder):
    return {p.name for p in folder.iterdir() if p.is_file()}


def test_one_band_goes_and_the_other_stays(session, folder):
    names = [stem("Q", "cam", band) for band in "rg"]
    fits = {band: [name + e for e in FIT_ENDINGS] for band, name in zip("rg", names, strict=True)}
    tables = ["Q" + e for e in TABLE_ENDINGS]
    own = ["Q_my_background.fits", "notes.txt"]
    for name in [*fits["r"], *fits["g"], *tables, *own, *(f"cutouts_{n}.h5" for n in names)]:
        (folder / name).write_text(name)
    session.add_all([
        product("cut", "Q:cam:r", path=f"{FOLDER}/cutouts_{names[0]}.h5"),
        product("cut", "Q:cam:g", "unusable"),
        *(product("fit", f"fit:Q:cam:{b}", path=f"{FOLDER}/{n}_fit.h5") for b, n in zip("rg", names, strict=True)),
        product("fit", "light_curve:Q", path=f"{FOLDER}/{tables[0]}"),
    ])  # fmt: skip
    session.flush()
    withdraw_cutouts(Ledger.read(session), "cut", folder.parent)
    withdraw_fits(session, Ledger.read(session), "cut", "fit", folder.parent)
    assert there(folder) == {*fits["r"], *tables, *own, f"cutouts_{names[0]}.h5"}
    assert there(folder / "withdrawn") == {*fits["g"], f"cutouts_{names[1]}.h5"}
    assert {p.unit for p in session.exec(select(Product).where(Product.stage == "fit"))} == {
        "fit:Q:cam:r", "light_curve:Q"
    }  # fmt: skip


def test_a_group_that_got_another_name_leaves_nothing_under_the_old_one(session, folder):
    old, new = stem("Q", "cam", "r"), with_digest(stem("Q", "cam", "r"), ("Q", "cam", "r"))
    for name in (old, new):
        (folder / f"cutouts_{name}.h5").write_text(name)
    session.add(product("cut", "Q:cam:r", path=f"{FOLDER}/cutouts_{new}.h5"))
    session.flush()
    withdraw_cutouts(Ledger.read(session), "cut", folder.parent)
    assert there(folder) == {f"cutouts_{new}.h5"}


def test_a_fit_that_fails_takes_its_files_and_the_tables_along(session, folder):
    name = stem("Q", "cam", "r")
    for file in [name + FIT_ENDINGS[0], "Q" + TABLE_ENDINGS[0], "P" + TABLE_ENDINGS[0]]:
        (folder / file).write_text(file)
    session.add_all([
        product("cut", "Q:cam:r", path=f"{FOLDER}/cutouts_{name}.h5"),
        product("fit", "fit:Q:cam:r", "unusable"),
        product("fit", "light_curve:Q", "unusable"),
        product("fit", "light_curve:P", path=f"{FOLDER}/P{TABLE_ENDINGS[0]}"),
    ])  # fmt: skip
    session.flush()
    withdraw_fits(session, Ledger.read(session), "cut", "fit", folder.parent)
    assert there(folder) == {"P" + TABLE_ENDINGS[0]}
    assert len(session.exec(select(Product)).all()) == 4  # the failure stays known
