"""The check star of a light curve: which one, and its magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.stars.check_star import check_stars
from lcframework.storage.tables import (
    CombinedFootprint,
    NormalizationCoefficient,
    Star,
    StarFlux,
    StarLevel,
    StarResidual,
)
from lcframework.types import LcfError

GROUP = {"combined_footprint_hash": "f", "instrument": "Cam", "band": "r"}


@pytest.fixture
def session(engine: Engine) -> Session:
    """Return a database with three stars in two frames; c is left out, and b varies."""
    session = Session(engine)
    session.add(CombinedFootprint(hash="f", strategy="roi_disk", rois=["X"], ra=1.0, dec=2.0, radius=0.1))
    sky = {"ra": 1.0, "dec": 2.0, "pmra": 0.0, "pmdec": 0.0, "ref_epoch": 2016.0, "magnitude": 15.0}
    zeros = ("flux_uncertainty", "x", "y", "x_offset", "y_offset", "x_uncertainty", "y_uncertainty", "background")
    other = {"psf_ref": "", "chi2": 1.0, "status": "converged", **dict.fromkeys(zeros, 0.0)}
    for name, scatter, comment in (("a", 0.001, ""), ("b", 0.02, ""), ("c", 0.0, "variable")):
        session.add(Star(combined_footprint_hash="f", gaia_id=name * 3, name=name, **sky))
        session.add(StarLevel(**GROUP, gaia_id=name * 3, level=100.0, level_error=1.0, intrinsic_scatter=scatter,
                              comment=comment))  # fmt: skip
        for frame in (1, 2):
            key = {"combined_footprint_hash": "f", "frame_id": frame, "gaia_id": name * 3}
            session.add(StarFlux(**key, flux=50.0 * frame, **other))
            session.add(StarResidual(**GROUP, frame_id=frame, gaia_id=name * 3, residual=0.0, residual_error=scatter,
                                     used=not comment))  # fmt: skip
    for frame in (1, 2):
        session.add(NormalizationCoefficient(**GROUP, frame_id=frame, coefficient=0.5 * frame, scatter=0.0, stars=2,
                                             coefficient_uncertainty=0.1))  # fmt: skip
    session.commit()
    return session


def test_the_steadiest_of_those_in_use(session: Session) -> None:
    found = check_stars(session, "X", {1: 25.0, 2: 24.0})
    assert {star.name for star in found.values()} == {"a aaa"}
    assert [found[i].magnitudes[i] for i in (1, 2)] == pytest.approx([20.0, 19.0])


def test_the_one_that_is_asked_for(session: Session) -> None:
    assert check_stars(session, "X", {1: 25.0}, "c")[1].name == "c ccc"
    assert np.isnan(check_stars(session, "X", {1: np.nan}, "b")[1].magnitudes[1])
    with pytest.raises(LcfError, match="is called q; there are a, b, c"):
        check_stars(session, "X", {1: 25.0}, "q")


def test_a_region_without_a_field_has_none(session: Session) -> None:
    assert check_stars(session, "Y", {1: 25.0}) == {}
