"""The rows of a normalization: one a field and frame, whichever group the frame belongs to."""

from __future__ import annotations

import attrs
import numpy as np
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from lcframework.stages.calculate_normalization_coefficient import moved_here
from lcframework.stars.flux_groups import FluxGroup
from lcframework.storage.records import Replace, apply
from lcframework.storage.tables import NormalizationCoefficient
from lcframework.types import FluxMatrix


def test_a_frame_that_another_band_had_has_one_row(engine: Engine) -> None:
    """The band was named after a run without one."""
    fluxes = FluxMatrix(np.ones((2, 1)), np.ones((2, 1)), np.zeros((2, 1, 2)), (10, 10))
    one, none = np.ones((2, 1)), np.ones(2)
    before = FluxGroup("field", "Cam", "", [1, 2], ["s"], fluxes, one, none, none[:1])
    now = attrs.evolve(before, band="r")
    for group in (before, now):
        where = {"combined_footprint_hash": "field", "instrument": "Cam", "band": group.band}
        numbers = {"coefficient": 1.0, "coefficient_uncertainty": 0.1, "scatter": 0.0, "stars": 1, "extra_scatter": 0.0}
        rows = [{**where, "frame_id": i, **numbers} for i in (1, 2)]
        with Session(engine) as session:
            apply(session, [*moved_here(group), Replace("normalization_coefficients", where, rows)])
            session.commit()
    with Session(engine) as session:
        assert [(r.frame_id, r.band) for r in session.exec(select(NormalizationCoefficient))] == [(1, "r"), (2, "r")]
