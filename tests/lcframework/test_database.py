"""Tables and records."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.connection import FILE_NAME, open_engine
from lcframework.database import Frame, Replace, Update, apply, numeric_columns

TABLES = {
    "frames", "rois_in_frames", "footprints", "combined_footprint", "stars", "stars_in_frames",
    "catalog_star_photometry", "PSFs", "star_flux_in_frame", "normalization_coefficients", "absolute_zeropoints",
    "products", "runs",
}  # fmt: skip


@pytest.fixture
def engine(tmp_path):
    made = open_engine("", tmp_path)
    yield made
    made.dispose()


def columns(table):
    return [c.name for c in SQLModel.metadata.tables[table].columns]


def test_promised_tables_and_columns(engine):
    assert set(SQLModel.metadata.tables) >= TABLES
    assert set(sa.inspect(engine).get_table_names()) >= TABLES
    promised = (
        "original_image_path", "image_relpath", "sources_relpath", "band", "instrument", "mjd", "mjd_start", "mjd_end",
        "time_source", "exptime", "gain", "saturation", "plate_solved", "attempted_plate_solve", "solver",
        "pixel_scale", "angle_to_north", "seeing_pixels", "seeing_arcseconds", "ellipticity",
        "sky_level_electron_per_second", "background_rms_electron_per_second", "sun_altitude", "moon_phase",
        "eliminated", "comment", "flags", "roi_in_footprint",
    )  # fmt: skip
    assert set(promised) <= set(columns("frames"))
    assert {"roi_in_footprint", "bjd_tdb", "airmass", "altitude", "azimuth", "degrees_to_moon"} <= set(
        columns("rois_in_frames")
    )
    assert {"coefficient", "coefficient_uncertainty", "scatter"} <= set(columns("normalization_coefficients"))


def test_columns_of_numbers():
    numbers = numeric_columns("frames")
    assert {"mjd", "seeing_arcseconds", "flags", "exptime"} <= set(numbers)
    assert not {"band", "comment", "eliminated", "original_image_path"} & set(numbers)


def test_records(engine):
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


def test_reading_while_a_transaction_is_open(engine, tmp_path):
    """Another process counts rows while a run is writing."""
    with Session(engine) as session:
        session.add(Frame(original_image_path="/a.fits", key="a"))
        session.commit()
        session.add(Frame(original_image_path="/b.fits", key="b"))
        session.flush()
        code = f"import sqlite3; print(sqlite3.connect({str(tmp_path / FILE_NAME)!r}, timeout=1).execute('select count(*) from frames').fetchone())"  # noqa: E501
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "(1,)"


def test_large_files_have_their_size(engine):
    with Session(engine) as session:
        session.add(Frame(original_image_path="/a.fits", key="a", raw_size=5 * 2**30))
        session.commit()
        assert session.execute(sa.text("select raw_size from frames")).scalar() == 5 * 2**30
    assert isinstance(SQLModel.metadata.tables["frames"].c.raw_size.type, sa.BigInteger)  # PostgreSQL's are bounded


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
