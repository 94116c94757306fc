"""Records: what they change, and in which order."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Session

from lcframework.storage.records import Replace, Update, apply
from lcframework.storage.tables import Frame


def test_rows_are_updated_and_replaced(engine):
    with Session(engine) as session:
        session.add(Frame(original_image_path="/a.fits", key="a"))
        session.commit()
        apply(session, [Update("frames", {"key": "a"}, {"band": "r", "gain": 2.0})])
        row = {"catalog": "c", "band": "r", "gaia_id": "1", "mag": 20.0, "mag_err": 0.1, "system": "AB", "colour": None}
        apply(session, [Replace("catalog_star_photometry", {"catalog": "c"}, [row, {**row, "gaia_id": "2"}])])
        apply(session, [Replace("catalog_star_photometry", {"gaia_id": "2"})])
        session.commit()
        assert session.execute(sa.text("select band, gain from frames")).all() == [("r", 2.0)]
        assert session.execute(sa.text("select gaia_id from catalog_star_photometry")).all() == [("1",)]


def test_updates_of_many_rows_keep_their_order(engine):
    with Session(engine) as session:
        session.add_all([Frame(original_image_path=p, key=p) for p in "abc"])
        session.add(Frame(original_image_path="d", key="d", instrument="Cam"))
        session.commit()
        apply(
            session,
            [
                Update("frames", {}, {"comment": "all"}),
                *(Update("frames", {"key": k}, {"comment": f"mine {k}", "band": "r"}) for k in "ab"),
                Update("frames", {"key": "b"}, {"comment": "last", "band": "g"}),
                Update("frames", {"mjd": None, "instrument": "Cam"}, {"gain": 3.0}),
                Update("frames", {"key": "a"}, {}),
            ],
        )
        rows = session.execute(sa.text("select key, comment, band, gain from frames order by key")).all()
    assert [tuple(r) for r in rows] == [
        ("a", "mine a", "r", None), ("b", "last", "g", None), ("c", "all", "", None), ("d", "all", "", 3.0),
    ]  # fmt: skip
