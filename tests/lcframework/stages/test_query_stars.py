"""Limits, rows and letters of the reference stars."""

from __future__ import annotations

import numpy as np
from astropy.table import MaskedColumn, Table
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.stages.query_gaia_for_stars import VARIABLE, FieldQuery, star_rows, within_limits
from lcframework.stars.names import given_names
from lcframework.storage.tables import CombinedFootprint, Star
from lcframework.types import CatalogLimits, Region


def table() -> Table:
    stars = Table()
    stars["source_id"] = ["1", "2", "J/ApJ/3", "4"]
    stars["ra"], stars["dec"], stars["ref_epoch"] = 10.0, 5.0, 2016.0
    stars["magnitude"] = [15.9, 16.0, 20.0, 20.1]
    stars["pmra"], stars["pmdec"] = [1.0, np.nan, 3.0, 4.0], 0.0
    stars["bp"] = MaskedColumn([16.0, 17.0, 18.0, 19.0], mask=[False, True, False, False])
    stars["astrometric_excess_noise"] = MaskedColumn([0.1, 3.0, 3.1, 0.1], mask=[False, False, False, True])
    stars["flux_over_error"] = [99.0, 100.0, 500.0, 500.0]
    stars["variable"] = [False, True, False, False]
    stars["distance"] = [4.0, 3.0, 2.0, 1.0]
    return stars


def test_limits_and_what_a_catalogue_does_not_know():
    def passed(*limits: object) -> list[bool]:
        return list(within_limits(table(), CatalogLimits(*limits)))

    assert passed((16.0, 20.0)) == [False, True, True, False]
    assert passed((-np.inf, np.inf), 3.0) == [True, True, False, True]  # what has no number is not refused
    assert passed((-np.inf, np.inf), np.inf, 100.0) == [False, True, True, True]
    bare = table()
    bare.remove_columns(["astrometric_excess_noise", "flux_over_error"])
    assert within_limits(bare, CatalogLimits((-np.inf, np.inf), 0.01, 1e9)).all()


def test_rows():
    rows = star_rows(table(), FieldQuery("h", Region(10.0, 5.0, 0.1), ("R",), {"4": "a"}))
    assert [r["name"] for r in rows] == ["b", "c", "d", "a"]
    assert rows[2]["gaia_id"] == "J_ApJ_3"
    assert [r["comment"] for r in rows] == ["", VARIABLE, "", ""]
    assert rows[1]["pmra"] == 0.0
    assert [r["bp"] for r in rows] == [16.0, None, 18.0, 19.0]
    assert all(r["rp"] is None for r in rows)


def field(hash_: str, rois: list[str], active: bool) -> CombinedFootprint:
    return CombinedFootprint(hash=hash_, strategy="per_frame", rois=rois, ra=0, dec=0, radius=1, active=active)


def star(hash_: str, identity: str, name: str) -> Star:
    return Star(combined_footprint_hash=hash_, gaia_id=identity, name=name, ra=0, dec=0, pmra=0, pmdec=0,
                ref_epoch=2016, magnitude=17)  # fmt: skip


def test_letters_of_fields_that_came_before(engine: Engine):
    with Session(engine) as session:
        fields = [field("old", ["R"], False), field("now", ["R", "S"], True), field("else", ["T"], True)]
        session.add_all([*fields, field("new", ["S", "R"], True)])
        session.add_all([star("old", "1", "a"), star("old", "2", "b"), star("old", "3", "c")])
        session.add_all([star("now", "1", "a"), star("now", "4", "d"), star("now", "2", "x")])
        session.add_all([star("else", "5", "a"), star("new", "6", "c")])
        session.commit()
        # The field's own come first, then those in use; 3 was c, which is another's by now, and so gets a new letter.
        assert given_names(session, field("new", ["S", "R"], True)) == {"6": "c", "1": "a", "4": "d", "2": "x"}
        assert given_names(session, field("further", ["R"], True)) == {"1": "a", "4": "d", "2": "x", "6": "c"}
        assert given_names(session, field("apart", ["U"], True)) == {}
