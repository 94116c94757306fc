"""The stars that register a region's cutouts: from which columns of the database, and of which field and frame."""

from __future__ import annotations

import numpy as np
import pytest
from sqlmodel import Session, SQLModel, create_engine

from lcframework.roi.cutout_selection import star_positions
from lcframework.storage.tables import StarFlux, StarInFrame

STARS = [("f", 1, "s1"), ("f", 1, "s2"), ("f", 2, "s1"), ("g", 1, "s1")]


def expected(i: int) -> list[float]:
    """Return six numbers of a star that no other column has: where it should be, where it is, and errors."""
    return [10.0 * i + k for k in range(1, 7)]


def flux(field: str, frame: int, star: str, numbers: list[float]) -> StarFlux:
    _, _, x, y, dx, dy = numbers
    return StarFlux(
        combined_footprint_hash=field, frame_id=frame, gaia_id=star, psf_ref="p", flux=-1.0, flux_uncertainty=-2.0,
        x=x, y=y, x_offset=-3.0, y_offset=-4.0, x_uncertainty=dx, y_uncertainty=dy, background=-5.0, chi2=-6.0,
        status="converged",
    )  # fmt: skip


@pytest.fixture
def session():
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        for i, (field, frame, star) in enumerate(STARS):
            x, y = expected(i)[:2]
            session.add(StarInFrame(combined_footprint_hash=field, frame_id=frame, gaia_id=star, x=x, y=y))
            session.add(flux(field, frame, star, expected(i)))
        # Known to the catalogue alone, or measured in another frame alone: no pair.
        session.add(StarInFrame(combined_footprint_hash="f", frame_id=2, gaia_id="s3", x=1.0, y=1.0))
        session.add(flux("f", 1, "s4", expected(9)))
        session.commit()
        yield session
    engine.dispose()


def test_positions_of_a_field(session):
    found = star_positions(session, "f")
    assert sorted(found) == [1, 2]
    for frame, rows in ((1, [0, 1]), (2, [2])):
        numbers = np.array([expected(i) for i in rows])
        for got, columns in zip(found[frame], (slice(0, 2), slice(2, 4), slice(4, 6)), strict=True):
            np.testing.assert_array_equal(got, numbers[:, columns])
