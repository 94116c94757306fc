"""Tables, records, and databases that can't be used."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.database import FILE_NAME, Frame, Replace, Update, apply, numeric_columns, open_engine
from lcframework.types import NeedMissing

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


def test_folder_whose_name_means_something_in_a_url(tmp_path):
    folder = tmp_path / "odd? 100% #1 é"
    folder.mkdir()
    open_engine("", folder).dispose()
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert (folder / FILE_NAME).exists()


def test_write_ahead_log(engine, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


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


def test_file_that_is_no_database(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"hello, this is a text and not a database" * 100)
    with pytest.raises(NeedMissing, match="can't be opened"):
        open_engine("", tmp_path)


def test_other_schema(engine, tmp_path):
    engine.dispose()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("drop table runs")  # made again: it is only missing
        connection.execute("alter table stars drop column magnitude")
    with pytest.raises(NeedMissing, match=r"another version of lcframework: it lacks stars\.magnitude"):
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
