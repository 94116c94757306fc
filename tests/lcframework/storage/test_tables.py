"""Tables: what they promise, and who can read them when."""

from __future__ import annotations

import subprocess
import sys

import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.storage.connection import FILE_NAME
from lcframework.storage.queries import numeric_columns
from lcframework.storage.tables import Frame

TABLES = {
    "frames", "rois_in_frames", "footprints", "combined_footprint", "stars", "stars_in_frames",
    "catalog_star_photometry", "PSFs", "star_flux_in_frame", "normalization_coefficients", "absolute_zeropoints",
    "products", "runs",
}  # fmt: skip


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
