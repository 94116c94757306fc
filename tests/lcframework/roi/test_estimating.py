"""Who is measured by discs: sources with room for them, in models without other light; and the files of estimates."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from lcframework.config.sections import Roi
from lcframework.roi.cutout_files import PreparedEpochs, read_cutouts, write_cutouts
from lcframework.roi.epochs import filled
from lcframework.roi.estimating import chosen_estimators, least_separation
from lcframework.storage.estimate_files import FrameEstimates, read_estimates, write_estimates
from lcframework.storage.tables import EstimatorScales, EstimatorWeights
from lcframework.types import Cutouts, Estimators, FluxWeights, Kernels

COLUMNS = filled(2, frame_id=np.array([1, 2]), pixel_scale=0.5)


@pytest.fixture
def session():
    engine = sa.create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(EstimatorWeights(
            combined_footprint_hash="f", instrument="cam", band="r", radii=[1.0, 4.0], flux=[10.0, 100.0],
            weights=[[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]], noise_factor=1.1, scatter=0.002, psf_scatter=0.01, stars=9,
            frames=2, held_out={}, note="",
        ))  # fmt: skip
        for frame in (1, 2):
            session.add(EstimatorScales(combined_footprint_hash="f", frame_id=frame, instrument="cam", band="r",
                                        radii=[2.0 * frame, 8.0], scale=[1.0, 1.01, 1.02]))  # fmt: skip
        session.commit()
        yield session


def region(apart: float | None) -> Roi:
    """Return a region with one point source, or two that many arcsec apart."""
    sources = {"A": (10.0, 0.0)} | ({"B": (10.0, apart / 3600)} if apart is not None else {})
    return Roi(10.0, 0.0, point_sources=sources)


@pytest.mark.parametrize(("apart", "able", "discs"), [(None, True, True), (8.1, True, True), (7.9, True, False),
                                                      (None, False, False)])  # fmt: skip
def test_discs_need_room_and_light_that_is_all_the_sources(session, apart, able, discs):
    found = chosen_estimators(session, "f", "cam", "r", COLUMNS, region(apart), able)
    assert found is not None
    # What the normalization finds of the stars' scatter is that of their combined fluxes.
    assert found.scatter == pytest.approx(0.0 if discs else np.sqrt(0.01**2 - 0.002**2))
    assert (found.estimators is not None) is discs
    if found.estimators is not None:
        np.testing.assert_array_equal(found.estimators.radii, [[2.0, 8.0], [4.0, 8.0]])
        np.testing.assert_array_equal(found.estimators.scale[:, 2], 1.02)
        assert found.estimators.weights.noise_factor == 1.1


def test_a_frame_without_scales_or_a_group_without_a_choice(session):
    session.delete(session.get(EstimatorScales, ("f", 2)))
    session.commit()
    found = chosen_estimators(session, "f", "cam", "r", COLUMNS, region(None), True)
    assert found is not None
    assert found.estimators is None
    assert chosen_estimators(session, "f", "cam", "g", COLUMNS, region(None), True) is None
    row = session.get(EstimatorWeights, ("f", "cam", "r"))
    row.radii = []
    session.commit()
    assert chosen_estimators(session, "f", "cam", "r", COLUMNS, region(None), True) is None


def test_distance_of_the_nearest_two():
    roi = Roi(10.0, 60.0, point_sources={"A": (10.0, 60.0), "B": (10.0, 60.01), "C": (10.01, 60.0)})
    assert least_separation(roi) == pytest.approx(
        18.0, rel=1e-3
    )  # arcsec of right ascension shrink with the declination


def test_files_give_back_what_was_written(tmp_path):
    rows = [{"combined_footprint_hash": "f", "frame_id": 3, "gaia_id": g, "psf_ref": "p", "flux": 1.5 * i,
             "status": "converged", "masked_outliers": i} for i, g in enumerate("ab")]  # fmt: skip
    light = np.arange(4.0).reshape(2, 2)
    write_estimates(tmp_path / "fluxes.h5", FrameEstimates(rows, np.array([2.0, 3.0]), light, np.ones((2, 2, 2))))
    back = read_estimates(tmp_path / "fluxes.h5")
    assert back.rows == rows
    np.testing.assert_array_equal(back.light, light)
    nobody = FrameEstimates([], np.array([2.0]), np.zeros((0, 1)), np.zeros((0, 1, 1)))
    write_estimates(tmp_path / "none.h5", nobody)
    assert read_estimates(tmp_path / "none.h5").rows == []
    ones, stamps = np.ones(2), np.ones((2, 8, 8))
    weights = FluxWeights(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0]]), 1.2, 0.01)
    cutouts = Cutouts(
        stamps, stamps, stamps > 2, Kernels(np.ones((2, 16, 16)), 2, 2.0), np.zeros((2, 2, 3)), np.zeros((2, 2, 2)),
        ones, ones, ones, ones, estimators=Estimators(np.full((2, 1), 3.0), np.full((2, 2), 1.1), weights),
    )  # fmt: skip
    write_cutouts(tmp_path / "c.h5", PreparedEpochs(cutouts, filled(2), np.zeros((2, 2)), ["x"] * 2, 25.0, 0.01, "AB"))
    estimators = read_cutouts(tmp_path / "c.h5").cutouts.estimators
    assert estimators is not None
    np.testing.assert_array_equal(estimators.weights.weights, weights.weights)
    assert (estimators.weights.noise_factor, estimators.weights.scatter) == (1.2, 0.01)
    assert estimators.area == pytest.approx(np.pi * 9)
